"""The benchmark as a figure, as tables, and as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ..circuits.storage import table_text, write_text
from ..report.figures.style import GAINS, INK, STYLE, save_figure
from .cases import Row, summarise

CELL = (0.34, 0.24)  # inches, width and height
LEFT, RIGHT, TOP, BOTTOM = 1.35, 1.85, 0.45, 1.5


def draw_bench(rows: Sequence[Row], summary: Sequence[Mapping[str, Any]]) -> Figure:
    """Methods against cases: the share of seeds that recovered a right circuit exactly.

    Beside each method its median AUROC and its median FLOPs in units of `constrained`'s, or of the
    first method's where that is not there. On controls, where nothing is right, a cell is the
    share of seeds that said so.
    """
    methods = [row["method"] for row in summary]
    cases = list(dict.fromkeys(row.case for row in rows))
    table = np.array([[_share(rows, method, case) for case in cases] for method in methods])
    width = LEFT + CELL[0] * len(cases) + RIGHT
    height = TOP + CELL[1] * len(methods) + BOTTOM
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((width, height))
        box = (
            LEFT / width,
            BOTTOM / height,
            CELL[0] * len(cases) / width,
            CELL[1] * len(methods) / height,
        )
        axes = figure.add_axes(box)
        shades = LinearSegmentedColormap.from_list("shares", ["white", *GAINS])
        axes.imshow(table, cmap=shades, vmin=0, vmax=1.15, aspect="auto")
        for (y, x), share in np.ndenumerate(table):
            if np.isfinite(share):
                ink = "white" if share > 0.6 else INK
                axes.text(x, y, _number(share), ha="center", va="center", color=ink, size=5.5)
        axes.set_xticks(range(len(cases)), cases, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(methods)), methods)
        axes.tick_params(length=0, labelsize=6)
        axes.set_title(
            "share of seeds that returned a right circuit exactly\n"
            "(shuffled weights: that claimed no circuit)",
            size=7,
            loc="left",
        )
        unit = summary[max(0, methods.index("constrained") if "constrained" in methods else 0)]
        for y, row in enumerate(summary):
            area = row["median auroc"]
            words = f"AUROC {area:.2f}" if area is not None else "AUROC n/a"
            words += f"   {row['median flops'] / max(1, unit['median flops']):.2g} times the FLOPs"
            axes.text(len(cases) - 0.35, y, words, va="center", size=6)
    return figure


def _share(rows: Sequence[Row], method: str, case: str) -> float:
    mine = [row for row in rows if row.method == method and row.case == case]
    right = [not row.success if row.exact is None else row.exact for row in mine]
    return sum(right) / len(right) if right else float("nan")


def _number(share: float) -> str:
    return f"{share:.1f}".replace("1.0", "1").replace("0.0", "0")


def bench_table(rows: Sequence[Row]) -> str:
    """The rows as CSV."""
    return table_text([field.name for field in fields(Row)], [asdict(row) for row in rows])


def save_bench(rows: Sequence[Row], folder: str | Path, command: str) -> list[dict[str, Any]]:
    """Write bench.csv, bench.json (summary, command, versions) and bench.svg; the summary."""
    folder, summary = Path(folder), summarise(rows)
    content = {
        "command": command,
        "versions": {name: version(name) for name in ("circuitfind", "torch", "transformer-lens")},
        "cases": len({row.case for row in rows}),
        "seeds": len({row.seed for row in rows}),
        "methods": summary,
    }
    write_text(folder / "bench.csv", bench_table(rows))
    write_text(folder / "bench.json", json.dumps(content, indent=2) + "\n")
    save_figure(draw_bench(rows, summary), folder / "bench.svg")
    return summary


def print_bench(console: Console, summary: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each method."""
    table = Table(title="Exact recovery of known circuits", title_justify="left")
    for name in (
        "method",
        "exact",
        "95 %",
        "n",
        "F1",
        "AUROC",
        "FLOPs",
        "frontier",
        "claimed on controls",
    ):
        mine = name == "method"
        table.add_column(name, justify="left" if mine else "right", no_wrap=mine)
    for row in summary:
        table.add_row(
            row["method"],
            _share_of(row["exact"]),
            _range(row["interval"]),
            str(row["n"]),
            _share_of(row["mean f1"]),
            _share_of(row["median auroc"]),
            f"{row['median flops']:.2g}",
            "yes" if row["frontier"] else "no",
            f"{row['successes on controls']} of {row['controls']}",
        )
    console.print(table)


def _share_of(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f}-{ends[1]:.3f}"
