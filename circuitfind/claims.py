"""Finding claims: installed tasks by name, a user's file, or a table of pairs."""

import hashlib
import importlib
import importlib.util
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

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
from desiderata.given import MAX_BAD

from .task_files import checked_claim, from_file

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
        from .models.loading import load_saved  # torch, which no other claim needs

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
    if donor in BUILT_IN:
        return donor  # type: ignore[return-value]
    from .donors.known import DONORS  # torch, which claims need not load

    found = DONORS.named(donor) if isinstance(donor, str) else donor
    return next((name for name in BUILT_IN if name == name_of(found)), found)


def _from_tables(path: str, held_out: str | None, max_bad: float | None) -> Sampleable:
    if missing := [one for one in (path, held_out) if one and not Path(one).is_file()]:
        raise LookupError(f"no file {' and no file '.join(missing)}")
    share = MAX_BAD if max_bad is None else max_bad
    return read_pairs(path, held_out=held_out, max_bad=share)


def _load(reference: str) -> Sampleable:
    if own := own_file(reference):
        return from_file(*own)
    known = installed_claims()
    if reference not in known:
        raise LookupError(
            f"no task {reference!r}; installed: {', '.join(known) or 'none'}. A task of your own "
            "is given as path/to/task.py:claim, pairs as path/to/pairs.csv, .tsv, .json or .jsonl"
        )
    return checked_claim(known[reference].load(), reference)


def own_file(reference: str) -> tuple[Path, str] | None:
    """The Python file and the name in it that a reference such as `task.py:claim` stands for; None
    where it is an installed task or a table."""
    path, _, name = reference.rpartition(":")
    if path.endswith(".py"):
        return Path(path), name
    return (Path(reference), "claim") if reference.endswith(".py") else None


def digest_of_task(reference: str) -> str | None:
    """SHA-256 of the file that a task comes from: a Python file, the module of an installed task,
    or a table of pairs. None where there is no such file. The file is not run for that."""
    if own := own_file(reference):
        path: Path | None = own[0]
    elif is_table(reference):
        path = Path(reference)
    else:
        known = installed_claims().get(reference)
        path = known and _module_file(known.module)
    if path is None or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _module_file(module: str) -> Path | None:
    """The file of an installed module, whose packages are imported for that."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def about(reference: str) -> str:
    """The first line of the docstring of the module that an installed claim comes from."""
    module = importlib.import_module(installed_claims()[reference].module)
    return (module.__doc__ or "").strip().split("\n")[0]
