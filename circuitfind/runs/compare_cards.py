"""What changed between two reports on one circuit: a gate for new checkpoints and versions.

Chance alone changes a share of pairs, and a new checkpoint solves other pairs than the old one.
So what is compared are the pairs that both models solve, one by one (exact sign test, McNemar
1947), by Holm over all tests: where nothing changed, something is said in at most 5 % of cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from scipy import stats

from ..validate import Card, card_from_json
from ..validate.finding import DesideratumScore, Finding
from ..validate.thresholds import LEVEL, holm

ONE_SIDED = 1.645  # standard errors between a mean and its one-sided 95 % bound


@dataclass(frozen=True, kw_only=True)
class Change:
    """A number before and now, with the p value of no change, two-sided, and what to say of it."""

    p: float
    by: float
    says: str


def drifted(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    level: float = LEVEL,
    change: float = 0.0,
) -> tuple[str, ...]:
    """What the second report says otherwise than the first, a sentence each; empty where nothing.

    Tested is of each desideratum the circuit's satisfaction on the pairs that both models solve
    (on all of them, by Fisher's exact test, where the reports are about other pairs; of one with a
    limit, the mean that is lost), and how many pairs the model itself solves. A check drifts where
    it held and fails now, or the other way round. What only one of the reports has is named too,
    so that a check that vanished does not pass.

    Args:
        before, after: reports, as `discover` and `validate` make them.
        level: how often something may be said where nothing changed.
        change: shares that change by no more than this are left out, however sure the change is.

    Raises:
        ValueError: a level that is not between 0 and 1, or a negative change; other limits.
    """
    if not (0 < level < 1 and 0 <= change < 1):
        raise ValueError(f"level and change are shares; got {level:g} and {change:g}")
    cards = card_from_json(before), card_from_json(after)
    scores = {score.name: score for score in cards[1].desiderata}
    words, changes = [], []
    for old in cards[0].desiderata:
        if (new := scores.pop(old.name, None)) is None:
            words.append(f"{old.name!r} is no longer there")
        elif (old.loss and old.loss.limit) != (new.loss and new.loss.limit):
            limits = [one.loss.limit if one.loss else "no limit" for one in (new, old)]
            words.append(f"{old.name!r} has another limit: {limits[0]} now, {limits[1]} before")
        else:
            changes += _changes(old, new, _solved(before, old), _solved(after, old))
    told = holm([each.p for each in changes], len(changes), level)
    words += [
        each.says
        for each, flagged in zip(changes, told, strict=True)
        if flagged and each.by > change
    ]
    words += [f"{name!r} is new" for name in scores]
    return (*words, *_findings(*cards))


def _findings(before: Card, after: Card) -> list[str]:
    findings = {finding.name: finding for finding in after.findings}
    words = []
    for old in before.findings:
        if (new := findings.get(old.name)) is None:
            words.append(f"the check {old.name!r} was not made again")
        elif {old.verdict, new.verdict} == {"holds", "fails"}:
            words.append(_flipped(old, new))
    return words


def _flipped(old: Finding, new: Finding) -> str:
    return f"the check {old.name!r} {new.verdict} now, before it {old.verdict}: {new.says}"


def _changes(
    old: DesideratumScore,
    new: DesideratumScore,
    then: Mapping[str, Any],
    now: Mapping[str, Any],
) -> list[Change]:
    """The tests about one desideratum; `then` and `now` are the rows about what is solved."""
    same = bool(then.get("drawn")) and then.get("drawn") == now.get("drawn")
    made = [] if not then or not now else [_solves(old.name, then, now, same)]
    if old.loss and new.loss:
        return [*made, *_loss(old, new)]
    if not same:
        return [*made, _apart(old, new)]
    first, second = (_outcomes(*one) for one in ((old, then), (new, now)))
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return made
    lost = sum(first[row] and not second[row] for row in shared)
    won = sum(second[row] and not first[row] for row in shared)
    says = (
        f"{old.name!r}: of {len(shared)} pairs that both models solve, {lost} no longer come out "
        f"and {won} newly do; it reaches {new.satisfaction:.3f} now, before {old.satisfaction:.3f}"
    )
    return [*made, Change(p=_sign(lost, won), by=abs(lost - won) / len(shared), says=says)]


def _solves(name: str, then: Mapping[str, Any], now: Mapping[str, Any], same: bool) -> Change:
    """The change in what the model itself solves."""
    says = (
        f"{name!r}: the model solves {now['solved']} of {now['n']} pairs now, before "
        f"{then['solved']} of {then['n']}"
    )
    if not same:
        p = _fisher(then["solved"], then["n"], now["solved"], now["n"])
        return Change(p=p, by=abs(now["solved"] / now["n"] - then["solved"] / then["n"]), says=says)
    n = min(then["n"], now["n"])  # looked at by both
    first, second = ({row for row in one["missed"] if row < n} for one in (then, now))
    lost, won = len(second - first), len(first - second)
    return Change(p=_sign(lost, won), by=abs(lost - won) / n, says=says)


def _loss(old: DesideratumScore, new: DesideratumScore) -> list[Change]:
    """The change in the mean that is lost, by its standard errors; pairs are not matched."""
    before, now = old.loss, new.loss
    if before is None or now is None or None in (before.low, before.high, now.low, now.high):
        return []
    errors = [(one.high - one.low) / 2 / ONE_SIDED for one in (before, now)]  # type: ignore[operator]
    error, moved = sqrt(sum(one**2 for one in errors)), now.mean - before.mean
    p = float(2 * stats.norm.sf(abs(moved) / error)) if error else float(moved == 0)
    by = abs(moved) / before.allowed if before.allowed else abs(moved)
    return [Change(p=p, by=by, says=f"{old.name!r} {now.words} now; before, it {before.words}")]


def _apart(old: DesideratumScore, new: DesideratumScore) -> Change:
    """The change in satisfaction where the pairs are others."""
    hits = [round(one.satisfaction * one.n) for one in (old, new)]
    says = (
        f"{old.name!r} reaches {new.satisfaction:.3f} on {new.n} pairs now, before "
        f"{old.satisfaction:.3f} on {old.n} others"
    )
    p = _fisher(hits[0], old.n, hits[1], new.n)
    return Change(p=p, by=abs(new.satisfaction - old.satisfaction), says=says)


def _outcomes(score: DesideratumScore, solved: Mapping[str, Any]) -> dict[int, bool]:
    """Whether each pair comes out as expected, by its row among those drawn."""
    missed = set(solved["missed"])
    rows = [row for row in range(solved["n"]) if row not in missed][: score.n]
    wrong = set(score.wrong)
    return {row: place not in wrong for place, row in enumerate(rows)}


def _solved(report: Mapping[str, Any], score: DesideratumScore) -> Mapping[str, Any]:
    """What the report says about which held-out pairs of a desideratum the model solves."""
    rows: Sequence[Mapping[str, Any]] = report.get("solved", ())
    mine = [row for row in rows if row["name"] == score.name and row["split"] == "held-out"]
    return mine[0] if mine and "missed" in mine[0] else {}


def _sign(lost: int, won: int) -> float:
    return float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def _fisher(hits: int, n: int, others: int, m: int) -> float:
    made: Any = stats.fisher_exact([[hits, n - hits], [others, m - others]])
    return float(made[1])
