"""Pairs that someone else wrote, read from CSV or JSON lines.

Columns (keys): `base`, `source`, `expected`, `base_answer`; optional `source_answer`,
`desideratum` (rows with the same name form one) and `part` (inside or outside). A row whose
expected answer is the base's own *keeps*, any other *follows*.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .claim import GivenPairs
from .desideratum import AT_LEAST, PARTS, Desideratum, Pair
from .prompt import Prompt

REQUIRED = ("base", "source", "expected", "base_answer")
OPTIONAL = ("source_answer", "desideratum", "part")
EXTRA = "cells without a column"
SHOWN = 10  # problems spelled out before the rest are counted


def read_pairs(
    path: str | Path, *, at: str | Sequence[str] = "last", at_least: float = AT_LEAST
) -> GivenPairs:
    """The claim that the pairs in a .csv or .jsonl file hold.

    Raises:
        ValueError: wrong encoding, missing columns, empty cells, unknown parts, broken JSON:
            every problem in the file at once, each with its line.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path}: pairs are read from .csv or .jsonl files; got {path.suffix!r}")
    rows, problems = READERS[path.suffix](_decode(path))
    grouped = defaultdict(list)
    for line, row in rows:
        wrong = list(_cell_problems(row))
        problems += [f"line {line}: {problem}" for problem in wrong]
        if not wrong:
            pair = Pair(
                base=Prompt(row["base"]),
                source=Prompt(row["source"]),
                expected=row["expected"],
                base_answer=row["base_answer"],
                source_answer=row.get("source_answer") or None,
            )
            sense = "keeps" if pair.expected == pair.base_answer else "follows"
            grouped[row.get("desideratum") or sense, row.get("part") or "inside", sense].append(
                pair
            )
    if not rows and not problems:
        problems = ["no pairs: the file needs a header and at least one row"]
    if problems:
        raise ValueError(f"{path}: {_listed(problems)}")
    positions = (at,) if isinstance(at, str) else tuple(at)
    made = []
    for (name, part, sense), pairs in grouped.items():
        others = [key for key in grouped if key[0] == name]
        label = name if len(others) == 1 else f"{name} ({part} {sense})"
        made.append(
            Desideratum(
                name=label,
                part=part,
                sense=sense,
                pairs=tuple(pairs),
                at=positions,
                at_least=at_least,
            )
        )  # type: ignore[arg-type]
    return GivenPairs(path.stem, tuple(made))


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: expected UTF-8 text; byte {error.object[error.start]:#04x} on line {line} "
            "is not. Save the file as UTF-8"
        ) from error


def _csv_rows(text: str) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=EXTRA, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        return [], [f"line {reader.reader.line_num}: {error}"]
    header = reader.fieldnames or ()
    if missing := [column for column in REQUIRED if column not in header]:
        return [], [f"missing column(s) {', '.join(missing)}; found: {', '.join(header) or 'none'}"]
    if twice := sorted({column for column in header if list(header).count(column) > 1}):
        return [], [f"column(s) {', '.join(twice)} are there twice; which one counts?"]
    return rows, []


def _json_rows(text: str) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    rows, problems = [], []
    # Not splitlines, which also breaks at U+2028 and others that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: not JSON ({error.msg} at column {error.colno})")
            continue
        except (RecursionError, ValueError) as error:  # nested too deep, a number too long
            problems.append(f"line {number}: not JSON that can be read ({error})")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number}: expected an object, got {type(row).__name__}")
        else:
            rows.append((number, row))
    return rows, problems


READERS: dict[str, Callable[[str], tuple[list[tuple[int, dict[str, Any]]], list[str]]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}


def _cell_problems(row: dict[str, Any]) -> Iterator[str]:
    if extra := row.get(EXTRA):
        yield f"{len(extra)} cell(s) more than the header has; quote text with commas"
    for column in REQUIRED:
        if not isinstance(row.get(column), str) or not row[column].strip():
            yield f"{column} must be text and not empty; got {row.get(column)!r}"
    for column in OPTIONAL:
        if not isinstance(row.get(column), str | None):
            yield f"{column} must be text; got {row[column]!r}"
    if (part := row.get("part")) and part not in PARTS:
        yield f"part must be one of {', '.join(PARTS)}; got {part!r}"


def _listed(problems: Iterable[str]) -> str:
    problems = list(problems)
    more = len(problems) - SHOWN
    return "; ".join(problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
