"""Intervals: of shares, exact; of what is computed from pairs, by bootstrap."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 4000  # so many leave the ends of an interval a tenth of its width to chance, or less

Values = np.ndarray[Any, np.dtype[np.float64]]  # a number for each pair, on the last axis
Statistic = Values | np.float64  # a number, or one for each resample


def interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share of `hits` in `n`, by default the 95 % one."""
    found = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def paired_interval(
    statistic: Callable[..., Statistic], samples: Sequence[Values], seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic when pairs are drawn anew, the same in each
    sample; resamples in which it has no value, such as a ratio to 0, do not count."""
    # Not BCa: where all pairs agree, as in models made by hand, it has no value. And not rng=,
    # the newer name of random_state, which scipy has from 1.15 on.
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            tuple(samples),
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            random_state=np.random.default_rng(seed),  # pyright: ignore[reportCallIssue]
        ).bootstrap_distribution
    low, high = np.quantile(found[np.isfinite(found)], (0.025, 0.975))
    return float(low), float(high)
