"""The command that looks before a run: `circuitfind try`."""

from typing import Annotated

import typer

from .options import Answer, AsJson, At, HeldOut, MaxBad, ModelName, Seed, Task, Train, task_of
from .printing import console, print_json


def try_(
    task: Task = None,
    model: ModelName = "binder",
    at: At = None,
    answer: Answer = None,
    train: Train = None,
    held_out: HeldOut = None,
    max_bad: MaxBad = None,
    n: Annotated[
        int, typer.Option("--n", min=1, help="Pairs of each desideratum to look at.")
    ] = 16,
    seed: Seed = 0,
    donor: Annotated[
        str | None, typer.Option("--donor", help="source, mean, zero or resample, not the claim's.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="hooks or bridge; by default what fits.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps.")] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, bfloat16 or float16.")
    ] = "float32",
    device_map: Annotated[
        str | None, typer.Option("--device-map", help="auto spreads a model over devices.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit on the hub.")
    ] = None,
    prepend_bos: Annotated[
        bool | None,
        typer.Option("--prepend-bos/--no-prepend-bos", help="By default as the tokenizer does."),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Pairs in one pass; fewer take less memory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look first: a claim's pairs, what the model says to them, and what a run would cost.

    Exit code 2 where `discover` would refuse.
    """
    from ..report.text.preview import print_preview
    from ..runs.preview import preview
    from ..runs.settings import Settings

    settings = Settings(
        task=task_of(task, train),
        model=model,
        at=tuple(at or ()),
        answer=answer,
        held_out=held_out,
        max_bad=max_bad,
        seed=seed,
        donor=donor,
        engine=engine,
        device=device,
        dtype=dtype,
        device_map=device_map,
        revision=revision,
        prepend_bos=prepend_bos,
        trust_remote_code=trust_remote_code,
        batch=batch,
    )
    claim = settings.load_claim()
    made = preview(settings.load_model(), claim, n, seed).as_json()
    if as_json:
        print_json(made)
    else:
        print_preview(console(highlight=False), made)
    if made["refused"]:
        raise typer.Exit(2)
