"""Commands that check circuits: validate, check, compare, paths."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .options import (
    AsJson,
    Device,
    DeviceMap,
    OwnHeldOut,
    OwnModel,
    OwnTask,
    RunPath,
    Strict,
    TrustRemoteCode,
)
from .printing import command_with, console, print_json, print_rows, say, show_run


def validate(
    target: Annotated[
        Path, typer.Argument(help="A run folder, or a circuit file (ours, or see docs/formats.md).")
    ],
    model: OwnModel = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="For a circuit file: the claim to check. For a run: the file of its claim, "
            "FILE:claim, or its table, where it is one.",
        ),
    ] = None,
    held_out: OwnHeldOut = None,
    position: Annotated[
        str | None, typer.Option("--position", help="For a circuit file that names none.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="For a file of scores: how many sites.")
    ] = None,
    donor: Annotated[
        str | None,
        typer.Option("--donor", help="For a circuit file: source, mean, zero or resample."),
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
    strict: Strict = False,
    device: Device = None,
    device_map: DeviceMap = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Check a circuit on held-out pairs: a run's again, or anyone's, and try to break it."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck
    from ..runs.consent import Named
    from ..runs.settings import Settings

    names = [name.strip() for name in checks.split(",") if name.strip()]
    given: dict[str, Any] = {"n": n, "seed": seed, "n_random": n_random}
    where: dict[str, Any] = {
        "device": device,
        "device_map": device_map,
        "trust_remote_code": trust_remote_code,
    }
    with TerminalProgress(console(stderr=True)) as shown:
        checking = recheck.Checking(names, thorough, shown)
        if target.is_dir() and donor:
            raise ValueError("a run has its donor; search again with `discover --donor`")
        if target.is_dir():
            named = Named(
                task=task,
                held_out=held_out,
                model=model,
                command=command_with(
                    "validate", [target], task=task, held_out=held_out, model=model
                ),
                **where,
            )
            made = recheck.revalidate(target, checking, named=named, **given)
        elif not target.exists():
            raise LookupError(f"{target} holds no finished run, and is no circuit file")
        elif task is None or model is None:
            raise ValueError(f"{target} is a file: name a --task and a --model to check it on")
        else:
            known = {name: value for name, value in given.items() if value is not None}
            known |= {"held_out": held_out, "donor": donor}
            settings = Settings(task=task, model=model, **known, **where)
            made = recheck.validate_file(target, settings, checking, position=position, top=top)
    show_run(made.circuit.as_json(), made.report, made.path, as_json, strict)


def check(
    run_path: RunPath,
    model: Annotated[
        str | None, typer.Option("--model", help="The new checkpoint; by default the run's model.")
    ] = None,
    level: Annotated[
        float, typer.Option("--level", help="How often a drift may be seen where there is none.")
    ] = 0.05,
    change: Annotated[
        float, typer.Option("--change", help="Shares that change by no more than this pass.")
    ] = 0.0,
    task: OwnTask = None,
    held_out: OwnHeldOut = None,
    device: Device = None,
    device_map: DeviceMap = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Check a stored circuit on a new checkpoint or version: exit code 1 if anything drifted."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck
    from ..runs.consent import Named

    named = Named(
        task=task,
        held_out=held_out,
        model=model,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        command=command_with("check", [run_path], task=task, held_out=held_out, model=model),
    )
    with TerminalProgress(console(stderr=True)) as shown:
        made, words = recheck.recheck(run_path, named, shown, level=level, change=change)
    if as_json:
        print_json({"path": str(made.path), "drifted": list(words), "report": made.report})
    else:
        for sentence in words or ("nothing drifted",):
            say(sentence)
    if words:
        raise typer.Exit(1)


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
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="The file of a run's claim, FILE:claim; once for each."),
    ] = None,
    held_out: OwnHeldOut = None,
    device: Device = None,
    device_map: DeviceMap = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Put circuits side by side: what they share, and how each fares on each other's claim."""
    from ..report.text.progress import TerminalProgress
    from ..report.text.table import print_comparison
    from ..runs import compare as comparing
    from ..runs.consent import Named
    from ..runs.folder import COMPARISON_PAGE

    named = Named(
        held_out=held_out,
        model=model,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        command=command_with("compare", run_paths, task=task, held_out=held_out, model=model),
    )
    with TerminalProgress(console(stderr=True)) as shown:
        opened, sides = comparing.open_sides(
            run_paths, None, n, to_search=shared, named=named, tasks=task or ()
        )
        made = comparing.compare(opened, sides, shared=shared, progress=shown)
    if out:
        command = comparing.command_for(run_paths, model, n, shared, out)
        comparing.save_comparison(replace(made, command=command), out)
    if as_json:
        print_json(made.as_json())
    else:
        print_comparison(console(), made.as_json())
        if out:
            page = out / COMPARISON_PAGE
            console().print(Text(f"page: {page} (circuitfind show {out})"))
    if made.shared and not made.shared.success:
        raise typer.Exit(1)


def paths(
    run_path: RunPath,
    mlps: Annotated[str, typer.Option("--mlps", help="frozen or recomputed.")] = "frozen",
    n: Annotated[int | None, typer.Option("--n", help="By default as in the run.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The folder of the run's model, where it is one.")
    ] = None,
    task: OwnTask = None,
    held_out: OwnHeldOut = None,
    device: Device = None,
    device_map: DeviceMap = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure the direct effects of a circuit's members on each other and on the answer."""
    from ..report.text.progress import TerminalProgress
    from ..runs import revalidate as recheck
    from ..runs.consent import Named

    named = Named(
        task=task,
        held_out=held_out,
        model=model,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        command=command_with("paths", [run_path], task=task, held_out=held_out, model=model),
    )
    with TerminalProgress(console(stderr=True)) as shown:
        circuit = recheck.add_paths(run_path, mlps, n, shown, named=named)  # type: ignore[arg-type]
    edges = circuit.edges
    if as_json:
        print_json([edge.as_json() for edge in edges])
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
    print_rows(("from", "to", "channel", circuit.unit, "95 %", "n"), rows, as_json)
