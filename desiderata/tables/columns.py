"""Our own columns.

`base`, `source`, `expected`, `base_answer`; optional `source_answer`, `others` (or
`wrong_answers`), `desideratum` (rows with the same name form one), `part` (inside or outside), and
spans: `spans`, `base_spans`, `source_spans`, `base:NAME`, `source:NAME`. A row whose expected
answer is the base's own *keeps*, any other *follows*.
"""

from collections.abc import Collection

from ..desideratum import PARTS, Pair
from .cells import Cells
from .layout import Layout, Made

REQUIRED = ("base", "source", "expected", "base_answer")
OTHERS = ("others", "wrong_answers")
SPANS = ("spans", "base_spans", "source_spans")
OPTIONAL = ("source_answer", "desideratum", "part", *OTHERS, *SPANS)


def _fits(columns: Collection[str]) -> bool:
    return "base" in columns


def _read(cells: Cells) -> list[Made]:
    base = cells.prompt("base", ("spans", "base_spans"))
    source = cells.prompt("source", ("spans", "source_spans"))
    ids = bool(base and base.ids)
    expected = cells.answer("expected", ids=ids)
    base_answer = cells.answer("base_answer", ids=ids)
    source_answer = cells.answer("source_answer", ids=ids, optional=True)
    others = tuple(other for name in OTHERS for other in cells.answers(name, ids=ids))
    name, part = cells.text("desideratum") or "", cells.text("part") or "inside"
    if part not in PARTS:
        cells.problems.append(f"part must be one of {', '.join(PARTS)}; got {part!r}")
    if base and source and bool(base.ids) != bool(source.ids):
        cells.problems.append("base and source must both be text, or both token ids")
    if cells.problems or not (base and source and expected and base_answer):
        return []
    pair = Pair(
        base=base,
        source=source,
        expected=expected,
        base_answer=base_answer,
        source_answer=source_answer,
        others=others,
    )
    return [Made(pair=pair, name=name, part=part)]  # type: ignore[arg-type]


OWN = Layout(
    name="our own columns",
    columns=frozenset((*REQUIRED, *OPTIONAL)),
    fits=_fits,
    read=_read,
    compares=False,
    at="last",
)
