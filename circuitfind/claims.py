"""Finding claims: installed tasks by name, a user's file, or a table of pairs."""

import importlib.util
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from desiderata import (
    DonorChoice,
    GivenPairs,
    Sampleable,
    SavedInputs,
    is_table,
    name_of,
    read_pairs,
)
from desiderata.choices import DONORS as BUILT_IN

from .donors.known import DONORS
from .models.loading import load_saved

GROUP = "circuitfind.tasks"
SAVED = "suffices"  # the claim that a native model's saved inputs make


def installed_claims() -> dict[str, EntryPoint]:
    """The claims that installed packages offer, by name, through the entry-point group."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def load_claim(
    reference: str,
    model: str | None = None,
    donor: str | DonorChoice | None = None,
    *,
    held_out: str | None = None,
    max_bad: float | None = None,
) -> Sampleable:
    """The claim that a name, a `file.py:name`, or a table of pairs stands for.

    A Python file is run, as any script that you start would be.

    Args:
        model: the model's name; `suffices` is about the inputs that are saved beside it.
        donor: another donor than the claim's own, by name or as an object.
        held_out: a table of the pairs to hold out, where the reference is a table.
        max_bad: the share of given pairs that may be left out because they cannot be used.

    Raises:
        LookupError: no such task, file, or name in the file; no inputs saved beside the model; no
            such donor.
        ValueError: a file that fails, a name in it that is not a claim; a table that cannot be
            read; pairs to hold out of a claim that is no table.
    """
    if held_out is not None and not is_table(reference):
        raise ValueError(
            f"--held-out goes with a table of the pairs to search on, not with {reference!r}"
        )
    if reference == SAVED:
        if model is None:
            raise LookupError(f"{SAVED} is about the inputs saved beside a model; name the model")
        return SavedInputs(load_saved(model), _chosen(donor or "source"))
    if is_table(reference):
        claim = _from_tables(reference, held_out, max_bad)
    else:
        claim = _load(reference)
    if max_bad is not None and isinstance(claim, GivenPairs):
        claim = replace(claim, max_bad=max_bad)
    return claim.ablated(_chosen(donor)) if donor else claim


def _chosen(donor: str | DonorChoice) -> DonorChoice:
    """The donor of this name; those of this package stay names, which claims write out."""
    found = DONORS.named(donor) if isinstance(donor, str) else donor
    return next((name for name in BUILT_IN if name == name_of(found)), found)


def _from_tables(path: str, held_out: str | None, max_bad: float | None) -> Sampleable:
    if missing := [one for one in (path, held_out) if one and not Path(one).is_file()]:
        raise LookupError(f"no file {' and no file '.join(missing)}")
    options = {} if max_bad is None else {"max_bad": max_bad}
    return read_pairs(path, held_out=held_out, **options)


def _load(reference: str) -> Sampleable:
    path, _, name = reference.rpartition(":")
    if path.endswith(".py") or reference.endswith(".py"):
        return _from_file(Path(path or reference), name if path else "claim")
    known = installed_claims()
    if reference not in known:
        raise LookupError(
            f"no task {reference!r}; installed: {', '.join(known) or 'none'}. A task of your own "
            "is given as path/to/task.py:claim, pairs as path/to/pairs.csv, .tsv, .json or .jsonl"
        )
    return _checked(known[reference].load(), reference)


def about(reference: str) -> str:
    """The first line of the docstring of the module that an installed claim comes from."""
    module = importlib.import_module(installed_claims()[reference].module)
    return (module.__doc__ or "").strip().split("\n")[0]


def _from_file(path: Path, name: str) -> Sampleable:
    if not path.is_file():
        raise LookupError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and friends look their module up by name while it runs.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} fails: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if _is_claim(value)]
        raise LookupError(
            f"{path} has no {name!r}; the claims in it are: {', '.join(offered) or 'none'}"
        )
    return _checked(getattr(module, name), f"{path}:{name}")


def _is_claim(value: Any) -> bool:
    return isinstance(value, Sampleable) and not isinstance(value, type)


def _checked(value: Any, reference: str) -> Sampleable:
    if not _is_claim(value):
        raise ValueError(
            f"{reference} is a {type(value).__name__}, not a claim; make one with "
            "model.carries(...) or model.suffices(...)"
        )
    return value
