"""`dcm-2024`: the linear recipe of desiderata-based component masking, as released.

Prakash et al. 2024 (arXiv 2402.14811; code Nix07/finetuning, experiment_2/DCM.py): raw gates that
start untouched, clamped to [0, 1] before each forward pass; Adam (0.1) on minus the mean logit of
the target plus 0.01 times the sum of open gates, in batches of 32 pairs; every fourth batch the
rounded mask is scored on validation pairs, and the best one is kept, of equal ones the larger.
Their mask is 1 where ours is 0 (`gate = 1 - mask`).

They train one desideratum at a time, on 1000 pairs for two epochs, 64 batches. Here the
desiderata of a claim are summed with their weights (the target of a `keeps` is the base's
answer), and the pairs that there are come round until 64 batches are done.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...answers.answer import Answer, Output, Target
from ...progress import Progress
from ..descent import Descent, Row, descend
from ..finish import finish
from ..problem import SearchProblem, minibatches
from ..ranks import round_to
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Trials

STEPS, LEARNING_RATE, PENALTY = 64, 0.1, 0.01
PAIRS, EVERY = 32, 4  # pairs in a batch of one desideratum; batches between scores


def search_dcm_2024(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The released recipe's mask with the best mean satisfaction on the selection pairs."""
    divided, steps = minibatches(problem, PAIRS), config.steps or STEPS
    gates = torch.zeros(len(problem.sites), requires_grad=True)
    best = torch.zeros(len(problem.sites))
    reached = torch.tensor([-1.0, 0.0], dtype=torch.float64)  # its score and its size

    def gradients(step: int) -> Row:
        gates.data.clamp_(0, 1)
        objective = divided[step % len(divided)]
        weights = {index: one.weight for index, one in enumerate(objective.desiderata)}
        objective.backward(weights, gates, minus_score)
        (PENALTY * gates.sum()).backward()
        return {}

    def score_rounded(step: int, row: Row) -> Row | None:
        if (step + 1) % EVERY and step + 1 < steps:
            return None
        soft = gates.detach().clamp(0, 1)
        rounded = round_to(soft, config.left)
        score, size = float(problem.select.scores(rounded[None]).mean()), int(rounded.sum())
        if (score, size) > tuple(reached.tolist()):
            reached.copy_(torch.tensor([score, size], dtype=torch.float64))
            best.copy_(soft)
        return {"size": size, "mean satisfaction": score}

    descent = Descent(
        stage="batches",
        objective=problem.fit,
        parameters={"gates": gates},
        memory={"best": best, "reached": reached},
        optimiser=torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE),
        steps=steps,
        gradients=[gradients],
        after=score_rounded,
    )
    history = descend(descent, progress)
    chosen = round_to(best, config.left)
    choice = ChosenCircuit(frozenset(chosen.nonzero()[:, 0].tolist()), best, best)

    def choose(trials: Trials) -> ChosenCircuit:
        trials.slacks([choice.members])
        return choice

    return finish("dcm-2024", problem, choose, history, config, progress)


def minus_score(answer: Answer, output: Output, expected: Target) -> Float[Tensor, "mask pair"]:
    """Minus the score of the expected answer: for a token, its logit."""
    return -answer.score(output, expected)
