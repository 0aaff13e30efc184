"""What a run would cost, from the passes that a few pairs took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from ..engines.engine import Edit, Point
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch
from ..objective.objective import Bound, Objective
from ..objective.passes import ENTRY_BYTES
from ..search import candidate_sites
from ..search.methods.constrained import STEPS

# How often a run by the method `constrained` scores a desideratum on all of its pairs, in passes of
# every layer: mostly fewer run, more often. The 21 such runs under figures/ took 0.94 to 1.43 times
# the FLOPs that come of these, and one 2.7 times.
TRIED, CHECKED = 95, 40  # circuits, by search on the selection pairs and by validation
LOW, HIGH = 0.9, 1.5
SAVED_PER_TOKEN = 20  # numbers that a backward pass keeps of a token in a layer, in residual widths
LOGIT_COPIES = 3  # of a pass's logits: as they come, and what a score makes of them
PREFIX_COPIES = 2  # of the keys and values that a pass has for each of its rows
RUNTIME = 2**29  # bytes of Python and torch themselves


@dataclass(frozen=True, kw_only=True)
class Ends:
    """A desideratum's scores with no site patched and with all, and what its passes cost.

    Args:
        bound: measured on all pairs looked at, solved or not.
        look, ready, step: FLOPs a pair, to answer both prompts, to make it ready for patching, and
            of one patched pass.
        width: tokens a pair that a step runs.
        context: tokens a pair that such a pass sees.
        rows: pairs that a pass without gradients takes at once, each circuit's counted.
        sites: how many there are to choose from.
    """

    bound: Bound
    look: float
    ready: float
    step: float
    width: int
    context: int
    rows: int
    sites: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What `discover` would cost with `n` pairs of each desideratum, by the usual method.

    FLOPs are those of the runs published with this package; `low` and `high` are the range that
    nearly all of them fall into. Seconds are at the speed of this preview's own passes. `memory`
    is the bytes of the weights, of what is kept of the pairs, and of one pass with its logits.
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
        width=account.width,
        context=account.context,
        rows=objective.masks_at_once * len(batch),
        sites=len(sites),
    )


def estimate(
    model: Model, ends: Sequence[Ends], at: Sequence[str], counts: Sequence[int], speed: float
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
        memory=_memory(model, ends, at, counts),
        stages=stages,
    )


def _fit(n: int) -> int:
    """How many of `n` pairs search fits its mask on."""
    return ceil(n / 3)


def _memory(model: Model, ends: Sequence[Ends], at: Sequence[str], counts: Sequence[int]) -> int:
    """Bytes of the weights, of what is kept of the pairs, and of the widest pass."""
    sizes = model.engine.sizes
    tensors = {one.data_ptr(): one for one in model.engine.weights().values()}  # tied ones once
    weights = sum(one.numel() * one.element_size() for one in tensors.values())
    itemsize = max((one.element_size() for one in tensors.values()), default=4)
    number = itemsize * sizes.n_layers  # bytes of a number that each layer has
    kept = graph = widest = 0
    for one, n in zip(ends, counts, strict=True):
        donors = (one.width if "all" in at else len(at)) * 2 * sizes.d_model  # heads and MLP
        prefix = (one.context - one.width) * 2 * _kv_width(model)
        entering = min(ENTRY_BYTES, n * number * one.width * sizes.d_model)
        kept += n * number * (donors + prefix) + entering
        # A pass without gradients holds as many pairs as its tokens allow, one with those to fit.
        # Search scores about as many circuits at once as there are sites.
        rows = max(min(one.rows, one.sites * n), _fit(n))
        logits = LOGIT_COPIES * itemsize * sizes.d_vocab
        widest = max(widest, rows * (PREFIX_COPIES * number * prefix + logits))
        per_row = number * one.width * SAVED_PER_TOKEN * sizes.d_model
        graph = max(graph, min(_fit(n), model.pairs_at_once) * per_row)
    own = RUNTIME if model.device.type == "cpu" else 0
    return own + weights + kept + max(graph, widest)


def _kv_width(model: Model) -> int:
    """How many numbers a token's keys have in a layer."""
    point, found = Point(0, "k"), [model.d_model]
    if not model.engine.has(point):
        return found[0]

    def see(own: Tensor) -> None:
        found[0] = own[0, 0].numel()

    edit: Edit = see
    tokens = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    model.engine.forward(tokens, torch.ones_like(tokens), [(point, edit)])
    return found[0]
