"""The answers that are known by name, and the one that a desideratum asks for."""

from desiderata import Alternatives, Desideratum

from ..registry import Registry
from .among import Among
from .answer import Answer
from .top import Top

ANSWERS: Registry[Answer] = Registry("circuitfind.answers", (Top(),), "answer", kind=Answer)


def answer_of(desideratum: Desideratum) -> Answer:
    """The answer that a desideratum is scored by.

    Raises:
        LookupError: an answer's name that nobody has.
        TypeError: an object that is no answer.
    """
    asked = desideratum.answer
    if isinstance(asked, Alternatives):
        return Among(asked.sets, asked.first)
    made = ANSWERS.named(asked) if isinstance(asked, str) else asked
    if not isinstance(made, Answer):
        raise TypeError(f"an answer has encode, hit, lead and more; got {made!r}")
    return made
