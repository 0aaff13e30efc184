"""Discrete moves from one hard circuit to a smaller one, or to one that is nearer to holding.

Methods that polish end here: a ranking of sites becomes the smallest circuit that satisfies all
desiderata.
"""

from collections.abc import Iterable, Sequence
from math import inf, nextafter

from ..progress import Progress
from .result import SearchConfig
from .trials import Members, Trials


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

    It also ends where nothing comes nearer, and after a round whose pace is too slow for the rounds
    that are left: where nothing holds, many steps would try many sites each.
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
    """The circuit without sites that it does not need to have this slack; 0 is to hold.

    Each turn leaves out as many of the least missed sites as possible.
    """
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


def _nearest(trials: Trials) -> Members:
    """The circuit tried that is closest to the bounds, without sites that do not help."""
    best = trials.best()
    while True:
        drop(trials, best, trials.slacks([best])[0])
        if trials.best() == best:
            return best
        best = trials.best()


def _by_slack_without(trials: Trials, current: Iterable[int]) -> list[int]:
    """The members, the least missed first."""
    members = sorted(current)
    clear = trials.slacks([frozenset(members) - {site} for site in members])
    return [
        site for _, site in sorted(zip(clear, members, strict=True), key=lambda x: (-x[0], x[1]))
    ]
