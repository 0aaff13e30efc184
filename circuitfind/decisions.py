"""What a person decided about a circuit: pins, vetoes, names, groups and a verdict; as JSON.

The file comes from `circuitfind review` or from the page of a report, so that it is read as
something anybody may have written. docs/formats.md shows one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeGuard

from .circuit import Circuit
from .component import Site, parse_site
from .foreign_formats import is_position, shown, together
from .storage import write_text

FORMAT = "circuitfind-decisions/1"
DECISIONS = "decisions.json"  # in a run folder

Action = Literal["pin", "veto", "name", "group"]
Verdict = Literal["accept", "reject"]
ACTIONS: tuple[Action, ...] = ("pin", "veto", "name", "group")
VERDICTS: tuple[Verdict, ...] = ("accept", "reject")
WITH_VALUE = ("name", "group")


@dataclass(frozen=True)
class Decision:
    """One decision about one site; `value` is what it is called, or the group it is put in."""

    site: str
    action: Action
    value: str | None
    reason: str
    by: str
    when: str

    @property
    def about(self) -> tuple[str, str]:
        """What it decides. Of two decisions about the same thing the later one counts."""
        return self.site, "membership" if self.action in ("pin", "veto") else self.action


@dataclass(frozen=True)
class Decisions:
    """All decisions about the circuit with this digest.

    `by`, `when` and `reason` are those of the verdict, or of the last decision where there is
    none. `when` is a time in ISO 8601.
    """

    circuit: str
    verdict: Verdict | None
    decisions: tuple[Decision, ...]
    by: str
    when: str
    reason: str = ""

    def of(self, action: Action) -> tuple[Decision, ...]:
        """The decisions of one kind."""
        return tuple(decision for decision in self.decisions if decision.action == action)

    @property
    def pins(self) -> tuple[str, ...]:
        """The sites that are to be in the circuit."""
        return tuple(decision.site for decision in self.of("pin"))

    @property
    def vetoes(self) -> tuple[str, ...]:
        """The sites that are not to be in the circuit."""
        return tuple(decision.site for decision in self.of("veto"))

    @property
    def names(self) -> dict[str, str]:
        """What sites are called."""
        return {decision.site: str(decision.value) for decision in self.of("name")}

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The sites of each group."""
        made: dict[str, tuple[str, ...]] = {}
        for decision in self.of("group"):
            made[str(decision.value)] = (*made.get(str(decision.value), ()), decision.site)
        return made

    def grouped(self, circuit: Circuit) -> dict[str, tuple[Site, ...]]:
        """The members of this circuit in each group."""
        members = {str(site): site for site in circuit.sites}
        return {
            name: tuple(members[site] for site in sites if site in members)
            for name, sites in self.groups.items()
        }

    def require(self, circuit: Circuit) -> None:
        """Let only decisions about this circuit pass.

        Raises:
            ValueError: they are about another one.
        """
        if self.circuit != circuit.digest:
            raise ValueError(
                f"these decisions are about another circuit (digest {self.circuit[:12]}; this "
                f"one's is {circuit.digest[:12]})"
            )

    def as_json(self) -> dict[str, Any]:
        """The plain values of a decisions file; a decision says by whom and when it was made
        where that is not as in the file as a whole."""
        head = asdict(self) | {"decisions": []}
        for decision in self.decisions:
            row = asdict(decision)
            for key in ("by", "when"):
                if row[key] == head[key]:
                    del row[key]
            head["decisions"].append(row)
        return {"format": FORMAT, **head}


def merge(before: Decisions, after: Decisions) -> Decisions:
    """Both together; of two decisions about the same thing the one in `after`.

    Raises:
        ValueError: they are about different circuits.
    """
    if before.circuit != after.circuit:
        raise ValueError(
            f"the decisions are about different circuits, with digests {before.circuit[:12]} and "
            f"{after.circuit[:12]}"
        )
    kept = {decision.about: decision for decision in before.decisions}
    kept |= {decision.about: decision for decision in after.decisions}
    verdict = before if before.verdict and not after.verdict else after
    return replace(verdict, decisions=tuple(kept.values()))


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
    return made and replace(made, circuit=circuit.digest, verdict=None, reason="")


def chosen_by(circuit: Circuit, pins: Sequence[str], decisions: Decisions | None) -> dict[str, Any]:
    """The part of a provenance that tells who chose what in a circuit searched with decisions.

    Returns:
        `chosen`: for each member, whether the optimiser or a person chose it, and in the second
        case by whom, when and why, as far as that was said; with decisions also `decisions`,
        what their file holds, and `parent`, the digest of the circuit that they are about.
    """
    made = {pin.site: pin for pin in decisions.of("pin")} if decisions else {}
    chosen: dict[str, Any] = {}
    for site in map(str, circuit.sites):
        chosen[site] = {"who": "person" if site in pins else "optimiser"}
        if site in pins and site in made:
            pin = made[site]
            chosen[site] |= {"by": pin.by, "when": pin.when, "reason": pin.reason}
    if decisions is None:
        return {"chosen": chosen}
    return {"chosen": chosen, "decisions": decisions.as_json(), "parent": decisions.circuit}


def parse_decisions(read: Any, name: str) -> Decisions:
    """Decisions from parsed JSON, `name` being what messages call it.

    Raises:
        ValueError: every problem at once.
    """
    if problems := list(_problems(read)):
        raise ValueError(together(f"{name}: not decisions", problems))
    by, when = read["by"], read["when"]
    rows = tuple(
        Decision(
            row["site"], row["action"], row.get("value"), row.get("reason", ""),
            row.get("by", by), row.get("when", when),
        )
        for row in read["decisions"]
    )  # fmt: skip
    return Decisions(read["circuit"], read["verdict"], rows, by, when, read.get("reason", ""))


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
            about = Decision(row["site"], row["action"], None, "", "", "").about
            if (first := seen.setdefault(about, number)) != number:
                what = f"the {about[1]} of {about[0]}"
                yield f"decision {number}: {what} is decided already, by decision {first}"


_NOW = "2000-01-01T00:00:00+00:00"  # stands in where a decision leaves its time to the file


def _row_problems(row: Mapping[str, Any]) -> Iterator[str]:
    site, action, value = row.get("site"), row.get("action"), row.get("value")
    if problem := site_problem(site):
        yield problem
    if action not in ACTIONS:
        yield f"action must be one of {', '.join(ACTIONS)}; got {shown(action)}"
    elif action in WITH_VALUE and (not _is_text(value) or not value.strip()):
        yield f"a {action} must have text as its value; got {shown(value)}"
    elif action not in WITH_VALUE and value is not None:
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
