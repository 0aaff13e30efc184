"""Examples of a circuit at work: pairs under its patch, and where its heads look in a prompt."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..records import CLOSED, SHOWN, Format, shown
from .circuit import Circuit
from .storage import write_text

FORMAT = "circuitfind-examples/1"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One pair and what the model answers under three patches; answers are words, and where several
    texts are right, all of them, such as "are or were".

    `got` is its answer with the patch that the desideratum asks for (the circuit, or everything
    else where the part is outside), `untouched` that without any, `everything` that with every
    site patched.
    """

    __pydantic_config__ = CLOSED

    base: str
    source: str
    expected: str
    base_answer: str
    source_answer: str | None
    got: str
    untouched: str
    everything: str
    right: bool


@dataclass(frozen=True)
class ExampleSet:
    """Examples of one desideratum, wrong ones first: `examples` of the `n` pairs, of which
    `right` come out as expected."""

    name: str
    n: int
    right: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Attention:
    """Where heads look in one unpatched prompt: a weight for each token and head, by the name of
    the head's site; the weights of a head sum to 1. `columns` are the tokens of named positions,
    counted from 0.

    Raises:
        ValueError: columns outside the tokens, or heads without a weight for each token.
    """

    tokens: tuple[str, ...]
    columns: Mapping[str, int]
    weights: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        n = len(self.tokens)
        outside = [column for column in self.columns.values() if not 0 <= column < n]
        problems = [f"columns must be of the {n} tokens; got {outside[0]}"] if outside else []
        problems += [
            f"attention of {shown(name)} must be {n} numbers; got {len(row)}"
            for name, row in self.weights.items()
            if len(row) != n
        ]
        if problems:
            raise ValueError("; ".join(problems[:SHOWN]))


@dataclass(frozen=True)
class Examples:
    """What there is to look at about the circuit with this digest."""

    circuit: str
    sets: tuple[ExampleSet, ...]
    attention: Attention

    def require(self, circuit: Circuit) -> None:
        """Let only examples pass that were made with this circuit.

        Raises:
            ValueError: they were made with another.
        """
        if self.circuit != circuit.digest:
            raise ValueError(
                f"these examples are of another circuit (digest {self.circuit[:12]}; this one's is "
                f"{circuit.digest[:12]}); validate the circuit again"
            )

    def save(self, path: str | Path) -> None:
        """Write the examples as JSON, all of it or nothing."""
        told = {"format": FORMAT, **asdict(self)}
        write_text(path, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


EXAMPLES_FILE: Format[Examples] = Format("examples", {FORMAT: Examples})


def load_examples(path: str | Path) -> Examples:
    """The examples in a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of examples; every problem at once.
    """
    return EXAMPLES_FILE.load(path)
