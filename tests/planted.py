"""The planted model that many tests share, with its task and its circuit (circuitfind/planted.py).

Heads a1.h0 and a1.h1 each fetch one half of the value's code, so that exactly these two carry the
answer at the last token and neither does anything alone. a1.h2 copies the query where nothing reads
it, a1.h3 adds a little of the first value's logit, and the rest is idle.
"""

from dataclasses import replace
from typing import Any

from circuitfind.answers.answer import Target
from circuitfind.mediators.head import head
from circuitfind.models import native
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from tasks.planted import KEYS, VALUES, claim, prompt
from tasks.planted import model as task

__all__ = ["CIRCUIT", "KEYS", "VALUES", "claim", "planted_model", "prompt", "task"]

CIRCUIT = (head(1, 0), head(1, 1))


def planted_model() -> Model:
    """The model `planted`."""
    return load_model("planted", device="cpu")


def shifted(target: Target) -> Target:
    """The target with other tokens in the place of its own."""
    assert target.spelling is not None
    ids = (target.spelling.ids + 1) % len(VALUES)
    keys = tuple(frozenset({(token,)}) for token in ids[:, 0, 0].tolist())
    return replace(target, spelling=replace(target.spelling, ids=ids), keys=keys)


def word_tokenizer(words: list[str]) -> Any:
    """A tokenizer with one token for each of these words, and padding and the unknown word."""
    return native.word_tokenizer([*words, "<pad>", "<unk>"])
