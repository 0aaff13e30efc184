"""What a stored run may make this machine do. A run folder may come from anybody: its files are
read as data, and what would run code or open other files happens only where the user names it.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from desiderata import is_table

from ..claims import digest_of_task, own_file
from ..models.catalogue import built_in
from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Named:
    """What the user names beside a run folder, which is not taken from the folder's files.

    Args:
        task: the file of the run's claim, as `FILE:claim`, or its table of pairs.
        held_out: the table of the pairs to hold out.
        model: another model than the run's, or the folder of the run's own.
        device, device_map: where the model runs; by default where it fits best here.
        trust_remote_code: run code that comes with the model.
        command: the words of the command that this is for, such as `("validate", "RUN")`.
    """

    task: str | None = None
    held_out: str | None = None
    model: str | None = None
    device: str | None = None
    device_map: str | None = None
    trust_remote_code: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What a run needs that the user did not name."""

    why: str
    option: str
    value: str


def permitted(settings: Settings, path: str | Path, named: Named | None = None) -> Settings:
    """A stored run's settings as far as they may be followed, with what the user names.

    An installed task and a model by its name are as in the folder, and so is a table of pairs that
    has the digest of the run's. A Python file is the one that the user names, which has to be the
    run's by its digest, and the folder of a model too. Device and consent to code of the model's
    are the user's alone.

    Raises:
        ValueError: the run needs what the user did not name, with the command that names it; or
            what is named is not the run's.
        LookupError: no such file.
    """
    named = named or Named()
    if strange := list(_strange(settings, path, named)):
        raise ValueError("; ".join(strange))
    if wanted := list(_wanted(settings, named)):
        words = named.command or ("validate", str(path))
        options = [word for one in wanted for word in (one.option, one.value)]
        raise ValueError(
            f"{'; '.join(one.why for one in wanted)}. A run folder may come from anybody, so that "
            "such files are opened only where you name them. If you trust them: "
            + shlex.join(["circuitfind", *words, *options])
        )
    return replace(
        settings,
        task=named.task or settings.task,
        held_out=named.held_out or settings.held_out,
        model=named.model or settings.model,
        device=named.device,
        device_map=named.device_map,
        trust_remote_code=named.trust_remote_code,
    )


def is_folder(model: str) -> bool:
    """Whether a model's name is the path of a folder rather than a name."""
    looks = model.startswith((".", "/", "~")) or "\\" in model or "\0" in model
    try:
        return model not in built_in() and (looks or Path(model).expanduser().is_dir())
    except (OSError, RuntimeError, ValueError):  # too long, no such home, a null
        return True


def _strange(settings: Settings, path: str | Path, named: Named) -> Iterator[str]:
    """What the user names and the run is not about."""
    instead = (
        f"to check the circuit on another claim: circuitfind validate "
        f"{shlex.quote(str(Path(path) / 'circuit.json'))} --task ... --model ..."
    )
    if named.held_out and settings.held_out is None:
        yield f"the run holds out no table of its own, so that --held-out {named.held_out} is none"
    if named.task is None:
        return
    run, given = own_file(settings.task), own_file(named.task)
    tables = is_table(settings.task) and is_table(named.task)
    if run is None or given is None:
        if not tables and named.task != settings.task:
            yield f"the run is about {settings.task}, not {named.task}; {instead}"
        return
    if not given[0].is_file():
        raise LookupError(f"no file {given[0]}")
    if run[1] != given[1]:
        yield f"the run is about the claim {run[1]!r}, not {given[1]!r}; {instead}"
    now = digest_of_task(named.task)
    if settings.task_digest is not None and now != settings.task_digest:
        yield (
            f"{given[0]} is not the file of the run, or has changed since: its SHA-256 is "
            f"{str(now)[:12]}..., the run's {settings.task_digest[:12]}...; {instead}"
        )


def _wanted(settings: Settings, named: Named) -> Iterator[_Wanted]:
    """What the run needs that the user did not name."""
    task = settings.task
    if named.task is None and own_file(task) is not None:
        yield _Wanted(
            f"the run's claim is in {task}, a Python file that would be run", "--task", task
        )
    tables = (
        ("--task", task if is_table(task) else None, named.task, settings.task_digest),
        ("--held-out", settings.held_out, named.held_out, settings.held_out_digest),
    )
    for option, table, given, digest in tables:
        if table is None or given is not None:
            continue
        now = digest_of_task(table)
        if digest is None:
            yield _Wanted(f"the run does not say by a digest which {table} it is of", option, table)
        elif now is None:
            yield _Wanted(f"the run's pairs are in {table}, which is not here", option, table)
        elif now != digest:
            yield _Wanted(f"the run's pairs are in {table}, which has changed since", option, table)
    if named.model is None and is_folder(settings.model):
        why = f"the run is on the model in the folder {settings.model}"
        yield _Wanted(why, "--model", settings.model)
