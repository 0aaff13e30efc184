"""`constrained`: the fewest sites such that every desideratum reaches its bound.

First relaxed: gates in [0, 1] under projected Adam, the number of open gates minimised with a
multiplier for each desideratum that rises while its satisfaction is below the bound and falls
while it is not. Satisfaction (a share of pairs) has no gradient, so descent follows a hinge on
logits while the multipliers follow the true constraint: Cotter et al. 2019 (arXiv 1804.06500,
proxy-Lagrangian). A step is on a few pairs of each desideratum. Descent ends once every
desideratum has held for some steps on end while no gate changed sides.

Then discrete: the gates that are open, or the sites in the order of their mean openness, are where
local search begins, on selection pairs.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...progress import Progress
from ..descent import Descent, Row, descend
from ..finish import finish
from ..problem import SearchProblem, minibatches
from ..ranks import members_by_rank
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Trials

STEPS, LEARNING_RATE, PAIRS = 60, 0.08, 8
RISE, FALL = 1.12, 0.94  # of a multiplier at each step that its desideratum is broken, or holds
PRICE = 0.02  # logits of lead that a site must earn at the start to stay open
START = 0.5
MEMORY = 0.9  # of the mean openness, at each step
SETTLED, UNHELD = 10, 0.5  # steps without a change that end a descent; what one counts that breaks


def search_constrained(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The fewest sites such that every desideratum holds; see the module's text."""
    openness, history = relax(problem, config, progress)
    rounded = frozenset((openness > 0.5).nonzero()[:, 0].tolist())

    def choose(trials: Trials) -> ChosenCircuit:
        # Local search makes a circuit smaller that holds; a prefix would take more trials.
        if config.polish and config.left is None and trials.holds(rounded):
            return ChosenCircuit(rounded, openness, openness)
        return ChosenCircuit(members_by_rank(trials, openness, config), openness, openness)

    return finish("constrained", problem, choose, history, config, progress)


def relax(
    problem: SearchProblem,
    config: SearchConfig,
    progress: Progress,
    prices: Float[Tensor, " site"] | float = 1.0,
) -> tuple[Float[Tensor, " site"], list[dict]]:
    """How open each site was on average over the last steps of the descent, and the history.

    Args:
        prices: what an open gate costs, in units of the usual price.
    """
    divided, live = minibatches(problem, PAIRS), problem.live
    generator = torch.Generator().manual_seed(config.seed)
    n_sites = len(problem.sites)
    gates = (START + 0.05 * torch.randn(n_sites, generator=generator)).requires_grad_()
    weights = [problem.fit.desiderata[index].weight for index in live]
    multipliers = torch.tensor(weights, dtype=torch.float64)
    openness, settled = gates.detach().clone(), torch.zeros(())

    def gradients(step: int) -> dict[str, float]:
        (PRICE * (prices * gates).sum()).backward()
        scores, weights = {}, dict(zip(live, multipliers.tolist(), strict=True))
        objective, held = divided[step % len(divided)], True
        for place, (index, (_, score)) in enumerate(objective.backward(weights, gates).items()):
            need = problem.bounds[index].value + problem.margin[index]
            holds = score >= min(need, 1.0)
            multipliers[place] *= FALL if holds else RISE
            scores[objective.desiderata[index].name], held = score, held and holds
        settled.add_(1.0 if held else UNHELD)
        return scores

    def after(step: int, scores: Row) -> Row:
        gates.data.clamp_(0, 1)
        before = openness > 0.5
        openness.mul_(MEMORY).add_((1 - MEMORY) * gates.detach())
        if bool((before != (openness > 0.5)).any()):
            settled.zero_()
        return {"size": float(gates.detach().sum()), **scores}

    descent = Descent(
        stage="relax",
        objective=problem.fit,
        parameters={"gates": gates},
        memory={"multipliers": multipliers, "openness": openness, "settled": settled},
        optimiser=torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE),
        steps=config.steps or STEPS,
        gradients=[gradients],
        after=after,
        done=lambda: bool(settled >= SETTLED),
    )
    history = descend(descent, progress)
    return openness, history
