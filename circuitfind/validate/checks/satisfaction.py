"""Does the circuit satisfy every desideratum on pairs that search has not seen?"""

from collections.abc import Sequence

from ..card import DesideratumScore, Finding, Verdict
from ..inputs import CheckInputs
from ..names import SATISFACTION
from ..scores import score_desiderata


def check_satisfaction(inputs: CheckInputs) -> Finding:
    """Every desideratum on the held-out pairs; see `judge`."""
    return judge(score_desiderata(inputs.objective, inputs.bounds, inputs.membership))


def judge(scores: Sequence[DesideratumScore]) -> Finding:
    """The weakest desideratum: it holds when its whole interval clears the bound, fails when
    none of it does."""
    weakest = min(scores, key=lambda score: score.satisfaction - score.need)
    verdicts = [_verdict(score) for score in scores]
    verdict: Verdict = "inconclusive"
    if all(one == "holds" for one in verdicts):
        verdict = "holds"
    elif "fails" in verdicts:
        verdict = "fails"
    reached = sum(score.holds for score in scores)
    told = (
        f"the weakest, {weakest.name!r}, scores {weakest.satisfaction:.3f} of the "
        f"{weakest.need:.3f} needed, with 95 % between {weakest.low:.3f} and {weakest.high:.3f}"
    )
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
    )


def _verdict(score: DesideratumScore) -> Verdict:
    if score.loss is not None:
        return score.loss.verdict
    if score.low >= score.need:
        return "holds"
    return "fails" if score.high < score.need else "inconclusive"
