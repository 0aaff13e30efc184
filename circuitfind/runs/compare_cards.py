"""What changed between two cards of one circuit: a gate for new checkpoints and versions."""

from ..validate import Card


def drifted(before: Card, after: Card) -> tuple[str, ...]:
    """What the second card says otherwise than the first, a sentence each; empty where nothing.

    A desideratum drifts when it no longer holds (or now does), or when its satisfaction leaves
    the interval that the first card states; a check drifts when its verdict changes. What only
    one of the cards has is named too, so that a check that vanished does not pass.
    """
    words = []
    scores = {score.name: score for score in after.desiderata}
    for old in before.desiderata:
        if (new := scores.pop(old.name, None)) is None:
            words.append(f"{old.name!r} is no longer there")
        elif new.holds != old.holds:
            words.append(
                f"{old.name!r} {'holds' if new.holds else 'fails'} now: {new.satisfaction:.3f} of "
                f"{new.need:.3f} needed, before {old.satisfaction:.3f} of {old.need:.3f}"
            )
        elif not old.low <= new.satisfaction <= old.high:
            words.append(
                f"{old.name!r} is {new.satisfaction:.3f} now, outside {old.low:.3f} to "
                f"{old.high:.3f} as stated before"
            )
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
