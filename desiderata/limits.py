"""Limits: how much a desideratum may lose, as a number with a unit in place of a share of pairs."""

from dataclasses import dataclass
from typing import Literal

Of = Literal["preference", "distribution"]
OF: tuple[Of, ...] = ("preference", "distribution")


@dataclass(frozen=True)
class Limit:
    """What has to be kept of the untouched model on average over pairs, and how much of it.

    Args:
        of: the `preference`, by how much the base's answer is ahead of the source's, or of the best
            other one where the source's is not known or the same; or the `distribution` of the
            next token, as KL(untouched || patched) in nats.
        within: the mean over pairs that may be lost, in the answer's unit (nats or logits).
        share: instead, the share to keep of what patching every site that may be patched loses.

    Raises:
        ValueError: both or neither of the two, or numbers out of range.
    """

    of: Of
    within: float | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.of not in OF:
            problems.append(f"a limit is of the {' or the '.join(OF)}; got {self.of!r}")
        if (self.within is None) == (self.share is None):
            problems.append("give a limit by `within` or by `share`, one of the two")
        if self.within is not None and not self.within > 0:
            problems.append(f"within must be positive; got {self.within}")
        if self.share is not None and not 0 < self.share < 1:
            problems.append(f"share must lie between 0 and 1; got {self.share}")
        if problems:
            raise ValueError("; ".join(problems))

    def __str__(self) -> str:
        if self.share is not None:
            return f"keeps {self.share:g} of the {self.of}"
        return f"keeps the {self.of} within {self.within:g}"


def preference(*, within: float | None = None, share: float | None = None) -> Limit:
    """The limit on what the preference for the base's answer may lose, as a mean over pairs.

    >>> str(preference(share=0.9)), str(preference(within=0.5))
    ('keeps 0.9 of the preference', 'keeps the preference within 0.5')
    """
    return Limit("preference", within, share)


def distribution(*, within: float | None = None, share: float | None = None) -> Limit:
    """The limit on KL(untouched || patched) of the next token in nats, as a mean over pairs.

    >>> str(distribution(within=0.1))
    'keeps the distribution within 0.1'
    """
    return Limit("distribution", within, share)
