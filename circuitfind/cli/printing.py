"""What commands print: JSON, tables, a run and its page."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..legible import legible, legible_json


class LegibleConsole(Console):
    """A console that shows no letter which controls it, whoever wrote the text; rich's own styles
    and movements of the cursor are no text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else legible(text), style, control)


def console(*, stderr: bool = False, highlight: bool = True) -> Console:
    """The console that commands print on."""
    return LegibleConsole(stderr=stderr, highlight=highlight)


def say(text: str, end: str = "\n") -> None:
    """Print text as it is, without what would control a terminal."""
    print(legible(text), end=end)


def command_with(
    name: str, words: Sequence[str | Path], **options: str | Sequence[str] | None
) -> tuple[str, ...]:
    """The words of a command with the options that were given, for messages that add to it."""
    made = [name, *map(str, words)]
    for option, value in options.items():
        for one in (value,) if isinstance(value, str) else value or ():
            made += [f"--{option.replace('_', '-')}", one]
    return tuple(made)


def slug(task: str, model: str, *more: str | None) -> str:
    """A folder name that tells what a run is."""
    words = [Path(task).name, Path(model).name, *filter(None, more)]
    return "_".join(re.sub(r"[^\w.-]+", "-", word) for word in words)


def show_run(
    circuit: Mapping[str, Any],
    report: Mapping[str, Any],
    path: Path,
    as_json: bool,
    strict: bool = False,
) -> None:
    """Print a run. It exits with 1 where the claim or minimality fails, and if `strict` where any
    check does."""
    if as_json:
        print_json({"path": str(path), "circuit": circuit, "report": report})
    else:
        from ..report.text.table import print_report
        from ..runs.folder import PAGE

        shown = console()
        print_report(shown, circuit, report)
        shown.print(Text(f"run folder: {path}"))
        if (path / PAGE).is_file():
            shown.print(Text(f"page: {path / PAGE} (circuitfind show {path})"))
    failed = strict and any(row["verdict"] == "fails" for row in report["checks"])
    if failed or not report["success"]:
        raise typer.Exit(1)


def print_json(content: Mapping[str, Any] | list[Any]) -> None:
    print(legible_json(json.dumps(content, indent=2, ensure_ascii=False)))


def print_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]], as_json: bool) -> None:
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def print_problems(problems: tuple[str, ...]) -> None:
    """A line on stderr for each entry point that cannot be used."""
    for problem in problems:
        console(stderr=True).print(Text(problem), soft_wrap=True)
