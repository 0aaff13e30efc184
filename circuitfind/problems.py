"""Many problems in one message."""

from collections.abc import Iterable


def listed(problems: Iterable[str], most: int = 8) -> str:
    """The problems as one line, each of them once; from `most` on, the rest is counted.

    >>> listed(["no base", "no source", "no answer"], most=2)
    'no base; no source; and 1 more'
    """
    different = list(dict.fromkeys(problems))
    rest = len(different) - most
    return "; ".join(different[:most]) + (f"; and {rest} more" if rest > 0 else "")
