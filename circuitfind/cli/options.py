"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[
    str | None,
    typer.Argument(
        help="An installed task, path/to/task.py:claim, or a table of pairs: .csv, .tsv, .json, "
        ".jsonl, also with .gz (docs/pairs.md)."
    ),
]
Train = Annotated[
    str | None, typer.Option("--train", help="A table of pairs to search on, in place of TASK.")
]
HeldOut = Annotated[
    str | None, typer.Option("--held-out", help="A table of the pairs to hold out.")
]
MaxBad = Annotated[
    float | None,
    typer.Option("--max-bad", help="Share of given pairs that may be left out as unusable (0.2)."),
]
Answer = Annotated[
    str | None,
    typer.Option(
        "--answer",
        help="What counts: top (the most likely text), among (ahead of the other answers that the "
        "pair names), or among-first (the same, by the first token that differs).",
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]
ModelName = Annotated[
    str, typer.Option("--model", help="Built-in name, model folder, or hub name.")
]
At = Annotated[
    list[str] | None, typer.Option("--at", help="Positions: last, all or a span's name.")
]
Pairs = Annotated[
    int, typer.Option("--n", max=1_000_000, help="Pairs per desideratum, search and held out.")
]
Seed = Annotated[int, typer.Option("--seed")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 1 where any check fails, whatever its question.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Random = Annotated[int, typer.Option("--n-random", help="Random circuits to compare with.")]


# What a run folder may not ask for by itself: the user names it (runs/consent.py).
OwnTask = Annotated[
    str | None,
    typer.Option(
        "--task", help="The file of the run's claim, FILE:claim, or its table, where it is one."
    ),
]
OwnHeldOut = Annotated[
    str | None, typer.Option("--held-out", help="The run's table of the pairs to hold out.")
]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", help="Another model, or the folder of the run's own."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps.")]
DeviceMap = Annotated[
    str | None, typer.Option("--device-map", help="auto spreads a model over devices.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]


def task_of(task: str | None, train: str | None) -> str:
    """The task that TASK and --train name together.

    Raises:
        ValueError: none, two different ones, or a --train that is no table.
    """
    from desiderata import is_table

    if task is None and train is None:
        raise typer.BadParameter("name a TASK, or a table of pairs with --train")
    if task and train and task != train:
        raise ValueError(f"name one: {task!r} as TASK, or {train!r} with --train")
    if train and not is_table(train):
        raise ValueError(f"--train is a table of pairs (docs/pairs.md); got {train!r}")
    return task or train or ""
