"""From a table's text to its rows: separated columns, JSON, JSON lines."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .json_places import broken, elements, members

SEPARATED = (".csv", ".tsv")
JSON = (".json", ".jsonl", ".ndjson")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
HOLDERS = ("prompts", "data", "rows", "examples", "pairs")  # keys that a list of rows stands under
EXTRA = "cells without a column"
TWICE = "keys that are the same"
_SEP = re.compile(r'"?sep=([^"\s\w]|\t)"?[ \t]*(?:\r\n|\n|\r)', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file's rows, each with its place in words ("line 7"), keys as `plain` writes them.

    `bad` are the lines that are no rows, in words. `head` is what a JSON file says besides its
    rows. `is_text` tells that cells are text only, so that lists in them are JSON.
    """

    rows: tuple[tuple[str, Mapping[str, Any]], ...]
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    head: Mapping[str, Any] = field(default_factory=dict)
    is_text: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a row has, in the order of the file."""
        return tuple(dict.fromkeys(name for _, row in self.rows for name in row))


def is_table(path: str | Path) -> bool:
    """Whether a file of this name is read as a table, whatever the case of its letters.

    >>> is_table("Export.CSV"), is_table("pairs.jsonl.gz"), is_table("task.py")
    (True, True, False)
    """
    return suffix_of(path) in (*SEPARATED, *JSON)


def suffix_of(path: str | Path) -> str:
    """The suffix that tells how a file is read, in small letters and without `.gz`."""
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A column's name as we write it: small letters, no spaces around it, `_` within. The name of
    a span in `base:NAME` stays as it is.

    >>> plain(" Base Answer"), plain("Base: City ")
    ('base_answer', 'base:City')
    """
    name = name.replace("\ufeff", "").strip()
    column, colon, span = name.partition(":")
    column = re.sub(r"[\s-]+", "_", column.strip().casefold())
    return f"{column}:{span.strip()}" if colon else column


def read_rows(text: str, suffix: str, known: Collection[str]) -> Table:
    """The rows in a table's text.

    Args:
        known: the columns that mean something, by which the separator is found.

    Raises:
        ValueError: text that is no such table.
    """
    return _separated(text, suffix, known) if suffix in SEPARATED else _json(text, suffix)


def _separated(text: str, suffix: str, known: Collection[str]) -> Table:
    said = _SEP.match(text)
    body, before = (text[said.end() :], 1) if said else (text, 0)
    separator = said[1] if said else _separator(body, suffix, known)
    records = list(_records(body, separator, before))
    if not records:
        return Table(rows=(), is_text=True)
    header = [plain(name) for name in records[0][1]]
    if twice := sorted({name for name in header if name in known and header.count(name) > 1}):
        raise ValueError(f"column(s) {', '.join(twice)} are there twice; which one counts?")
    rows = []
    for line, cells in records[1:]:
        row: dict[str, Any] = {}
        for name, cell in zip(header, cells, strict=False):
            row.setdefault(name, cell)
        row |= dict.fromkeys(header[len(cells) :])
        if extra := sum(bool(cell.strip()) for cell in cells[len(header) :]):
            row[EXTRA] = (
                f"{extra} cell(s) more than the header has; quote text with {_called(separator)}"
            )
        rows.append((f"line {line}", row))
    usual = "\t" if suffix == ".tsv" else ","
    notes = () if separator == usual else (f"columns separated by {_called(separator)}",)
    if not rows:  # so that a header without rows still tells its columns
        return Table(rows=(), head=dict.fromkeys(header), notes=notes, is_text=True)
    return Table(rows=tuple(rows), notes=notes, is_text=True)


def _records(text: str, separator: str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The line that each record begins on, and its cells; those without a word are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"line {before + line}: {error}") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield before + line, cells


def _separator(text: str, suffix: str, known: Collection[str]) -> str:
    """The separator under which the header has most columns that are known, or most columns."""
    order = list(SEPARATORS)
    if suffix == ".tsv":
        order.sort(key=lambda one: one != "\t")

    def columns(separator: str) -> tuple[int, int]:
        try:
            _, header = next(_records(text, separator), (0, []))
        except ValueError:
            return 0, 0
        return len({plain(name) for name in header} & set(known)), len(header)

    return max(order, key=columns)


def _called(separator: str) -> str:
    return SEPARATORS.get(separator, repr(separator))


def _json(text: str, suffix: str) -> Table:
    first = text.lstrip()[:1]
    whole = {"[": elements, "{": members}.get(first)
    if whole is None:
        return _lines(text)
    start = text.index(first)
    try:
        found = whole(text, start)
    except (ValueError, RecursionError) as error:
        if suffix != ".json" or _first_line_is_whole(text[start:]):
            return _lines(text)
        raise ValueError(broken(error)) from error
    if isinstance(found, list):
        return _rows(text, found)
    keyed = {plain(key): value for key, (_, value) in found.items()}
    for key, (place, value) in found.items():
        if plain(key) in HOLDERS and isinstance(value, list):
            head = {name: value for name, value in keyed.items() if name != plain(key)}
            return _rows(text, elements(text, place), head)
    if (columns := _columns(keyed)) is not None:
        return columns
    return _rows(text, [(start, {key: value for key, (_, value) in found.items()})])


def _first_line_is_whole(text: str) -> bool:
    try:
        json.loads(text.split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return True


def _rows(text: str, found: list[tuple[int, Any]], head: Mapping[str, Any] | None = None) -> Table:
    """Rows from the values of a list, each with the place where it begins."""
    rows, bad, line, seen = [], [], 1, 0
    for place, value in found:
        line, seen = line + text.count("\n", seen, place), place
        if isinstance(value, dict):
            rows.append((f"line {line}", _keyed(value)))
        else:
            bad.append(f"line {line}: expected an object, got {type(value).__name__}")
    return Table(rows=tuple(rows), bad=tuple(bad), head=head or {})


def _lines(text: str) -> Table:
    rows, bad = [], []
    # Not splitlines, which also breaks at U+2028 and others that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (RecursionError, ValueError) as error:  # nested too deep, a number too long
            bad.append(broken(error, number))
            continue
        if not isinstance(value, dict):
            bad.append(f"line {number}: expected an object, got {type(value).__name__}")
        elif value:
            rows.append((f"line {number}", _keyed(value)))
    return Table(rows=tuple(rows), bad=tuple(bad))


def _keyed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON row with plain keys; one that stands under `row`, as data set viewers write it."""
    if isinstance(row.get("row"), dict):
        row = row["row"]
    made = {plain(key): value for key, value in row.items()}
    if len(made) < len(row):
        names = [plain(key) for key in row]
        made[TWICE] = sorted({name for name in names if names.count(name) > 1})
    return made


def _columns(keyed: Mapping[str, Any]) -> Table | None:
    """An object of columns, as lists or as pandas writes them, by index; None for a single row."""
    columns = {
        name: list(value.values()) if isinstance(value, dict) else value
        for name, value in keyed.items()
        if isinstance(value, list | dict)
    }
    prompts = [columns[name] for name in ("base", "clean", "clean_prefix") if name in columns]
    if not prompts or not prompts[0] or not isinstance(prompts[0][0], str | list):
        return None
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"columns of different lengths: {told}")
    rows = tuple(
        (f"row {number}", dict(zip(columns, cells, strict=True)))
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1)
    )
    return Table(rows=rows)
