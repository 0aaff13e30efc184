"""Commands that find circuits: discover, and review with its search."""

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Answer,
    AsJson,
    At,
    Device,
    DeviceMap,
    HeldOut,
    MaxBad,
    ModelName,
    OwnHeldOut,
    OwnTask,
    Pairs,
    Random,
    RunPath,
    Seed,
    Strict,
    Task,
    Train,
    TrustRemoteCode,
    task_of,
)
from .printing import command_with, console, print_json, show_run, slug


def discover(
    task: Task = None,
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
    device: Device = None,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    device_map: DeviceMap = None,
    revision: Annotated[str | None, typer.Option("--revision")] = None,
    prepend_bos: Annotated[bool | None, typer.Option("--prepend-bos/--no-prepend-bos")] = None,
    trust_remote_code: TrustRemoteCode = False,
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
    sites: Annotated[
        list[str] | None,
        typer.Option("--sites", help="What to choose from: heads, mlps, a20-29.*@last, !m0@last."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="hooks or bridge; by default what fits.")
    ] = None,
    answer: Answer = None,
    train: Train = None,
    held_out: HeldOut = None,
    max_bad: MaxBad = None,
    polish: Annotated[
        bool | None,
        typer.Option("--polish/--no-polish", help="End in local search, whatever the method does."),
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Find the smallest circuit that satisfies a claim, and check it on held-out pairs."""
    from ..report.text.progress import TerminalProgress
    from ..runs import run
    from ..runs.settings import Settings

    task = task_of(task, train)
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
        donor=donor,
        batch=batch,
        pins=tuple(pin or ()),
        vetoes=tuple(veto or ()),
        sites=tuple(sites or ()),
        engine=engine,
        answer=answer,
        held_out=held_out,
        max_bad=max_bad,
        polish=polish,
    )
    folder = out or Path("runs") / slug(task, model, method, f"seed{seed}", donor)
    with TerminalProgress(console(stderr=True)) as shown:
        made = run.discover(settings, folder, resume=resume, overwrite=overwrite, shown=shown)
    show_run(made.circuit.as_json(), made.report, made.path, as_json, strict)


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
    """Decide about a run's circuit, in its decisions.json; --search finds one that complies."""
    from ..report.text.progress import TerminalProgress
    from ..report.text.table import print_decisions
    from ..runs import review as reviewing
    from ..runs.consent import Named

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
            print_json({"path": str(run_path), "decisions": told})
        else:
            print_decisions(console(), told)
        return
    folder = out or run_path.with_name(f"{run_path.name}_reviewed")
    named = Named(
        task=task,
        held_out=held_out,
        model=model,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        command=command_with(
            "review", [run_path, "--search"], task=task, held_out=held_out, model=model
        ),
    )
    with TerminalProgress(console(stderr=True)) as shown:
        new = reviewing.search_again(
            run_path, folder, resume=resume, overwrite=overwrite, shown=shown, named=named
        )
    show_run(new.circuit.as_json(), new.report, new.path, as_json)
