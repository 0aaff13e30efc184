"""Problems with what a caller gave, collected and told in one message."""

from collections.abc import Sequence

SHOWN = 8  # problems spelled out before the rest are counted


def listed(problems: Sequence[str], most: int = SHOWN) -> str:
    """The problems in one line, with those after the first `most` counted."""
    more = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {more} more" if more > 0 else "")
