"""Answers to compare with, where a pair names none itself.

A pair that keeps its answer and whose source answers alike names one answer alone: "the key near
the cabinet" and "the key near the cars" both want " is". Where each pair is scored by the answers
that it names, such a pair is compared with the other answers of the claim, up to
twelve.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from .choices import Alternatives
from .desideratum import Desideratum, Pair, Texts, texts_of

Side = tuple[Desideratum, ...]


def with_opponents(side: Side) -> Side:
    """The same desiderata in which every pair that is scored by what it names has something to be
    compared with: of the other answers of these desiderata those that are wrong there.

    Search and held-out pairs go in by themselves, so that search sees no answer that is held out.
    """
    every = [one for one in side if one.answer in BY_NAME]
    texts = sorted({text for one in every for pair in one.pairs for text in _named(pair)})

    def each(one: Desideratum) -> Desideratum:
        if one.answer not in BY_NAME:
            return one
        return replace(one, pairs=tuple(_opposed(pair, texts) for pair in one.pairs))

    return tuple(map(each, side))


MOST = 12  # texts that a pair is compared with, where a claim names more
BY_NAME = (Alternatives(), Alternatives(first=True))


def _opposed(pair: Pair, texts: Sequence[str]) -> Pair:
    right = set(texts_of(pair.asked))
    if set(_named(pair)) - right:
        return pair
    wrong = [text for text in texts if text not in right]
    if len(wrong) > MOST:  # which ones depends on the pair alone
        wrong = sorted(random.Random(f"opponents/{pair.base.text}").sample(wrong, MOST))
    return replace(pair, others=tuple(wrong))


def _named(pair: Pair) -> list[str]:
    given: list[Texts | None] = [
        pair.expected,
        pair.base_answer,
        pair.source_answer,
        *pair.others,
    ]
    return [text for one in given if one is not None for text in texts_of(one)]
