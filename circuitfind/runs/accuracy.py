"""How often a model is right unpatched, in all and by the values in its prompts."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from desiderata import Prompt, Texts, texts_of

from .look import Look

FEW_VALUES, FEWEST, ROWS = 8, 3, 6  # values of an input; prompts of a value; rows of a table


@dataclass(frozen=True, kw_only=True)
class ValueShare:
    """How many prompts with this value of a variable the model answers right, unpatched."""

    variable: str
    value: str
    n: int
    right: int


def accuracy(looks: Iterable[Look]) -> tuple[ValueShare | None, tuple[ValueShare, ...]]:
    """How many prompts are answered right, in all and by value, the worst first."""
    right: dict[tuple[str, Texts], bool] = {}
    groups: dict[str, dict[str, set]] = defaultdict(lambda: defaultdict(set))
    for look in looks:
        for prompt, answer, inputs, hit in _answered(look):
            key = prompt.text, answer
            right[key] = hit
            for name, value in {**inputs, "answer": answer}.items():
                groups[name][_written(value)].add(key)
    rows = [
        ValueShare(variable=name, value=value, n=len(keys), right=sum(right[one] for one in keys))
        for name, values in groups.items()
        if 1 < len(values) <= FEW_VALUES
        for value, keys in values.items()
        if len(keys) >= FEWEST and not all(right[one] for one in keys)
    ]
    rows.sort(key=lambda row: (row.right / row.n, -row.n))
    if not right:
        return None, ()
    whole = ValueShare(variable="", value="", n=len(right), right=sum(right.values()))
    return whole, tuple(rows[:ROWS])


def _answered(look: Look) -> Iterable[tuple[Prompt, Texts, Any, bool]]:
    """Each prompt of a look with its answer, its inputs, and whether the model gives the answer."""
    heard = look.heard
    if heard is None or not look.scored:
        return
    batch = heard.batch
    sides = (heard.base, batch.base_answer), (heard.source, batch.source_answer)
    hits = [batch.answer.hit(output[None], target)[0].tolist() for output, target in sides]
    for pair, base, source in zip(batch.desideratum.pairs, *hits, strict=True):
        yield pair.base, pair.base_answer, pair.base_inputs, base
        if pair.source_answer is not None:
            yield pair.source, pair.source_answer, pair.source_inputs, source


def _written(value: Any) -> str:
    """A value of a variable in words."""
    if isinstance(value, str | tuple) and value and all(isinstance(one, str) for one in value):
        return " or ".join(map(repr, texts_of(value)))
    return str(value)
