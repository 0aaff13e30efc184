"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[
    str, typer.Argument(help="An installed task, path/to/task.py:claim, or pairs.csv / .jsonl.")
]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]
ModelName = Annotated[
    str, typer.Option("--model", help="Built-in name, model folder, or hub name.")
]
At = Annotated[
    list[str] | None, typer.Option("--at", help="Positions: last, all or a span's name.")
]
Pairs = Annotated[int, typer.Option("--n", help="Pairs per desideratum, search and held out.")]
Seed = Annotated[int, typer.Option("--seed")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Random = Annotated[int, typer.Option("--n-random", help="Random circuits to compare with.")]
