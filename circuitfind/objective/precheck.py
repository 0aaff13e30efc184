"""What the model itself says about desiderata before search: does it solve them, can they move?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from ..answers.answer import Target
from ..answers.spelling import Continuations
from ..mediators.site import Site
from ..models.model import Model
from ..models.prompts import Prompts
from .continuing import untouched
from .cost import Cost
from .encoding import Batch
from .intervals import interval
from .kept import Kept

SOLVED_AT_LEAST = 0.5  # below this share of solved pairs a circuit would explain little
FEWEST, MOST = 16, 64  # pairs in a pass, if there are as many; wider passes are no faster

Run = Callable[[Prompts, Continuations | None], Tensor]


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

    A source whose answer nobody gave counts as solved. What the passes give besides is kept where
    the batch says so (`Batch.kept`).
    """

    kept, most = batch.kept, min(MOST, model.pairs_at_once)

    def running(way: Callable[[Prompts], Tensor] | None) -> Run:
        def run(prompts: Prompts, continued: Continuations | None) -> Tensor:
            if way is None:
                return untouched(model, prompts, continued, cost)
            n_rows, width = prompts.tokens.shape
            cost.add(model, n_rows, width, width)
            return way(prompts)

        return run

    run_base, run_source = (running(kept and kept.run_base), running(kept and kept.run_source))
    base = _right(batch, batch.base, batch.base_answer, run_base, most)
    source = _right(batch, batch.source, batch.source_answer, run_source, most)
    return base & (source | ~batch.source_answer.known)


def keep_solved(
    model: Model, batches: Sequence[Batch], n: int, cost: Cost, sites: Sequence[Site] = ()
) -> tuple[tuple[Batch, ...], tuple[Solved, ...]]:
    """The batches with up to `n` of the pairs that the model solves, and how many it did.

    Pairs are looked at in turn, and no more of them than it takes to have `n`.

    Args:
        sites: what will be patched. The activations that this needs are kept, so that no prompt
            runs a second time.
    """
    kept, counts = [], []
    shared = Kept(model, tuple(sites)) if "prefix" in model.engine.can and sites else None
    for batch in batches:
        if batch.continued is None and "all" not in batch.desideratum.at:
            batch = replace(batch, kept=shared)
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
    batch: Batch,
    prompts: Prompts,
    target: Target,
    run: Run,
    most: int,
) -> Bool[Tensor, " pair"]:
    """Which prompts the model answers as the target asks, unpatched."""
    pieces, fed = [], batch.continued
    for rows in torch.arange(len(prompts.tokens)).split(most):
        mine = target.take(rows)
        output = run(prompts.take(rows), fed and fed.take(rows))
        pieces.append(batch.answer.hit(output[None], mine)[0].to(target.known.device))
    return torch.cat(pieces)
