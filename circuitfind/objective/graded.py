"""Desiderata whose bound is a number with a unit: what a patch loses of the untouched behaviour.

With L a pair's loss under a circuit, and W its loss where every site that may be patched is, the
satisfaction is 1 - mean L / mean W: 1 where nothing is lost and 0 where everything is. Losing no
more than d on average is to keep 1 - d / mean W.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import Desideratum, Limit

from ..answers.answer import Output
from .encoding import Batch

TINY = 1e-6  # a loss that rounding makes


def limit_of(desideratum: Desideratum) -> Limit:
    """The limit of a graded desideratum.

    Raises:
        ValueError: it has none.
    """
    if desideratum.limit is None:
        raise ValueError(f"{desideratum.name}: expected a desideratum with a limit")
    return desideratum.limit


def unit_of(batch: Batch) -> str:
    """The unit that a graded desideratum's losses are in."""
    return batch.answer.unit if limit_of(batch.desideratum).of == "preference" else "nats"


def preferences(batch: Batch, output: Output) -> Float[Tensor, "mask pair"]:
    """By how much the base's answer is ahead of the source's; of the best other one where the
    source's is not known, or the same."""
    lead = batch.answer.lead(output, batch.base_answer)
    apart = batch.source_answer.known & batch.source_answer.differs(batch.base_answer)
    contrast = batch.answer.contrast(output, batch.base_answer, batch.source_answer)
    return torch.where(apart.to(lead.device), contrast, lead)


def losses(
    batch: Batch, output: Output, untouched: Float[Tensor, "one pair *output"]
) -> Float[Tensor, "mask pair"]:
    """What each pair loses, in the unit of `unit_of`; the preference may gain, so that it is below
    0. The outputs are of the same pairs, the untouched one for a single mask."""
    if limit_of(batch.desideratum).of == "distribution":
        return batch.answer.divergence(untouched[0], output)
    return preferences(batch, untouched) - preferences(batch, output)


@dataclass(frozen=True)
class Graded:
    """What a graded desideratum's pairs lose at most, and may lose.

    Args:
        worst: what each pair loses where every site that may be patched is.
    """

    limit: Limit
    worst: Float[Tensor, " pair"]

    @property
    def range(self) -> float:
        """The mean of what can be lost."""
        return float(self.worst.double().mean())

    @property
    def allowed(self) -> float:
        """The mean that may be lost."""
        return (
            self.limit.within
            if self.limit.within is not None
            else (1 - (self.limit.share or 0.0)) * self.range
        )

    @property
    def need(self) -> float:
        """The satisfaction to reach; 1 where nothing can be lost, which every circuit reaches."""
        return 1 - self.allowed / self.range if self.range > TINY else 1.0

    def satisfaction(self, lost: Float[Tensor, "mask pair"]) -> Float[Tensor, " mask"]:
        """The share that is kept of what can be lost."""
        if self.range <= TINY:
            return torch.ones(len(lost))
        return (1 - lost.double().mean(dim=1) / self.range).float()

    def over(self, lost: Float[Tensor, "mask pair"]) -> Float[Tensor, "mask pair"]:
        """By how much each pair loses more than it may; a mean of 0 or less is within the limit."""
        if self.limit.share is None:
            return lost - (self.limit.within or 0.0)
        return lost - (1 - self.limit.share) * self.worst

    @property
    def spread(self) -> float:
        """The standard error of the satisfaction at the limit, from how much pairs differ where
        everything is lost, as if their losses there were the same in proportion."""
        if self.range <= TINY or len(self.worst) < 2:
            return 0.0
        relative = float(self.worst.double().std()) / self.range
        room = max(0.0, 1 - self.need)
        return min(relative * room / len(self.worst) ** 0.5, room / 4)


def concatenated(pieces: Sequence[Tensor]) -> Tensor:
    """What pieces of a desideratum's pairs give, side by side, on the CPU."""
    return torch.cat([piece.float().cpu() for piece in pieces], dim=1)
