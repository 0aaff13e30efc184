"""What a person decided about a circuit: pins, vetoes, names, groups and a verdict.

Nothing that was decided is forgotten: what is withdrawn or replaced goes to the history, with who
did that, when and why. decisions_file.py reads and writes all of it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..mediators.site import Site
from .circuit import Circuit

FORMAT = "circuitfind-decisions/1"
DECISIONS = "decisions.json"  # in a run folder
WHOLE = "verdict"  # stands where a site does for what is said about the circuit as a whole

Verdict = Literal["accept", "reject"]
Action = Literal["pin", "veto", "name", "group", "withdraw", "accept", "reject"]
Ending = Literal["withdrawn", "replaced"]
ACTIONS: tuple[Action, ...] = ("pin", "veto", "name", "group")
VERDICTS: tuple[Verdict, ...] = ("accept", "reject")
ENDINGS: tuple[Ending, ...] = ("withdrawn", "replaced")
WITH_VALUE = ("name", "group")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision about one site; `value` is what it is called, or the group it is put in.

    A withdrawal takes back what was decided about its site before: the one action that `value`
    names, or all. The site of what is said about the circuit as a whole is WHOLE.
    """

    site: str
    action: Action
    value: str | None
    reason: str
    by: str
    when: str

    @property
    def about(self) -> tuple[str, str]:
        """What it decides. Of two decisions about the same thing the later one counts."""
        if self.action == "withdraw":
            return self.site, f"withdrawal of {self.value or 'all'}"
        return self.site, "membership" if self.action in ("pin", "veto") else self.action

    def ends(self, other: "Decision") -> bool:
        """Whether this is a withdrawal of the other decision."""
        return self.action == "withdraw" and (
            self.site == other.site and self.value in (None, other.action)
        )


@dataclass(frozen=True)
class Past:
    """A decision that counts no longer, and how it ended: by whom, when and why."""

    decision: Decision
    how: Ending
    by: str
    when: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row of a file."""
        ended = asdict(self)
        return {**ended.pop("decision"), "ended": ended}


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """All decisions about the circuit with this digest: those that count, and the `history` of
    those that did, the first to end first.

    `by`, `when` and `reason` are those of the verdict, or of the last decision where there is
    none. `when` is a time in ISO 8601.
    """

    circuit: str
    verdict: Verdict | None
    decisions: tuple[Decision, ...]
    by: str
    when: str
    reason: str = ""
    history: tuple[Past, ...] = ()

    @property
    def standing(self) -> tuple[Decision, ...]:
        """The decisions that count, the verdict among them."""
        if self.verdict is None:
            return self.decisions
        said = Decision(
            site=WHOLE,
            action=self.verdict,
            value=None,
            reason=self.reason,
            by=self.by,
            when=self.when,
        )
        return *self.decisions, said

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

    def named(self, circuit: Circuit) -> dict[Site, str]:
        """What members of this circuit are called."""
        return {site: self.names[str(site)] for site in circuit.sites if str(site) in self.names}

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
        where that is not as in the file as a whole. A history is there if there is one."""
        head = asdict(self) | {"decisions": []}
        del head["history"]
        for decision in self.decisions:
            row = asdict(decision)
            for key in ("by", "when"):
                if row[key] == head[key]:
                    del row[key]
            head["decisions"].append(row)
        history = [past.as_json() for past in self.history]
        return {"format": FORMAT, **head, **({"history": history} if history else {})}


def merge(before: Decisions | None, after: Decisions) -> Decisions:
    """Both together: of two decisions about the same thing the one in `after`, and none of those
    that `after` withdraws, which a history keeps.

    Raises:
        ValueError: they are about different circuits; a withdrawal of what is not decided.
    """
    if before is None:
        before = Decisions(
            circuit=after.circuit, verdict=None, decisions=(), by=after.by, when=after.when
        )
    if before.circuit != after.circuit:
        raise ValueError(
            f"the decisions are about different circuits, with digests {before.circuit[:12]} and "
            f"{after.circuit[:12]}"
        )
    kept = {decision.about: decision for decision in before.standing}
    history = list(dict.fromkeys((*before.history, *after.history)))
    problems = []
    for decision in after.standing:
        ended = [one for one in kept.values() if decision.ends(one) or _replaces(decision, one)]
        how: Ending = "withdrawn" if decision.action == "withdraw" else "replaced"
        fresh = [Past(one, how, decision.by, decision.when, decision.reason) for one in ended]
        for one in ended:
            del kept[one.about]
        if how == "replaced":
            kept[decision.about] = decision
        elif not ended and not any(_tells(past, decision) for past in history):
            what = decision.value or ("verdict" if decision.site == WHOLE else "decision")
            about = "the circuit" if decision.site == WHOLE else decision.site
            problems.append(f"there is no {what} about {about} to withdraw")
        history += fresh
    if problems:
        raise ValueError("; ".join(problems))
    said = next((one for one in kept.values() if one.site == WHOLE), None)
    decisions = tuple(one for one in kept.values() if one.site != WHOLE)
    by, when, reason = (said.by, said.when, said.reason) if said else (after.by, after.when, "")
    verdict: Any = said and said.action
    return Decisions(
        circuit=after.circuit,
        verdict=verdict,
        decisions=decisions,
        by=by,
        when=when,
        reason=reason,
        history=tuple(history),
    )


def _replaces(decision: Decision, other: Decision) -> bool:
    same = decision.about == other.about or decision.site == other.site == WHOLE
    return same and decision != other and decision.action != "withdraw"


def _tells(past: Past, withdrawal: Decision) -> bool:
    """Whether the history has this very withdrawal, from a file that is read again."""
    told = past.how, past.by, past.when, past.reason
    same = ("withdrawn", withdrawal.by, withdrawal.when, withdrawal.reason)
    return withdrawal.ends(past.decision) and told == same


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
