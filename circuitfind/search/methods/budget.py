"""`budget`: a ranking learned with k open gates, k drawn anew at each step.

After the budget map of goodfire-ai/causalab (docs/methods/dbm.md, 2026): gate = sigmoid(theta + c)
with theta 0 at the start and c solved by bisection so that the gates sum to k; c carries its
gradient, dc/dtheta_i = -s_i / sum(s), s the sigmoids' slopes; k is drawn log-uniformly at each
step; no penalty. As there: AdamW (1e-2), the cross-entropy of the answer that the causal model
gives, batches of 16 pairs. One run ranks the sites for every k, so that its prefixes are the
whole frontier.

What had to differ: gates are sites of all kinds in one pool; the desiderata's losses are summed
with their weights; 400 steps, over which the pairs that there are come round (there: 20 epochs).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...objective.objective import surprise
from ...progress import Progress
from ..descent import Descent, add_losses, descend, noise_of
from ..finish import finish
from ..problem import SearchProblem, minibatches
from ..ranks import grid, members_by_rank, ordered
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Trials

STEPS, LEARNING_RATE, PAIRS = 400, 1e-2, 16
BISECTIONS = 60


def search_budget(problem: SearchProblem, config: SearchConfig, progress: Progress) -> SearchResult:
    """The shortest prefix of the sites by theta that satisfies the desiderata."""
    divided, steps, n_sites = (
        minibatches(problem, PAIRS),
        config.steps or STEPS,
        len(problem.sites),
    )
    theta = torch.zeros(n_sites, requires_grad=True)
    optimiser = torch.optim.AdamW(
        [theta], lr=config.learning_rate or LEARNING_RATE, weight_decay=0.0
    )

    def gradients(step: int) -> dict[str, float]:
        drawn = torch.rand((), generator=noise_of(config.seed, step))
        size = math.exp(float(drawn) * math.log(max(1.0, n_sites - 1)))
        gates = open_gates(theta, size)
        objective = divided[step % len(divided)]
        return {"size": size, **add_losses(objective, gates, problem.live, surprise)}

    descent = Descent(
        stage="batches",
        objective=problem.fit,
        parameters={"theta": theta},
        optimiser=optimiser,
        steps=steps,
        gradients=[gradients],
    )
    history = descend(descent, progress)
    found = theta.detach()

    def choose(trials: Trials) -> ChosenCircuit:
        members, order = members_by_rank(trials, found, config), ordered(found)
        trials.slacks([frozenset(order[:size]) for size in grid(n_sites)])  # for the frontier
        return ChosenCircuit(members, found, open_gates(found, float(len(members))))

    return finish("budget", problem, choose, history, config, progress)


def open_gates(theta: Float[Tensor, " site"], size: float | int) -> Float[Tensor, " site"]:
    """sigmoid(theta + c), with c such that the gates sum to `size`; its gradient goes through c."""
    if size <= 0 or size >= len(theta):
        return torch.full_like(theta, float(size > 0))
    with torch.no_grad():
        low = -30.0 - theta.max()
        high = 30.0 - theta.min()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = bool((theta + middle).sigmoid().sum() > size)
            low, high = (low, middle) if above else (middle, high)
        shift = (low + high) / 2
        open_now = (theta + shift).sigmoid()
        slopes = open_now * (1 - open_now)
    # The value of c with the gradient that keeping the sum fixed gives it.
    moved = shift - ((theta - theta.detach()) * slopes).sum() / slopes.sum().clamp(min=1e-12)
    return (theta + moved).sigmoid()
