"""What a check found, and how far a circuit satisfies one desideratum: the rows of a card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any, Literal

from ..records import CLOSED

Verdict = Literal["holds", "fails", "inconclusive"]
Question = Literal["claim", "minimality", "specificity", "uniqueness", "other ablations"]
GRAVEST: tuple[Verdict, ...] = ("fails", "inconclusive", "holds")  # first
HELD_OUT = "held-out"  # the split of pairs that search has not seen
SAME = "same pairs as search"  # in its place where no pair could be held out
AS_CLAIMED = "donors as in each desideratum"  # the ablation of checks that patch as the claim does


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found: a number with its interval, and what it was measured on.

    `says` is the verdict in one sentence, `brief` in the few words that a headline has room for.
    `question` is what the check belongs to. `details` are rows for tables and figures.
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
    brief: str = ""
    question: Question | None = None

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
        brief: str = "",
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
            brief=brief or why,
        )


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a circuit loses of a desideratum that limits it, as a mean over pairs in `unit`.

    `low` and `high` are its 95 % confidence bounds, each one-sided, None on too few pairs. The
    verdict is that of a paired
    one-sided test at 5 %: it *holds* where the loss is below what is `allowed`, *fails* where it is
    above, and is inconclusive where neither can be said.
    """

    __pydantic_config__ = CLOSED

    limit: str
    mean: float
    low: float | None
    high: float | None
    allowed: float
    unit: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.words}: {self.verdict}"

    @property
    def words(self) -> str:
        """What is lost and allowed, without the verdict."""
        mean, allowed = (decimals(value, self.allowed) for value in (self.mean, self.allowed))
        if self.low is not None and self.high is not None:
            low, high = (decimals(value, self.allowed) for value in (self.low, self.high))
            mean += f" ({low} to {high})"
        return f"loses {mean} {f'of the {allowed} {self.unit}'.rstrip()} allowed"


@dataclass(frozen=True, kw_only=True)
class DesideratumScore:
    """A circuit's satisfaction of one desideratum; every score is a share of pairs in [0, 1].

    `low` and `high` are the 95 % Clopper-Pearson interval, or the satisfaction itself where the
    pairs are `every` one that the claim is about, so that nothing was sampled. `need` is the bound
    that null, ceiling and `at_least` give, `vacuous` that the empty and the full circuit both reach
    it. `wrong` are the rows of the pairs that do not come out as expected. `lead` is by how much
    the expected answer is ahead, the mean over pairs in `unit`, with its 95 % interval.

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
    every: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether it reaches its bound; where it does not, but the bound lies in its interval,
        neither can be said. Of a desideratum with a limit: the verdict on what is lost."""
        if self.loss is not None:
            return self.loss.verdict
        return "holds" if self.holds else "inconclusive" if self.high >= self.need else "fails"

    def __str__(self) -> str:
        if self.loss is not None:
            return f"{self.name!r} {self.loss.words}"
        words = f"{self.name!r} reaches {self.satisfaction:.3f} of the {self.need:.3f} it needs"
        return words + (f", within the error of {self.n} pairs" * (self.verdict == "inconclusive"))

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


def pairs_in_words(splits: Sequence[str]) -> str:
    """The pairs of these splits, as sentences and titles name them.

    >>> pairs_in_words(["held-out"])
    'held-out pairs'
    """
    if SAME not in splits:
        return "held-out pairs"
    return "the pairs that search saw (nothing held out)"


def gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The gravest of some verdicts: *fails* before *inconclusive* before *holds*."""
    return next(each for each in GRAVEST if each in verdicts)
