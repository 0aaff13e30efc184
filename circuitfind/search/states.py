"""What is wrong with a checkpoint's state: whether a descent can go on from it."""

import copy
from collections.abc import Collection, Iterator, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

KEYS = ("step", "parameters", "memory", "optimiser", "history", "cost")


def state_problems(
    state: Mapping[str, Any],
    *,
    steps: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    cost: Collection[str],
) -> list[str]:
    """Why a descent cannot go on from a state, in words; empty where it can.

    Args:
        steps: of the whole descent.
        tensors: what the state is copied into, by the state's key and by name.
        cost: the names of the numbers of an account.
    """
    if "parameters" not in state:
        return []  # that of an earlier version, from which nothing is taken
    if missing := [key for key in KEYS if key not in state]:
        return [f"it lacks {', '.join(missing)}"]
    step, found = state["step"], []
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= steps:
        found.append(f"its step is {step!r:.40}, not a whole number up to {steps}")
    for key, of_key in tensors.items():
        found += _tensors(state[key], of_key)
    found += _optimiser(state["optimiser"], optimiser, not found and step > 0)
    history = state["history"]
    if not isinstance(history, list) or not all(_is_row(row) for row in history):
        found.append("its history is not a list of rows with the number of their step")
    counts = state["cost"] if isinstance(state["cost"], Mapping) else {}
    if set(counts) != set(cost) or not all(_is_count(value) for value in counts.values()):
        found.append(f"its cost is not {', '.join(cost)}, each a number")
    return found


def _tensors(kept: Any, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the tensors of a state, beside those that it is copied into."""
    if not isinstance(kept, Mapping):
        kept = {}
    for name, tensor in tensors.items():
        value = kept.get(name)
        if not isinstance(value, Tensor):
            yield f"it lacks {name}"
        elif value.shape != tensor.shape:
            yield f"{name} has the shape {tuple(value.shape)}, not {tuple(tensor.shape)}"
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            if bool(torch.isfinite(tensor).all()):  # some memory begins at infinity
                yield f"{name} has values that are no finite numbers"


def _optimiser(kept: Any, optimiser: torch.optim.Optimizer, moved: bool) -> Iterator[str]:
    """What is wrong with the state of an optimiser, which has made steps or not."""
    groups = kept.get("param_groups") if isinstance(kept, Mapping) else None
    states = kept.get("state") if isinstance(kept, Mapping) else None
    if not isinstance(groups, list) or not isinstance(states, Mapping):
        yield "its optimiser has no state"
        return
    if list(map(_form, groups)) != list(map(_form, optimiser.state_dict()["param_groups"])):
        yield "its optimiser is of other parameters"
        return
    fresh, tried = copy.deepcopy(optimiser), copy.deepcopy(optimiser)
    _move(fresh)
    if moved and _names(states) != _names(fresh.state_dict()["state"]):
        yield "its optimiser's state is not that of its parameters"
        return
    try:
        tried.load_state_dict(copy.deepcopy(dict(kept)))
        _move(tried)
        places = [place for group in tried.param_groups for place in group["params"]]
        sound = all(bool(torch.isfinite(place).all()) for place in places)
    except Exception:  # whatever values an optimiser may stumble over
        sound = False
    if not sound:
        yield "its optimiser cannot make a step from its state"


def _move(optimiser: torch.optim.Optimizer) -> None:
    """Make a step where nothing is to be gained."""
    for group in optimiser.param_groups:
        for place in group["params"]:
            place.grad = torch.zeros_like(place)
    optimiser.step()


def _names(states: Mapping[Any, Any]) -> dict[Any, Any]:
    """What an optimiser keeps of each parameter, by name."""
    return {
        number: set(of_one) if isinstance(of_one, Mapping) else None
        for number, of_one in states.items()
    }


def _form(group: Any) -> Any:
    """What of an optimiser's group stays the same all the time: the numbers of its parameters, and
    the types of its settings, which methods may change."""
    params = group.get("params") if isinstance(group, Mapping) else None
    if not isinstance(params, list) or not all(type(number) is int for number in params):
        return None
    sound = all(isfinite(value) for value in group.values() if isinstance(value, float))
    return sound, {key: type(value) for key, value in group.items()}, params


def _is_row(row: Any) -> bool:
    return isinstance(row, Mapping) and isinstance(row.get("step"), int) and "stage" in row


def _is_count(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or (isfinite(value) and value >= 0)
