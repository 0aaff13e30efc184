"""`hard-concrete`: sampled gates with a target for their number that ramps up.

Edge Pruning's recipe (Bhaskar et al. 2024, arXiv 2406.16778; code princeton-nlp/Edge-Pruning) for
sites: hard-concrete gates (Louizos et al. 2018, arXiv 1712.01312) with stretch -0.1 to 1.1, beta
2/3 and log alpha ~ N(10, 0.01), so that all start open; a new sample at each step; the Lagrangian
l1 (s - t) + l2 (s - t)^2 holds the share s of closed gates at a target t that rises from 0 over
the first 2500 of 3000 steps, its multipliers trained by maximising; AdamW (0.8 for gates and
multipliers) with a warm-up of 200 steps, in batches of 32 pairs.

What had to differ: gates are sites, not edges. The loss is the desiderata's own hinge on logits
(theirs: KL to the whole model, which says what a faithful circuit must do and not what carries a
variable). s is the expected share that the sampled gates close. The target is the lowest that
they publish, 0.94, or what `config.left` implies. The mask is not cut where it has t's share
closed: log alpha is a ranking, and the circuit is its shortest prefix that satisfies the
desiderata on the selection pairs. With other `config.steps` ramp and warm-up keep their shares.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...progress import Progress
from ..descent import Descent, add_losses, descend, noise_of
from ..finish import finish
from ..problem import SearchProblem, minibatches
from ..ranks import ranked
from ..result import SearchConfig, SearchResult

STEPS, RAMP, WARM_UP = 3000, 2500 / 3000, 200 / 3000
LEARNING_RATE, PAIRS = 0.8, 32
LEFT, RIGHT, BETA = -0.1, 1.1, 2 / 3
OPEN, SPREAD = 10.0, 0.01
TARGET = 0.94  # share of gates to close where no size is asked for


def search_hard_concrete(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by log alpha that satisfies the desiderata."""
    divided, steps = minibatches(problem, PAIRS), config.steps or STEPS
    noise = noise_of(config.seed, -1)
    log_alpha = (OPEN + SPREAD * torch.randn(len(problem.sites), generator=noise)).requires_grad_()
    multipliers = torch.zeros(2, requires_grad=True)
    rate = config.learning_rate or LEARNING_RATE
    optimiser = torch.optim.AdamW(
        [{"params": [log_alpha]}, {"params": [multipliers], "maximize": True}],
        lr=rate,
        weight_decay=0.0,
    )
    target = TARGET if config.left is None else 1 - config.left / len(problem.sites)

    def gradients(step: int) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / max(1.0, WARM_UP * steps))
        gates = sample(log_alpha, noise_of(config.seed, step))
        scores = add_losses(divided[step % len(divided)], gates, problem.live)
        closed = 1 - expected_open(log_alpha).mean()
        off = closed - target * min(1.0, (step + 1) / max(1.0, RAMP * steps))
        (multipliers[0] * off + multipliers[1] * off.square()).backward()
        return {"size": float(gates.detach().sum()), "closed": float(closed.detach()), **scores}

    descent = Descent(
        stage="batches",
        objective=problem.fit,
        parameters={"log alpha": log_alpha, "multipliers": multipliers},
        optimiser=optimiser,
        steps=steps,
        gradients=[gradients],
    )
    history = descend(descent, progress)
    found = log_alpha.detach()
    mask = (found.sigmoid() * (RIGHT - LEFT) + LEFT).clamp(0, 1)
    return finish("hard-concrete", problem, ranked(found, config, mask), history, config, progress)


def sample(log_alpha: Float[Tensor, " site"], noise: torch.Generator) -> Float[Tensor, " site"]:
    """Gates drawn from the hard-concrete distribution, many of them exactly 0 or 1."""
    drawn = torch.rand(len(log_alpha), generator=noise).clamp(1e-6, 1 - 1e-6)
    soft = ((drawn.logit() + log_alpha) / BETA).sigmoid()
    return (soft * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def expected_open(log_alpha: Float[Tensor, " site"]) -> Float[Tensor, " site"]:
    """The probability that each sampled gate is not exactly 0."""
    return (log_alpha - BETA * math.log(-LEFT / RIGHT)).sigmoid()
