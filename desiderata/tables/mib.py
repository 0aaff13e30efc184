"""MIB's data sets: a prompt with its answer, and objects of the same form for counterfactuals.

The answer is a `label`, what `answerKey` chooses from `choices`, or the indirect object in
`metadata`. Each `*_counterfactual` becomes a desideratum of its own.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ..desideratum import Texts
from .cells import Cells, shown
from .kept import kept
from .layout import Layout, Made

ENDING = "_counterfactual"


def _fits(columns: Collection[str]) -> bool:
    return "prompt" in columns and any(column.endswith(ENDING) for column in columns)


def _read(cells: Cells) -> list[Made]:
    clean = cells.prompt("prompt")
    answer, wrong = _answer(cells, cells.row)
    answer = cells.after(clean, answer)
    if answer is None and not cells.problems:
        cells.problems.append(
            "no answer: expected a label, choices with answerkey, or metadata.indirect_object"
        )
    made = []
    for name, value in cells.row.items():
        if not name.endswith(ENDING) or not isinstance(value, Mapping) or not value.get("prompt"):
            continue
        inner = Cells({key.casefold(): one for key, one in value.items()}, remarks=cells.remarks)
        source = inner.prompt("prompt")
        theirs = inner.after(source, _answer(inner, inner.row)[0])
        cells.problems += [f"{name}: {problem}" for problem in inner.problems]
        if clean and source and answer and clean.text != source.text:
            others = tuple(cells.after(clean, one) or "" for one in wrong)
            others = tuple(one for one in dict.fromkeys(others) if one not in (answer, theirs))
            made.append(
                kept(
                    clean,
                    source,
                    answer,
                    corrupted_answer=theirs,
                    others=others,
                    name=f"keeps under {name.removesuffix(ENDING)}",
                )
            )
    if not made and not cells.problems:
        cells.problems.append("no counterfactual has a prompt")
    return [] if cells.problems else made


def _answer(cells: Cells, row: Mapping[str, Any]) -> tuple[Texts | None, list[str]]:
    """The answer that an object names, and the others that it offers."""
    told = row.get("metadata")
    if isinstance(told, Mapping) and isinstance(told.get("indirect_object"), str):
        subject = told.get("subject")
        return told["indirect_object"] or None, [subject] if isinstance(subject, str) else []
    if row.get("label") is not None:
        return str(row["label"]) or None, []
    choices, key = row.get("choices"), row.get("answerkey")
    if isinstance(choices, Mapping):
        choices = choices.get("label")
    if choices is None or key is None:
        return None, []
    if not isinstance(choices, list) or not all(isinstance(one, str) and one for one in choices):
        cells.problems.append(f"choices must be texts; got {shown(choices)}")
        return None, []
    if isinstance(key, str):
        key = next((at for at, one in enumerate(choices) if one.strip() == key.strip()), None)
    if type(key) is not int or not 0 <= key < len(choices):
        cells.problems.append(f"answerkey must name one of the choices; got {shown(key)}")
        return None, []
    return choices[key], [one for at, one in enumerate(choices) if at != key]


MIB = Layout(
    name="MIB's layout (prompt, counterfactuals)",
    columns=frozenset({"prompt", "choices", "metadata", "answerkey", "label"}),
    fits=_fits,
    read=_read,
    says="the prompt is the base; each counterfactual is the source of a desideratum of its own: "
    "everything outside the circuit is patched, and the prompt's answer must stay",
)
