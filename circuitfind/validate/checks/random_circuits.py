"""Does the circuit beat random circuits with as many heads and MLPs in each layer?"""

import random
from collections import defaultdict
from collections.abc import Sequence
from math import comb, prod

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ...mediators.site import Site
from ...objective.intervals import interval
from ...objective.objective import race, slack
from ..card import Finding, Verdict
from ..inputs import Subject

QUANTILE, LEVEL = 0.9, 0.05  # the published test: better than nine in ten, at 5 %


def check_random_circuits(subject: Subject) -> Finding:
    """The share of random circuits of the same make-up whose worst-off desideratum does worse.

    A random circuit has the same number of heads and of MLPs in each layer at each position, and
    is not the circuit itself. It is beaten when the least slack of the circuit over the
    desiderata that are not vacuous is greater than its own, on the pairs compared; a tie is
    no win. The check holds when a one-sided binomial test says that more than 0.9 are beaten. In
    the rows, the slack of a circuit that is beaten is an upper limit (see `objective.race`).

    Source: Shi et al. 2024 (arXiv 2410.13032), sufficiency test with q = 0.9; they draw random
    paths of the same size, here the make-up by layer and kind is kept, which is stricter.
    """
    ablation = "source, random sites of the same make-up"
    objective, bounds, membership = subject.compared, subject.bounds, subject.membership
    drawn = random_circuits(objective.sites, membership, subject.n_random, subject.seed)
    different = _count_alternatives(objective.sites, membership)
    live = [index for index, bound in enumerate(bounds) if not bound.vacuous]
    if not drawn or not live:
        why = "no other circuit has this make-up" if live else "every desideratum is vacuous"
        return Finding(
            name="random circuits",
            verdict="inconclusive",
            value=0.0,
            low=0.0,
            high=1.0,
            n=0,
            ablation=ablation,
            split="held-out",
            says=why,
        )
    rows = list(dict.fromkeys(drawn))
    table = torch.zeros(len(rows), len(objective.sites))
    for row, members in zip(table, rows, strict=True):
        row[list(members)] = 1.0
    margin = [0.0] * len(bounds)
    mine = float(slack(objective.scores(membership[None], live), bounds, margin))
    clear = slack(race(objective, table, bounds, margin, live, mine), bounds, margin)
    others = dict(zip(rows, clear.tolist(), strict=True))
    best = max(others.values())
    wins, n = sum(mine > others[members] for members in drawn), len(drawn)
    low, high = interval(wins, n)
    verdict: Verdict = "inconclusive"
    if stats.binomtest(wins, n, QUANTILE, alternative="greater").pvalue < LEVEL:
        verdict = "holds"
    elif stats.binomtest(wins, n, QUANTILE, alternative="less").pvalue < LEVEL:
        verdict = "fails"
    return Finding(
        name="random circuits",
        verdict=verdict,
        value=wins / n,
        low=low,
        high=high,
        n=n,
        ablation=ablation,
        split="held-out",
        says=f"the circuit beats {wins} of {n} random circuits with as many heads and MLPs in each "
        f"layer ({different} different ones exist); the best of them clears the bounds by "
        f"{'at most ' if best < mine else ''}{best:+.3f}, the circuit by {mine:+.3f}, on up to "
        f"{max(map(len, objective.batches))} pairs of each desideratum",
        details=tuple({"slack": others[members]} for members in drawn),
    )


def random_circuits(
    sites: Sequence[Site], membership: Float[Tensor, " site"], n: int, seed: int
) -> list[frozenset[int]]:
    """`n` random circuits of the same make-up as this one, never itself; none where it is the
    only one. Where few exist, they come more than once."""
    mine = frozenset(membership.nonzero()[:, 0].tolist())
    groups = _groups(sites)
    wanted = [(group, len(mine.intersection(group))) for group in groups]
    if _count_alternatives(sites, membership) == 0:
        return []
    rng, drawn = random.Random(f"random circuits/{seed}"), []
    while len(drawn) < n:
        made = frozenset(site for group, count in wanted for site in rng.sample(group, count))
        if made != mine:
            drawn.append(made)
    return drawn


def _groups(sites: Sequence[Site]) -> list[list[int]]:
    """Indices of sites by position, layer and kind."""
    groups = defaultdict(list)
    for index, site in enumerate(sites):
        groups[site.position, site.component.layer, site.component.kind].append(index)
    return list(groups.values())


def _count_alternatives(sites: Sequence[Site], membership: Float[Tensor, " site"]) -> int:
    """How many other circuits have the same make-up."""
    mine = set(membership.nonzero()[:, 0].tolist())
    return prod(comb(len(group), len(mine.intersection(group))) for group in _groups(sites)) - 1
