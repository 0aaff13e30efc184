"""What a run would cost, from the passes that a few pairs took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import torch

from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch
from ..objective.objective import Bound, Objective
from ..search import candidate_sites
from ..search.methods.constrained import STEPS
from .memory import Plan

# How often a run by the method `constrained` scores a desideratum on all of its pairs, in passes of
# every layer: mostly fewer run, more often. The 21 such runs under figures/ took 0.94 to 1.43 times
# the FLOPs that come of these, and one 2.7 times.
TRIED, CHECKED = 95, 40  # circuits, by search on the selection pairs and by validation
LOW, HIGH = 0.9, 1.5
RUNTIME = 2**29  # bytes of Python and torch themselves


@dataclass(frozen=True, kw_only=True)
class Ends:
    """A desideratum's scores with no site patched and with all, and what its passes cost.

    Args:
        bound: measured on all pairs looked at, solved or not.
        look, ready, step: FLOPs a pair, to answer both prompts, to make it ready for patching, and
            of one patched pass.
    """

    bound: Bound
    look: float
    ready: float
    step: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What `discover` would cost with `n` pairs of each desideratum, by the usual method.

    FLOPs are those of the runs published with this package; `low` and `high` are the range that
    nearly all of them fall into. Seconds are at the speed of this preview's own passes. `memory`
    is the bytes of the weights, of what is kept of the pairs, and of the widest pass, and
    `memory_plan` says so in words (`runs.memory`).
    """

    n: int
    method: str
    flops: float
    flops_low: float
    flops_high: float
    seconds_low: float
    seconds_high: float
    speed: float
    step_flops: float
    memory: int
    memory_plan: str
    stages: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The estimate as plain values."""
        return asdict(self)


class _Watched(Cost):
    """An account that remembers how wide its last pass was."""

    width = context = 1

    def add(
        self,
        model: Model,
        rows: int,
        width: int,
        context: int,
        backward: bool = False,
        skipped: int = 0,
        unembedded: int | None = None,
    ) -> None:
        self.width, self.context = width, context
        super().add(model, rows, width, context, backward, skipped, unembedded)


@torch.no_grad()
def ends_of(model: Model, batch: Batch, cost: Cost) -> Ends:
    """A desideratum's null and ceiling on these pairs, and what a pair costs in each stage.

    What was spent joins `cost`.
    """
    account = _Watched()
    sites = candidate_sites(model, [batch.desideratum])
    objective = Objective(model, [batch], sites, account)
    ready = account.flops
    (bound,) = objective.bounds()
    answering, step = Cost(), Cost()
    for prompts in (batch.base, batch.source):
        width = prompts.tokens.shape[1]
        answering.add(model, len(batch), width, width)
    step.add(model, 1, account.width, account.context)
    cost.tokens_forward += account.tokens_forward
    cost.flops += account.flops
    return Ends(
        bound=bound,
        look=answering.flops / len(batch),
        ready=ready / len(batch),
        step=float(step.flops),
    )


def estimate(
    model: Model, ends: Sequence[Ends], counts: Sequence[int], speed: float, plan: Plan
) -> Estimate:
    """What `discover` would cost.

    Args:
        counts: how many pairs of each desideratum it would have.
        speed: FLOPs a second.
    """
    live = [one for one in zip(ends, counts, strict=True) if not one[0].bound.vacuous]
    stages = {
        "check": sum(2 * n * one.look for one, n in zip(ends, counts, strict=True)),
        "search": sum(n * one.ready for one, n in zip(ends, counts, strict=True))
        + sum((2 * STEPS * _fit(n) + TRIED * (n - _fit(n))) * one.step for one, n in live),
        "validate": sum(
            n * (one.ready + CHECKED * one.step) for one, n in zip(ends, counts, strict=True)
        ),
    }
    flops = sum(stages.values())
    return Estimate(
        n=max(counts),
        method="constrained",
        flops=flops,
        flops_low=LOW * flops,
        flops_high=HIGH * flops,
        seconds_low=LOW * flops / speed,
        seconds_high=HIGH * flops / speed,
        speed=speed,
        step_flops=sum(one.step for one in ends) / len(ends),
        memory=plan.needed + plan.weights + (RUNTIME if model.device.type == "cpu" else 0),
        memory_plan=str(plan),
        stages=stages,
    )


def _fit(n: int) -> int:
    """How many of `n` pairs search fits its mask on."""
    return ceil(n / 3)
