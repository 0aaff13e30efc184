"""What report.json and validated.json hold; both are read as plain values, checked here first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..records import Format, Memberships, load_json, together
from ..search.config import FrontierPoint
from ..validate.card import FORMAT, CardRecord
from .details import details_problems

BOUND = ("circuit", "model", "pairs")  # what a card is about, each by a digest

GREATEST = 1e9  # number of a figure


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """What a run or a part of it cost, and what two other loops would have (`objective.cost`);
    `stages` are the parts of a run.

    A report without `cached_*` is of an earlier version. Its `plain_*` is what a loop would cost
    that also runs the source at every step, which the released one does not.
    """

    tokens_forward: int
    tokens_backward: int
    flops: float
    plain_tokens_forward: int
    plain_tokens_backward: int
    plain_flops: float
    seconds: float
    cached_tokens_forward: int | None = None
    cached_tokens_backward: int | None = None
    cached_flops: float | None = None
    stages: "Mapping[str, CostRecord]" = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SolvedRecord:
    """How many pairs of a desideratum the model solves; `missed` are the rows of the others, among
    pairs with the digest `drawn`."""

    name: str
    split: str
    n: int
    solved: int
    share: float
    low: float
    high: float
    missed: tuple[int, ...] = ()
    drawn: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedRecord(CardRecord):
    """What checks of a circuit found, and what they cost.

    `size` counts the circuit's sites, by kind and `of` how many.

    Raises:
        ValueError: rows of a check that are not its own.
    """

    success: bool
    message: str
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    cost: CostRecord | None = None
    solved: tuple[SolvedRecord, ...] = ()
    size: Mapping[str, int] = field(default_factory=dict)
    mask: Memberships = field(default_factory=dict)
    frontier: tuple[FrontierPoint, ...] = ()

    def __post_init__(self) -> None:
        if problems := [*details_problems(self.checks), *self._more_problems()]:
            raise ValueError(together("", problems).removeprefix(": "))

    def _more_problems(self) -> Iterator[str]:
        if self.size and "of" not in self.size:
            yield "size must say by `of` of how many sites"
        for place, point in enumerate(self.frontier):
            numbers = (point.slack, *point.satisfaction.values(), point.size)
            if any(abs(number) > GREATEST for number in numbers):
                yield f"frontier.{place} has numbers past {GREATEST:g}, which no figure can show"


@dataclass(frozen=True, kw_only=True)
class ReportRecord(CheckedRecord):
    """The report of a run; `created` is a time in ISO 8601, `config` the SHA-256 of its settings,
    which reports of earlier versions do not have."""

    created: str
    config: str | None = None

    def _more_problems(self) -> Iterator[str]:
        yield from super()._more_problems()
        if not self.size:
            yield "missing: size"


@dataclass(frozen=True, kw_only=True)
class ValidatedRecord(CheckedRecord):
    """What checks of a run's circuit found after its report, and about what.

    Raises:
        ValueError: a digest is missing of what they are about.
    """

    def _more_problems(self) -> Iterator[str]:
        yield from super()._more_problems()
        if missing := [name for name in BOUND if name not in self.binds]:
            yield f"binds must have the digest of {', '.join(missing)}"


CHECKED_FILE: Format[CheckedRecord] = Format("a report", {FORMAT: CheckedRecord}, FORMAT)
REPORT_FILE: Format[ReportRecord] = Format("the report of a run", {FORMAT: ReportRecord}, FORMAT)
VALIDATED_FILE: Format[ValidatedRecord] = Format(
    "what validate writes", {FORMAT: ValidatedRecord}, FORMAT
)


def load_report(path: str | Path, format_: Format = REPORT_FILE) -> dict[str, Any]:
    """The plain values of a report.json or validated.json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file; every problem at once.
    """
    content = load_json(path)
    format_.read(content, path)
    return content
