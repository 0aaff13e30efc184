"""What modules hand on, found by trying: from one token to another, from heads to an MLP."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .watch import tensor_at, three_tokens

# By how much other tokens may change, as a share of how the changed token does: rounding.
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-8}
HALF_PRECISION = 0.05
# What a module raises that runs only inside of its model.
_ALONE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)


@torch.no_grad()
def mixing(model: nn.Module, modules: Sequence[nn.Module]) -> set[int]:
    """The modules (their identities) in which another first token changes what later ones get.

    Each is run once more by itself, on what it was given in a pass of three tokens. A module that
    cannot be run so is not among them.
    """
    given: dict[int, tuple[Any, Any]] = {}

    def keep(module: nn.Module, args: Any, kwargs: Any) -> None:
        given.setdefault(id(module), (args, kwargs))

    handles = [part.register_forward_pre_hook(keep, with_kwargs=True) for part in modules]
    try:
        model(three_tokens(model), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {id(part) for part in modules if id(part) in given and _mixes(part, *given[id(part)])}


def _mixes(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    key = tensor_at(args, kwargs)
    if key is None:
        return False
    own = args[key] if isinstance(key, int) else kwargs[key]
    other = own.clone()
    first = other.reshape(-1, other.shape[-1])[:1]  # some models flatten rows and tokens
    other.view(-1, other.shape[-1])[:1] = first + 1 + first.abs().mean()
    try:
        plain, changed = (_run(module, key, x, args, kwargs) for x in (own.clone(), other))
    except _ALONE:
        return False
    moved = (changed.double() - plain.double()).abs().flatten(0, -2).amax(-1)
    return bool(moved[1:].max() > ROUNDING.get(own.dtype, HALF_PRECISION) * moved[0])


def _run(
    module: nn.Module, key: int | str, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """What the module gives for these three tokens."""
    if isinstance(key, int):
        args = (*args[:key], x, *args[key + 1 :])
    else:
        kwargs = {**kwargs, key: x}
    out = module(*args, **kwargs)
    return out[0] if isinstance(out, (tuple, list)) else out


@torch.no_grad()
def parallel(model: nn.Module, projection: nn.Module, reader: nn.Module) -> bool:
    """Whether an MLP reads the same whatever enters the output projection beside it."""
    read: list[Tensor] = []

    def keep(module: nn.Module, args: Any, kwargs: Any) -> None:
        key = tensor_at(args, kwargs)
        read.append((args[key] if isinstance(key, int) else kwargs[key]).clone())

    def shift(module: nn.Module, args: Any) -> Any:
        return (args[0] + 1.0, *args[1:])

    handles = [reader.register_forward_pre_hook(keep, with_kwargs=True)]
    try:
        model(three_tokens(model), use_cache=False)
        handles.append(projection.register_forward_pre_hook(shift))
        model(three_tokens(model), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.equal(read[0], read[1])
