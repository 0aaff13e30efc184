"""What commands print: JSON, tables, a run and its page."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


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

        console = Console()
        print_report(console, circuit, report)
        console.print(Text(f"run folder: {path}"))
        if (path / PAGE).is_file():
            console.print(Text(f"page: {path / PAGE} (circuitfind show {path})"))
    failed = strict and any(row["verdict"] == "fails" for row in report["checks"])
    if failed or not report["success"]:
        raise typer.Exit(1)


def print_json(content: Mapping[str, Any] | list[Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def print_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]], as_json: bool) -> None:
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_problems(problems: tuple[str, ...]) -> None:
    """A line on stderr for each entry point that cannot be used."""
    for problem in problems:
        Console(stderr=True).print(Text(problem), soft_wrap=True)
