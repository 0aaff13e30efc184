"""From a table to a claim: rows that are left out, repeated pairs, desiderata."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..choices import TOP, Alternatives, Among, AnswerChoice, answer_choice
from ..claim import positions_of
from ..desideratum import AT_LEAST, Desideratum, Pair, Texts, as_texts, texts_of
from ..given import MAX_BAD, GivenPairs
from .auto_circuit import AUTO_CIRCUIT
from .cells import Cells
from .columns import OWN, REQUIRED
from .containers import (
    EXTRA,
    JSON,
    SEPARATED,
    TWICE,
    Table,
    is_table,
    plain,
    read_rows,
    suffix_of,
)
from .eap_ig import EAP_IG, EWOK
from .encodings import read_text
from .feature_circuits import FEATURE_CIRCUITS
from .layout import Layout, Made
from .mib import MIB

LAYOUTS = (OWN, FEATURE_CIRCUITS, AUTO_CIRCUIT, EAP_IG, EWOK, MIB)
SHOWN = 10  # problems spelled out before the rest are counted


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What one file says: its layout, its pairs with their places, and notes on how it was read."""

    layout: Layout
    made: tuple[tuple[str, Made], ...]
    notes: tuple[str, ...]
    tokens: tuple[tuple[str, int], ...] = ()


def read_pairs(
    path: str | Path,
    *,
    held_out: str | Path | None = None,
    at: str | Sequence[str] | None = None,
    at_least: float = AT_LEAST,
    answer: AnswerChoice = TOP,
    among: Among | None = None,
    max_bad: float = MAX_BAD,
) -> GivenPairs:
    """The claim that the pairs in a table hold; docs/pairs.md lists the forms that are read.

    Args:
        held_out: a second table, whose pairs are held out; the first one's are then all searched.
        at: the positions that are patched; by default `last`, or `all` in layouts of other tools.
        among: answers that are compared with each other only; by default those that each pair
            names, where it names wrong ones.
        answer: somebody's own kind of answer (circuitfind/answers).
        max_bad: the share of rows that may be left out because they cannot be read; 0 refuses any.

    >>> read_pairs("pairs.csv", at="city", max_bad=0)  # doctest: +SKIP

    Raises:
        ValueError: no such table, or more rows that cannot be read than `max_bad`: every problem
            in the file at once, each with its line.
        FileNotFoundError: no such file.
    """
    if not 0 <= max_bad < 1:
        raise ValueError(f"max_bad is a share of rows, from 0 to below 1; got {max_bad}")
    sheets = [_read(Path(one), max_bad) for one in (path, held_out) if one is not None]
    chosen = answer_choice(answer, among)
    pairs = [made.pair for sheet in sheets for _, made in sheet.made]
    if chosen == TOP and among is None:
        compares = any(sheet.layout.compares and _names_wrong(sheet) for sheet in sheets)
        chosen = Alternatives() if compares or any(pair.others for pair in pairs) else TOP
    positions = positions_of(sheets[0].layout.at if at is None else at)
    labels = _labels(made for sheet in sheets for _, made in sheet.made)
    sides, origins, notes = [], {}, []
    for sheet, file in zip(sheets, (path, held_out), strict=False):
        merged, remarks = _merged(sheet.made)
        origins |= {(m.pair.base.text, m.pair.source.text): where for where, m in merged}
        prefix = f"{Path(str(file)).name}: " if len(sheets) > 1 else ""
        notes += [f"{prefix}{note}" for note in (*sheet.notes, *remarks)]
        sides.append(
            tuple(
                Desideratum(
                    name=labels[key],
                    part=key[1],  # type: ignore[arg-type]
                    sense=key[2],  # type: ignore[arg-type]
                    pairs=tuple(pairs),
                    at=positions,
                    at_least=at_least,
                    answer=chosen,
                )
                for key, pairs in _grouped(made for _, made in merged).items()
            )
        )
    return GivenPairs(
        Path(path).name.removesuffix(".gz").removesuffix(".GZ").rpartition(".")[0],
        sides[0],
        held_out=sides[1] if len(sides) > 1 else (),
        remarks=tuple(notes),
        tokens=sheets[0].tokens,
        max_bad=max_bad,
        origins=origins,
    )


def _read(path: Path, max_bad: float) -> Sheet:
    if not is_table(path):
        raise ValueError(
            f"{path}: pairs are read from {', '.join((*SEPARATED, *JSON))} files, also with .gz; "
            f"got {suffix_of(path)!r}"
        )
    known = frozenset().union(*(layout.columns for layout in LAYOUTS))
    try:
        text, notes = read_text(path)
        table = read_rows(text, suffix_of(path), known)
        layout = _layout(table)
        made, bad, remarks = _rows(table, layout)
        total = len(table.rows) + len(table.bad)
        _check_share(bad, total, max_bad)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    notes = (*notes, *table.notes)
    if layout.says:
        notes += (f"read as {layout.name}: {layout.says}",)
    notes += tuple(f"{remark} ({rows:,} time(s))" for remark, rows in remarks.items())
    if bad:
        notes += (_left_out(bad, total),)
    return Sheet(layout=layout, made=made, notes=notes, tokens=_tokens(table.head))


def _layout(table: Table) -> Layout:
    columns = table.columns or tuple(table.head if table.is_text else ())
    for layout in LAYOUTS:
        if layout.fits(columns) and (layout is not OWN or not table.is_text):
            return layout
    missing = [name for name in REQUIRED if name not in columns]
    if not missing or not columns:  # without a column there is no row, which is told elsewhere
        return OWN
    raise ValueError(
        f"missing column(s) {', '.join(missing)}; found: {_named(columns) or 'none'}. "
        "docs/pairs.md lists the other layouts that are read"
    )


def _named(columns: Sequence[str]) -> str:
    """The names, cut short; a name that a terminal would take for orders is quoted."""
    names = [name if name.isprintable() else repr(name) for name in columns[:SHOWN]]
    names += [f"and {len(columns) - SHOWN} more"] if len(columns) > SHOWN else []
    return ", ".join(names)


def _rows(
    table: Table, layout: Layout
) -> tuple[tuple[tuple[str, Made], ...], dict[str, list[str]], Counter[str]]:
    """The pairs of a table with their places, what is wrong by place, and remarks with counts."""
    bad: dict[str, list[str]] = {}
    for line in table.bad:
        where, _, problem = line.partition(": ")
        bad[where] = [problem]
    made: list[tuple[str, Made]] = []
    remarks: Counter[str] = Counter()
    marked = tuple(column for column in table.columns if ":" in column)
    for where, row in table.rows:
        if not any(value not in (None, "") for value in row.values()):
            continue
        cells = Cells(row, table.is_text, marked)
        if extra := row.get(EXTRA):
            cells.problems.append(extra)
        if twice := row.get(TWICE):
            cells.problems.append(f"{', '.join(map(str, twice))} is there twice")
        try:
            found = layout.read(cells)
        except ValueError as error:  # what Pair and Prompt refuse
            cells.problems.append(str(error))
            found = []
        if cells.problems:
            bad[where] = list(dict.fromkeys(cells.problems))
            continue
        made += [(where, one) for one in found]
        remarks.update(cells.remarks)
    return tuple(made), dict(sorted(bad.items(), key=lambda item: _number(item[0]))), remarks


def _number(where: str) -> int:
    return int(where.rpartition(" ")[2])


def _check_share(bad: Mapping[str, Sequence[str]], total: int, max_bad: float) -> None:
    if not total:
        raise ValueError("no pairs: the file needs a header and at least one row")
    if not bad or len(bad) <= max_bad * total:
        return
    problems = [f"{where}: {one}" for where, several in bad.items() for one in several]
    more = len(problems) - SHOWN
    told = "; ".join(problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
    if len(bad) < total and max_bad and total > SHOWN:
        told += (
            f" ({len(bad):,} of {total:,} rows cannot be used; up to a share of {max_bad:g} would "
            "be left out: --max-bad, or max_bad in Python)"
        )
    raise ValueError(told)


def _left_out(bad: Mapping[str, Sequence[str]], total: int) -> str:
    kinds: dict[str, list[str]] = defaultdict(list)
    for where, problems in bad.items():
        kinds[problems[0].partition("; got ")[0]].append(where)
    told = [
        f"{len(places):,} {kind}, such as {places[0]}"
        for kind, places in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
    return f"left out {len(bad):,} of {total:,} rows: {_listed(told)}"


def _listed(problems: Sequence[str], most: int = 4) -> str:
    more = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {more} more" if more > 0 else "")


def _tokens(head: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """auto-circuit's names of tokens, counted without the token that begins a text."""
    named = head.get(plain("word_idxs"))
    if not isinstance(named, dict):
        return ()
    return tuple(
        (name, index)
        for name, index in named.items()
        if name and name not in ("last", "all") and type(index) is int and index >= 0
    )


def _names_wrong(sheet: Sheet) -> bool:
    """Whether every pair names an answer besides the right one."""
    return all(
        made.pair.others or made.pair.source_answer not in (None, made.pair.expected)
        for _, made in sheet.made
    )


Key = tuple[str, str, str]


def _key(made: Made) -> Key:
    return made.name or made.sense, made.part, made.sense


def _labels(every: Iterable[Made]) -> dict[Key, str]:
    """The name of each desideratum: its own, with part and sense where the same name has more."""
    keys = dict.fromkeys(map(_key, every))
    names = Counter(name for name, _, _ in keys)
    return {key: key[0] if names[key[0]] == 1 else f"{key[0]} ({key[1]} {key[2]})" for key in keys}


def _grouped(every: Iterable[Made]) -> dict[Key, list[Pair]]:
    grouped: dict[Key, list[Pair]] = defaultdict(list)
    for made in every:
        grouped[_key(made)].append(made.pair)
    return grouped


def _merged(
    rows: Sequence[tuple[str, Made]],
) -> tuple[list[tuple[str, Made]], tuple[str, ...]]:
    """The rows with those of the same prompts, desideratum and part as one pair, whose answers
    are sets; and in words how many there were. Rows that turn each other's answers around stay:
    they contradict each other."""
    alike: dict[tuple[Any, ...], list[tuple[str, Made]]] = defaultdict(list)
    for where, made in rows:
        alike[(made.pair.base, made.pair.source, *_key(made))].append((where, made))
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
