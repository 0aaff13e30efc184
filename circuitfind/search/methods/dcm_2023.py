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

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...objective.encoding import Batch
from ...objective.objective import Objective, Piece
from ...progress import Progress
from ..descent import Descent, Row, descend
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import round_to
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Trials

ROUNDS, LEARNING_RATE = 100, 1e-2
VALUE_WEIGHT = 5.0
PENALTIES = (0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12)


def search_dcm_2023(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The smallest of the released recipe's masks that satisfies the desiderata.

    Raises:
        ValueError: pairs that should keep, whose source's answer is not known.
    """
    _check((*problem.fit.batches, *problem.select.batches))
    masks, history = _train(problem.fit, config, progress)
    rounded = [frozenset(round_to(mask, config.left).nonzero()[:, 0].tolist()) for mask in masks]

    def choose(trials: Trials) -> ChosenCircuit:
        trials.slacks(rounded)
        members = trials.best()
        raw = masks[rounded.index(members)]
        return ChosenCircuit(members, raw, raw)

    return finish("dcm-2023", problem, choose, history, config, progress)


def _check(batches: tuple[Batch, ...]) -> None:
    unknown = dict.fromkeys(
        batch.desideratum.name
        for batch in batches
        if batch.desideratum.sense == "keeps" and not bool(batch.source_answer.known.all())
    )
    if unknown:
        raise ValueError(
            "dcm-2023 measures drift towards the source's answer; give source_answer in "
            f"{list(unknown)}"
        )


def _train(
    objective: Objective, config: SearchConfig, progress: Progress
) -> tuple[Float[Tensor, "penalty site"], list[dict]]:
    """The gates of every penalty after the released number of rounds, not yet rounded.

    The masks of all penalties are trained side by side, each by itself: Adam moves every gate
    alone, and the loss is the sum over the masks of what each would have alone.
    """
    penalties = torch.tensor(PENALTIES)[:, None]
    gates = torch.zeros(len(PENALTIES), len(objective.sites), requires_grad=True)
    senses = [desideratum.sense for desideratum in objective.desiderata]
    follows = [index for index, sense in enumerate(senses) if sense == "follows"]
    keeps = [index for index, sense in enumerate(senses) if sense == "keeps"]
    untouched = _untouched(objective)

    def value(step: int) -> Row:
        gates.data.clamp_(0, 1)
        _add(objective, follows, gates, untouched, _value)
        (penalties * (gates + 0.001).sqrt()).sum().backward()
        return {}

    def drift(step: int) -> Row:
        gates.data.clamp_(0, 1)
        _add(objective, keeps, gates, untouched, _drift)
        return {}

    def smallest(step: int, row: Row) -> Row:
        return {"size": min(gates.detach().clamp(0, 1).round().sum(dim=1).tolist())}

    descent = Descent(
        stage="rounds",
        objective=objective,
        parameters={"gates": gates},
        optimiser=torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE),
        steps=config.steps or ROUNDS,
        gradients=[value, drift] if keeps else [value],
        after=smallest,
    )
    history = descend(descent, progress)
    return gates.detach().clamp(0, 1), history


def _value(before: Float[Tensor, " pair"], after: Float[Tensor, "penalty pair"]) -> Tensor:
    return VALUE_WEIGHT * (before - after)


def _drift(before: Float[Tensor, " pair"], after: Float[Tensor, "penalty pair"]) -> Tensor:
    return (after - before).square()


def _add(
    objective: Objective,
    indices: Sequence[int],
    gates: Float[Tensor, "penalty site"],
    untouched: Mapping[int, Float[Tensor, " pair"]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Add the gradients of these desiderata's weighted losses, each a mean over pairs."""
    for masks in gates.split(objective.masks_at_once):
        place = dict.fromkeys(indices, 0)
        for pieces in objective.passes(indices, masks):
            total = torch.zeros(())
            for piece in pieces:
                index, n = piece.index, len(piece.batch)
                before = untouched[index][place[index] : place[index] + n]
                place[index] += n
                loss = loss_of(before, _leads(piece)).sum().cpu() / len(objective.batches[index])
                total = total + objective.desiderata[index].weight * loss
            total.backward()


@torch.no_grad()
def _untouched(objective: Objective) -> dict[int, Float[Tensor, " pair"]]:
    """The leads of each desideratum's pairs where nothing is patched."""
    objective = objective.undecided()
    found: dict[int, list[Tensor]] = {index: [] for index in range(len(objective.batches))}
    for index, rows in found.items():
        for pieces in objective.passes([index], objective.untouched(index)):
            rows += [_leads(piece)[0] for piece in pieces]
    return {index: torch.cat(rows) for index, rows in found.items()}


def _leads(piece: Piece) -> Float[Tensor, "penalty pair"]:
    """The target's logit less that of the base's answer, for each mask and pair."""
    batch = piece.batch
    keeps = batch.desideratum.sense == "keeps"
    target = batch.source_answer if keeps else batch.expected
    return batch.answer.contrast(piece.output, target, batch.base_answer)
