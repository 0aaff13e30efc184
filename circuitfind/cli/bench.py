"""Commands that measure search methods."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from .options import AsJson
from .printing import console, print_json
from .sweep import Gpus, Ray, Threads, Workers, where_asked

ROWS = "rows.jsonl"


def truth(
    method: Annotated[
        list[str] | None, typer.Option("--method", help="By default all, baselines too.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only cases with these words in their name.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 5,
    part: Annotated[
        Literal["quick", "main", "all", "large", "published"],
        typer.Option(
            "--part",
            help="quick: every third case, two seeds; all: every ablation; large: 104 and 208 "
            "sites; published: with as many steps as published, slow.",
        ),
    ] = "main",
    polish: Annotated[
        bool | None,
        typer.Option(
            "--polish/--no-polish",
            help="End every method in local search, or none; by default each as it is, and a "
            "random order with it too.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 2,
    ray: Ray = None,
    out: Annotated[Path, typer.Option("--out", help="A folder; its rows are kept.")] = Path(
        "runs/bench"
    ),
    as_json: AsJson = False,
) -> None:
    """Which method finds the true circuit of models whose circuit is known, and at what cost?"""
    from ..bench import cases as benching
    from ..bench.report import print_bench, save_bench
    from ..report.text.progress import TerminalProgress
    from ..runs.lock import locked
    from ..search import METHODS

    cluster = where_asked(ray, None).ray
    methods = [benching.row_name(name, polish) for name in method or METHODS.names()]
    if method is None and polish is None:
        methods.insert(1, benching.row_name("random", True))
    cases = benching.known_cases(part)
    cases = [one for one in cases if all(word in one.name for word in case or ())]
    if not cases:
        names = "; ".join(one.name for one in benching.known_cases(part))
        raise LookupError(f"no case has {' and '.join(case or ())} in its name; there are: {names}")
    out.mkdir(parents=True, exist_ok=True)
    seeds = min(seeds, benching.QUICK_SEEDS) if part == "quick" else seeds
    with TerminalProgress(console(stderr=True)) as shown, locked(out):
        kept = benching.read_rows(out / ROWS)
        benching.mend_rows(out / ROWS, kept)
        with (out / ROWS).open("a", encoding="utf-8", newline="\n") as file:

            def done(row: benching.Row, count: int, total: int) -> None:
                file.write(benching.row_line(row))
                file.flush()
                shown.report("searches", count, total, {"size": row.size})

            rows = benching.run_cases(
                cases, methods, seeds, kept=kept, workers=workers, ray=cluster, done=done
            )
        summary = save_bench(rows, out, "circuitfind " + shlex.join(sys.argv[1:]))
    if as_json:
        print_json(summary)
    else:
        print_bench(console(), summary)
        console().print(Text(f"folder: {out}"))


def methods(
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", help="A task, or TASK@MODEL; give it again for another."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--methods", help="By default all, baselines too.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=4, help="Pairs per desideratum.")] = 96,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    flops: Annotated[
        int | None,
        typer.Option("--flops", min=1, help="The budget; by default the default method's."),
    ] = None,
    part: Annotated[
        Literal["quick", "main"],
        typer.Option("--part", help="main: four tasks in SmolLM2; quick: binder and planted."),
    ] = "main",
    ray: Ray = None,
    workers: Workers = None,
    threads: Threads = None,
    gpus: Gpus = 0.0,
    out: Annotated[Path, typer.Option("--out", help="A folder; its rows are kept.")] = Path(
        "runs/methods"
    ),
    as_json: AsJson = False,
) -> None:
    """Every method at equal FLOPs, with local search and without: size, held-out satisfaction."""
    from dataclasses import asdict

    from ..bench import cases as benching
    from ..bench.methods import MethodRow, compare_methods, tasks_named
    from ..bench.methods_page import print_methods, save_methods
    from ..report.text.progress import TerminalProgress
    from ..runs.lock import locked
    from ..search import METHODS

    where, asked = where_asked(ray, workers, threads, gpus), tasks_named(tasks or (), part)
    names = [METHODS.named(name).name for name in method or METHODS.names()]
    out.mkdir(parents=True, exist_ok=True)
    with TerminalProgress(console(stderr=True)) as shown, locked(out):
        kept = benching.read_rows(out / ROWS, MethodRow)
        benching.mend_rows(out / ROWS, kept)
        with (out / ROWS).open("a", encoding="utf-8", newline="\n") as file:

            def done(row: MethodRow, count: int, total: int) -> None:
                file.write(benching.row_line(row))
                file.flush()
                shown.report("searches", count, total, {"size": row.size})

            rows, failed = compare_methods(
                asked, names, n=n, seeds=seeds, flops=flops, kept=kept, where=where, done=done
            )
        save_methods(rows, failed, out, "circuitfind " + shlex.join(sys.argv[1:]))
    if as_json:
        told = {name: ended.problem for name, ended in failed.items()}
        print_json({"rows": [asdict(row) for row in rows], "not measured": told})
    else:
        print_methods(console(), rows)
        console().print(Text(f"folder: {out}"))
    for name, ended in failed.items():
        console(stderr=True).print(Text(f"{name}: {ended.problem}"), soft_wrap=True)
    if failed:
        raise typer.Exit(3 if any(ended.crash for ended in failed.values()) else 2)
