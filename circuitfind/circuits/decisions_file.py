"""Decisions as JSON: the file of a run folder, or one from the page or anybody else.

It comes from `circuitfind review` or from the page of a report, so that it is read as something
anybody may have written. docs/formats.md shows one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ..records import Format, shown, site_named, stored_as
from .circuit import Circuit
from .decisions import (
    ACTIONS,
    DECISIONS,
    FORMAT,
    VERDICTS,
    WHOLE,
    WITH_VALUE,
    Action,
    Decision,
    Decisions,
    Ending,
    Past,
    Verdict,
)
from .foreign_formats import is_position
from .storage import write_text


def read_decisions(path: str | Path) -> Decisions:
    """The decisions in a file.

    Raises:
        ValueError: not a decisions file; every problem at once.
        FileNotFoundError: no such file.
    """
    return DECISIONS_FILE.load(path)


def save_decisions(decisions: Decisions, path: str | Path) -> None:
    """Write the decisions as JSON, all of it or nothing."""
    write_text(path, json.dumps(decisions.as_json(), indent=2, ensure_ascii=False) + "\n")


def decisions_in(provenance: Mapping[str, Any]) -> Decisions | None:
    """The decisions that a circuit was searched with, as its provenance holds them.

    Raises:
        ValueError: they are not what a decisions file holds.
    """
    content = provenance.get("decisions")
    return None if content is None else parse_decisions(content, "the circuit's provenance")


def decisions_about(path: str | Path, circuit: Circuit) -> Decisions | None:
    """What is decided about a run's circuit: the file in its folder, or else the decisions that
    it was searched with, without their verdict, which was on another circuit.

    Raises:
        ValueError: a damaged file, or one about another circuit.
    """
    file = Path(path) / DECISIONS
    if file.is_file():
        made = read_decisions(file)
        made.require(circuit)
        return made
    made = decisions_in(circuit.provenance)
    if made is None:
        return None
    history = tuple(past for past in made.history if past.decision.site != WHOLE)
    return replace(made, circuit=circuit.digest, verdict=None, reason="", history=history)


def parse_decisions(content: Any, name: str) -> Decisions:
    """Decisions from parsed JSON, `name` being what messages call it.

    Raises:
        ValueError: every problem at once.
    """
    return DECISIONS_FILE.read(content, name)


def _check_author(text: str) -> str:
    if not text.strip():
        raise ValueError(f"must be the name of who decides; got {shown(text)}")
    return text


def _check_time(text: str) -> str:
    try:  # Python 3.10 does not know the Z that browsers write
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        example = "2000-01-01T00:00:00+00:00"
        raise ValueError(f"must be a time such as {example}; got {shown(text)}") from None
    return text


Author = Annotated[str, AfterValidator(_check_author)]
Time = Annotated[str, AfterValidator(_check_time)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of a circuit


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision as a file holds it; by whom and when are those of the file where it has none."""

    site: str
    action: Action
    value: str | None = None
    reason: str = ""
    by: Author = ""
    when: Time = ""

    def __post_init__(self) -> None:
        _refuse(_problems(self, (*ACTIONS, "withdraw"), may_be_whole=self.action == "withdraw"))

    def decision(self, by: str, when: str) -> Decision:
        """The decision, in a file of this author and time."""
        return Decision(
            site=self.site,
            action=self.action,
            value=self.value,
            reason=self.reason,
            by=self.by or by,
            when=self.when or when,
        )


@dataclass(frozen=True, kw_only=True)
class EndRecord:
    """How a decision ended: by whom, when and why."""

    how: Ending
    by: Author
    when: Time
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PastRecord:
    """A decision of a history, or a verdict, as a file holds it."""

    site: str
    action: Action
    value: str | None = None
    reason: str = ""
    by: Author
    when: Time
    ended: EndRecord

    def __post_init__(self) -> None:
        known = VERDICTS if self.site == WHOLE else ACTIONS
        _refuse(_problems(self, known, may_be_whole=True))

    def past(self) -> Past:
        """The decision and how it ended."""
        decision = Decision(
            site=self.site,
            action=self.action,
            value=self.value,
            reason=self.reason,
            by=self.by,
            when=self.when,
        )
        ended = self.ended
        return Past(decision, ended.how, ended.by, ended.when, ended.reason)


@dataclass(frozen=True, kw_only=True)
class DecisionsRecord:
    """Decisions as their file holds them."""

    circuit: Digest
    verdict: Verdict | None
    decisions: tuple[DecisionRecord, ...]
    by: Author
    when: Time
    reason: str = ""
    history: tuple[PastRecord, ...] = ()

    def __post_init__(self) -> None:
        problems, seen = [], {}
        for number, row in enumerate(self.decisions):
            about = row.decision("", "").about
            if (first := seen.setdefault(about, number)) != number:
                what = f"the {about[1]} of {about[0]}"
                problems.append(
                    f"decisions.{number}: {what} is decided already, by decisions.{first}"
                )
        _refuse(problems)

    def made(self) -> Decisions:
        """The decisions."""
        return Decisions(
            circuit=self.circuit,
            verdict=self.verdict,
            decisions=tuple(row.decision(self.by, self.when) for row in self.decisions),
            by=self.by,
            when=self.when,
            reason=self.reason,
            history=tuple(row.past() for row in self.history),
        )


DECISIONS_FILE: Format[Decisions] = Format(
    "decisions", {FORMAT: Annotated[Decisions, stored_as(DecisionsRecord, DecisionsRecord.made)]}
)


def _problems(
    row: DecisionRecord | PastRecord, known: Sequence[str], *, may_be_whole: bool
) -> list[str]:
    """What is wrong with the site, the action or the value of a decision."""
    site, action, value = row.site, row.action, row.value
    problems = [] if site == WHOLE and may_be_whole else _site_problems(site)
    if action not in known:
        problems.append(f"action must be one of {', '.join(known)}; got {shown(action)}")
    elif action in WITH_VALUE:
        if not (value or "").strip():
            problems.append(f"a {action} must have text as its value; got {shown(value)}")
    elif action == "withdraw" and site != WHOLE:
        if value is not None and value not in ACTIONS:
            problems.append(
                f"a withdrawal is of {', '.join(ACTIONS)} or null for all; got {shown(value)}"
            )
    elif value is not None:
        problems.append(f"a {action} has no value; got {shown(value)}")
    return problems


def _site_problems(name: str) -> list[str]:
    try:
        position = site_named(name).position
    except ValueError as error:
        return [str(error)]
    return [] if is_position(position) else [f"no position is called {shown(position)}"]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))
