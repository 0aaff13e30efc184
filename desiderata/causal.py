"""What claims and sampling ask of a causal model. `CausalModel` is the one that users write."""

import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from .desideratum import Texts
from .domains import Domain, Values
from .prompt import Prompt

Model = TypeVar("Model", bound="Causal")


class Causal(Protocol):
    """Inputs, variables that mechanisms compute from them, a prompt and an answer."""

    @property
    def inputs(self) -> Mapping[str, Domain]: ...

    @property
    def answer(self) -> str: ...

    def check_known(self, names: Iterable[str]) -> None:
        """Raise a LookupError unless all of these are variables."""
        ...

    def inputs_behind(self, variable: str, cut: Collection[str] = ()) -> frozenset[str]:
        """The inputs that can move a variable, not counting ways through the variables `cut`."""
        ...

    def can_vary(self, name: str) -> bool:
        """Whether an input has more than one value."""
        ...

    def draw(
        self, rng: random.Random, base: Values | None = None, vary: Collection[str] = ()
    ) -> dict[str, Any] | None:
        """One random setting of the inputs, or None where the draw breaks a condition."""
        ...

    def run(self, inputs: Values, forced: Values | None = None) -> dict[str, Any]:
        """The value of every variable on these inputs, with some variables forced."""
        ...

    def interchange(
        self, base: Values, source: Values, variables: str | Collection[str]
    ) -> dict[str, Any]:
        """Every variable's value on the base's inputs, these variables forced to the source's."""
        ...

    def takes(self, base: Values, forced: Values) -> bool:
        """Whether the forced inputs lie in their domains together with the base's other inputs."""
        ...

    def meets_conditions(self, values: Values) -> bool:
        """Whether these values of all variables meet every condition."""
        ...

    def render(self, values: Values) -> Prompt:
        """The prompt for these values of all variables."""
        ...

    def write_answer(self, values: Values) -> Texts:
        """How the answer is written after the prompt: a text, or several that are all right.

        Empty where there is no right answer.
        """
        ...

    def narrowed(self: Model, domains: Mapping[str, Domain]) -> Model:
        """The same model with other domains for some inputs."""
        ...
