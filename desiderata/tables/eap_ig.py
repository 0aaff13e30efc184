"""EAP-IG's and MIB's tables: `clean`, `corrupted`, and answers as token ids, a `label` or a year.

With `correct_idx` and `incorrect_idx` answers are token ids. With `label` (two digits) or `year`
the task is greater-than: the clean prompt ends in a century, and right is every pair of digits
above the label. EWoK has two contexts and the target of each.
"""

from collections.abc import Collection

from ..desideratum import Texts
from ..prompt import Prompt
from .auto_circuit import others_of
from .cells import Cells, shown
from .kept import SAYS, kept
from .layout import Layout, Made

CORRUPTED = ("corrupted", "corrupted_hard")


def _fits(columns: Collection[str]) -> bool:
    answers = {"correct_idx", "label", "year"} & set(columns)
    return {"clean", "corrupted"} <= set(columns) and bool(answers)


def _read(cells: Cells) -> list[Made]:
    clean = cells.prompt("clean")
    names = [name for name in CORRUPTED if name == "corrupted" or cells.row.get(name)]
    corrupted = {name: cells.prompt(name) for name in names}
    if "correct_idx" in cells.row:
        answer = cells.answer("correct_idx", ids=True)
        wrong = cells.answers("incorrect_idx", ids=True)
        others = others_of(answer, wrong) if answer else ()
    else:
        answer, others = _later_years(cells)
    if cells.problems or clean is None or answer is None:
        return []
    several = len(names) > 1
    return [
        kept(clean, prompt, answer, others=others, name=f"keeps under {name}" if several else "")
        for name, prompt in corrupted.items()
        if isinstance(prompt, Prompt)
    ]


def _later_years(cells: Cells) -> tuple[Texts | None, tuple[Texts, ...]]:
    """The two digits above those of the year, and the others, as two sets."""
    name = "label" if cells.row.get("label") not in (None, "") else "year"
    year = cells.whole(name)
    if year is None:
        return None, ()
    if name == "year":
        year %= 100
    if not 0 <= year < 99:
        cells.problems.append(
            f"{name} must be two digits below 99, so that a later one is right; got {shown(year)}"
        )
        return None, ()
    digits = [f"{number:02}" for number in range(100)]
    return tuple(digits[year + 1 :]), (tuple(digits[: year + 1]),)


EAP_IG = Layout(
    name="EAP-IG's layout (clean, corrupted)",
    columns=frozenset({"clean", *CORRUPTED, "correct_idx", "incorrect_idx", "label", "year"}),
    fits=_fits,
    read=_read,
    says=f"{SAYS}; each column of corrupted prompts is a desideratum of its own",
)


def _fits_ewok(columns: Collection[str]) -> bool:
    return {"context1", "context2", "target1", "target2"} <= set(columns)


def _read_ewok(cells: Cells) -> list[Made]:
    first, second = cells.prompt("context1"), cells.prompt("context2")
    right = cells.after(first, cells.answer("target1"))
    wrong = cells.after(second, cells.answer("target2"))
    if cells.problems or not (first and second and right and wrong):
        return []
    return [kept(first, second, right, corrupted_answer=wrong)]


EWOK = Layout(
    name="EWoK's layout (Context1, Context2, Target1, Target2)",
    columns=frozenset({"context1", "context2", "target1", "target2"}),
    fits=_fits_ewok,
    read=_read_ewok,
    says="Context1 is the base and Context2 the source; everything outside the circuit is patched, "
    "and Target1 must stay",
)
