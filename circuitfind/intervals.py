"""Intervals of shares."""

from scipy import stats


def interval(hits: int, n: int) -> tuple[float, float]:
    """The 95 % Clopper-Pearson interval of a share of `hits` in `n`."""
    found = stats.binomtest(hits, n).proportion_ci(method="exact")
    return float(found.low), float(found.high)
