"""The comparison of methods at equal FLOPs as a page of Markdown, and on a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..circuits.storage import write_text
from ..legible import legible
from ..sweeps.work import Ended
from .methods import NEAR, MethodRow

PAGE = "methods.md"
COLUMNS = ("method", "local search", "holds", "size", "held out", "interchange", "FLOPs", "of the "
           "budget", "seconds", "steps")  # fmt: skip

ABOUT = f"""\
Every search spends what the default method spends on the same pairs, or what `--flops` names: the
optimiser steps of a method that learns are chosen so that its FLOPs come within {NEAR:.0%} of that.
Methods without steps spend what they spend, and so does local search; *of the budget* says how much
each really took. A number is the median over seeds, of *held out* and *interchange* the mean.

- *holds*: searches whose circuit brings every desideratum to its bound on held-out pairs.
- *held out*: the lowest satisfaction of a desideratum on held-out pairs, a share of pairs.
- *interchange*: interchange accuracy (Davies et al. 2023, arXiv 2307.03637), the share of held-out
  pairs on which the patched model says what the causal model says, the mean over desiderata.
- *FLOPs*, *seconds*: of the search alone, without the checks of its circuit.
"""


def summarise_methods(rows: Sequence[MethodRow]) -> list[dict[str, Any]]:
    """A row for each task, method and ending, over its seeds."""
    made = []
    kinds = dict.fromkeys((row.task, row.model, row.method, row.polish) for row in rows)
    for task, model, method, polish in kinds:
        mine = [
            row
            for row in rows
            if (row.task, row.model, row.method, row.polish) == (task, model, method, polish)
        ]
        steps = [row.steps for row in mine if row.steps is not None]
        made.append(
            {
                "task": task,
                "model": model,
                "method": method,
                "local search": "with" if polish else "without",
                "n": mine[0].n,
                "seeds": len(mine),
                "holds": sum(row.holds for row in mine),
                "size": median(row.size for row in mine),
                "of": mine[0].of,
                "held out": mean(row.satisfaction for row in mine),
                "interchange": mean(row.interchange for row in mine),
                "flops": median(row.flops for row in mine),
                "of the budget": median(row.flops / max(1, row.budget) for row in mine),
                "seconds": median(row.seconds for row in mine),
                "steps": median(steps) if steps else None,
            }
        )
    return made


def methods_page(
    rows: Sequence[MethodRow], failed: Mapping[str, Ended[MethodRow]], command: str
) -> str:
    """The page as Markdown."""
    summary = summarise_methods(rows)
    parts = ["# Methods at equal FLOPs\n", f"`{_cell(command)}`\n", ABOUT]
    for task, model in dict.fromkeys((row["task"], row["model"]) for row in summary):
        mine = [row for row in summary if (row["task"], row["model"]) == (task, model)]
        parts.append(f"## {_cell(task)} in {_cell(model)}\n")
        of, n = mine[0]["of"], mine[0]["n"]
        parts.append(f"{of} sites, {n} pairs of each desideratum.\n")
        lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, mine)]
        parts.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n")
    if failed:
        parts.append("## Not measured\n")
        parts += [f"- {_cell(name)}: {_cell(ended.problem)}\n" for name, ended in failed.items()]
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Text for a cell of Markdown, on one line."""
    return legible(" ".join(text.split())).replace("|", "\\|").replace("<", "&lt;")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["method"],
        row["local search"],
        f"{row['holds']} of {row['seeds']}",
        f"{row['size']:g}",
        f"{row['held out']:.3f}",
        f"{row['interchange']:.3f}",
        f"{row['flops']:.2e}",
        f"{row['of the budget']:.2f}",
        f"{row['seconds']:.1f}",
        "-" if row["steps"] is None else f"{row['steps']:g}",
    )


def save_methods(
    rows: Sequence[MethodRow],
    failed: Mapping[str, Ended[MethodRow]],
    folder: str | Path,
    command: str,
) -> None:
    """Write methods.md."""
    write_text(Path(folder) / PAGE, methods_page(rows, failed, command))


def print_methods(console: Console, rows: Sequence[MethodRow]) -> None:
    """Print a table for each task."""
    summary = summarise_methods(rows)
    for task, model in dict.fromkeys((row["task"], row["model"]) for row in summary):
        table = Table(title=Text(f"{task} in {model}"), title_justify="left", box=None)
        for place, name in enumerate(COLUMNS):
            left = place < 2
            table.add_column(name, justify="left" if left else "right", no_wrap=not place)
        for row in summary:
            if (row["task"], row["model"]) == (task, model):
                table.add_row(*map(Text, _cells(row)))
        console.print(table)
