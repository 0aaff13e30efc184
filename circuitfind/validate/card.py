"""Findings and the card that collects them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor, isfinite, log10
from typing import Annotated, Any, Literal

from ..circuits.circuit import LOGITS, Circuit
from ..records import CLOSED, Format, stored_as

Verdict = Literal["holds", "fails", "inconclusive"]
HELD_OUT = "held-out"  # the split of pairs that search has not seen
SAME = "same pairs as search"  # in its place where no pair could be held out
AS_CLAIMED = "donors as in each desideratum"  # the ablation of checks that patch as the claim does


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found: a number with its interval, and what it was measured on.

    `says` is the verdict in one sentence. `details` are rows for tables and figures.
    """

    __pydantic_config__ = CLOSED

    name: str
    verdict: Verdict
    value: float
    low: float
    high: float
    n: int
    ablation: str
    split: str
    says: str
    details: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def undecided(
        cls,
        name: str,
        why: str,
        *,
        ablation: str = AS_CLAIMED,
        split: str = HELD_OUT,
        n: int = 0,
        details: Sequence[Mapping[str, Any]] = (),
    ) -> "Finding":
        """The finding of a check that cannot tell anything, with the reason.

        Its value is 0 with the interval from 0 to 1.
        """
        return cls(
            name=name,
            verdict="inconclusive",
            value=0.0,
            low=0.0,
            high=1.0,
            n=n,
            ablation=ablation,
            split=split,
            says=why,
            details=tuple(details),
        )


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a circuit loses of a desideratum that limits it, as a mean over pairs in `unit`.

    `low` and `high` are its 95 % confidence bounds, each one-sided. The verdict is that of a paired
    one-sided test at 5 %: it *holds* where the loss is below what is `allowed`, *fails* where it is
    above, and is inconclusive where neither can be said.
    """

    __pydantic_config__ = CLOSED

    limit: str
    mean: float
    low: float
    high: float
    allowed: float
    unit: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.words}: {self.verdict}"

    @property
    def words(self) -> str:
        """What is lost and allowed, without the verdict."""
        mean, low, high, allowed = (
            decimals(value, self.allowed)
            for value in (self.mean, self.low, self.high, self.allowed)
        )
        of = f"of the {allowed} {self.unit}".rstrip()
        return f"loses {mean} ({low} to {high}) {of} allowed"


@dataclass(frozen=True, kw_only=True)
class DesideratumScore:
    """A circuit's satisfaction of one desideratum; every score is a share of pairs in [0, 1].

    `low` and `high` are the 95 % Clopper-Pearson interval, `need` the bound that null, ceiling
    and `at_least` give, `vacuous` that the empty and the full circuit both reach it. `wrong` are
    the rows of the pairs that do not come out as expected. `lead` is by how much the expected
    answer is ahead, the mean over pairs in `unit`, with its 95 % bootstrap interval.

    Of a desideratum with a limit, scores are the share kept of what can be lost; see `Loss`.
    """

    __pydantic_config__ = CLOSED

    name: str
    part: str
    sense: str
    n: int
    null: float
    ceiling: float
    satisfaction: float
    low: float
    high: float
    at_least: float
    need: float
    holds: bool
    vacuous: bool
    ablation: str
    split: str
    wrong: tuple[int, ...] = ()
    lead: float | None = None
    lead_low: float | None = None
    lead_high: float | None = None
    unit: str = ""
    loss: Loss | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether it holds; of a desideratum with a limit the verdict on what is lost, which may
        be that neither can be said."""
        if self.loss is not None:
            return self.loss.verdict
        return "holds" if self.holds else "fails"

    @property
    def lead_in_words(self) -> str:
        """The mean lead with its unit, such as "+3.21 nats"; "" where the report does not tell."""
        if self.lead is None:
            return ""
        return f"{decimals(self.lead, self.lead, sign=True)} {self.unit}".rstrip()

    @property
    def lead_interval(self) -> str:
        """Between what the mean lead lies, such as "+3.05 to +3.40"; "" where nobody can tell."""
        if self.lead is None or self.lead_low is None or self.lead_high is None:
            return ""
        ends = self.lead_low, self.lead_high
        return " to ".join(decimals(end, self.lead, sign=True) for end in ends)


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
        """Whether every desideratum holds on the held-out pairs."""
        return all(score.holds for score in self.desiderata)

    def as_json(self) -> dict[str, Any]:
        """The card as the plain values of a report."""
        return {
            "desiderata": [asdict(score) for score in self.desiderata],
            "checks": [asdict(finding) for finding in self.findings],
            "binds": dict(self.binds),
            **({"space": dict(self.space)} if self.space else {}),
        }


def decimals(value: float, like: float, *, sign: bool = False) -> str:
    """A number with two decimals, or with more where one of the size of `like` needs them to show
    two digits; what is too great for them is a power of ten.

    >>> decimals(0.004, 0.01)
    '0.004'
    """
    if abs(value) >= 1e6:
        return f"{value:{'+' if sign else ''}.3g}"
    size = abs(like) if isfinite(like) else 0.0
    places = min(6, max(2, 1 - floor(log10(size)))) if size else 2
    rounded = round(value, places) + 0.0  # -0.0 has a sign of its own
    return f"{rounded:{'+' if sign and rounded else ''}.{places}f}"


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


def pairs_in_words(splits: Sequence[str]) -> str:
    """The pairs of these splits, as sentences and titles name them.

    >>> pairs_in_words(["held-out"])
    'held-out pairs'
    """
    if SAME not in splits:
        return "held-out pairs"
    return "the pairs that search saw (nothing held out)"


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
