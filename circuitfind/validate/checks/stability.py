"""Is the circuit found again with other seeds and other pairs?

The search that made it (or `constrained`, where no method of that name is installed) is repeated
with other seeds, where the method draws anything at random, and on pairs drawn again from the
search pairs with replacement (bootstrap), as Méloux et al. 2025 do for statistical stability; their
bar is a mean pairwise Jaccard of 0.8. Searches see fewer pairs than the first one may have seen
(`CheckInputs.searched`), which tells for the circuit where it is stable all the same.
"""

from dataclasses import replace
from itertools import combinations
from statistics import mean

import torch

from ...mediators.site import Site
from ...objective.encoding import Batch
from ...progress import Silent
from ...search import METHODS, SearchProblem, solve
from ...search.methods.constrained import STEPS
from ..finding import AS_CLAIMED, Finding, Verdict
from ..inputs import CheckInputs
from ..names import STABILITY

SEEDS, BOOTSTRAPS = 5, 5
BUDGET = 3e13  # FLOPs: some six minutes of two cores, past which no second bootstrap is begun
STABLE = 0.8


def check_stability(inputs: CheckInputs) -> Finding:
    """The mean pairwise Jaccard index of the circuits found, the circuit itself among them.

    By chance, circuits of K of N sites have K / (2N - K). Low and high are the least and the
    greatest of the pairs'. Each row is a site and the share of circuits that it is in.
    """
    if not inputs.search:
        why = "no search pairs were given, so that nothing could be searched again"
        return Finding.undecided(STABILITY, why, split="search")
    known = inputs.circuit.method in METHODS.names()
    method = METHODS.named(inputs.circuit.method if known else "constrained")
    cost, shown = inputs.objective.cost, Silent(inputs.shown)
    before, circuits = cost.flops, [frozenset(inputs.circuit.sites)]

    def repeat(problem: SearchProblem, seed: int, steps: int | None = None) -> None:
        config = inputs.config(inputs.seed + seed)
        found = solve(problem, method, replace(config, steps=config.steps or steps), shown)
        circuits.append(frozenset(found.circuit.sites))

    seeds = SEEDS if method.seeded else 0
    for seed in range(1, seeds + 1):
        # Where one gradient does, `constrained` draws nothing unless it is given steps.
        repeat(inputs.opened, seed, STEPS if method.name == "constrained" else None)
    for seed in range(1, BOOTSTRAPS + 1):
        start = cost.flops
        repeat(inputs.open([_bootstrap(batch, seed) for batch in inputs.searched]), seed)
        spent, last = cost.flops - before, cost.flops - start
        if spent + last > BUDGET:
            break
    told = (
        f"{len(circuits) - 1} searches by {method.name}, {seeds} by other seeds"
        f"{'' if seeds else ' (it draws nothing)'} and {seed} of {BOOTSTRAPS} on resampled pairs, "
        f"on {inputs.pairs_searched}"
    )
    return _judge(circuits, len(inputs.objective.sites), told)


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
        brief=f"other searches find other circuits (mean Jaccard {value:.2f})",
        details=tuple(
            {"site": str(site), "share": counts[site] / len(circuits)}
            for site in sorted(counts, key=lambda site: (-counts[site], str(site)))
        ),
    )


def _bootstrap(batch: Batch, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return batch.take(torch.randint(len(batch), (len(batch),), generator=generator))
