"""How far a circuit satisfies each desideratum on the held-out pairs."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ..objective.intervals import interval
from ..objective.objective import Bound, Objective
from .card import HELD_OUT, SAME, DesideratumScore


def score_desiderata(
    objective: Objective, bounds: Sequence[Bound], membership: Float[Tensor, " site"]
) -> tuple[DesideratumScore, ...]:
    """The satisfaction of each desideratum, with its null, ceiling and bound."""
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
                split=SAME if desideratum.exhaustive else HELD_OUT,
                wrong=tuple((~hits).nonzero()[:, 0].tolist()),
            )
        )
    return tuple(scores)
