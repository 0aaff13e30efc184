"""From a ranking of sites to a circuit: the one search on k that all rankings share.

The circuit is the shortest prefix of the ranking that satisfies every desideratum on the
selection pairs. Satisfaction need not rise with k (what must keep still breaks when too much is
patched), so that plain bisection between nothing and everything will not do: prefixes at sizes
that grow by a half are tried first, then the gap below the first one that holds is bisected; where
none holds, the gaps beside the nearest one are halved until nothing is left between.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .result import SearchConfig
from .trials import ChosenCircuit, Members, Trials

GROWTH = 1.5  # from one size tried to the next


def ranked(
    ranking: Float[Tensor, " site"],
    config: SearchConfig,
    membership: Float[Tensor, " site"] | None = None,
) -> Callable[[Trials], ChosenCircuit]:
    """How a method that ends in a ranking chooses its circuit: `config.left` sites, or as many as
    the desiderata need.

    Args:
        membership: the method's mask before rounding, if it has one.
    """

    def choose(trials: Trials) -> ChosenCircuit:
        return ChosenCircuit(members_by_rank(trials, ranking, config), ranking, membership)

    return choose


def members_by_rank(
    trials: Trials, ranking: Float[Tensor, " site"], config: SearchConfig
) -> Members:
    """The first `config.left` sites of a ranking, or its shortest prefix that holds."""
    order = ordered(ranking)
    if config.left is None:
        return shortest_prefix(trials, order)
    trials.slacks([frozenset(order[: config.left])])
    return frozenset(order[: config.left])


def ordered(ranking: Float[Tensor, " site"]) -> list[int]:
    """Sites by rank, the most wanted first, equal ones in their own order."""
    return ranking.argsort(descending=True, stable=True).tolist()


def round_to(gates: Float[Tensor, " site"], size: int | None) -> Float[Tensor, " site"]:
    """The rounded mask, or that of the `size` sites whose gates are the most open."""
    if size is None:
        return gates.round()
    made = torch.zeros_like(gates)
    made[ordered(gates)[:size]] = 1.0
    return made


def shortest_prefix(trials: Trials, order: Sequence[int]) -> Members:
    """The shortest prefix that holds, or the one nearest to holding, after O(log n) trials."""

    def clear(sizes: Sequence[int]) -> list[float]:
        return trials.slacks([frozenset(order[:size]) for size in sizes])

    sizes = grid(len(order))
    slacks = dict(zip(sizes, clear(sizes), strict=True))
    while True:
        holding = [size for size in sorted(slacks) if slacks[size] >= 0]
        at = holding[0] if holding else max(slacks, key=lambda size: (slacks[size], -size))
        below = max((size for size in slacks if size < at), default=at)
        above = at if holding else min((size for size in slacks if size > at), default=at)
        middles = [(low + high) // 2 for low, high in ((below, at), (at, above)) if high - low > 1]
        if not middles:
            return frozenset(order[:at])
        slacks |= dict(zip(middles, clear(middles), strict=True))


def grid(n: int) -> list[int]:
    """Sizes from none to all of n sites, each half as large again as the one before."""
    sizes, size = [0], 1
    while size < n:
        sizes.append(size)
        size = max(size + 1, int(size * GROWTH))
    return sizes + [n] * (n > 0)


def lifted(
    ranking: Float[Tensor, " site"], scores: Float[Tensor, " member"], members: Members
) -> Float[Tensor, " site"]:
    """A ranking in which the members of a circuit, by their scores, stand above all others."""
    top = ranking.clone()
    above = float(ranking.max()) + 1.0 if len(ranking) else 1.0
    top[torch.tensor(sorted(members), dtype=torch.long)] = above + scores.clamp(min=0)
    return top
