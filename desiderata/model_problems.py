"""What keeps a causal model from working, found before anything is drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from .calls import parents_of
from .domains import Distinct, Domain, ItemOf, pool_of
from .prompt import template_names


class Written(Protocol):
    """A causal model as its author wrote it."""

    @property
    def inputs(self) -> Mapping[str, Domain]: ...

    @property
    def mechanisms(self) -> Sequence[Callable[..., Any]]: ...

    @property
    def prompt(self) -> Any: ...

    @property
    def where(self) -> Any: ...

    @property
    def answer(self) -> str: ...

    @property
    def completion(self) -> str: ...


def model_problems(model: Written) -> list[str]:
    """Every problem in words; where a function or domain is none, only that."""
    if wrong := [*_no_domains(model), *_no_functions(model), *_broken_templates(model)]:
        return wrong
    names = [*model.inputs, *(function.__name__ for function in model.mechanisms)]
    parents = {name: domain.parents for name, domain in model.inputs.items()}
    parents |= {function.__name__: parents_of(function) for function in model.mechanisms}
    return [
        *_names_twice(names),
        *_strangers(model, names, parents),
        *_domain_problems(model),
        *_answer_problems(model, list(dict.fromkeys(names))),
        *_cycles(parents),
    ]


def _no_domains(model: Written) -> Iterator[str]:
    for name, domain in model.inputs.items():
        if isinstance(domain, type) or not isinstance(domain, Domain):
            yield (
                f"the input {name!r} needs a domain: choice(...), integers(...), distinct(...) or "
                f"item_of(...); got {type(domain).__name__}"
            )


def _no_functions(model: Written) -> Iterator[str]:
    functions = [*model.mechanisms, *model.where]
    for function in functions if isinstance(model.prompt, str) else (*functions, model.prompt):
        try:
            parents_of(function)
            named = isinstance(function.__name__, str)
        except (TypeError, ValueError, AttributeError):
            named = False
        if not named:
            yield (
                "mechanisms and conditions are functions with a name and named parameters, such "
                f"as def verb(number): ...; got {function!r}"
            )


def _broken_templates(model: Written) -> Iterator[str]:
    for reader, template in (("prompt", model.prompt), ("completion", model.completion)):
        if not isinstance(template, str):
            continue
        try:
            if "" in template_names(template):
                yield f"the {reader} has a field without a name; write {{x}} for the variable x"
        except ValueError as error:
            yield f"the {reader} is no template: {error} (a brace itself is written {{{{ or }}}})"


def _names_twice(names: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield (
                f"the name {name!r} is used {names.count(name)} times; variables need different "
                "names"
            )


def _strangers(
    model: Written, names: Sequence[str], parents: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    readers = {f"{name!r}": read for name, read in parents.items()}
    readers |= {f"condition {n}": parents_of(f) for n, f in enumerate(model.where, 1)}
    readers["the prompt"] = _names_read(model.prompt)
    readers["the completion"] = template_names(model.completion)
    for reader, read in readers.items():
        if strangers := [name for name in read if name not in names]:
            known = ", ".join(dict.fromkeys(names))
            yield f"{reader} reads unknown variable(s) {', '.join(strangers)}; known: {known}"


def _domain_problems(model: Written) -> Iterator[str]:
    for name, domain in model.inputs.items():
        if isinstance(domain, ItemOf) and not isinstance(
            model.inputs.get(domain.name), Distinct | type(None)
        ):
            yield f"{name!r} is an item of {domain.name!r}, which must be a distinct(...) input"
        pool = pool_of(domain)
        if pool is not None and not len(pool.items):
            yield f"the input {name!r} has no value: its domain is empty"


def _answer_problems(model: Written, names: Sequence[str]) -> Iterator[str]:
    known = ", ".join(names)
    named = template_names(model.completion)
    if model.answer and model.answer not in names:
        yield f"there is no variable {model.answer!r} to answer with; known: {known}"
    # An unknown variable in the completion is a problem of its own.
    if model.answer or "answer" in names or len(named) == 1 or not set(named) <= set(names):
        return
    likely = named[0] if named else names[-1] if names else "verb"
    yield (
        f"it is not clear which variable is the answer; pass answer={likely!r}, or call the "
        f"function `answer`. Its variables are: {known}"
    )


def _cycles(parents: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        yield f"the variables form a cycle: {' <- '.join(error.args[1])}"


def _names_read(writer: str | Callable[..., Any]) -> tuple[str, ...]:
    return template_names(writer) if isinstance(writer, str) else parents_of(writer)
