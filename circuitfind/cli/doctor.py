"""The command that examines a model before anything is searched in it."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from .options import AsJson
from .printing import console, print_json

if TYPE_CHECKING:
    from ..models.findings import Findings

MARKS = {True: ("holds", "green"), False: ("fails", "bold red"), None: ("not tried", "dim")}


def doctor(
    model: Annotated[str, typer.Argument(help="Built-in name, model folder, or hub name.")],
    engine: Annotated[
        str | None, typer.Option("--engine", help="hooks or bridge; by default what fits.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device")] = None,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    device_map: Annotated[str | None, typer.Option("--device-map")] = None,
    revision: Annotated[str | None, typer.Option("--revision")] = None,
    prepend_bos: Annotated[bool | None, typer.Option("--prepend-bos/--no-prepend-bos")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether circuits can be found in a model: what every law gives, and what is no site.

    Exit code 1 where a law is broken, which other commands refuse without --force.
    """
    from ..models.loading import examined

    found = examined(
        model,
        engine=engine,
        device=device,
        dtype=dtype,
        device_map=device_map,
        revision=revision,
        prepend_bos=prepend_bos,
        trust_remote_code=trust_remote_code,
    )
    if as_json:
        print_json({"model": model, **found.as_json()})
    else:
        _print(console(highlight=False), model, found)
    if not found.sound:
        raise typer.Exit(1)


def _print(shown: Console, model: str, found: "Findings") -> None:
    shown.print(Text(f"{model}, engine {found.engine}"))
    if found.instead:
        shown.print(Text(f"another engine was tried first, {found.instead}"))
    for law in found.laws:
        word, style = MARKS[law.holds]
        shown.print(Text(f"{word:9} ", style=style) + Text(f"{law.name}: {law.says}"))
    for note in found.notes:
        shown.print(Text(f"note      {note}"))
