"""How far a circuit satisfies each desideratum on the held-out pairs."""

from collections.abc import Sequence
from math import isfinite

from jaxtyping import Float
from torch import Tensor

from desiderata import name_of

from ..objective.graded import Graded, unit_of
from ..objective.intervals import FEWEST, Values, interval, mean_bounds, mean_interval
from ..objective.objective import Bound, Objective
from .finding import HELD_OUT, SAME, DesideratumScore, Loss, Verdict
from .thresholds import LEVEL


def score_desiderata(
    objective: Objective, bounds: Sequence[Bound], membership: Float[Tensor, " site"], seed: int = 0
) -> tuple[DesideratumScore, ...]:
    """The satisfaction of each desideratum, with its null, ceiling and bound.

    That a limit is broken is tested at 5 % over all desiderata together.

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
    satisfaction, loss = count / n, None
    low, high = (satisfaction, satisfaction) if desideratum.every else interval(count, n)
    holds = satisfaction >= bound.value
    if (graded := objective.graded(index)) is not None:
        lost = objective.losses(index, rows)
        satisfaction = float(graded.satisfaction(lost)[0])
        unit, among = unit_of(objective.batches[index]), len(objective.desiderata)
        losses = lost[0].double().numpy()
        loss = judge_loss(graded, losses, unit, seed, among=among, every=desideratum.every)
        low, high, holds = *_shares_kept(graded, loss), loss.verdict == "holds"
    leads = objective.pair_leads(index, rows)[0].double().numpy()
    lead_low, lead_high = mean_interval(leads, seed) if n >= FEWEST else (None, None)
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
        every=desideratum.every,
    )


def _shares_kept(graded: Graded, loss: Loss) -> tuple[float, float]:
    """Between what the share kept lies: the loss is what is judged, and these are its bounds
    relative to the mean that can be lost."""
    if loss.low is None or loss.high is None:
        return 0.0, 1.0
    if not graded.range:
        return 1.0, 1.0
    return 1 - loss.high / graded.range, 1 - loss.low / graded.range


def judge_loss(
    graded: Graded, lost: Values, unit: str, seed: int, *, among: int = 1, every: bool = False
) -> Loss:
    """What a circuit loses, and whether that is within the limit.

    By `share`, each pair's loss is compared with its own share of what can be lost, so that pairs
    are paired with themselves.

    Args:
        among: of so many desiderata; that one of them is broken is tested at 5 % over all.
        every: the pairs are all that the claim is about, so that their mean decides.
    """
    over = lost
    if graded.limit.share is not None:
        over = lost - (1 - graded.limit.share) * graded.worst.double().numpy()
    line = graded.allowed if graded.limit.share is None else 0.0
    if every:
        low = high = least = float(over.mean())
    else:
        low, high = mean_bounds(over, seed)
        least, _ = mean_bounds(over, seed, LEVEL / among)
    verdict: Verdict = "holds" if high <= line else "fails" if least > line else "inconclusive"
    shift = graded.allowed - line
    return Loss(
        limit=f"{graded.limit}{'' if graded.limit.share is not None else f' {unit}'}",
        mean=float(lost.mean()),
        low=float(low + shift) if isfinite(low) else None,
        high=float(high + shift) if isfinite(high) else None,
        allowed=graded.allowed,
        unit=unit,
        verdict=verdict,
    )
