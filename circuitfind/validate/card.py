"""The card of a circuit: what every desideratum and every check gave, and what that comes to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from ..circuits.circuit import LOGITS, Circuit
from ..records import Format, stored_as
from .finding import DesideratumScore, Finding, pairs_in_words
from .questions import Ruling, headline, rulings


@dataclass(frozen=True)
class Card:
    """All that a validator found about one circuit.

    `binds` are digests of what it scored: `circuit`, `model` (its weights) and `pairs`. `space` is
    the search space that null, ceiling and random circuits are of, as plain values.
    """

    desiderata: tuple[DesideratumScore, ...]
    findings: tuple[Finding, ...]
    cost: Mapping[str, int | float] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)

    def require(self, circuit: Circuit) -> None:
        """Raise unless this card is about `circuit`, or names no circuit.

        Raises:
            ValueError: it scored another circuit.
        """
        about = self.binds.get("circuit", circuit.digest)
        if about != circuit.digest:
            raise ValueError(
                f"this card is about another circuit (digest {about[:12]}; this one's is "
                f"{circuit.digest[:12]}); validate the circuit again"
            )

    @property
    def pairs(self) -> str:
        """What the card is about, in words: held-out pairs, or those that search saw."""
        return pairs_in_words([score.split for score in self.desiderata])

    @property
    def unit(self) -> str:
        """The unit of what checks measure: that of the first desideratum's answer."""
        return next((score.unit for score in self.desiderata if score.unit), LOGITS)

    @property
    def holds(self) -> bool:
        """Whether every desideratum reaches its bound on the held-out pairs."""
        return all(score.holds for score in self.desiderata)

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        """What the checks come to, one ruling a question."""
        return rulings(self.desiderata, self.findings)

    @property
    def headline(self) -> str:
        """All rulings in one sentence, such as "satisfied; not minimal: 3 of 16 sites are idle;
        specific; uniqueness not asked; other ablations agree"."""
        return headline(self.desiderata, self.findings)

    @property
    def success(self) -> bool:
        """Whether the claim is satisfied on these pairs, and minimality does not fail."""
        claim, minimality = self.rulings[:2]
        return claim.verdict == "holds" and minimality.verdict != "fails"

    def passes(self, strict: bool = False) -> bool:
        """Whether it is a success; if `strict`, no check at all may fail."""
        failed = any(finding.verdict == "fails" for finding in self.findings)
        return self.success and not (strict and failed)

    def as_json(self) -> dict[str, Any]:
        """The card as the plain values of a report."""
        return {
            "desiderata": [asdict(score) for score in self.desiderata],
            "checks": [asdict(finding) for finding in self.findings],
            "binds": dict(self.binds),
            **({"space": dict(self.space)} if self.space else {}),
        }


@dataclass(frozen=True, kw_only=True)
class CardRecord:
    """A card as a report holds it."""

    desiderata: tuple[DesideratumScore, ...]
    checks: tuple[Finding, ...]
    binds: Mapping[str, str] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)

    def card(self) -> Card:
        """The card, without its cost."""
        return Card(self.desiderata, self.checks, binds=self.binds, space=self.space)


FORMAT = "circuitfind-report/1"
CARD_FILE: Format[Card] = Format(
    "a report with a card",
    {FORMAT: Annotated[Card, stored_as(CardRecord, CardRecord.card)]},
    unnamed=FORMAT,
)


def card_from_json(report: Mapping[str, Any]) -> Card:
    """The card that a report holds.

    Raises:
        ValueError: rows that are not those of a card; every problem at once.
    """
    return CARD_FILE.read(report)
