"""`sigmoid`: gates as sigmoids whose temperature falls, differentiable binary masking.

DBM as MIB uses it (Mueller et al. 2025, arXiv 2504.13151; code atticusg/CausalAbstraction,
experiments.py; also goodfire-ai/causalab): gate = sigmoid(theta / T) with theta 0 at the start,
T from 1 to 0.01 linearly, AdamW (1e-2, no weight decay) on the cross-entropy of the answer that
the causal model gives, plus 1e-4 times the sum of the gates, in batches of 32 pairs. At the end a
gate is open where theta > 0.

What had to differ: they mask dimensions of one vector, here gates are sites; the desiderata's
losses are summed with their weights; three epochs of theirs are 300 batches here, over which the
pairs that there are come round (their number depends on the data set). They keep every gate with
theta > 0, which with so small a penalty is whatever does no harm; here theta is a ranking, and the
circuit is its shortest prefix that satisfies the desiderata on the selection pairs.
"""

import torch

from ...objective.objective import surprise
from ...progress import Progress
from ..descent import Descent, add_losses, descend
from ..finish import finish
from ..problem import SearchProblem, minibatches
from ..ranks import ranked
from ..result import SearchConfig, SearchResult

STEPS, LEARNING_RATE, PAIRS = 300, 1e-2, 32
HOT, COLD = 1.0, 0.01  # temperature at the first step and at the last
PENALTY = 1e-4


def search_sigmoid(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by theta that satisfies the desiderata."""
    divided, steps = minibatches(problem, PAIRS), config.steps or STEPS
    theta = torch.zeros(len(problem.sites), requires_grad=True)
    optimiser = torch.optim.AdamW(
        [theta], lr=config.learning_rate or LEARNING_RATE, weight_decay=0.0
    )

    def gradients(step: int) -> dict[str, float]:
        temperature = HOT + (COLD - HOT) * step / max(1, steps - 1)
        gates = (theta / temperature).sigmoid()
        (PENALTY * gates.sum()).backward(retain_graph=True)
        objective = divided[step % len(divided)]
        scores = add_losses(objective, gates, problem.live, surprise)
        return {"size": float(gates.detach().sum()), "temperature": temperature, **scores}

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
    choose = ranked(found, config, (found / COLD).sigmoid())
    return finish("sigmoid", problem, choose, history, config, progress)
