"""Hard circuits tried on the selection pairs, and the discrete moves that make them smaller.

Every method ends here: a ranking of sites becomes the smallest circuit that satisfies all
desiderata, and what was tried on the way is the frontier.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, nextafter

import torch
from jaxtyping import Float
from torch import Tensor

from ..objective.objective import Bound, Objective, gaps, race, slack
from ..progress import Progress
from .result import FrontierPoint, SearchConfig

Members = frozenset[int]  # indices of sites


@dataclass(frozen=True)
class Choice:
    """What a method settles on: a circuit, its score of every site (greater = more wanted), and
    its mask before rounding, where it has one."""

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
            scores = race(self.objective, rows, self.bounds, self.margin, self.live, least)
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
        """The best circuit tried at each size, with the satisfaction of every desideratum."""
        best: dict[int, Members] = {}
        for members, (clear, _) in self.seen.items():
            rival = best.get(len(members))
            if rival is None or clear > self.seen[rival][0]:
                best[len(members)] = members
        sizes = sorted(best)
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


def polish(
    trials: Trials,
    ranking: Sequence[int],
    reach_size: int,
    config: SearchConfig,
    progress: Progress,
) -> Members:
    """The smallest circuit that the discrete moves find, or the nearest where none holds.

    Args:
        ranking: sites, the most wanted first.
        reach_size: up to how many sites of the ranking are tried as they stand.
    """
    prefixes = [frozenset(ranking[:size]) for size in range(reach_size + 1)]
    clear = trials.slacks(prefixes)
    holding = [members for members, value in zip(prefixes, clear, strict=True) if value >= 0]
    current = holding[0] if holding else grow(trials, trials.best(), ranking, config, progress)
    if not trials.holds(current):
        return _nearest(trials)
    for number in range(config.rounds):
        current = drop(trials, current)
        progress.report("polish", number + 1, config.rounds, {"size": len(current)})
        better = exchange(trials, current, ranking, config)
        if better is None:
            break
        current = better
    weakest_first = _by_slack_without(trials, trials.best())
    trials.slacks([trials.best() - set(weakest_first[:n]) for n in range(1, len(weakest_first))])
    return trials.best()


def swap(
    trials: Trials, ranking: Sequence[int], size: int, config: SearchConfig, progress: Progress
) -> Members:
    """The circuit of exactly this size with the best slack that exchanging one member for one
    other site at a time leads to, from the first sites of the ranking."""
    current = frozenset(ranking[:size])
    for number in range(config.rounds * max(1, size)):
        outside = [site for site in ranking if site not in current][: config.reach]
        moves = [current - {old} | {new} for old in sorted(current) for new in outside]
        here, clear = trials.slacks([current])[0], trials.slacks(moves)
        progress.report("swap", number + 1, config.rounds * max(1, size), {"size": size})
        if not moves or max(clear) <= here:
            break
        current = moves[clear.index(max(clear))]
    return current


def grow(
    trials: Trials,
    current: Members,
    ranking: Sequence[int],
    config: SearchConfig,
    progress: Progress,
) -> Members:
    """Add or remove one site at a time, whichever comes nearest, until all desiderata hold.

    It ends, too, where nothing comes nearer, and after a round whose pace would not get there in
    the rounds that are left: where nothing holds, the way is long and each step tries many sites.
    """
    steps = 2 * config.rounds
    for number in range(config.rounds):
        start = here = trials.slacks([current])[0]
        for _ in range(steps):
            if here >= 0:
                return current
            outside = [site for site in ranking if site not in current][: config.reach]
            moves = [current | {site} for site in outside] + [current - {site} for site in current]
            nearer = trials.reaching(moves, nextafter(here, inf))
            if not nearer:
                return current
            current = max(nearer, key=lambda one: trials.slacks([one])[0])
            here = trials.slacks([current])[0]
            progress.report("grow", number + 1, config.rounds, {"size": len(current)})
        if here + (here - start) * (config.rounds - 1 - number) < 0:
            break
    return current


def drop(trials: Trials, current: Members, least: float = 0.0) -> Members:
    """Leave out what is not needed to hold, or to have this slack: at each turn as many of the
    least missed sites as possible."""
    while current:
        order = [
            site
            for site in _by_slack_without(trials, current)
            if trials.slacks([current - {site}])[0] >= least
        ]
        if not order:
            break
        smaller = [current - set(order[:count]) for count in range(1, len(order) + 1)]
        clear = trials.slacks(smaller)
        current = [m for m, value in zip(smaller, clear, strict=True) if value >= least][-1]
    return current


def _nearest(trials: Trials) -> Members:
    """Where none holds, the circuit nearest to it, without sites that bring it no nearer."""
    best = trials.best()
    while True:
        drop(trials, best, trials.slacks([best])[0])
        if trials.best() == best:
            return best
        best = trials.best()


def exchange(
    trials: Trials, current: Members, ranking: Sequence[int], config: SearchConfig
) -> Members | None:
    """A smaller circuit that holds, found by adding one site and dropping others; or None."""
    outside = [site for site in ranking if site not in current][: config.reach]
    wider = [current | {site} for site in outside]
    order = sorted(range(len(wider)), key=lambda n: -trials.slacks(wider)[n])
    for number in order[: max(1, config.reach // 4)]:
        if trials.holds(wider[number]):
            smaller = drop(trials, wider[number])
            if len(smaller) < len(current):
                return smaller
    return None


def _by_slack_without(trials: Trials, current: Iterable[int]) -> list[int]:
    """The members, the least missed first."""
    members = sorted(current)
    clear = trials.slacks([frozenset(members) - {site} for site in members])
    return [
        site for _, site in sorted(zip(clear, members, strict=True), key=lambda x: (-x[0], x[1]))
    ]
