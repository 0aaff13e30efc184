"""auto-circuit's data sets: `prompts` of `clean`, `corrupt`, `answers`, `wrong_answers`."""

from collections.abc import Collection

from ..desideratum import Texts, texts_of
from .cells import Cells
from .kept import SAYS, kept
from .layout import Layout, Made


def _fits(columns: Collection[str]) -> bool:
    return {"clean", "corrupt", "answers"} <= set(columns)


def _read(cells: Cells) -> list[Made]:
    clean, corrupt = cells.prompt("clean"), cells.prompt("corrupt")
    ids = bool(clean and clean.ids)
    answer = cells.answer("answers", ids=ids)
    wrong = cells.answers("wrong_answers", ids=ids)
    if cells.problems or not (clean and corrupt and answer):
        return []
    return [kept(clean, corrupt, answer, others=others_of(answer, wrong))]


def others_of(answer: Texts, wrong: tuple[Texts, ...]) -> tuple[Texts, ...]:
    """Wrong answers as they are compared with the right one: each by itself, but as one set where
    the right answer is a set, as a sum of probabilities is compared with another."""
    right = texts_of(answer)
    texts = tuple(dict.fromkeys(text for one in wrong for text in texts_of(one)))
    texts = tuple(text for text in texts if text not in right)
    return (texts,) if len(right) > 1 and texts else texts


AUTO_CIRCUIT = Layout(
    name="auto-circuit's layout (clean, corrupt, answers, wrong_answers)",
    columns=frozenset({"clean", "corrupt", "answers", "wrong_answers"}),
    fits=_fits,
    read=_read,
    says=SAYS,
)
