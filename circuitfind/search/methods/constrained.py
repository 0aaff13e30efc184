"""`constrained`: the fewest sites such that every desideratum reaches its bound.

First relaxed: gates in [0, 1] under projected Adam, the number of open gates minimised with a
multiplier for each desideratum that rises while its satisfaction is below the bound and falls
while it is not. Satisfaction (a share of pairs) has no gradient, so descent follows a hinge on
logits while the multipliers follow the true constraint: Cotter et al. 2019 (arXiv 1804.06500,
proxy-Lagrangian). Then discrete: the sites in the order of their mean openness are cut to the
smallest circuit that holds with hard gates on selection pairs, and polished there.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...progress import Progress
from ..descent import Descent, Row, descend
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult

STEPS, LEARNING_RATE = 120, 0.08
RISE, FALL = 1.12, 0.94  # of a multiplier at each step that its desideratum is broken, or holds
PRICE = 0.02  # logits of lead that a site must earn at the start to stay open


def search_constrained(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The fewest sites such that every desideratum holds; see the module's text."""
    openness, history = relax(problem, config, progress)
    choose = ranked(openness, config, openness)
    return finish("constrained", problem, choose, history, config, progress)


def relax(
    problem: SearchProblem,
    config: SearchConfig,
    progress: Progress,
    prices: Float[Tensor, " site"] | float = 1.0,
) -> tuple[Float[Tensor, " site"], list[dict]]:
    """How open each site was on average over the second half of the descent, and the history.

    Args:
        prices: what an open gate costs, in units of the usual price.
    """
    steps = config.steps or STEPS
    objective, live = problem.fit, problem.live
    generator = torch.Generator().manual_seed(config.seed)
    n_sites = len(objective.sites)
    gates = (0.5 + 0.05 * torch.randn(n_sites, generator=generator)).requires_grad_()
    weights = [objective.desiderata[index].weight for index in live]
    multipliers = torch.tensor(weights, dtype=torch.float64)
    total = torch.zeros(n_sites)

    def gradients(step: int) -> dict[str, float]:
        (PRICE * (prices * gates).sum()).backward()
        scores, weights = {}, dict(zip(live, multipliers.tolist(), strict=True))
        for place, (index, (_, score)) in enumerate(objective.backward(weights, gates).items()):
            need = problem.bounds[index].value + problem.margin[index]
            multipliers[place] *= FALL if score >= min(need, 1.0) else RISE
            scores[objective.desiderata[index].name] = score
        return scores

    def after(step: int, scores: Row) -> Row:
        gates.data.clamp_(0, 1)
        if step >= steps // 2:
            total.add_(gates.detach())
        return {"size": float(gates.detach().sum()), **scores}

    descent = Descent(
        stage="relax",
        objective=objective,
        parameters={"gates": gates},
        memory={"multipliers": multipliers, "total": total},
        optimiser=torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE),
        steps=steps,
        gradients=[gradients],
        after=after,
    )
    history = descend(descent, progress)
    return total / (steps - steps // 2), history
