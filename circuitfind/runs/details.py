"""The rows of checks that pages and figures read by name; other rows are shown as they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from ..records import SiteName, read_record, site_named
from ..validate.finding import Finding
from ..validate.names import LEAVE_ONE_OUT, NECESSITY, RANDOM_CIRCUITS, STABILITY

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What leaving a site out costs, by desideratum; reports of version 0.1 have no `effects`."""

    site: SiteName
    desideratum: str
    effect: float
    lost: int
    won: int
    n: int
    p: Share
    needed: bool
    effects: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What ablating sites costs: the circuit, or a pair or other set of its members. Of a twin only
    the names are known."""

    of: str
    sites: str
    effect: float | None = None
    excess: float | None = None

    def __post_init__(self) -> None:
        if self.effect is None and self.of != "twin":
            raise ValueError("effect must be a number")
        if self.of != "pair":
            return
        names = self.sites.split()
        if len({site_named(name) for name in names}) != 2 or self.excess is None:
            raise ValueError("a pair must have two sites and their excess")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A random circuit."""

    slack: float


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """In how many of the searches a site was chosen."""

    site: SiteName
    share: Share
    member: bool | None = None


ROWS: dict[str, Any] = {
    LEAVE_ONE_OUT: LeftOut,
    NECESSITY: Needed,
    RANDOM_CIRCUITS: Drawn,
    STABILITY: Chosen,
}


def details_problems(findings: Sequence[Finding]) -> Iterator[str]:
    """What is wrong with the rows of these findings, in words."""
    for place, finding in enumerate(findings):
        if (row := ROWS.get(finding.name)) is not None:
            try:
                read_record(tuple[row, ...], list(finding.details), where=f"checks.{place}.details")
            except ValueError as error:
                yield str(error)
