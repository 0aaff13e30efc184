"""How far a circuit satisfies each desideratum on the held-out pairs."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from desiderata import name_of

from ..objective.graded import Graded, unit_of
from ..objective.intervals import Statistic, Values, interval, mean_bounds, paired_interval
from ..objective.objective import Bound, Objective
from .card import HELD_OUT, SAME, DesideratumScore, Loss, Verdict


def score_desiderata(
    objective: Objective, bounds: Sequence[Bound], membership: Float[Tensor, " site"], seed: int = 0
) -> tuple[DesideratumScore, ...]:
    """The satisfaction of each desideratum, with its null, ceiling and bound.

    Args:
        seed: of the bootstraps behind intervals of means.
    """
    return tuple(
        _score(objective, index, bound, membership, seed) for index, bound in enumerate(bounds)
    )


def _score(
    objective: Objective, index: int, bound: Bound, membership: Float[Tensor, " site"], seed: int
) -> DesideratumScore:
    desideratum, rows = objective.desiderata[index], membership[None]
    hits = objective.hits(index, rows)[0]
    n, count = len(hits), int(hits.sum())
    satisfaction, (low, high), loss = count / n, interval(count, n), None
    holds = satisfaction >= bound.value
    if (graded := objective.graded(index)) is not None:
        lost = objective.losses(index, rows)
        satisfaction = float(graded.satisfaction(lost)[0])
        loss = judge_loss(graded, lost[0].double().numpy(), unit_of(objective.batches[index]), seed)
        # The loss is what is judged; its bounds as shares, both relative to the mean that is lost.
        ends = (1 - end / graded.range if graded.range else 1.0 for end in (loss.high, loss.low))
        (low, high), holds = ends, loss.verdict == "holds"
    leads = objective.pair_leads(index, rows)[0].double().numpy()
    lead_low, lead_high = paired_interval(_mean, (leads,), seed) if n > 1 else (None, None)
    return DesideratumScore(
        name=desideratum.name,
        part=desideratum.part,
        sense=desideratum.sense,
        n=n,
        null=bound.null,
        ceiling=bound.ceiling,
        satisfaction=satisfaction,
        low=low,
        high=high,
        at_least=bound.at_least,
        need=bound.value,
        holds=holds,
        vacuous=bound.vacuous,
        ablation=f"{desideratum.part} the circuit takes: {name_of(desideratum.donor)}",
        split=SAME if desideratum.exhaustive else HELD_OUT,
        wrong=tuple((~hits).nonzero()[:, 0].tolist()),
        lead=float(leads.mean()),
        lead_low=lead_low,
        lead_high=lead_high,
        unit=objective.batches[index].answer.unit,
        loss=loss,
    )


def judge_loss(graded: Graded, lost: Values, unit: str, seed: int) -> Loss:
    """What a circuit loses, and whether that is within the limit.

    By `share`, each pair's loss is compared with its own share of what can be lost, so that pairs
    are paired with themselves.
    """
    over = lost
    if graded.limit.share is not None:
        over = lost - (1 - graded.limit.share) * graded.worst.double().numpy()
    low, high = mean_bounds(over, seed)
    line = graded.allowed if graded.limit.share is None else 0.0
    verdict: Verdict = "holds" if high <= line else "fails" if low > line else "inconclusive"
    shift = graded.allowed - line
    return Loss(
        limit=f"{graded.limit}{'' if graded.limit.share is not None else f' {unit}'}",
        mean=float(lost.mean()),
        low=float(low + shift),
        high=float(high + shift),
        allowed=graded.allowed,
        unit=unit,
        verdict=verdict,
    )


def _mean(values: Values, *, axis: int = -1) -> Statistic:
    return values.mean(axis)
