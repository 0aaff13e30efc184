"""How large a sample has to be before a check can tell."""

from collections.abc import Callable
from itertools import count

import numpy as np
from scipy import stats

FAR = 10_000  # pairs or circuits; beyond it no number is given


def fewest(tells: Callable[[int], bool], start: int) -> int:
    """The smallest sample, from `start` on, that tells."""
    return next(n for n in count(start) if tells(n))


def pairs_for_interval(n: int, low: float, high: float, room: float) -> float:
    """The number of pairs at which half of an interval measured on `n` pairs fits into `room`.

    Intervals shrink with the root of n. Without any room, no number is enough.
    """
    return n * ((high - low) / 2 / room) ** 2 if room else np.inf


def trials_for_share(share: float, n: int, null: float, level: float) -> str:
    """How many trials, more than `n`, would tell this share from `null`, in words.

    By a one-sided exact binomial test at `level`; numbers from FAR on are not tried.
    """
    more = np.arange(n + 1, FAR)
    hits = np.rint(share * more)
    p = np.minimum(stats.binom.cdf(hits, more, null), stats.binom.sf(hits - 1, more, null))
    found = more[p < level]
    return str(found[0]) if len(found) else f"more than {FAR}"
