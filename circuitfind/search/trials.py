"""Hard circuits tried on the selection pairs, each scored once.

What a search tried on its way is its frontier.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..objective.objective import Bound, Objective, gaps, slack
from .result import FrontierPoint

Members = frozenset[int]  # indices of sites
APART = 1.5  # sizes of a frontier beyond twice the chosen one


@dataclass(frozen=True)
class ChosenCircuit:
    """The circuit that a method ends with.

    `ranking` scores every site, greater = more wanted; `membership` is the method's mask before
    rounding, where it has one.
    """

    members: Members
    ranking: Float[Tensor, " site"]
    membership: Float[Tensor, " site"] | None = None


@dataclass
class Trials:
    """The circuits tried so far, each with its satisfactions and its slack.

    `live` are the desiderata that are scored at every trial; the others, which both the empty
    and the full circuit satisfy, are looked at once a circuit is chosen.
    """

    objective: Objective
    bounds: tuple[Bound, ...]
    margin: tuple[float, ...]
    live: tuple[int, ...]
    seen: dict[Members, tuple[float, Float[Tensor, " desideratum"]]] = field(default_factory=dict)

    def slacks(self, circuits: Sequence[Members]) -> list[float]:
        """By how much each circuit clears its tightest bound; the new ones in one batch."""
        fresh = [members for members in dict.fromkeys(circuits) if members not in self.seen]
        if fresh:
            scores = self.objective.scores(self._rows(fresh), self.live)
            for members, row, clear in zip(
                fresh, scores, slack(scores, self.bounds, self.margin).tolist(), strict=True
            ):
                self.seen[members] = clear, row
        return [self.seen[members][0] for members in circuits]

    def gaps(self, members: Members) -> Float[Tensor, " desideratum"]:
        """By how much a circuit clears each bound; infinity for what is not live."""
        self.slacks([members])
        return gaps(self.seen[members][1][None], self.bounds, self.margin)[0]

    def holds(self, members: Members) -> bool:
        """Whether a circuit clears every live bound."""
        return self.slacks([members])[0] >= 0

    def reaching(self, circuits: Sequence[Members], least: float = 0.0) -> list[Members]:
        """Those of these circuits whose slack is at least this much: by default, those that hold.

        One that falls short on a desideratum is not scored on the next, nor counted as tried.
        """
        fresh = [members for members in dict.fromkeys(circuits) if members not in self.seen]
        if fresh:
            rows = self._rows(fresh)
            scores = scores_until_failure(
                self.objective, rows, self.bounds, self.margin, self.live, least
            )
            clear = slack(scores, self.bounds, self.margin).tolist()
            self.seen |= {
                members: (value, row)
                for members, value, row in zip(fresh, clear, scores, strict=True)
                if value >= least
            }
        return [one for one in circuits if one in self.seen and self.seen[one][0] >= least]

    def _rows(self, circuits: Sequence[Members]) -> Float[Tensor, "mask site"]:
        rows = torch.zeros(len(circuits), len(self.objective.sites))
        for row, members in zip(rows, circuits, strict=True):
            row[list(members)] = 1.0
        return rows

    def best(self, size: int | None = None) -> Members:
        """The smallest circuit tried that holds, or the one nearest to holding.

        Args:
            size: only among those of this size.
        """
        return min(
            (members for members in self.seen if size is None or len(members) == size),
            key=lambda members: (
                min(self.seen[members][0], 0.0) * -1,
                len(members),
                -self.seen[members][0],
                sorted(members),
            ),
        )

    def losses(self, members: Members) -> Float[Tensor, " member"]:
        """What the live desiderata lose on average without each member, in shares of pairs."""
        inside, live = sorted(members), list(self.live)
        self.slacks([members, *(members - {site} for site in inside)])
        whole = self.seen[members][1][live]
        without = [self.seen[members - {site}][1][live] for site in inside]
        return torch.stack(
            [(whole - row).mean() if live else torch.zeros(()) for row in without]
            or [torch.zeros(())]
        )[: len(inside)]

    def complete(self, circuits: Sequence[Members]) -> Float[Tensor, "mask desideratum"]:
        """The satisfaction of every desideratum, the vacuous ones too, by these circuits."""
        return self.objective.scores(self._rows(circuits))

    def frontier(self) -> tuple[FrontierPoint, ...]:
        """The best circuit tried at each size, with the satisfaction of every desideratum; of sizes
        beyond twice the best circuit's only a few."""
        best: dict[int, Members] = {}
        for members, (clear, _) in self.seen.items():
            rival = best.get(len(members))
            if rival is None or clear > self.seen[rival][0]:
                best[len(members)] = members
        sizes = _thinned(sorted(best), max(1, len(self.best())))
        if not sizes:
            return ()
        names = [desideratum.name for desideratum in self.objective.desiderata]
        rows = self._rows([best[size] for size in sizes])
        vacuous = [index for index in range(len(names)) if index not in self.live]
        scores = self.objective.scores(rows, vacuous)
        for row, size in zip(scores, sizes, strict=True):
            row[list(self.live)] = self.seen[best[size]][1][list(self.live)]
        return tuple(
            FrontierPoint(
                size,
                tuple(str(self.objective.sites[index]) for index in sorted(best[size])),
                dict(zip(names, map(float, row), strict=True)),
                self.seen[best[size]][0],
            )
            for size, row in zip(sizes, scores.tolist(), strict=True)
        )


def _thinned(sizes: Sequence[int], chosen: int) -> list[int]:
    """These sizes up to twice the chosen one, and few of the larger: each half as large again as
    the one before, and the last."""
    kept: list[int] = []
    for size in sizes:
        near = size <= 2 * chosen + 1 or size == sizes[-1]
        if near or not kept or size >= APART * kept[-1]:
            kept.append(size)
    return kept


def scores_until_failure(
    objective: Objective,
    table: Float[Tensor, "mask site"],
    bounds: Sequence[Bound],
    margin: Sequence[float],
    live: Sequence[int],
    least: float,
) -> Float[Tensor, "mask desideratum"]:
    """The scores of each mask on the live desiderata, up to the first that it fails.

    A mask whose slack falls below `least` on a desideratum is not scored on the next ones. It has
    NaN there, so that the slack of its row is an upper limit.
    """
    made = torch.full((len(table), len(bounds)), float("nan"))
    left = torch.arange(len(table))
    # What should follow first, since few sites do that, and many keep things as they are.
    for index in sorted(live, key=lambda index: objective.desiderata[index].sense != "follows"):
        made[left, index] = objective.scores(table[left], [index])[:, index]
        # In double precision: in single, a `least` just above a slack would be as good as it.
        left = (slack(made, bounds, margin).double() >= least).nonzero()[:, 0]
        if not len(left):
            break
    return made
