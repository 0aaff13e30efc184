"""Names in a sweep's file that nobody has: tasks, models, methods and the like."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from desiderata import is_table

from ..claims import SAVED, installed_claims, own_file
from ..donors.known import DONORS
from ..models.catalogue import built_in
from ..models.grafted import PREFIX as GRAFTED
from ..models.grafted import parse_grafted
from ..models.loading import ENGINES
from ..models.planted import PREFIX as PLANTED
from ..models.planted import parse_planted
from ..search import METHODS


def name_problem(key: str, value: object, folder: Path) -> str | None:
    """What is wrong with a name, as far as this machine can tell; None where nothing is.

    Args:
        folder: where relative paths count from.
    """
    check = _CHECKS.get(key)
    return check(value, folder) if check and isinstance(value, str) else None


_PARSED: dict[str, Callable[[str], object]] = {PLANTED: parse_planted, GRAFTED: parse_grafted}
PATHS = ("task", "held_out", "model")  # settings that may be paths


def path_from(folder: Path, value: str) -> str:
    """A path that counts from this folder, as seen from anywhere; other values as they are."""
    if own := own_file(value):
        named = "" if value.endswith(".py") else f":{own[1]}"
        return f"{(folder / own[0]).resolve()}{named}"
    if is_table(value):
        return str((folder / value).resolve())
    there = folder / Path(value).expanduser()
    return str(there.resolve()) if value not in built_in() and there.is_dir() else value


def _task(value: str, folder: Path) -> str | None:
    if own := own_file(value):
        return None if (folder / own[0]).is_file() else f"task: no file {folder / own[0]}"
    if is_table(value):
        return _table(value, folder)
    return _among("task", value, [*installed_claims(), SAVED])


def _table(value: str, folder: Path) -> str | None:
    return None if (folder / value).is_file() else f"no file {folder / value}"


def _model(value: str, folder: Path) -> str | None:
    """A name that is not built in may be one of the hub, which is not asked here. A name that
    nearly is a built-in one is a slip."""
    if parse := _PARSED.get(value.partition(":")[0]):
        try:
            parse(value)
        except ValueError as error:
            return f"model {value!r}: {error}"
        return None
    if value in built_in() or (folder / Path(value).expanduser()).is_dir():
        return None
    if value.startswith((".", "/", "~")):
        return f"no model folder {folder / Path(value).expanduser()}"
    near = get_close_matches(value, [*built_in()], n=1, cutoff=0.8)
    return f"no model {value!r}; did you mean {near[0]}?" if near else None


def _among(what: str, value: str, known: Sequence[str]) -> str | None:
    if value in known:
        return None
    near = get_close_matches(value, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"no {what} {value!r}; {hint}"


_CHECKS: dict[str, Callable[[str, Path], str | None]] = {
    "task": _task,
    "held_out": _table,
    "model": _model,
    "method": lambda value, _: _among("method", value, METHODS.names()),
    "donor": lambda value, _: _among("donor", value, DONORS.names()),
    "engine": lambda value, _: _among("engine", value, ("hooks", "bridge", *ENGINES.names())),
}
