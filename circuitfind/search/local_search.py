"""Discrete moves from one hard circuit to a smaller one, or to one that is nearer to holding.

Any method may end here (`SearchConfig.polish`). What it wants most becomes the smallest circuit
that satisfies all desiderata. The circuit of all sites is always among those tried: "no circuit" is
the answer only where it does not hold either.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf, nextafter

from ..progress import Progress
from .ranks import lifted, ordered, shortest_prefix
from .result import SearchConfig
from .trials import ChosenCircuit, Members, Trials

FEW = 4  # sites that are tried one by one at once; of more, blocks are left out first


def polished(
    choose: Callable[[Trials], ChosenCircuit], config: SearchConfig, progress: Progress
) -> Callable[[Trials], ChosenCircuit]:
    """A way to choose that begins where `choose` ends and makes the discrete moves from there.

    Its members rank above all other sites, by what the desiderata lose without each.
    """

    def choose_and_polish(trials: Trials) -> ChosenCircuit:
        choice = choose(trials)
        order = ordered(choice.ranking)
        if config.left is None:
            members = polish(trials, choice.members, order, config, progress)
        else:
            members = swap(trials, order, config.left, config, progress)
        ranking = lifted(choice.ranking, trials.losses(members), members)
        return ChosenCircuit(members, ranking, choice.membership)

    return choose_and_polish


def polish(
    trials: Trials,
    current: Members,
    ranking: Sequence[int],
    config: SearchConfig,
    progress: Progress,
) -> Members:
    """The smallest circuit that the discrete moves find, or the nearest where none holds.

    Args:
        current: the circuit to begin with.
        ranking: all sites, the most wanted first.
    """
    current = _holding(trials, current, ranking, config, progress)
    if not trials.holds(current):
        return _nearest(trials)
    if len(current) > FEW:
        current = leave_out(trials, current, [one for one in ranking[::-1] if one in current])
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


def _holding(
    trials: Trials,
    current: Members,
    ranking: Sequence[int],
    config: SearchConfig,
    progress: Progress,
) -> Members:
    """A circuit that holds: this one, a prefix of the ranking, or what is left of all sites; the
    nearest where none of them does."""
    ends = frozenset(ranking), frozenset[int]()
    if trials.holds(current) and not trials.holds(ends[1]):
        return current
    start = shortest_prefix(trials, ranking)
    if trials.holds(start):
        return start
    # What keeps may hold for a few sizes only, so that every size near the wanted one is tried.
    reach = min(len(ranking), len(current) + config.reach)
    prefixes = [frozenset(ranking[:size]) for size in range(reach + 1)]
    if holding := trials.reaching(prefixes):
        return holding[0]
    left = leave_out(trials, ends[0], ranking[::-1])
    if trials.holds(left):
        return left
    return grow(trials, trials.best(), ranking, config, progress)


def leave_out(trials: Trials, current: Members, order: Sequence[int]) -> Members:
    """The circuit without those sites of the order, the first first, that it does as well without.

    It does as well where every desideratum that holds still does, and no other falls further.
    Sites are tried in blocks, which double while nothing in them is missed; in one where something
    is, bisection finds the first that is. So a few needed sites among n take few trials each, on
    the order of log n.
    """
    start, size = 0, max(1, len(order) // 2)
    while start < len(order):
        block = order[start : start + size]
        without = _most(partial(_as_well, trials, current, block), len(block))
        current = current - set(block[:without])
        start += min(without + 1, len(block))  # the next one is missed, or the block is through
        size = 2 * size if without == len(block) else max(1, size // 2)
    return current


def _as_well(trials: Trials, current: Members, block: Sequence[int], n: int) -> bool:
    """Whether a circuit does as well without the first n of a block; see `leave_out`."""
    smaller = current - set(block[:n])
    if trials.holds(current):
        return bool(trials.reaching([smaller]))
    return bool((trials.gaps(smaller) >= trials.gaps(current).clamp(max=0)).all())


def _most(does: Callable[[int], bool], n: int) -> int:
    """The most of n for which something does, where it does for none and for fewer than some."""
    if does(n):
        return n
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if does(middle) else (low, middle)
    return low


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
    every = current.union(outside)
    # With all of them added at once, at least two members must be able to go, or none will be two
    # fewer with one of them: seen in as many trials as there are members.
    if trials.reaching([every]) and len(_can_go(trials, every, current)) < 2:
        return None
    wider = trials.reaching([current | {site} for site in outside])
    wider.sort(key=lambda one: -trials.slacks([one])[0])
    for one in wider[: max(1, config.reach // 4)]:
        if len(_can_go(trials, one, current)) < 2:
            continue
        smaller = drop(trials, one)
        if len(smaller) < len(current):
            return smaller
    return None


def _can_go(trials: Trials, wider: Members, members: Members) -> list[Members]:
    """The wider circuit without one of the members, for each where it still holds."""
    return trials.reaching([wider - {old} for old in sorted(members)])


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
