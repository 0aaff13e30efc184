"""What changed between two cards of one circuit: a gate for new checkpoints and versions."""

from ..validate import Card
from ..validate.card import DesideratumScore


def drifted(before: Card, after: Card) -> tuple[str, ...]:
    """What the second card says otherwise than the first, a sentence each; empty where nothing.

    A desideratum drifts when it no longer holds (or now does), or when its satisfaction leaves
    the interval that the first card states; one with a limit, when its verdict changes, or when
    what it loses leaves that interval. A check drifts when its verdict changes. What only one of
    the cards has is named too, so that a check that vanished does not pass.
    """
    words = []
    scores = {score.name: score for score in after.desiderata}
    for old in before.desiderata:
        if (new := scores.pop(old.name, None)) is None:
            words.append(f"{old.name!r} is no longer there")
        elif told := _loss_drifted(old, new) if old.loss or new.loss else _drifted(old, new):
            words.append(f"{old.name!r} {told}")
    words += [f"{name!r} is new" for name in scores]
    findings = {finding.name: finding for finding in after.findings}
    for finding in before.findings:
        if (again := findings.get(finding.name)) is None:
            words.append(f"the check {finding.name!r} was not made again")
        elif again.verdict != finding.verdict:
            words.append(
                f"the check {finding.name!r} says {again.verdict} now, before "
                f"{finding.verdict}: {again.says}"
            )
    return tuple(words)


def _drifted(old: DesideratumScore, new: DesideratumScore) -> str:
    """What is otherwise about a share of pairs; "" where nothing is."""
    if new.holds != old.holds:
        return (
            f"{'holds' if new.holds else 'fails'} now: {new.satisfaction:.3f} of "
            f"{new.need:.3f} needed, before {old.satisfaction:.3f} of {old.need:.3f}"
        )
    if not old.low <= new.satisfaction <= old.high:
        return (
            f"is {new.satisfaction:.3f} now, outside {old.low:.3f} to {old.high:.3f} as stated "
            "before"
        )
    return ""


def _loss_drifted(old: DesideratumScore, new: DesideratumScore) -> str:
    """What is otherwise about what is lost; "" where nothing is."""
    before, now = old.loss, new.loss
    if before is None or now is None or before.limit != now.limit or before.unit != now.unit:
        limits = [one.limit if one else "no limit" for one in (now, before)]
        return f"has another limit: {limits[0]} now, {limits[1]} before"
    if now.verdict != before.verdict:
        return f"{now} now; before, it {before}"
    if not before.low <= now.mean <= before.high:
        return f"{now} now, outside the interval before, when it {before}"
    return ""
