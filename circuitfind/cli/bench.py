"""Commands that measure search methods."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from .options import AsJson
from .printing import console, print_json
from .sweep import Ray, where_asked

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
