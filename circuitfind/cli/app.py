"""The command line: `circuitfind discover`, `validate`, `check`, `diagram`, and what there is.

Exit codes: 0 done and holds, 1 done and does not hold, 2 bad input.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Say what a mechanism must do; get the smallest circuit that does it.",
)

bench = typer.Typer(no_args_is_help=True, help="Measure search methods where truth is known.")
app.add_typer(bench, name="bench")

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


@app.command()
def discover(
    task: Task,
    model: ModelName = "binder",
    method: Annotated[
        str, typer.Option("--method", help="See `circuitfind methods`.")
    ] = "constrained",
    at: At = None,
    n: Pairs = 192,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run.")] = False,
    n_random: Random = 100,
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Standard errors by which bounds are cleared.")
    ] = 2.0,
    device: Annotated[str | None, typer.Option("--device")] = None,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    device_map: Annotated[str | None, typer.Option("--device-map")] = None,
    revision: Annotated[str | None, typer.Option("--revision")] = None,
    prepend_bos: Annotated[bool | None, typer.Option("--prepend-bos/--no-prepend-bos")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on despite failed checks.")] = False,
    size: Annotated[
        int | None, typer.Option("--size", help="Exactly so many sites, whatever the method.")
    ] = None,
    rival: Annotated[
        bool, typer.Option("--rival", help="Also search for another circuit that does it.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Pairs in one pass; fewer take less memory.")
    ] = None,
    donor: Annotated[
        str | None, typer.Option("--donor", help="source, mean, zero or resample, not the claim's.")
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option("--pin", help="A site that is in the circuit.")
    ] = None,
    veto: Annotated[
        list[str] | None, typer.Option("--veto", help="A site that is not in it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the smallest circuit that satisfies a claim, and check it on held-out pairs."""
    from ..report.text.progress import TerminalProgress
    from ..runs import run
    from ..runs.settings import Settings

    settings = Settings(
        task=task,
        model=model,
        method=method,
        at=tuple(at or ()),
        n=n,
        seed=seed,
        n_random=n_random,
        steps=steps,
        learning_rate=learning_rate,
        margin=margin,
        device=device,
        dtype=dtype,
        device_map=device_map,
        revision=revision,
        prepend_bos=prepend_bos,
        trust_remote_code=trust_remote_code,
        force=force,
        size=size,
        rival=rival,
        donor=donor,  # type: ignore[arg-type]
        batch=batch,
        pins=tuple(pin or ()),
        vetoes=tuple(veto or ()),
    )
    folder = out or Path("runs") / _slug(task, model, method, f"seed{seed}", donor)
    with TerminalProgress(Console(stderr=True)) as shown:
        made = run.discover(settings, folder, resume=resume, overwrite=overwrite, shown=shown)
    _show(made.circuit.as_json(), made.report, made.path, as_json)


@app.command()
def validate(
    target: Annotated[
        Path, typer.Argument(help="A run folder, or a circuit file (ours, or see docs/formats.md).")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Another model; by default the run's.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="For a circuit file: the claim to check.")
    ] = None,
    position: Annotated[
        str | None, typer.Option("--position", help="For a circuit file that names none.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="For a file of scores: how many sites.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="By default as in the run.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Other pairs.")] = None,
    n_random: Annotated[
        int | None, typer.Option("--n-random", help="Random circuits; by default as in the run.")
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Slow checks too.")] = False,
    checks: Annotated[
        str, typer.Option("--checks", help="Only these, with commas between; see `checks`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check a circuit on held-out pairs: a run's again, or anyone's, and try to break it."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck
    from ..runs.settings import Settings

    names = [name.strip() for name in checks.split(",") if name.strip()]
    given: dict[str, Any] = {"n": n, "seed": seed, "n_random": n_random}
    with TerminalProgress(Console(stderr=True)) as shown:
        checking = recheck.Checking(names, thorough, shown)
        if target.is_dir():
            made = recheck.revalidate(target, checking, model_name=model, **given)
        elif not target.exists():
            raise LookupError(f"{target} holds no finished run, and is no circuit file")
        elif task is None or model is None:
            raise ValueError(f"{target} is a file: name a --task and a --model to check it on")
        else:
            known = {name: value for name, value in given.items() if value is not None}
            settings = Settings(task=task, model=model, **known)
            made = recheck.validate_file(target, settings, checking, position=position, top=top)
    _show(made.circuit.as_json(), made.report, made.path, as_json)


@app.command()
def compare(
    run_paths: Annotated[list[Path], typer.Argument(help="Two or more run folders.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Another model; by default the runs'.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="By default as in the runs.")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Also search for one circuit for all claims.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for what is found and drawn.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put circuits side by side: what they share, and how each fares on each other's claim."""
    from ..models.loading import load_model
    from ..report.text.progress import TerminalProgress
    from ..report.text.table import print_comparison
    from ..runs import compare as comparing
    from ..runs.folder import COMPARISON_PAGE

    given = load_model(model) if model else None
    with TerminalProgress(Console(stderr=True)) as shown:
        opened, sides = comparing.open_sides(run_paths, given, n, to_search=shared)
        made = comparing.compare(opened, sides, shared=shared, progress=shown)
    if out:
        command = comparing.command_for(run_paths, model, n, shared, out)
        comparing.save_comparison(replace(made, command=command), out)
    if as_json:
        _print_json(made.as_json())
    else:
        print_comparison(Console(), made.as_json())
        if out:
            page = out / COMPARISON_PAGE
            Console().print(Text(f"page: {page} (circuitfind show {out})"))
    if made.shared and not made.shared.success:
        raise typer.Exit(1)


@app.command()
def review(
    run_path: RunPath,
    pin: Annotated[list[str] | None, typer.Option("--pin", help="A site to have in it.")] = None,
    veto: Annotated[list[str] | None, typer.Option("--veto", help="One not to have.")] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="site=text: what a site is called.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="site=text: the group that it is in.")
    ] = None,
    withdraw: Annotated[
        list[str] | None,
        typer.Option("--withdraw", help="Take back all about a site, site=pin, or the verdict."),
    ] = None,
    accept: Annotated[
        bool | None, typer.Option("--accept/--reject", help="The verdict on the circuit.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who decides.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    decisions: Annotated[
        Path | None, typer.Option("--decisions", help="A file of decisions, as from the page.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Search again, keeping to pins and vetoes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The new run's folder, for --search.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed search.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the new run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide about a run's circuit, in its decisions.json; --search finds one that complies."""
    from ..report.text.progress import TerminalProgress
    from ..report.text.table import print_decisions
    from ..runs import review as reviewing

    verdict = None if accept is None else "accept" if accept else "reject"
    said = reviewing.Said(
        pin=pin or (),
        veto=veto or (),
        name=name or (),
        group=group or (),
        withdraw=withdraw or (),
        verdict=verdict,
        by=by,
        reason=reason,
    )
    made = reviewing.review(run_path, said, decisions)
    if not search:
        told = None if made is None else made.as_json()
        if as_json:
            _print_json({"path": str(run_path), "decisions": told})
        else:
            print_decisions(Console(), told)
        return
    folder = out or run_path.with_name(f"{run_path.name}_reviewed")
    with TerminalProgress(Console(stderr=True)) as shown:
        new = reviewing.search_again(
            run_path, folder, resume=resume, overwrite=overwrite, shown=shown
        )
    _show(new.circuit.as_json(), new.report, new.path, as_json)


@app.command()
def diagram(
    run_path: RunPath,
    out: Annotated[Path | None, typer.Option("--out", help="A .svg, .pdf or .png file.")] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="grid, circuit, frontier, bars, effects, stability or attention; as text: dot, "
            "mermaid, tikz, graphml, json or mib.",
        ),
    ] = "grid",
    theme: Annotated[str | None, typer.Option("--theme", help="light or dark.")] = None,
    width: Annotated[
        str | None, typer.Option("--width", help="Columns of a page: one or two.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="What `validate RUN --json` printed, not the run's own."),
    ] = None,
) -> None:
    """Draw a finished run, or write its circuit as a graph in text."""
    from ..report.figures.kinds import FIGURES, OLD_NAMES
    from ..runs import pictures

    kind = OLD_NAMES.get(kind, kind)
    if kind in FIGURES:
        out = out or run_path / f"{kind}.svg"
        pictures.redraw(run_path, out, kind, report_path=report, theme=theme, width=width)
    elif kind not in pictures.TEXTS:
        raise ValueError(f"--kind is one of {', '.join((*FIGURES, *pictures.TEXTS))}; got {kind!r}")
    else:
        from ..circuits.storage import write_text

        if theme or width or report:
            raise ValueError("--theme, --width and --report are for figures, not for text")
        text = pictures.graph_of(run_path, kind)
        if out is None:
            print(text, end="")
            return
        write_text(out, text)
    Console().print(Text(str(out)))


@app.command()
def show(
    run_path: Annotated[Path, typer.Argument(help="A run folder, or that of a comparison.")],
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print where it is.")] = False,
) -> None:
    """Open the page of a run or of a comparison; it is made first where the folder has none."""
    import webbrowser

    from ..runs import pictures

    page = pictures.page_of(run_path).resolve()
    if not no_open:
        webbrowser.open(page.as_uri())
    print(page)


@app.command()
def gallery(
    run_paths: Annotated[list[Path], typer.Argument(help="Finished run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for it.")] = Path("figures"),
    as_json: AsJson = False,
) -> None:
    """Draw every figure that runs hold, each run's beside a JSON of how it was made."""
    from ..runs import pictures

    written = [str(path) for path in pictures.gallery(run_paths, out)]
    if as_json:
        _print_json(written)
    else:
        Console().print(Text("\n".join(written)))


@app.command()
def paths(
    run_path: RunPath,
    mlps: Annotated[str, typer.Option("--mlps", help="frozen or recomputed.")] = "frozen",
    n: Annotated[int | None, typer.Option("--n", help="By default as in the run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the direct effects of a circuit's members on each other and on the answer."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck

    with TerminalProgress(Console(stderr=True)) as shown:
        edges = recheck.add_paths(run_path, mlps, n, shown).edges  # type: ignore[arg-type]
    if as_json:
        _print_json([edge.as_json() for edge in edges])
        return
    rows = [
        (
            str(edge.sender),
            str(edge.receiver or "answer"),
            edge.channel,
            f"{edge.effect:+.3f}",
            f"{edge.low:+.3f} to {edge.high:+.3f}",
            str(edge.n),
        )
        for edge in sorted(edges, key=lambda edge: -abs(edge.effect))
    ]
    _print_rows(("from", "to", "channel", "logits", "95 %", "n"), rows, as_json)


@app.command()
def lint(
    task: Task, n: Pairs = 192, seed: Seed = 0, at: At = None, as_json: AsJson = False
) -> None:
    """Say what is wrong with a task's desiderata, before any model runs."""
    from desiderata import lint as find_problems

    from ..models.claims import load_claim

    claim = load_claim(task)
    problems = find_problems(claim.moved(at) if at else claim, n, seed)
    if as_json:
        _print_json({"claim": claim.name, "problems": [vars(problem) for problem in problems]})
    else:
        for problem in problems:
            print(problem)
        print(f"{claim.name}: {len(problems)} problem(s)")
    if any(problem.level == "error" for problem in problems):
        raise typer.Exit(1)


@app.command()
def tasks(as_json: AsJson = False) -> None:
    """List the installed tasks."""
    from ..models.claims import SAVED, about, installed_claims, load_claim

    rows = [(name, load_claim(name).name, about(name)) for name in installed_claims()]
    rows.append((SAVED, "suffices", "Whatever inputs are saved beside the model (--model FOLDER)."))
    _print_rows(("task", "claim", "about"), rows, as_json)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the built-in models; folders and hub names work too."""
    from ..models.catalogue import built_in

    _print_rows(("model", "about"), list(built_in().items()), as_json)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the search methods, and the baselines that they should beat."""
    from ..search import METHODS

    rows = [(entry.name, entry.idea, entry.source) for entry in METHODS]
    _print_rows(("method", "idea", "source"), rows, as_json)


@app.command()
def check(
    run_path: RunPath,
    model: Annotated[
        str | None, typer.Option("--model", help="The new checkpoint; by default the run's model.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a stored circuit on a new checkpoint or version: exit code 1 if anything drifted."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck

    with TerminalProgress(Console(stderr=True)) as shown:
        made, words = recheck.recheck(run_path, model, shown)
    if as_json:
        _print_json({"path": str(made.path), "drifted": list(words), "report": made.report})
    else:
        for sentence in words or ("nothing drifted",):
            print(sentence)
    if words:
        raise typer.Exit(1)


@app.command()
def checks(as_json: AsJson = False) -> None:
    """List what the validator checks."""
    from ..validate import CHECKS

    rows = [(one.name, "--thorough" if one.thorough else "always", one.about) for one in CHECKS]
    _print_rows(("check", "when", "about"), rows, as_json)


@bench.command()
def truth(
    method: Annotated[
        list[str] | None, typer.Option("--method", help="By default all, baselines too.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only cases with these words in their name.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 5,
    part: Annotated[
        Literal["quick", "main", "all"],
        typer.Option("--part", help="quick: every third case, two seeds; all: every ablation."),
    ] = "main",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option("--out", help="A folder; its rows are kept.")] = Path(
        "runs/bench"
    ),
    as_json: AsJson = False,
) -> None:
    """Which method finds the true circuit of models whose circuit is known, and at what cost?"""
    from ..bench import cases as benching
    from ..bench.report import print_bench, save_bench
    from ..report.text.progress import TerminalProgress
    from ..search import METHODS, method_named

    methods = [method_named(name).name for name in method or (entry.name for entry in METHODS)]
    cases = benching.known_cases(part)
    cases = [one for one in cases if all(word in one.name for word in case or ())]
    if not cases:
        names = "; ".join(one.name for one in benching.known_cases(part))
        raise LookupError(f"no case has {' and '.join(case or ())} in its name; there are: {names}")
    out.mkdir(parents=True, exist_ok=True)
    kept = benching.read_rows(out / "rows.jsonl")
    with TerminalProgress(Console(stderr=True)) as shown, (out / "rows.jsonl").open("a") as file:

        def done(row: benching.Row, count: int, total: int) -> None:
            file.write(benching.row_line(row))
            file.flush()
            shown.report("searches", count, total, {"size": row.size})

        seeds = min(seeds, benching.QUICK_SEEDS) if part == "quick" else seeds
        rows = benching.run_cases(cases, methods, seeds, kept=kept, workers=workers, done=done)
    summary = save_bench(rows, out, "circuitfind " + " ".join(sys.argv[1:]))
    if as_json:
        _print_json(summary)
    else:
        print_bench(Console(), summary)
        Console().print(Text(f"folder: {out}"))


def main() -> NoReturn:
    """Run the command line; bad input ends with one message and exit code 2, no traceback."""
    try:
        app(standalone_mode=True)
    except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError) as error:
        words = error.args[0] if isinstance(error, LookupError) and error.args else error
        Console(stderr=True).print(Text("error: ", style="bold red") + Text(str(words)))
        sys.exit(2)
    sys.exit(0)


def _slug(task: str, model: str, *more: str | None) -> str:
    """A folder name that tells what a run is."""
    words = [Path(task).name, Path(model).name, *filter(None, more)]
    return "_".join(re.sub(r"[^\w.-]+", "-", word) for word in words)


def _show(circuit: Mapping[str, Any], report: Mapping[str, Any], path: Path, as_json: bool) -> None:
    if as_json:
        _print_json({"path": str(path), "circuit": circuit, "report": report})
    else:
        from ..report.text.table import print_report
        from ..runs.folder import PAGE

        console = Console()
        print_report(console, circuit, report)
        console.print(Text(f"run folder: {path}"))
        if (path / PAGE).is_file():
            console.print(Text(f"page: {path / PAGE} (circuitfind show {path})"))
    if not report["success"]:
        raise typer.Exit(1)


def _print_json(content: Mapping[str, Any] | list[Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]], as_json: bool) -> None:
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


if __name__ == "__main__":
    main()
