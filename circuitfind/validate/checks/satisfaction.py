"""Does the circuit satisfy every desideratum on pairs that search has not seen?"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ...objective.intervals import interval
from ...objective.objective import Bound, Objective
from ..card import DesideratumScore, Finding, Verdict
from ..inputs import Subject


def score_desiderata(
    objective: Objective, bounds: Sequence[Bound], membership: Float[Tensor, " site"]
) -> tuple[DesideratumScore, ...]:
    """The satisfaction of each desideratum, beside its null, its ceiling and its bound."""
    scores = []
    for index, (desideratum, bound) in enumerate(zip(objective.desiderata, bounds, strict=True)):
        hits = objective.hits(index, membership[None])[0]
        n, count = len(hits), int(hits.sum())
        low, high = interval(count, n)
        scores.append(
            DesideratumScore(
                name=desideratum.name,
                part=desideratum.part,
                sense=desideratum.sense,
                n=n,
                null=bound.null,
                ceiling=bound.ceiling,
                satisfaction=count / n,
                low=low,
                high=high,
                at_least=desideratum.at_least,
                need=bound.value,
                holds=count / n >= bound.value,
                vacuous=bound.vacuous,
                ablation=f"{desideratum.part} the circuit takes: {desideratum.donor}",
                split="held-out",
                wrong=tuple((~hits).nonzero()[:, 0].tolist()),
            )
        )
    return tuple(scores)


def check_satisfaction(subject: Subject) -> Finding:
    """Every desideratum on the held-out pairs; see `judge`."""
    return judge(score_desiderata(subject.objective, subject.bounds, subject.membership))


def judge(scores: Sequence[DesideratumScore]) -> Finding:
    """The weakest desideratum: it holds when its whole interval clears the bound, fails when
    none of it does."""
    weakest = min(scores, key=lambda score: score.satisfaction - score.need)
    verdict: Verdict = "inconclusive"
    if all(score.low >= score.need for score in scores):
        verdict = "holds"
    elif any(score.high < score.need for score in scores):
        verdict = "fails"
    reached = sum(score.holds for score in scores)
    return Finding(
        name="satisfaction",
        verdict=verdict,
        value=weakest.satisfaction,
        low=weakest.low,
        high=weakest.high,
        n=weakest.n,
        ablation=weakest.ablation,
        split="held-out",
        says=f"{reached} of {len(scores)} desiderata reach their bounds; the weakest, "
        f"{weakest.name!r}, scores {weakest.satisfaction:.3f} of the {weakest.need:.3f} needed, "
        f"with 95 % between {weakest.low:.3f} and {weakest.high:.3f}",
    )
