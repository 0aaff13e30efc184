"""The table of a sweep: a row each point, on a terminal, as JSON, as CSV and as a page."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..circuits.storage import table_text, write_text
from ..report.page.template import render_template
from ..runs.folder import PAGE, REPORT
from .points import Row, Status

FORMAT = "circuitfind-sweep/1"
JSON_FILE, CSV_FILE, PAGE_FILE = "sweep.json", "sweep.csv", "sweep.html"
# The gravest first, with the exit code that it comes to.
CODES: dict[Status, int] = {"crashed": 3, "refused": 2, "fails": 1, "holds": 0}
# No name of a setting, which an axis may have.
COLUMNS = ("verdict", "members", "of", "satisfaction", "worst", "flops", "seconds", "message")
SHOWN = ("verdict", "members", "held out", "FLOPs", "seconds", "message")  # beside the axes


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All rows of a sweep, in the order of its file.

    `file` is the sweep's file and `command` what runs it again.
    """

    file: str
    command: str
    axes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[Status, int]:
        """How many points ended in each way, the gravest first."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in CODES if found[status]}

    @property
    def code(self) -> int:
        """The exit code: 3 where a point crashed, else 2 where one was refused, else 1 where a
        claim fails, else 0."""
        return max((CODES[row.status] for row in self.rows), default=0)

    def as_json(self) -> dict[str, Any]:
        """The sweep as plain values, as sweep.json holds them."""
        return {
            "format": FORMAT,
            "file": self.file,
            "command": self.command,
            "versions": {name: version(name) for name in ("circuitfind", "torch", "transformers")},
            "axes": list(self.axes),
            "rows": [asdict(row) for row in self.rows],
        }


def save_sweep(sweep: Sweep, out: str | Path) -> None:
    """Write sweep.json, sweep.csv and sweep.html."""
    out, content = Path(out), sweep.as_json()
    write_text(out / JSON_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    columns = ["point", *sweep.axes, *COLUMNS, "folder"]
    write_text(out / CSV_FILE, table_text(columns, [_cells(row) for row in sweep.rows]))
    write_text(out / PAGE_FILE, render_sweep(sweep, out))


def _cells(row: Row) -> dict[str, Any]:
    """A row of the CSV."""
    plain = asdict(row)
    told = {"verdict": plain.pop("status"), "members": plain.pop("size")}
    axes = {key: axis_text(value) for key, value in plain.pop("values").items()}
    return {**plain, **told, **axes}


def axis_text(value: Any) -> str:
    """The value of an axis as tables show it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def render_sweep(sweep: Sweep, out: Path) -> str:
    """The page as HTML; rows lead to the pages of their runs where these are there."""
    return render_template(
        "sweep",
        sweep.as_json(),
        sweep=sweep,
        columns=["point", *sweep.axes, *SHOWN],
        rows=[
            (row, [axis_text(row.values[axis]) for axis in sweep.axes], _link(row, out))
            for row in sweep.rows
        ],
    )


def _link(row: Row, out: Path) -> str | None:
    """Where a row leads, seen from the page."""
    there = [name for name in (PAGE, REPORT) if (out / row.folder / name).is_file()]
    return f"./{quote(row.folder)}/{there[0]}" if there else None


def print_sweep(console: Console, sweep: Sweep) -> None:
    """Print a line for each point, and below what those say that do not hold."""
    table = Table(title=Text(f"{sweep.file}: {_summary(sweep)}"), title_justify="left")
    for name in (*sweep.axes, *SHOWN[:-1]):
        table.add_column(Text(name), justify="right" if name in SHOWN[1:] else "left")
    for row in sweep.rows:
        axes = [axis_text(row.values[axis]) for axis in sweep.axes]
        numbers = (
            _shown(row.size, "d"),
            _shown(row.satisfaction, ".3f"),
            _shown(row.flops, ".2g"),
            _shown(row.seconds, ".1f"),
        )
        table.add_row(*map(Text, (*axes, row.status, *numbers)))
    console.print(table)
    for row in sweep.rows:
        if row.status != "holds":
            console.print(Text(f"{row.point}: {row.status}: {row.message}"), soft_wrap=True)


def in_a_line(row: Row) -> str:
    """What a point came to, for a line of progress."""
    if row.size is None:
        return f"{row.point}: {row.status}: {row.message.splitlines()[0] if row.message else ''}"
    return (
        f"{row.point}: {row.status}, {row.size} sites, {_shown(row.satisfaction, '.3f')} held out"
    )


def _summary(sweep: Sweep) -> str:
    counts = ", ".join(f"{n} {status}" for status, n in sweep.counts.items())
    return f"{len(sweep.rows)} points: {counts}"


def _shown(value: int | float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
