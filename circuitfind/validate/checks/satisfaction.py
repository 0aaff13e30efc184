"""Does the circuit satisfy every desideratum on pairs that search has not seen?"""

from collections.abc import Sequence
from math import ceil, log

from scipy import stats

from ..finding import DesideratumScore, Finding, Verdict, gravest
from ..inputs import CheckInputs
from ..names import SATISFACTION
from ..power import trials_for_share
from ..questions import short_of
from ..scores import score_desiderata
from ..thresholds import LEVEL, holm


def check_satisfaction(inputs: CheckInputs) -> Finding:
    """Every desideratum on the held-out pairs; see `judge`."""
    return judge(score_desiderata(inputs.objective, inputs.bounds, inputs.membership))


def judge(scores: Sequence[DesideratumScore]) -> Finding:
    """The weakest desideratum, and the verdict on all of them together.

    It *holds* where each is told to reach its bound, by exact one-sided binomial tests at 5 %: of
    several tests that all have to reject, each may be at the full level. It *fails* where one is
    told to lie below it, at 5 % by Holm over the desiderata. Desiderata with a limit have the
    verdict on what is lost. Where the pairs are all that the claim is about, nothing is sampled,
    and whether the bound is reached decides. On too few pairs nothing can hold: `pairs_to_hold`.
    """
    weakest = min(scores, key=lambda score: score.satisfaction - score.need)
    verdict = gravest(_verdicts(scores))
    reached = sum(score.holds for score in scores)
    told = (
        f"the weakest, {weakest.name!r}, scores {weakest.satisfaction:.3f} of the "
        f"{weakest.need:.3f} needed"
    )
    if not weakest.every:
        told += f", with 95 % between {weakest.low:.3f} and {weakest.high:.3f}"
    brief = short_of(scores)
    if verdict == "inconclusive" and (enough := _enough(scores)):
        told += f"; {enough}"
        brief = brief or f"too few pairs to be sure ({enough})"
    return Finding(
        name=SATISFACTION,
        verdict=verdict,
        value=weakest.satisfaction,
        low=weakest.low,
        high=weakest.high,
        n=weakest.n,
        ablation=weakest.ablation,
        split="held-out",
        says=f"{reached} of {len(scores)} desiderata reach their bounds; {told}"
        + (f"; it {weakest.loss}" if weakest.loss else ""),
        brief=brief,
    )


def pairs_to_hold(need: float) -> int | None:
    """From how many pairs on a desideratum that no pair breaks is told to reach this bound; None
    for a bound of 1, which no sample can show.

    >>> pairs_to_hold(0.95)
    59
    """
    if need >= 1:
        return None
    return ceil(log(LEVEL) / log(need)) if need > LEVEL else 1


def _verdicts(scores: Sequence[DesideratumScore]) -> list[Verdict]:
    """The verdict on each desideratum; those of which shares are sampled at the level of all."""
    sampled = [score.loss is None and not score.every for score in scores]
    p = [_p(score, "less") if mine else 1.0 for score, mine in zip(scores, sampled, strict=True)]
    made: list[Verdict] = []
    for score, mine, below in zip(scores, sampled, holm(p, len(scores)), strict=True):
        if not mine:
            made.append(score.verdict)
        elif below:
            made.append("fails")
        else:
            made.append("holds" if _p(score, "greater") <= LEVEL else "inconclusive")
    return made


def _p(score: DesideratumScore, side: str) -> float:
    """The exact p value of a true share at the bound, against one that lies on this side of it."""
    hits = round(score.satisfaction * score.n)
    return float(stats.binomtest(hits, score.n, score.need, alternative=side).pvalue)


def _enough(scores: Sequence[DesideratumScore]) -> str:
    """How many pairs would tell, in words; "" where it is a limit that cannot be told."""
    open_ = [
        score
        for score, verdict in zip(scores, _verdicts(scores), strict=True)
        if verdict == "inconclusive" and score.loss is None
    ]
    if not open_:
        return ""
    if all(score.satisfaction == 1 for score in open_):
        most = [pairs_to_hold(score.need) for score in open_]
        if None in most:
            return "a bound of 1.000 is told by no sample"
        return f"{max(filter(None, most))} pairs, if none of them breaks it, would tell"
    worst = min(
        (score for score in open_ if score.satisfaction < 1), key=lambda s: s.satisfaction - s.need
    )
    need = trials_for_share(worst.satisfaction, worst.n, worst.need, LEVEL)
    return f"at this share {need} pairs would tell"
