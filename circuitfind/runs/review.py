"""A person's decisions on a run's circuit: kept beside it, and searched again with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from ..circuits.circuit import Circuit
from ..circuits.decisions import (
    ACTIONS,
    DECISIONS,
    WHOLE,
    Action,
    Decision,
    Decisions,
    Verdict,
    merge,
)
from ..circuits.decisions_file import decisions_about, read_decisions, save_decisions
from ..progress import Progress
from ..search import unknown_sites
from .consent import Named, permitted
from .folder import read_run
from .run import Run, discover
from .settings import Settings
from .sites import known_sites

WITH_TEXT = "name", "group", "withdraw"  # are given as site=text


@dataclass(frozen=True, kw_only=True)
class Said:
    """What somebody says in one go, as the command line gives it; `name` and `group` hold
    `site=text`, `withdraw` a site, `site=action` for one of its decisions, or `verdict`."""

    pin: Sequence[str] = ()
    veto: Sequence[str] = ()
    name: Sequence[str] = ()
    group: Sequence[str] = ()
    withdraw: Sequence[str] = ()
    verdict: Verdict | None = None
    by: str = ""
    reason: str = ""

    @property
    def is_something(self) -> bool:
        """Whether anything is decided."""
        given = self.pin, self.veto, self.name, self.group, self.withdraw, self.verdict
        return any(given)


def review(path: str | Path, said: Said, file: str | Path | None = None) -> Decisions | None:
    """What is decided about a run's circuit, with what is said now; its folder keeps it.

    Args:
        file: decisions from elsewhere, such as the page; what is said counts before them, and
            they before those that the folder has already.

    Returns:
        None where nothing is decided, nor was before.

    Raises:
        LookupError: no finished run there.
        FileNotFoundError: no such file of decisions.
        ValueError: decisions about another circuit or about sites that the run does not have;
            nobody's name; every problem at once.
    """
    settings, circuit, report = read_run(path)
    known = known_sites(circuit)
    made = decisions_about(path, circuit) or _from_settings(settings, circuit, report["created"])
    before, problems = made, []
    if file is not None:
        added = read_decisions(file)
        added.require(circuit)
        problems += _unknown(added, known)
        made = _merged(made, added, problems)
    if said.is_something:
        spoken, wrong = _spoken(said, circuit, known)
        problems += wrong
        made = _merged(made, spoken, problems)
    if problems:
        raise ValueError("; ".join(problems))
    if made and made != before:
        save_decisions(made, Path(path) / DECISIONS)
    return made


def search_again(
    path: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    shown: Progress | None = None,
    named: Named | None = None,
) -> Run:
    """A new run with the settings of an old one, which keeps to the decisions about its circuit.

    Raises:
        LookupError: no finished run there.
        ValueError: no decisions about its circuit; bad input, as in `discover`.
    """
    settings, circuit, report = read_run(path)
    decisions = decisions_about(path, circuit) or _from_settings(
        settings, circuit, report["created"]
    )
    if decisions is None:
        raise ValueError(f"nothing is decided about the circuit of {path}; give --pin or --veto")
    settings = permitted(settings, path, named)
    settings = replace(settings, pins=decisions.pins, vetoes=decisions.vetoes)
    return discover(
        settings, out, resume=resume, overwrite=overwrite, shown=shown, decisions=decisions
    )


def _merged(before: Decisions | None, after: Decisions, problems: list[str]) -> Decisions | None:
    """Both together; where that cannot be, the first, and the reason among the problems."""
    try:
        return merge(before, after)
    except ValueError as error:
        problems.append(str(error))
        return before


def _unknown(decisions: Decisions, known: Sequence[str]) -> list[str]:
    """A sentence for each site that is none of the known ones."""
    sites = [row.site for row in decisions.decisions if row.site != WHOLE]
    return unknown_sites(sites, known)


def _from_settings(settings: Settings, circuit: Circuit, when: str) -> Decisions | None:
    """The pins and vetoes that `discover` was given, as decisions."""
    given: dict[Action, Sequence[str]] = {"pin": settings.pins, "veto": settings.vetoes}
    rows = [
        Decision(
            site=site, action=action, value=None, reason="", by=f"discover --{action}", when=when
        )
        for action, sites in given.items()
        for site in sites
    ]
    return (
        Decisions(
            circuit=circuit.digest, verdict=None, decisions=tuple(rows), by=rows[0].by, when=when
        )
        if rows
        else None
    )


def _spoken(said: Said, circuit: Circuit, known: Sequence[str]) -> tuple[Decisions, list[str]]:
    """What is said as decisions of now, and what is wrong with it."""
    problems, rows = [], []
    if not said.by.strip():
        problems.append("say by --by who decides")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    given: dict[Action, Sequence[str]] = {
        "withdraw": said.withdraw,  # first, so that another decision may be given in its place
        "pin": said.pin,
        "veto": said.veto,
        "name": said.name,
        "group": said.group,
    }
    for action, texts in given.items():
        for text in texts:
            site, _, value = text.partition("=") if action in WITH_TEXT else (text, "", "")
            if action in ("name", "group") and not value.strip():
                problems.append(f"--{action} is given as a9.h6@last=text; got {text[:60]!r}")
            if action == "withdraw" and value and (value not in ACTIONS or site == WHOLE):
                problems.append(f"--withdraw is of {', '.join(ACTIONS)}; got {text[:60]!r}")
            rows.append(
                Decision(
                    site=site,
                    action=action,
                    value=value or None,
                    reason=said.reason,
                    by=said.by,
                    when=now,
                )
            )
    made = Decisions(
        circuit=circuit.digest, verdict=said.verdict, decisions=tuple(rows), by=said.by, when=now
    )
    problems += _unknown(made, known)
    abouts = [row.about for row in rows]
    problems += [
        f"the {about[1]} of {about[0]} is decided twice"
        for about in dict.fromkeys(abouts)
        if abouts.count(about) > 1
    ]
    return (replace(made, reason=said.reason) if said.verdict else made), problems
