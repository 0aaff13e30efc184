"""Decisions as JSON: the file of a run folder, or one from the page or anybody else.

It comes from `circuitfind review` or from the page of a report, so that it is read as something
anybody may have written. docs/formats.md shows one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

from ..mediators.known import parse_site
from .circuit import Circuit
from .decisions import (
    ACTIONS,
    DECISIONS,
    ENDINGS,
    FORMAT,
    VERDICTS,
    WHOLE,
    WITH_VALUE,
    Decision,
    Decisions,
    Past,
)
from .foreign_formats import is_position, shown, together
from .storage import write_text


def read_decisions(path: str | Path) -> Decisions:
    """The decisions in a file.

    Raises:
        ValueError: not a decisions file; every problem at once.
        FileNotFoundError: no such file.
    """
    try:
        read = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{path}: nested too deep to be decisions") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected decisions as JSON: {error}") from error
    return parse_decisions(read, str(path))


def save_decisions(decisions: Decisions, path: str | Path) -> None:
    """Write the decisions as JSON, all of it or nothing."""
    write_text(path, json.dumps(decisions.as_json(), indent=2, ensure_ascii=False) + "\n")


def decisions_in(provenance: Mapping[str, Any]) -> Decisions | None:
    """The decisions that a circuit was searched with, as its provenance holds them.

    Raises:
        ValueError: they are not what a decisions file holds.
    """
    told = provenance.get("decisions")
    return None if told is None else parse_decisions(told, "the circuit's provenance")


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


def parse_decisions(read: Any, name: str) -> Decisions:
    """Decisions from parsed JSON, `name` being what messages call it.

    Raises:
        ValueError: every problem at once.
    """
    if problems := list(_problems(read)):
        raise ValueError(together(f"{name}: not decisions", problems))
    by, when = read["by"], read["when"]

    def decision(row: Mapping[str, Any]) -> Decision:
        return Decision(
            site=row["site"],
            action=row["action"],
            value=row.get("value"),
            reason=row.get("reason", ""),
            by=row.get("by", by),
            when=row.get("when", when),
        )

    history = tuple(
        Past(
            decision(row),
            row["ended"]["how"],
            row["ended"]["by"],
            row["ended"]["when"],
            row["ended"].get("reason", ""),
        )
        for row in read.get("history", ())
    )
    rows = tuple(map(decision, read["decisions"]))
    reason = read.get("reason", "")
    return Decisions(
        circuit=read["circuit"],
        verdict=read["verdict"],
        decisions=rows,
        by=by,
        when=when,
        reason=reason,
        history=history,
    )


def _problems(read: Any) -> Iterator[str]:
    if not isinstance(read, dict):
        yield f"expected an object, got {shown(read)}"
        return
    if read.get("format") != FORMAT:
        yield f"format must be {FORMAT!r}; got {shown(read.get('format'))}"
    digest = read.get("circuit")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        yield f"circuit must be a circuit's digest, 64 hexadecimal digits; got {shown(digest)}"
    if read.get("verdict", "") not in (None, *VERDICTS):
        yield f"verdict must be {', '.join(VERDICTS)} or null; got {shown(read.get('verdict'))}"
    yield from _who_and_when(read, "")
    rows = read.get("decisions")
    if not isinstance(rows, list):
        yield f"decisions must be a list; got {shown(rows)}"
        return
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            yield f"decision {number} must be an object; got {shown(row)}"
            continue
        found = [*_row_problems(row), *_who_and_when({"by": "?", "when": _NOW, **row}, "its ")]
        yield from (f"decision {number}: {problem}" for problem in found)
        if not found:
            about = Decision(
                site=row["site"], action=row["action"], value=None, reason="", by="", when=""
            ).about
            if (first := seen.setdefault(about, number)) != number:
                what = f"the {about[1]} of {about[0]}"
                yield f"decision {number}: {what} is decided already, by decision {first}"
    yield from _history_problems(read.get("history", []))


def _history_problems(rows: Any) -> Iterator[str]:
    if not isinstance(rows, list):
        yield f"history must be a list; got {shown(rows)}"
        return
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("ended"), dict):
            yield f"past decision {number} must be an object that tells how it ended"
            continue
        found = [*_row_problems(row, past=True), *_who_and_when(row, "its ")]
        if (how := row["ended"].get("how")) not in ENDINGS:
            found.append(f"how it ended must be {' or '.join(ENDINGS)}; got {shown(how)}")
        found += _who_and_when(row["ended"], "its end's ")
        yield from (f"past decision {number}: {problem}" for problem in found)


_NOW = "2000-01-01T00:00:00+00:00"  # stands in where a decision leaves its time to the file


def _row_problems(row: Mapping[str, Any], past: bool = False) -> Iterator[str]:
    site, action, value = row.get("site"), row.get("action"), row.get("value")
    known = (*ACTIONS, "withdraw")
    if past:
        known = VERDICTS if site == WHOLE else ACTIONS
    if not (site == WHOLE and (past or action == "withdraw")) and (problem := site_problem(site)):
        yield problem
    if action not in known:
        yield f"action must be one of {', '.join(known)}; got {shown(action)}"
    elif action in WITH_VALUE and (not _is_text(value) or not value.strip()):
        yield f"a {action} must have text as its value; got {shown(value)}"
    elif action == "withdraw" and site != WHOLE and value is not None and value not in ACTIONS:
        yield f"a withdrawal is of {', '.join(ACTIONS)} or null for all; got {shown(value)}"
    elif action not in (*WITH_VALUE, "withdraw") or site == WHOLE:
        if value is not None:
            yield f"a {action} has no value; got {shown(value)}"


def _who_and_when(row: Mapping[str, Any], whose: str) -> Iterator[str]:
    if not _is_text(by := row.get("by")) or not by.strip():
        yield f"{whose}by must be the name of who decides; got {shown(by)}"
    if not _is_text(row.get("reason", "")):
        yield f"{whose}reason must be text; got {shown(row['reason'])}"
    when = row.get("when")
    try:  # Python 3.10 does not know the Z that browsers write
        datetime.fromisoformat(when.replace("Z", "+00:00") if isinstance(when, str) else "")
    except ValueError:
        yield f"{whose}when must be a time such as {_NOW}; got {shown(when)}"


def site_problem(site: Any) -> str | None:
    """What keeps this from being the name of a site."""
    wrong = f"a site is called like a9.h6@last or m3@last; got {shown(site)}"
    if not isinstance(site, str):
        return wrong
    try:
        return None if is_position(parse_site(site).position) else wrong
    except ValueError:
        return wrong


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether this is text that UTF-8 can hold: JSON can name halves of surrogate pairs."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)
