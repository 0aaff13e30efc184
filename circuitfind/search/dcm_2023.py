"""`dcm-2023`: desiderata-based component masking as its authors released it.

Davies et al. 2023 (arXiv 2307.03637; code Nix07/binding-circuit-discovery): raw gates that start
untouched, clamped to [0, 1] before each forward pass; one Adam (1e-2) and 100 rounds of two
steps, the first on `5 * value + penalty * sum(sqrt(gate + 0.001))`, the second on the drift
alone; rounding at the end; a mask for each penalty of a grid. Their mask is 1 where ours is 0
(`gate = 1 - mask`), so their `sqrt(1.001 - mask)` reads as above.

With t = logit(target) - logit(base's answer), value is mean(t_unpatched - t_patched) over the
pairs that should follow, target their expected answer (theirs: the source's, the same there);
drift is mean((t_patched - t_unpatched)^2) over the pairs that should keep, target the source's
answer. Where base and source answer alike t is 0, and such pairs teach nothing.

They chose the penalty by looking at a curve; here it is the smallest mask that satisfies every
desideratum on the selection pairs, and there is no polishing. Where a size is asked for, it is the
sites with the most open gates, from the penalty whose sites do best.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..component import Site
from ..encoding import UNKNOWN, Batch
from ..model import Model
from ..objective import Objective
from .ranks import round_to
from .result import Progress, SearchConfig, SearchResult
from .selection import conclude, open_selection
from .trials import Choice, Trials

ROUNDS, LEARNING_RATE = 100, 1e-2
VALUE_WEIGHT = 5.0
PENALTIES = (0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12)


def search_dcm_2023(
    model: Model,
    batches: tuple[Batch, ...],
    sites: tuple[Site, ...],
    config: SearchConfig,
    progress: Progress,
) -> SearchResult:
    """The smallest of the released recipe's masks that satisfies the desiderata.

    Raises:
        ValueError: pairs that should keep, whose source's answer is not known.
    """
    _check(batches)
    selection = open_selection(model, batches, sites, config)
    state = progress.restore() or {"masks": [], "history": [], "cost": None}
    masks, history = state["masks"], state["history"]
    if state["cost"]:
        selection.fit.cost.restore(state["cost"])
    for number, penalty in enumerate(PENALTIES[len(masks) :], len(masks) + 1):
        masks.append(_train(selection.fit, penalty, config))
        history.append(
            {
                "stage": f"penalty {penalty:g}",
                "step": number,
                "size": float(masks[-1].round().sum()),
            }
        )
        progress.report("penalties", number, len(PENALTIES), history[-1])
        progress.save({"masks": masks, "history": history, "cost": selection.fit.cost.report()})
    rounded = [frozenset(round_to(mask, config.size).nonzero()[:, 0].tolist()) for mask in masks]

    def choose(trials: Trials) -> Choice:
        trials.slacks(rounded)
        members = trials.best()
        raw = masks[rounded.index(members)]
        return Choice(members, raw, raw)

    return conclude("dcm-2023", selection, choose, history, config)


def _check(batches: tuple[Batch, ...]) -> None:
    unknown = [
        batch.desideratum.name
        for batch in batches
        if batch.desideratum.sense == "keeps" and bool((batch.source_answer == UNKNOWN).any())
    ]
    if unknown:
        raise ValueError(
            f"dcm-2023 measures drift towards the source's answer; give source_answer in {unknown}"
        )


def _train(objective: Objective, penalty: float, config: SearchConfig) -> Float[Tensor, " site"]:
    """The gates after the released number of rounds, not yet rounded."""
    gates = torch.zeros(len(objective.sites), requires_grad=True)
    optimiser = torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE)
    senses = [desideratum.sense for desideratum in objective.desiderata]
    follows = [index for index, sense in enumerate(senses) if sense == "follows"]
    keeps = [index for index, sense in enumerate(senses) if sense == "keeps"]
    with torch.no_grad():
        untouched = [
            _leads(objective, index, torch.zeros_like(gates)) for index in range(len(senses))
        ]
    for _ in range(config.steps or ROUNDS):
        gates.data.clamp_(0, 1)
        optimiser.zero_grad()
        for index in follows:
            value = (untouched[index] - _leads(objective, index, gates)).mean()
            (VALUE_WEIGHT * objective.desiderata[index].weight * value).backward()
        (penalty * (gates + 0.001).sqrt().sum()).backward()
        objective.require_finite(gates.grad, "the gradient of the value loss")
        optimiser.step()
        if not keeps:
            continue
        gates.data.clamp_(0, 1)
        optimiser.zero_grad()
        for index in keeps:
            drift = (_leads(objective, index, gates) - untouched[index]).square().mean()
            (objective.desiderata[index].weight * drift).backward()
        objective.require_finite(gates.grad, "the gradient of the drift loss")
        optimiser.step()
    return gates.detach().clamp(0, 1)


def _leads(
    objective: Objective, index: int, gates: Float[Tensor, " site"]
) -> Float[Tensor, " pair"]:
    """The target's logit less that of the base's answer, for each pair of a desideratum."""
    pieces = []
    for batch, logits in objective.logits(index, gates[None]):
        keeps = batch.desideratum.sense == "keeps"
        target = batch.source_answer if keeps else batch.expected
        pairs = torch.arange(len(batch), device=logits.device)
        pieces.append(logits[0, pairs, target] - logits[0, pairs, batch.base_answer])
    return torch.cat(pieces)
