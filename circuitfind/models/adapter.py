"""Low-rank adapters: a few megabytes that make one model into another.

An adapter is a safetensors file with two matrices for each weight that it changes, `NAME.down`
(rank by inputs) and `NAME.up` (outputs by rank); the changed weight is `W + up @ down`. Source:
Hu et al. 2021 (arXiv 2106.09685), whose A is our `down`, whose B times alpha/r is our `up`.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

FORMAT = "circuitfind adapter/1"


@torch.no_grad()
def apply_adapter(model: nn.Module, path: str | Path, base: str) -> None:
    """Change the model's weights, in place, as the adapter says.

    Args:
        base: what the model is; an adapter made for another one is refused.

    Raises:
        ValueError: not an adapter, one for another model, or one whose matrices do not fit; every
            problem at once, and the model is left as it was.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"the adapter {path} cannot be read: {error}") from error
    if about.get("format") != FORMAT or about.get("base") != base:
        raise ValueError(
            f"{path}: expected the format {FORMAT!r} for {base!r}; got {about.get('format')!r} for "
            f"{about.get('base')!r}"
        )
    weights = dict(model.named_parameters())
    changes, problems = {}, []
    for name in sorted({key.rpartition(".")[0] for key in tensors}):
        down, up = tensors.get(f"{name}.down"), tensors.get(f"{name}.up")
        if name not in weights:
            problems.append(f"the model has no weight {name}")
        elif down is None or up is None:
            problems.append(f"{name} needs both .down and .up")
        elif (up.shape[0], down.shape[1]) != weights[name].shape or up.shape[1] != down.shape[0]:
            problems.append(
                f"{name}: {tuple(up.shape)} times {tuple(down.shape)} does not make "
                f"{tuple(weights[name].shape)}"
            )
        else:
            changes[name] = up @ down
    if problems:
        raise ValueError(f"{path} does not fit {base}: {'; '.join(problems)}")
    for name, change in changes.items():
        weights[name] += change.to(weights[name].device, weights[name].dtype)
