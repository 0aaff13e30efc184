"""Rows of the same prompts, which become one pair whose answers are sets."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..desideratum import Pair, Texts, as_texts, texts_of
from .layout import Made

Key = tuple[str, str, str]


def key_of(made: Made) -> Key:
    """What tells a row's desideratum: name, part and sense."""
    return made.name or made.sense, made.part, made.sense


def merged_rows(
    rows: Sequence[tuple[str, Made]],
) -> tuple[list[tuple[str, Made]], tuple[str, ...]]:
    """The rows with those of the same prompts, desideratum and part as one pair, whose answers
    are sets; and in words how many there were. Rows that turn each other's answers around stay:
    they contradict each other."""
    alike: dict[tuple[Any, ...], list[tuple[str, Made]]] = defaultdict(list)
    for where, made in rows:
        alike[(made.pair.base, made.pair.source, *key_of(made))].append((where, made))
    merged, same, sets = [], 0, 0
    for several in alike.values():
        if len(several) == 1:
            merged += several
            continue
        pairs = list(dict.fromkeys(made.pair for _, made in several))
        where, first = several[0]
        both = replace(first, pair=_together(pairs))
        if both.sense != first.sense:
            merged += several
            continue
        same += len(several) - len(pairs)
        sets += len(pairs) - 1
        merged.append((where, both))
    notes = []
    if sets:
        notes.append(
            f"{sets:,} row(s) have the prompts of another and other answers: such rows are one "
            "pair, whose answers are sets"
        )
    if same:
        notes.append(f"{same:,} row(s) are there before; each pair counts once")
    return merged, tuple(notes)


def _together(pairs: Sequence[Pair]) -> Pair:
    """One pair with the answers of all these, as sets."""
    if len(pairs) == 1:
        return pairs[0]
    expected = as_texts(_texts(pair.expected for pair in pairs))
    right = {*texts_of(expected)}
    others = [
        tuple(text for text in texts_of(other) if text not in right)
        for pair in pairs
        for other in pair.others
    ]
    return replace(
        pairs[0],
        expected=expected,
        base_answer=as_texts(_texts(pair.base_answer for pair in pairs)),
        source_answer=as_texts(theirs)
        if (theirs := _texts(pair.source_answer for pair in pairs))
        else None,
        others=tuple(dict.fromkeys(as_texts(texts) for texts in others if texts)),
    )


def _texts(answers: Iterable[Texts | None]) -> set[str]:
    return {text for answer in answers if answer is not None for text in texts_of(answer)}
