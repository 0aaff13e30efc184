"""feature-circuits' JSON lines: `clean_prefix`, `patch_prefix`, `clean_answer`, `patch_answer`."""

from collections.abc import Collection

from .cells import Cells
from .kept import SAYS, kept
from .layout import Layout, Made

_COLUMNS = frozenset({"clean_prefix", "patch_prefix", "clean_answer", "patch_answer"})


def _fits(columns: Collection[str]) -> bool:
    return {"clean_prefix", "patch_prefix"} <= set(columns)


def _read(cells: Cells) -> list[Made]:
    clean, patch = cells.prompt("clean_prefix"), cells.prompt("patch_prefix")
    ids = bool(clean and clean.ids)
    right = cells.after(clean, cells.answer("clean_answer", ids=ids))
    wrong = cells.after(patch, cells.answer("patch_answer", ids=ids))
    if cells.problems or not (clean and patch and right and wrong):
        return []
    return [kept(clean, patch, right, corrupted_answer=wrong)]


FEATURE_CIRCUITS = Layout(
    name="feature-circuits' layout (clean_prefix, patch_prefix, clean_answer, patch_answer)",
    columns=_COLUMNS,
    fits=_fits,
    read=_read,
    says=f"{SAYS}; the corrupted prompt's answer is the wrong one",
)
