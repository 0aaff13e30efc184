"""Is the circuit found again with other seeds and other pairs?

The search that made it (or `constrained`, for circuits from elsewhere) is repeated with other
seeds, where the method draws anything at random, and on pairs drawn anew from the search pairs with
replacement (bootstrap), as Méloux et al. 2025 do for statistical stability; their bar is a mean
pairwise Jaccard of 0.8. Searches see fewer pairs than the first one may have seen
(`Subject.searched`), which tells for the circuit where it is stable all the same.
"""

from itertools import combinations
from statistics import mean

import torch

from ...mediators.site import Site
from ...objective.encoding import Batch
from ...progress import Silent
from ...search import METHODS, Selection, search_on
from ..card import AS_CLAIMED, Finding, Verdict
from ..inputs import Subject
from ..names import STABILITY

SEEDS, BOOTSTRAPS = 5, 5
BUDGET = 3e13  # FLOPs: some six minutes of two cores, past which no second bootstrap is begun
STABLE = 0.8


def check_stability(subject: Subject) -> Finding:
    """The mean pairwise Jaccard index of the circuits found, the circuit itself among them.

    By chance, circuits of K of N sites have K / (2N - K). Low and high are the least and the
    greatest of the pairs'. Each row is a site and the share of circuits that it is in.
    """
    if not subject.search:
        why = "no search pairs were given, so that nothing could be searched again"
        return Finding.undecided(STABILITY, why, split="search")
    methods = {entry.name: entry for entry in METHODS}
    method = methods.get(subject.circuit.method, methods["constrained"])
    cost, shown = subject.objective.cost, Silent(subject.shown)
    before, circuits = cost.flops, [frozenset(subject.circuit.sites)]

    def repeat(selection: Selection, seed: int) -> None:
        found = search_on(selection, method.name, subject.config(subject.seed + seed), shown)
        circuits.append(frozenset(found.circuit.sites))

    seeds = SEEDS if method.seeded else 0
    for seed in range(1, seeds + 1):
        repeat(subject.opened, seed)
    for seed in range(1, BOOTSTRAPS + 1):
        start = cost.flops
        repeat(subject.open([_bootstrap(batch, seed) for batch in subject.searched]), seed)
        spent, last = cost.flops - before, cost.flops - start
        if spent + last > BUDGET:
            break
    told = (
        f"{len(circuits) - 1} searches by {method.name}, {seeds} by other seeds"
        f"{'' if seeds else ' (it draws nothing)'} and {seed} of {BOOTSTRAPS} on resampled pairs, "
        f"on {subject.pairs_searched}"
    )
    return _judge(circuits, len(subject.objective.sites), told)


def _judge(circuits: list[frozenset[Site]], n_sites: int, told: str) -> Finding:
    shares = [len(a & b) / max(1, len(a | b)) for a, b in combinations(circuits, 2)]
    value, size = mean(shares), mean(map(len, circuits))
    chance = size / (2 * n_sites - size)
    counts = {site: sum(site in one for one in circuits) for one in circuits for site in one}
    verdict: Verdict = "holds" if value >= STABLE else "fails"
    return Finding(
        name=STABILITY,
        verdict=verdict,
        value=value,
        low=min(shares),
        high=max(shares),
        n=len(circuits) - 1,
        ablation=AS_CLAIMED,
        split="search",
        says=f"{told}: mean pairwise Jaccard {value:.2f} (by chance {chance:.2f}; {STABLE} "
        f"counts as stable); "
        f"{sum(count == len(circuits) for count in counts.values())} sites are in every circuit",
        details=tuple(
            {"site": str(site), "share": counts[site] / len(circuits)}
            for site in sorted(counts, key=lambda site: (-counts[site], str(site)))
        ),
    )


def _bootstrap(batch: Batch, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return batch.take(torch.randint(len(batch), (len(batch),), generator=generator))
