"""Finding claims: installed tasks by name, a user's file, or a table of pairs."""

import importlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from desiderata import DonorChoice, Sampleable, SavedInputs, name_of, read_pairs
from desiderata.choices import DONORS as BUILT_IN

from .task_files import checked_claim, from_file

GROUP = "circuitfind.tasks"
SAVED = "suffices"  # the claim that a native model's saved inputs make
TABLES = (".csv", ".jsonl", ".ndjson")


def installed_claims() -> dict[str, EntryPoint]:
    """The claims that installed packages offer, by name, through the entry-point group."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def load_claim(
    reference: str, model: str | None = None, donor: str | DonorChoice | None = None
) -> Sampleable:
    """The claim that a name, a `file.py:name`, or a table of pairs stands for.

    A Python file is run, as any script that you start would be.

    Args:
        model: the model's name; `suffices` is about the inputs that are saved beside it.
        donor: another donor than the claim's own, by name or as an object.

    Raises:
        LookupError: no such task, file, or name in the file; no inputs saved beside the model; no
            such donor.
        ValueError: a file that fails, a name in it that is not a claim.
    """
    if reference == SAVED:
        if model is None:
            raise LookupError(f"{SAVED} is about the inputs saved beside a model; name the model")
        from .models.loading import load_saved  # torch, which no other claim needs

        return SavedInputs(load_saved(model), _chosen(donor or "source"))
    claim = _load(reference)
    return claim.ablated(_chosen(donor)) if donor else claim


def _chosen(donor: str | DonorChoice) -> DonorChoice:
    """The donor of this name; those of this package stay names, which claims write out."""
    if donor in BUILT_IN:
        return donor  # type: ignore[return-value]
    from .donors.known import DONORS  # torch, which claims need not load

    found = DONORS.named(donor) if isinstance(donor, str) else donor
    return next((name for name in BUILT_IN if name == name_of(found)), found)


def _load(reference: str) -> Sampleable:
    if Path(reference).suffix in TABLES:
        if not Path(reference).is_file():
            raise LookupError(f"no file {reference}")
        return read_pairs(reference)
    path, _, name = reference.rpartition(":")
    if path.endswith(".py") or reference.endswith(".py"):
        return from_file(Path(path or reference), name if path else "claim")
    known = installed_claims()
    if reference not in known:
        raise LookupError(
            f"no task {reference!r}; installed: {', '.join(known) or 'none'}. A task of your own "
            "is given as path/to/task.py:claim, pairs as path/to/pairs.csv"
        )
    return checked_claim(known[reference].load(), reference)


def about(reference: str) -> str:
    """The first line of the docstring of the module that an installed claim comes from."""
    module = importlib.import_module(installed_claims()[reference].module)
    return (module.__doc__ or "").strip().split("\n")[0]
