"""What a search is given, and a point of the frontier that it gives back: plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..mediators.site import Site


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Budget, learning rate, seed and thresholds; what is None is the method's own default.

    Args:
        steps: optimiser steps. `constrained` makes them where one gradient does not do; where they
            are given, in any case.
        margin: standard errors by which a score on the selection pairs must clear its bound, so
            that the circuit also clears it on pairs that search has not seen.
        rounds: rounds of discrete polishing (drop, swap, re-add), and of growing, 2 * rounds
            steps each, where no circuit of the ranking holds.
        reach: how many sites outside the circuit a round of polishing considers.
        size: how many sites the circuit is to have, exactly; None lets the desiderata decide.
        polish: whether the method ends in the local search of `local_search`; None is the method's
            own default.
        pins, vetoes: names of sites that are in the circuit, or are not, whatever the method
            would do. Pins count towards `size`.
    """

    steps: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    margin: float = 2.0
    rounds: int = 4
    reach: int = 16
    size: int | None = None
    polish: bool | None = None
    pins: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.steps is not None and self.steps < 1:
            problems.append(f"steps must be at least 1; got {self.steps}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            problems.append(f"learning_rate must be positive; got {self.learning_rate}")
        if self.margin < 0 or self.rounds < 0 or self.reach < 0:
            problems.append("margin, rounds and reach must not be negative")
        if self.size is not None and self.size < 1:
            problems.append(f"size must be at least 1; got {self.size}")
        if both := sorted({*self.pins} & {*self.vetoes}):
            problems.append(f"both pinned and vetoed: {', '.join(both)}")
        if self.size is not None and len({*self.pins}) > self.size:
            problems.append(f"size is {self.size}, but {len({*self.pins})} sites are pinned")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def left(self) -> int | None:
        """How many sites a method is to choose beside the pins; None lets the desiderata decide."""
        return None if self.size is None else self.size - len({*self.pins})

    def check_sites(self, sites: Sequence[Site]) -> None:
        """Refuse what these sites do not allow.

        Raises:
            ValueError: a size that is greater than their number without the vetoed ones; pins
                and vetoes that are not among them, with the names that come near.
        """
        problems = unknown_sites([*self.pins, *self.vetoes], [str(site) for site in sites])
        n_sites = len(sites) - len({*self.vetoes})
        if self.size is not None and self.size > n_sites:
            vetoed = " and are not vetoed" if self.vetoes else ""
            problems.append(
                f"size must be between 1 and the {n_sites} sites that can be patched{vetoed}; got "
                f"{self.size}"
            )
        if problems:
            raise ValueError("; ".join(problems))


def unknown_sites(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """A sentence for each name that is none of the known ones, with those that come near."""
    found = []
    for name in dict.fromkeys(names):
        if name not in known:
            near = get_close_matches(name[:60], known, n=3)
            found.append(
                f"no site {name[:60]!r} among the {len(known)} that can be patched; near: "
                + ", ".join(near or [*known[:2], "..."])
            )
    return found


@dataclass(frozen=True)
class FrontierPoint:
    """The best circuit of one size: the one whose worst-off desideratum does best, of those that
    were scored on every live desideratum."""

    size: int
    sites: tuple[str, ...]
    satisfaction: Mapping[str, float]
    slack: float
