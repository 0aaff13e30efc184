"""The loop that methods with a learned mask share: steps, reports, checkpoints, checks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..objective.objective import Loss, Objective, hinge
from ..progress import Progress
from .problem import Selection


@dataclass(frozen=True)
class Descent:
    """What is descended on: tensors that an optimiser moves, for so many steps."""

    stage: str
    selection: Selection
    parameters: Mapping[str, Tensor]
    optimiser: torch.optim.Optimizer
    steps: int


Step = Callable[[int], Mapping[str, Any]]


def descend(descent: Descent, gradients: Step, progress: Progress) -> list[dict[str, Any]]:
    """The history of the descent; the parameters are where it ended.

    Args:
        gradients: adds up the gradients of a step and gives the numbers to report. What it draws
            must depend on the step alone, so that a resumed search draws the same.

    Raises:
        NotANumber: a loss or a gradient is not finite.
    """
    cost, history, first = descent.selection.fit.cost, [], 0
    if state := progress.restore():
        first, history = state["step"], state["history"]
        for name, tensor in descent.parameters.items():
            tensor.data.copy_(state["parameters"][name])
        descent.optimiser.load_state_dict(state["optimiser"])
        cost.restore(state["cost"])
    for step in range(first, descent.steps):
        descent.optimiser.zero_grad()
        row = gradients(step)
        for name, tensor in descent.parameters.items():
            descent.selection.fit.require_finite(
                tensor.grad, f"the gradient of {name} at step {step}"
            )
        descent.optimiser.step()
        history.append({"stage": descent.stage, "step": step, **row})
        progress.report(descent.stage, step + 1, descent.steps, history[-1])
        progress.save(
            {
                "step": step + 1,
                "parameters": {name: t.detach() for name, t in descent.parameters.items()},
                "optimiser": descent.optimiser.state_dict(),
                "history": history,
                "cost": cost.report(),
            }
        )
    return history


def add_losses(
    objective: Objective,
    membership: Float[Tensor, " site"],
    live: Sequence[int],
    loss_of: Loss = hinge,
) -> dict[str, float]:
    """Add the gradients of the live desiderata's weighted losses; their satisfactions by name.

    The graph from parameters to membership is gone through once, whatever the number of losses.
    """
    held = membership.detach().requires_grad_()
    weights = {index: objective.desiderata[index].weight for index in live}
    found = objective.backward(weights, held, loss_of)
    if held.grad is not None:
        membership.backward(held.grad)
    return {objective.desiderata[index].name: score for index, (_, score) in found.items()}


def noise_of(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, the same whether or not the search was interrupted."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
