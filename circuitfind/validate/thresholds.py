"""Limits that several checks share, and the tests that apply them."""

from collections.abc import Sequence
from itertools import count

import torch
from scipy import stats

from .finding import Verdict

LEVEL = 0.05  # of every significance test
QUANTILE = 0.9  # the share of random circuits to beat (Shi et al. 2024, arXiv 2410.13032)
POWER = 0.8  # the probability of a rejection from which on a sample counts as large enough
NOISE = 1e-3  # in the answer's unit (logits, nats); a smaller effect is rounding, not behaviour
# What counts as the same behaviour: within a fifth. The paper that named the measure called 0.87
# faithful (Wang et al. 2022, arXiv 2211.00593); more than 1 is as much another behaviour as less.
LEAST_KEPT, MOST_KEPT = 0.8, 1.2


def holm(p_values: Sequence[float], n_tests: int, level: float = LEVEL) -> list[bool]:
    """Which tests reject at this level by Holm's step-down rule, among `n_tests` in all."""
    order = torch.tensor(p_values).argsort().tolist()
    rejected, flags = True, [False] * len(p_values)
    for rank, index in enumerate(order):
        rejected = rejected and p_values[index] <= level / (n_tests - rank)
        flags[index] = rejected
    return flags


def sign_p(lost: int, won: int) -> float:
    """The exact one-sided p value of losing more pairs than are won; 1 where none changes."""
    if not lost + won:
        return 1.0
    return float(stats.binomtest(lost, lost + won, alternative="greater").pvalue)


def circuits_to_hold() -> int:
    """How many random circuits, all of them beaten, it takes for `judge_wins` to hold.

    >>> circuits_to_hold()
    29
    """
    return next(n for n in count(1) if QUANTILE**n < LEVEL)


def judge_wins(wins: int, n: int) -> Verdict:
    """Whether wins over `n` random circuits are significantly more than QUANTILE of them.

    It *fails* where they are significantly fewer, by the same exact binomial test at LEVEL.
    """
    if stats.binomtest(wins, n, QUANTILE, alternative="greater").pvalue < LEVEL:
        return "holds"
    if stats.binomtest(wins, n, QUANTILE, alternative="less").pvalue < LEVEL:
        return "fails"
    return "inconclusive"
