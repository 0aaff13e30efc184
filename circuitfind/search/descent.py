"""The loop of every method that learns a mask: steps, reports, checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..objective.objective import Loss, Objective, hinge
from ..progress import Progress
from .states import state_problems

Row = Mapping[str, Any]
Gradients = Callable[[int], Row]


def report_row(step: int, row: Row) -> Row | None:
    """The row as it is: what most methods report after a step."""
    return row


@dataclass(frozen=True, kw_only=True)
class Descent:
    """What is descended on: tensors that an optimiser moves, for so many steps.

    Args:
        stage: the name of the descent in the history.
        objective: whose account a checkpoint keeps, and which names what is no number.
        parameters: what the optimiser moves, by name.
        memory: tensors that the method itself changes in place and needs again when resumed.
        gradients: functions of the step that add gradients to the parameters and return numbers to
            report. The optimiser moves once after each. What they draw must depend on the step
            alone, so that a resumed search draws the same.
        after: makes the step's row of the history from those numbers; None where nothing is
            reported or saved after this step.
        done: whether to stop before all steps are made; it must depend on the tensors alone.
    """

    stage: str
    objective: Objective
    parameters: Mapping[str, Tensor]
    optimiser: torch.optim.Optimizer
    steps: int
    gradients: Sequence[Gradients]
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    after: Callable[[int, Row], Row | None] = report_row
    done: Callable[[], bool] = lambda: False


def descend(descent: Descent, progress: Progress) -> list[dict[str, Any]]:
    """The history of the descent; parameters and memory are then as its last step left them.

    Raises:
        NotANumber: a loss or a gradient is not finite.
    """
    first, history = _restore(descent, progress)
    for step in range(first, descent.steps):
        if descent.done():
            break
        row = descent.after(step, _move(descent, step))
        if row is None:
            continue
        history.append({"stage": descent.stage, "step": step, **row})
        progress.report(descent.stage, step + 1, descent.steps, history[-1])
        progress.save(_state(descent, step + 1, history))
    return history


def _move(descent: Descent, step: int) -> Row:
    """The numbers to report of one step, after the optimiser has moved."""
    row: dict[str, Any] = {}
    for gradients in descent.gradients:
        descent.optimiser.zero_grad()
        row |= gradients(step)
        for name, tensor in descent.parameters.items():
            descent.objective.require_finite(tensor.grad, f"the gradient of {name} at step {step}")
        descent.optimiser.step()
    return row


def _state(descent: Descent, step: int, history: Sequence[Row]) -> dict[str, Any]:
    """What a checkpoint keeps: all from which the descent can be resumed to the same result."""
    return {
        "step": step,
        "parameters": {name: tensor.detach() for name, tensor in descent.parameters.items()},
        "memory": dict(descent.memory),
        "optimiser": descent.optimiser.state_dict(),
        "history": list(history),
        "cost": descent.objective.cost.report(),
    }


def _restore(descent: Descent, progress: Progress) -> tuple[int, list[dict[str, Any]]]:
    """The step to begin with and the history so far, with every tensor as the checkpoint has it."""
    state = progress.restore()
    while state is not None and (problems := _problems(descent, state)):
        state = progress.reject("; ".join(problems))
    # Earlier versions kept other keys; such a descent begins again and ends in the same circuit.
    if not state or "parameters" not in state:
        return 0, []
    for kept, tensors in (("parameters", descent.parameters), ("memory", descent.memory)):
        for name, tensor in tensors.items():
            tensor.data.copy_(state[kept][name])
    descent.optimiser.load_state_dict(state["optimiser"])
    descent.objective.cost.restore(state["cost"])
    return state["step"], state["history"]


def _problems(descent: Descent, state: Mapping[str, Any]) -> list[str]:
    """Why the descent cannot go on from a state."""
    return state_problems(
        state,
        steps=descent.steps,
        tensors={"parameters": descent.parameters, "memory": descent.memory},
        optimiser=descent.optimiser,
        cost=descent.objective.cost.report(),
    )


def add_losses(
    objective: Objective,
    membership: Float[Tensor, " site"],
    live: Sequence[int],
    loss_of: Loss = hinge,
) -> dict[str, float]:
    """Add the gradients of the live desiderata's weighted losses; their satisfactions by name.

    Gradients flow from the membership to the parameters once, however many losses there are.
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
