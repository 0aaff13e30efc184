"""How early along a ranking of all sites does the model's behaviour come together?

Mueller et al. 2025 (MIB, arXiv 2504.13151), as their released code integrates: the k = int(p * N)
best of N ranked sites are kept at ten fractions p, all else takes the source's values, and f is
their faithfulness (`behaviour.share_kept`). CPR is the area under f over p from 0.001 to 1, by
the trapezoid rule, of the ranking by signed scores: higher is better, and more than 1 is possible.
CMD is the area between f and 1, of the ranking by absolute scores: 0 is best.

Ours differs in the ablation, which is the claim's, and in what is ranked: sites (heads and MLPs at
the claim's positions), not edges or neurons, so that no number here is comparable with a published
one of another level. The circuit's members come first, by their scores; then the other sites, by
how much f rises when one of them is added to the circuit.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import trapezoid
from torch import Tensor

from ...objective.intervals import FEWEST, Statistic, Values, ratio_interval
from ...objective.objective import Objective
from ..ablation import Ablated, ablate, donor_words
from ..behaviour import NOT_NUMBERS, cannot_divide, differences, share_kept
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import CURVE
from ..thresholds import LEVEL

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FEW_SITES = 64
# Random orders of many sites, and of few: among few a random one is as good by chance now and
# then, and 19 would have to be beaten without exception to be told from chance at 5 %.
ORDERS, ORDERS_OF_FEW = 19, 99


def check_curve(inputs: CheckInputs) -> Finding:
    """CMD over sites, with its interval; the rows have all ten values of f of both rankings.

    The ranking is compared with random orders of all sites, 19 or, among few sites, 99, on the
    same pairs. With r of them at least as good in CMD, p is (1 + r) / (1 + all of them): the check
    holds where p is at most 0.05 and fails where it is at least a half. The sites outside the
    circuit are ranked on every other pair, and all is measured on the rest. The interval is
    `intervals.ratio_interval` with the signs of 1 - f as they are. It is the ranking that is
    judged: a circuit that misses a site, and where that site then comes next, does well here.
    """
    refuse = partial(Finding.undecided, CURVE, ablation=donor_words(inputs.donor))
    if not inputs.members:
        return refuse("the circuit is empty, so that it ranks nothing")
    try:
        ranks, measures = _halves(inputs)
        orders = rank(inputs, ranks)
        kept, whole, empty = _measure(inputs, measures, orders)
    except ValueError as error:
        return refuse(str(error))
    f = np.asarray(share_kept(kept, whole, empty))
    low, high = _interval(kept[1], whole, empty, inputs.seed)
    cpr, cmd = cpr_cmd(FRACTIONS, f[0])[0], float(cpr_cmd(FRACTIONS, f[1])[1])
    others = [float(cpr_cmd(FRACTIONS, row)[1]) for row in f[2:]]
    p = chance(cmd, others)
    verdict: Verdict = "holds" if p <= LEVEL else "fails" if p >= 0.5 else "inconclusive"
    n_sites = len(inputs.membership)
    first = next(p for p in FRACTIONS if int(p * n_sites) >= len(inputs.members))
    return Finding(
        name=CURVE,
        verdict=verdict,
        value=cmd,
        low=low,
        high=high,
        n=len(whole),
        ablation=donor_words(inputs.donor),
        split="held-out",
        says=f"over {n_sites} sites CMD is {cmd:.3f} ({low:.3f} to {high:.3f}; 0 is best) and CPR "
        f"{cpr:.3f}, at the level of sites, not to be compared with numbers over edges or neurons; "
        f"against {len(others)} random orders, whose median is {median(others):.3f}, p = {p:.2f}; "
        f"the circuit is whole from fraction {first:g} on",
        brief=f"its ranking is no better than chance (p = {p:.2f})",
        details=_rows(f[:2], n_sites),
    )


def cpr_cmd(fractions: Sequence[float], f: Sequence[float] | Values) -> tuple[Statistic, Statistic]:
    """The area under f and the area between f and 1, by the trapezoid rule over the fractions,
    which are the first axis of f.

    Nothing is added below the first fraction: over MIB's, f = 1 throughout gives 0.999 and 0.
    """
    values = np.asarray(f, dtype=np.float64)
    return trapezoid(values, fractions, axis=0), trapezoid(np.abs(1 - values), fractions, axis=0)


def chance(cmd: float, others: Sequence[float]) -> float:
    """How often a random order, by these, is at least as good; the order itself counts as one."""
    return (1 + sum(other <= cmd for other in others)) / (1 + len(others))


def sizes(n_sites: int) -> list[int]:
    """How many sites each fraction keeps; of few sites the first ones keep none."""
    return [int(fraction * n_sites) for fraction in FRACTIONS]


def rank(inputs: CheckInputs, ranks: Ablated) -> list[list[int]]:
    """Orders of all sites: by signed and by absolute scores, then random ones.

    Raises:
        ValueError: F(M) - F(empty) is not told from 0 on these pairs.
    """
    mine, n_sites = inputs.membership, len(inputs.membership)
    others = [index for index in range(n_sites) if not mine[index]]
    added = mine.repeat(len(others) + 1, 1)
    for row, index in enumerate(others, 1):
        added[row, index] = 1.0
    f = _faithfulness(inputs, ranks, added)
    rises = dict(zip(others, (f[1:] - f[0]).tolist(), strict=True))
    index_of = {site: index for index, site in enumerate(inputs.objective.sites)}
    named = zip(inputs.circuit.sites, inputs.circuit.scores, strict=True)
    scores = {index_of[site]: score for site, score in named}
    orders = [
        sorted(scores, key=lambda index: -size(scores[index]))
        + sorted(others, key=lambda index: -size(rises[index]))
        for size in (float, abs)
    ]
    rng = random.Random(f"curve/{inputs.seed}")
    drawn = ORDERS_OF_FEW if n_sites <= FEW_SITES else ORDERS
    return orders + [rng.sample(range(n_sites), n_sites) for _ in range(drawn)]


def keep_best(order: Sequence[int]) -> Float[Tensor, "fraction site"]:
    """The memberships of the best sites of an order, at each fraction."""
    made = torch.zeros(len(FRACTIONS), len(order))
    for row, count in zip(made, sizes(len(order)), strict=True):
        row[list(order[:count])] = 1.0
    return made


def _halves(inputs: CheckInputs) -> tuple[Ablated, Ablated]:
    """The ablation on every other pair, and on the rest."""
    ablated = ablate(inputs, inputs.donor)
    whole = ablated.objective
    divided = [batch for batch in whole.batches if len(batch) > 1]
    if (n := sum(map(len, divided))) < 2 * FEWEST:  # half to rank on, half to measure on
        raise ValueError(f"{n} pairs are too few; {2 * FEWEST} are the fewest")
    first, second = (
        Objective(
            inputs.model,
            [batch.take(range(start, len(batch), 2)) for batch in divided],
            whole.sites,
            whole.cost,
        )
        for start in (0, 1)
    )
    return replace(ablated, objective=first), replace(ablated, objective=second)


def _measure(
    inputs: CheckInputs, measures: Ablated, orders: Sequence[Sequence[int]]
) -> tuple[Values, Values, Values]:
    """Leads of the right answer by order, fraction and pair; of the model; of the empty circuit."""
    # Orders share their ends, the empty circuit and the full one: each mask goes in once.
    rows, back = torch.cat([keep_best(order) for order in orders]).unique(
        dim=0, return_inverse=True
    )
    whole, empty, found = _differences(inputs, measures, rows)
    kept = found[back.numpy()].reshape(len(orders), len(FRACTIONS), -1)
    return kept, whole, empty


def _faithfulness(inputs: CheckInputs, ablated: Ablated, rows: Tensor) -> Values:
    whole, empty, found = _differences(inputs, ablated, rows)
    return np.asarray(share_kept(found, whole, empty))


def _differences(
    inputs: CheckInputs, ablated: Ablated, rows: Float[Tensor, "mask site"]
) -> tuple[Values, Values, Values]:
    """Those of the model, of the empty circuit, and of each of these."""
    ends = torch.stack([torch.ones(rows.shape[1]), torch.zeros(rows.shape[1])])
    found = differences(ablated.outcome(torch.cat([ends, rows])))
    if not np.isfinite(found).all():
        raise ValueError(NOT_NUMBERS)
    if why := cannot_divide(found[0], found[1], inputs.seed, inputs.unit):
        raise ValueError(why)
    return found[0], found[1], found[2:]


def _interval(kept: Values, whole: Values, empty: Values, seed: int) -> tuple[float, float]:
    """The interval of CMD over pairs.

    With the signs of 1 - f as they are, CMD is a ratio of means: the area is a weighted sum.
    """
    f = np.asarray(share_kept(kept, whole, empty))
    # The weight of each fraction in the trapezoid rule.
    weights = trapezoid(np.eye(len(FRACTIONS)), FRACTIONS, axis=0) * np.sign(1 - f)
    low, high = ratio_interval((weights[:, None] * (whole - kept)).sum(0), whole - empty, seed)
    return max(0.0, low), max(0.0, high)


def _rows(f: Values, n_sites: int) -> tuple[Mapping[str, Any], ...]:
    """All ten values of f, of both rankings."""
    return tuple(
        {"ranking": name, "level": "sites", "fraction": fraction, "sites": count, "f": float(value)}
        for name, row in zip(("signed", "absolute"), f, strict=True)
        for fraction, count, value in zip(FRACTIONS, sizes(n_sites), row, strict=True)
    )
