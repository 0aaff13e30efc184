"""Does the circuit beat random circuits with as many sites of each kind in each layer?"""

import torch

from ...objective.intervals import interval
from ...objective.objective import slack
from ...search.trials import scores_until_failure
from ..finding import Finding
from ..inputs import CheckInputs
from ..makeup import count_alternatives, random_circuits
from ..names import RANDOM_CIRCUITS
from ..thresholds import circuits_to_hold, judge_wins
from ..twin import names_of


def check_random_circuits(inputs: CheckInputs) -> Finding:
    """The share of random circuits of the same make-up whose worst-off desideratum does worse.

    A random circuit has the same number of sites of each kind in each layer at each position, and
    is not the circuit itself. It is beaten when the least slack of the circuit over the
    desiderata that are not vacuous is greater than its own, on the pairs compared; a tie is
    no win. The check holds when a one-sided binomial test says that more than 0.9 are beaten. In
    the rows, the slack of a circuit that is beaten is an upper limit: see
    `trials.scores_until_failure`.

    Source: Shi et al. 2024 (arXiv 2410.13032), sufficiency test with q = 0.9; they draw random
    paths of the same size, here the make-up by layer and kind is kept, which is stricter.
    """
    ablation = "source, random sites of the same make-up"
    objective, bounds, membership = inputs.compared, inputs.bounds, inputs.membership
    drawn = random_circuits(objective.sites, membership, inputs.n_random, inputs.seed)
    different = count_alternatives(objective.sites, membership)
    live = [index for index, bound in enumerate(bounds) if not bound.vacuous]
    if not drawn or not live:
        why = "no other circuit has this make-up" if live else "every desideratum is vacuous"
        return Finding.undecided(RANDOM_CIRCUITS, why, ablation=ablation)
    rows = list(dict.fromkeys(drawn))
    table = torch.zeros(len(rows), len(objective.sites))
    for row, members in zip(table, rows, strict=True):
        row[list(members)] = 1.0
    margin = [0.0] * len(bounds)
    mine = float(slack(objective.scores(membership[None], live), bounds, margin))
    clear = slack(
        scores_until_failure(objective, table, bounds, margin, live, mine), bounds, margin
    )
    others = dict(zip(rows, clear.tolist(), strict=True))
    best = max(others.values())
    wins, n = sum(mine > others[members] for members in drawn), len(drawn)
    low, high = interval(wins, n)
    verdict, few, twin = judge_wins(wins, n), "", ""
    if best >= max(mine, 0.0):
        its = max(others, key=others.__getitem__)
        twin = f", {names_of([objective.sites[site] for site in sorted(its)])} among them"
    if n < (least := circuits_to_hold()):
        few = f" (--n-random {least} could tell more)"
    return Finding(
        name=RANDOM_CIRCUITS,
        verdict=verdict,
        value=wins / n,
        low=low,
        high=high,
        n=n,
        ablation=ablation,
        split="held-out",
        says=f"the circuit beats {wins} of {n} random circuits with as many sites of each kind in "
        f"each layer ({different} different ones exist); the best of them clears the bounds by "
        f"{'at most ' if best < mine else ''}{best:+.3f}, the circuit by {mine:+.3f}, on up to "
        f"{max(map(len, objective.batches))} pairs of each desideratum{few}",
        brief=f"{n - wins} of {n} random circuits of its make-up do as well{twin}{few}",
        details=tuple({"slack": others[members]} for members in drawn),
    )
