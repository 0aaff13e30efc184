"""Which entries of the vocabulary decide about answers, so that the others need no logits.

A language model's unembedding is a third of a token's work and most of a trial's memory. What is
kept here is exact: the answers say which entries their leads and hits depend on (`entries`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from ..answers.answer import Decided, Need, Target
from ..answers.spelling import NOTHING
from ..engines.engine import Shortlist, Unembed
from .encoding import Batch


@dataclass(eq=False)
class Wanted:
    """What is read of a pass's outputs; it grows by the entries that the last pass kept and by how
    many streams were unembedded whole.

    Args:
        batches: those of the pass, whose rows come one after another.
        targets: what each batch's outputs are scored for.
    """

    batches: Sequence[Batch]
    targets: Sequence[Target]
    need: Need
    kept: Int[Tensor, " token"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    unembedded: int = 0

    def of(self, rows: Int[Tensor, " shown"]) -> Shortlist:
        """The shortlist of a pass whose streams belong to these rows of the batches."""

        def choose(streams: Tensor, unembed: Unembed) -> Tensor:
            flat, found, start = streams.flatten(0, -2), [], 0
            counted = _Counting(unembed)
            for batch, target in zip(self.batches, self.targets, strict=True):
                mine = ((rows >= start) & (rows < start + len(target))).nonzero()[:, 0]
                answer = batch.answer
                if not isinstance(answer, Decided):
                    raise TypeError(f"expected an answer with `entries`; got {answer.name}")
                near = _tokens([batch.base_answer, batch.source_answer], flat.device)
                shown = target.take(rows[mine] - start)
                own = flat if len(mine) == len(flat) else flat[mine.to(flat.device)]
                found.append(answer.entries(own, counted, shown, near, self.need))
                start += len(target)
            self.kept, self.unembedded = torch.cat(found).unique(), counted.streams
            return self.kept

        return choose

    def narrowed(self, number: int = 0) -> Target:
        """A batch's target in an output that has the kept entries alone."""
        return self.targets[number].narrowed(self.kept)


class _Counting(Unembed):
    """An unembedding that counts the streams it is given."""

    def __init__(self, unembed: Unembed) -> None:
        self.unembed, self.streams = unembed, 0

    @property
    def n_vocab(self) -> int:
        return self.unembed.n_vocab

    def __call__(self, streams: Tensor, tokens: Tensor | None = None) -> Tensor:
        self.streams += len(streams) * (tokens is None)
        return self.unembed(streams, tokens)


def _tokens(targets: Sequence[Target], device: torch.device) -> Int[Tensor, " token"]:
    """The tokens of the answers of one token."""
    ids = [one.spelling.ids.flatten() for one in targets if one.spelling is not None]
    found = torch.cat(ids).unique() if ids else torch.zeros(0, dtype=torch.long)
    return found[found != NOTHING].to(device)


def wanted_of(batches: Sequence[Batch], targets: Sequence[Target], need: Need) -> Wanted | None:
    """What is wanted of outputs that are read for hits or leads alone; None where an answer depends
    on more than a few logits after the prompt."""
    for batch, target in zip(batches, targets, strict=True):
        answer = batch.answer
        if batch.continued is not None or not isinstance(answer, Decided):
            return None
        if not answer.is_decided(target):
            return None
    return Wanted(batches, targets, need)
