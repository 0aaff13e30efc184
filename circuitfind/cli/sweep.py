"""The command that runs many searches from one file."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from .options import AsJson, TrustRemoteCode
from .printing import console, print_json

if TYPE_CHECKING:
    from ..sweeps.work import Where

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray", help="local: a cluster of this machine, started for this; or a cluster's address."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Points at once, with --ray.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of a point; 1 with --ray.")
]
Gpus = Annotated[
    float, typer.Option("--gpus", min=0.0, help="GPUs of a point, with --ray; 0.5 for two on one.")
]
STOPPED = 130  # the exit code of what was stopped by Ctrl-C


def sweep(
    file: Annotated[Path, typer.Argument(help="A TOML file: settings, each list an axis.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder of all runs; runs/NAME by default.")
    ] = None,
    ray: Ray = None,
    workers: Workers = None,
    threads: Threads = None,
    gpus: Gpus = 0.0,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Run discover for every point of a file, here or on Ray; finished points are only read."""
    from ..report.text.progress import TerminalProgress
    from ..runs.lock import locked
    from ..sweeps.plan import read_plan
    from ..sweeps.points import Row, run_sweep
    from ..sweeps.table import Sweep, in_a_line, print_sweep, save_sweep

    where = where_asked(ray, workers, threads, gpus)
    plan = read_plan(file, trust_remote_code)
    folder, told, finished = out or Path("runs") / file.stem, console(stderr=True), 0
    folder.mkdir(parents=True, exist_ok=True)

    def done(row: Row, count: int, total: int) -> None:
        nonlocal finished
        finished = count
        shown.report("points", count, total, {} if row.size is None else {"size": row.size})
        told.print(Text(f"{count}/{total} {in_a_line(row)}"), soft_wrap=True)

    with TerminalProgress(told) as shown, locked(folder):
        try:
            rows = run_sweep(plan, folder, where, done)
        except KeyboardInterrupt:
            of = f"{finished} of {len(plan.points)} points"
            told.print(Text(f"stopped after {of}; the same command goes on from there"))
            raise typer.Exit(STOPPED) from None
        command = "circuitfind " + shlex.join(sys.argv[1:])
        made = Sweep(file=str(file), command=command, axes=plan.axes, rows=rows)
        save_sweep(made, folder)
    if as_json:
        print_json(made.as_json())
    else:
        print_sweep(console(), made)
        console().print(Text(f"folder: {folder}"))
    raise typer.Exit(made.code)


def where_asked(
    ray: str | None, workers: int | None, threads: int | None = None, gpus: float = 0.0
) -> "Where":
    """Where the command line asks for the work to be done. Without Ray what would be done on a
    cluster of this machine is done in this process, and a message says so.

    Raises:
        ValueError: options that go with --ray, without it.
    """
    from ..sweeps.on_ray import EXTRA, LOCAL, has_ray
    from ..sweeps.work import Where

    asked = {"--workers": workers is not None, "--gpus": gpus != 0}
    if ray is None and any(asked.values()):
        words = " and ".join(name for name, given in asked.items() if given)
        raise ValueError(f"{words}: with --ray local or --ray ADDRESS; else points run one by one")
    if ray == LOCAL and not has_ray():
        words = f"{EXTRA}; without it the work is done in this process"
        console(stderr=True).print(Text(words), soft_wrap=True)
        return Where(threads=threads)
    return Where(ray=ray, workers=workers, threads=threads, gpus=gpus)
