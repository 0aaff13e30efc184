"""What the model itself says about desiderata before search: does it solve them, can they move?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from ..answers.answer import Answer, Target
from ..answers.spelling import Continuations
from ..models.model import Model
from ..models.prompts import Prompts
from .continuing import untouched
from .cost import Cost
from .encoding import Batch
from .intervals import interval

SOLVED_AT_LEAST = 0.5  # below this share of solved pairs a circuit would explain little
FEWEST, MOST = 16, 64  # pairs in a pass, if there are as many; wider passes are no faster


@dataclass(frozen=True)
class Solved:
    """How many of a desideratum's pairs the model solves unpatched, base and source, and the rows
    of those that it does not."""

    name: str
    n: int
    solved: int
    missed: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """The share of pairs of which the model answers both prompts, in [0, 1]."""
        return self.solved / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Clopper-Pearson interval of the share."""
        return interval(self.solved, self.n)


@torch.no_grad()
def solves(model: Model, batch: Batch, cost: Cost) -> Bool[Tensor, " pair"]:
    """Of which pairs the model gives the base's and the source's answer, unpatched.

    A source whose answer nobody gave counts as solved.
    """
    answer, fed = batch.answer, batch.continued
    base = _right(model, answer, batch.base, batch.base_answer, fed, cost)
    source = _right(model, answer, batch.source, batch.source_answer, fed, cost)
    return base & (source | ~batch.source_answer.known)


def keep_solved(
    model: Model, batches: Sequence[Batch], n: int, cost: Cost
) -> tuple[tuple[Batch, ...], tuple[Solved, ...]]:
    """The batches with up to `n` of the pairs that the model solves, and how many it did.

    Pairs are looked at in turn, and no more of them than it takes to have `n`.
    """
    kept, counts = [], []
    for batch in batches:
        seen, rows, missed = 0, [], []
        while len(rows) < n and seen < len(batch):
            # As many as are wanting, but not so few that passes get slow.
            turn = range(seen, min(len(batch), seen + max(n - len(rows), FEWEST)))
            solved = solves(model, batch.take(turn), cost)
            for row, right in zip(turn, solved.tolist(), strict=True):
                (rows if right else missed).append(row)
            seen = turn.stop
        counts.append(Solved(batch.desideratum.name, seen, len(rows), tuple(missed)))
        if rows:
            kept.append(batch.take(rows[:n]))
    return tuple(kept), tuple(counts)


def keep_known(
    batches: Sequence[Batch], n: int, counts: Sequence[Solved]
) -> tuple[tuple[Batch, ...], tuple[Solved, ...]]:
    """What `keep_solved` gave where it counted so, without running the model again."""
    kept = [
        batch.take([row for row in range(count.n) if row not in count.missed][:n])
        for batch, count in zip(batches, counts, strict=True)
        if count.solved
    ]
    return tuple(kept), tuple(counts)


def precheck(model: Model, counts: Sequence[Solved]) -> list[str]:
    """Why a result would be meaningless, in words; empty where nothing speaks against it."""
    problems = []
    for count in counts:
        if count.share < SOLVED_AT_LEAST:
            low, high = count.interval
            problems.append(
                f"{count.name}: {model.name} answers both prompts of only {count.share:.2f} of "
                f"{count.n} pairs unpatched (95 % interval {low:.2f} to {high:.2f}; at least "
                f"{SOLVED_AT_LEAST} expected); there is no behaviour to explain"
            )
    return problems


def _right(
    model: Model,
    answer: Answer,
    prompts: Prompts,
    target: Target,
    continued: Continuations | None,
    cost: Cost,
) -> Bool[Tensor, " pair"]:
    """Which prompts the model answers as the target asks, unpatched."""
    pieces = []
    for rows in torch.arange(len(prompts.tokens)).split(min(MOST, model.pairs_at_once)):
        mine = target.take(rows)
        output = untouched(model, prompts.take(rows), continued and continued.take(rows), cost)
        pieces.append(answer.hit(output[None], mine)[0].to(target.known.device))
    return torch.cat(pieces)
