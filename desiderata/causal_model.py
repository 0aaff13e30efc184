"""The causal model of a task: inputs, mechanisms, a prompt; what an interchange would answer."""

import math
import numbers
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any, TypeVar

from .calls import SHOWN, TaskError, call, called, parents_of, place_of, shown, words_of
from .claim import Claim, carries, suffices
from .desideratum import Texts
from .domains import Domain, Values, pool_of
from .model_problems import model_problems
from .prompt import Prompt, fill, root_of, template_names, template_values, write_each

Narrowed = TypeVar("Narrowed", bound="CausalModel")
SEVERAL = (list, tuple, set, frozenset)  # values of an answer that are several right ones


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
        answer: the variable that the prompt's continuation gives. By default it is the one called
            `answer`, or else the only one that the completion names. Its value is a text, a
            number, or a list or set of them, which are then all right.
        completion: how the answer is written after the prompt, a template over the variables. By
            default it is the answer alone, after a space where the model's tokenizer needs one.

    Raises:
        ValueError: with every problem at once: names used twice, unknown parents, cycles, no
            answer, a prompt that mentions unknown variables, an input without a value.
    """

    inputs: Mapping[str, Domain]
    mechanisms: Sequence[Callable[..., Any]]
    prompt: str | Callable[..., Prompt | str]
    _: KW_ONLY
    where: Callable[..., bool] | Sequence[Callable[..., bool]] = ()
    answer: str = ""
    completion: str = ""
    parents: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)
    order: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        conditions = (self.where,) if callable(self.where) else tuple(self.where)
        object.__setattr__(self, "where", conditions)
        if problems := model_problems(self):
            raise ValueError("this causal model cannot work: " + "; ".join(problems))
        object.__setattr__(self, "answer", self.answer or self._inferred_answer())
        parents = {name: domain.parents for name, domain in self.inputs.items()}
        parents |= {function.__name__: parents_of(function) for function in self.mechanisms}
        object.__setattr__(self, "parents", parents)
        object.__setattr__(self, "order", tuple(TopologicalSorter(parents).static_order()))

    def _inferred_answer(self) -> str:
        """The variable called `answer`, or the only one that the completion names."""
        named = template_names(self.completion)
        has_answer = "answer" in self.inputs or any(
            function.__name__ == "answer" for function in self.mechanisms
        )
        return "answer" if has_answer else named[0] if len(named) == 1 else ""

    @property
    def written(self) -> str:
        """The template of what follows the prompt: the completion, or the answer alone."""
        return self.completion or f"{{{self.answer}}}"

    def run(self, inputs: Values, forced: Values | None = None) -> dict[str, Any]:
        """The value of every variable on these inputs, with some variables forced.

        Raises:
            TaskError: a mechanism raises; the message has its file, line and inputs.
        """
        functions = {function.__name__: function for function in self.mechanisms}
        values: dict[str, Any] = {}
        for name in self.order:
            if forced is not None and name in forced:
                values[name] = forced[name]
            elif name in functions:
                values[name] = call(functions[name], values)
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
        if not self._admits(inputs):
            return False
        return self.meets_conditions(self.run(inputs) if values is None else values)

    def takes(self, base: Values, forced: Values) -> bool:
        """Whether the forced inputs lie in their domains beside the base's other inputs, and meet
        the conditions on inputs."""
        return self._admits(
            {**base, **{name: forced[name] for name in forced if name in self.inputs}}
        )

    def _admits(self, inputs: Values) -> bool:
        """Whether inputs lie in their domains and meet the conditions that read inputs only, which
        may keep from a mechanism what it cannot take."""
        return all(
            domain.accepts(inputs[name], inputs) for name, domain in self.inputs.items()
        ) and all(
            call(condition, inputs)
            for condition in self.where  # type: ignore[union-attr]
            if all(name in self.inputs for name in parents_of(condition))
        )

    def meets_conditions(self, values: Values) -> bool:
        """Whether these values of all variables meet every condition."""
        return all(call(condition, values) for condition in self.where)  # type: ignore[union-attr]

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
                inputs[name] = self._drawn(name, rng, inputs)
        return inputs if self.allows(inputs) else None

    def _drawn(self, name: str, rng: random.Random, inputs: Values) -> Any:
        domain = self.inputs[name]
        try:
            return domain.draw(rng, inputs)
        except Exception as error:  # a domain of somebody's own
            raise TaskError(
                f"{name!r} cannot be drawn from {SHOWN.repr(domain)}: {words_of(error)}"
            ) from error

    def narrowed(self: Narrowed, domains: Mapping[str, Domain]) -> Narrowed:
        """The same model with other domains for some inputs."""
        return replace(self, inputs={**self.inputs, **domains})

    def render(self, values: Values) -> Prompt:
        """The prompt for these values of all variables.

        Raises:
            TaskError: the prompt cannot be written.
        """
        if isinstance(self.prompt, str):
            try:
                return fill(self.prompt, **values)
            except Exception as error:  # no such item, a format that does not fit, no text
                named = shown(values, template_names(self.prompt))
                raise TaskError(
                    f"the prompt {self.prompt!r} cannot be written for {named}: {words_of(error)}"
                ) from error
        made = call(self.prompt, values)
        if isinstance(made, str) and made.strip():
            return Prompt(made)
        if isinstance(made, Prompt):
            return made
        raise TaskError(
            f"{place_of(self.prompt)}{called(self.prompt, values)} gives {SHOWN.repr(made)}; a "
            "prompt is text, or what fill(...) and join(...) return"
        )

    def write_answer(self, values: Values) -> Texts:
        """How the answer is written after the prompt: a text, or several that are all right.

        A list, tuple or set that the completion names stands for each of its items; the result is
        empty where it has none.

        Raises:
            TaskError: a value that is no text, no number, and no list or set of them.
        """
        items = self.answer_items(values)
        for name, several in items.items():
            for item in several:
                if problem := _no_answer(item):
                    raise TaskError(f"{self._source_of(root_of(name), values)} {problem}")
        texts = write_each(self.written, items)
        return texts[0] if len(texts) == 1 else texts

    def answer_items(self, values: Values) -> dict[str, tuple[Any, ...]]:
        """The right values of each field of the completion, by the field."""
        named = template_values(self.written, values)
        return {
            field: tuple(value) if isinstance(value, SEVERAL) else (value,)
            for field, value in named.items()
        }

    def _source_of(self, name: str, values: Values) -> str:
        """What gives a variable its value, as the start of a sentence."""
        for function in self.mechanisms:
            if function.__name__ == name:
                return f"{place_of(function)}{called(function, values)}"
        return f"the input {name!r}"

    def carries(self, variables: str | Sequence[str], **options: Any) -> Claim:
        """The claim that the circuit carries these variables; see `desiderata.claim.carries`."""
        return carries(self, variables, **options)

    def suffices(self, **options: Any) -> Claim:
        """The claim that the circuit alone does the task; see `desiderata.claim.suffices`."""
        return suffices(self, **options)


def _no_answer(value: Any) -> str:
    """What is wrong with one right value of the answer; empty where nothing is."""
    if isinstance(value, str):
        return "" if value else "gives an empty text; an answer needs a character"
    is_number = isinstance(value, numbers.Number)
    if is_number and not (isinstance(value, numbers.Real) and not math.isfinite(value)):
        return ""
    return (
        f"gives {SHOWN.repr(value)} ({type(value).__name__}) for the answer; an answer is text, a "
        "number, or a list or set of them"
    )
