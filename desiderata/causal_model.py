"""The causal model of a task: inputs, mechanisms, a prompt; what an interchange would answer."""

import inspect
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from .claim import Claim, carries, suffices
from .domains import Distinct, Domain, ItemOf, Values, pool_of
from .prompt import Prompt, fill, template_names

Narrowed = TypeVar("Narrowed", bound="CausalModel")


@cache
def parents_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters: the variables that it reads."""
    return tuple(inspect.signature(function).parameters)


@dataclass(frozen=True)
class CausalModel:
    """A task as a small causal model.

    Args:
        inputs: name -> domain.
        mechanisms: plain functions; a function's name is its variable, its parameter names are
            its parents.
        prompt: a template, or a function of variables that returns a template's `fill`, a
            `Prompt`, or text without spans.
        where: conditions that values must meet, each a function of variables.
        answer: the variable that the prompt's continuation gives.
        completion: how the answer is written after the prompt, a template over the variables
            (by default the answer alone); begin it with a space where the prompt does not end
            with one.

    Raises:
        ValueError: with every problem at once: names used twice, unknown parents, cycles, no
            answer, a prompt that mentions unknown variables.
    """

    inputs: Mapping[str, Domain]
    mechanisms: Sequence[Callable[..., Any]]
    prompt: str | Callable[..., Prompt | str]
    _: KW_ONLY
    where: Callable[..., bool] | Sequence[Callable[..., bool]] = ()
    answer: str = "answer"
    completion: str = ""
    parents: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)
    order: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        conditions = (self.where,) if callable(self.where) else tuple(self.where)
        object.__setattr__(self, "where", conditions)
        if not self.completion:
            object.__setattr__(self, "completion", f"{{{self.answer}}}")
        parents = {name: domain.parents for name, domain in self.inputs.items()}
        parents |= {function.__name__: parents_of(function) for function in self.mechanisms}
        object.__setattr__(self, "parents", parents)
        if problems := self._problems():
            raise ValueError("this causal model cannot work: " + "; ".join(problems))
        object.__setattr__(self, "order", tuple(TopologicalSorter(parents).static_order()))

    def _problems(self) -> list[str]:
        names = [*self.inputs, *(function.__name__ for function in self.mechanisms)]
        problems = [
            f"the name {name!r} is used {names.count(name)} times; variables need different names"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        known = ", ".join(dict.fromkeys(names))
        readers = {f"{name!r}": parents for name, parents in self.parents.items()}
        readers |= {f"condition {n}": parents_of(f) for n, f in enumerate(self.where, 1)}  # type: ignore[arg-type]
        readers["the prompt"] = _names_read(self.prompt)
        readers["the completion"] = _names_read(self.completion)
        for reader, parents in readers.items():
            strangers = [parent for parent in parents if parent not in names]
            if strangers:
                problems.append(
                    f"{reader} reads unknown variable(s) {', '.join(strangers)}; known: {known}"
                )
        for name, domain in self.inputs.items():
            if isinstance(domain, ItemOf) and not isinstance(
                self.inputs.get(domain.name), Distinct | type(None)
            ):
                problems.append(
                    f"{name!r} is an item of {domain.name!r}, which must be a distinct(...) input"
                )
        if self.answer not in names:
            problems.append(f"there is no variable {self.answer!r} to answer with; known: {known}")
        try:
            TopologicalSorter(self.parents).prepare()
        except CycleError as error:
            problems.append(f"the variables form a cycle: {' <- '.join(error.args[1])}")
        return problems

    def run(self, inputs: Values, forced: Values | None = None) -> dict[str, Any]:
        """The value of every variable on these inputs, with some variables forced."""
        functions = {function.__name__: function for function in self.mechanisms}
        values: dict[str, Any] = {}
        for name in self.order:
            if forced is not None and name in forced:
                values[name] = forced[name]
            elif name in functions:
                values[name] = functions[name](*(values[parent] for parent in self.parents[name]))
            else:
                values[name] = inputs[name]
        return values

    def interchange(
        self, base: Values, source: Values, variables: str | Collection[str]
    ) -> dict[str, Any]:
        """Every variable's value on the base's inputs, these variables forced to the source's.

        Source: Geiger et al. 2021 (arXiv 2106.02997), interchange interventions.

        Raises:
            LookupError: a variable that the model does not have.
        """
        names = (variables,) if isinstance(variables, str) else tuple(variables)
        self.check_known(names)
        at_source = self.run(source)
        return self.run(base, forced={name: at_source[name] for name in names})

    def check_known(self, names: Iterable[str]) -> None:
        """Raise a LookupError that lists the variables, unless all of `names` are among them."""
        if strangers := [name for name in names if name not in self.parents]:
            raise LookupError(
                f"no variable {', '.join(map(repr, strangers))} in this causal model; "
                f"its variables are: {', '.join(self.order)}"
            )

    def inputs_behind(self, variable: str, cut: Collection[str] = ()) -> frozenset[str]:
        """The inputs that can move a variable, not counting ways through the variables `cut`."""
        if variable in cut:
            return frozenset()
        if variable in self.inputs:
            return frozenset({variable})
        behind = (self.inputs_behind(parent, cut) for parent in self.parents[variable])
        return frozenset().union(*behind)

    def can_vary(self, name: str) -> bool:
        """Whether an input has more than one value."""
        pool = pool_of(self.inputs[name])
        return pool is None or len(pool.items) > 1

    def allows(self, inputs: Values, values: Values | None = None) -> bool:
        """Whether the inputs lie in their domains and the values (by default those that the
        inputs lead to) meet the conditions."""
        if not all(domain.accepts(inputs[name], inputs) for name, domain in self.inputs.items()):
            return False
        return self.meets_conditions(self.run(inputs) if values is None else values)

    def takes(self, base: Values, forced: Values) -> bool:
        """Whether the forced inputs lie in their domains beside the base's other inputs."""
        inputs = {**base, **{name: forced[name] for name in forced if name in self.inputs}}
        return all(domain.accepts(inputs[name], inputs) for name, domain in self.inputs.items())

    def meets_conditions(self, values: Values) -> bool:
        """Whether these values of all variables meet every condition."""
        return all(
            condition(*(values[name] for name in parents_of(condition)))
            for condition in self.where  # type: ignore[union-attr]
        )

    def draw(
        self, rng: random.Random, base: Values | None = None, vary: Collection[str] = ()
    ) -> dict[str, Any] | None:
        """One random setting of the inputs, or None where the draw breaks a condition.

        With a base, only the inputs in `vary` are drawn anew; the rest keep the base's values.
        """
        inputs: dict[str, Any] = {}
        for name in self.order:
            if name not in self.inputs:
                continue
            if base is not None and name not in vary:
                inputs[name] = base[name]
            else:
                inputs[name] = self.inputs[name].draw(rng, inputs)
        return inputs if self.allows(inputs) else None

    def narrowed(self: Narrowed, domains: Mapping[str, Domain]) -> Narrowed:
        """The same model with other domains for some inputs."""
        return replace(self, inputs={**self.inputs, **domains})

    def render(self, values: Values) -> Prompt:
        """The prompt for these values of all variables."""
        if isinstance(self.prompt, str):
            return fill(self.prompt, **values)
        made = self.prompt(*(values[name] for name in parents_of(self.prompt)))
        return made if isinstance(made, Prompt) else Prompt(made)

    def write_answer(self, values: Values) -> str:
        """How the answer is written after the prompt."""
        return fill(self.completion, **values).text

    def carries(self, variables: str | Sequence[str], **options: Any) -> Claim:
        """The claim that the circuit carries these variables; see `desiderata.claim.carries`."""
        return carries(self, variables, **options)

    def suffices(self, **options: Any) -> Claim:
        """The claim that the circuit alone does the task; see `desiderata.claim.suffices`."""
        return suffices(self, **options)


def _names_read(writer: str | Callable[..., Any]) -> tuple[str, ...]:
    return tuple(template_names(writer)) if isinstance(writer, str) else parents_of(writer)
