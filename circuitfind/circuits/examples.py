"""Examples of a circuit at work: pairs under its patch, and where its heads look in a prompt."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from .circuit import Circuit
from .storage import read_json, write_text

FORMAT = "circuitfind-examples/1"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One pair and the model's most likely next token under three patches; answers are tokens as
    the tokenizer writes them.

    `got` is its answer with the patch that the desideratum asks for (the circuit, or everything
    else where the part is outside), `untouched` that without any, `everything` that with every
    site patched.
    """

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
    counted from 0."""

    tokens: tuple[str, ...]
    columns: Mapping[str, int]
    weights: Mapping[str, tuple[float, ...]]


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


def load_examples(path: str | Path) -> Examples:
    """The examples in a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of examples; every problem at once.
    """
    read = read_json(Path(path))
    if problems := _problems(read):
        raise ValueError(f"{path}: no examples: {'; '.join(problems)}")
    sets = tuple(
        ExampleSet(
            row["name"],
            row["n"],
            row["right"],
            tuple(Example(**example) for example in row["examples"]),
        )
        for row in read["sets"]
    )
    attention = read["attention"]
    weights = {name: tuple(map(float, row)) for name, row in attention["weights"].items()}
    looks = Attention(tuple(attention["tokens"]), attention["columns"], weights)
    return Examples(read["circuit"], sets, looks)


def _problems(read: Mapping[str, Any]) -> list[str]:
    found = []
    if read.get("format") != FORMAT:
        found.append(f"format must be {FORMAT!r}; got {read.get('format')!r}")
    if not isinstance(read.get("circuit"), str):
        found.append(f"circuit must be a digest; got {read.get('circuit')!r}")
    sets = read.get("sets")
    if not isinstance(sets, list):
        found.append(f"sets must be a list; got {type(sets).__name__}")
        sets = []
    for number, row in enumerate(sets, 1):
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            found.append(f"set {number} must be an object with the name of a desideratum")
        elif not all(type(row.get(key)) is int for key in ("n", "right")):
            found.append(f"set {number}: n and right must be whole numbers")
        elif not _are_examples(row.get("examples")):
            names = ", ".join(field.name for field in fields(Example))
            found.append(f"set {number}: each example must have {names}")
    return found + _attention_problems(read.get("attention"))


def _are_examples(rows: Any) -> bool:
    keys = {field.name for field in fields(Example)}
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and set(row) == keys
        and type(row["right"]) is bool
        and isinstance(row["source_answer"], str | None)
        and all(isinstance(row[key], str) for key in keys - {"right", "source_answer"})
        for row in rows
    )


def _attention_problems(read: Any) -> list[str]:
    tokens = read.get("tokens") if isinstance(read, dict) else None
    weights = read.get("weights") if isinstance(read, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return ["attention must have tokens, a list of texts"]
    if not isinstance(weights, dict):
        return ["attention must have weights, by the name of a head's site"]
    columns = read["columns"] if isinstance(read.get("columns"), dict) else {"?": None}
    if not all(type(one) is int and 0 <= one < len(tokens) for one in columns.values()):
        return [f"attention must have columns, each one of its {len(tokens)} tokens"]
    return [
        f"attention of {name!r} must be {len(tokens)} finite numbers"
        for name, row in weights.items()
        if not isinstance(row, list)
        or len(row) != len(tokens)
        or not all(type(one) in (int, float) and isfinite(one) for one in row)
    ]
