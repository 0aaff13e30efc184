"""Attention that is faster than the model's own: the same numbers, up to rounding.

In passes with gradients torch's fused attention takes the place of eager attention.

transformers puts new keys and values behind the prefix's, a copy of both at every layer and pass,
and repeats them for models whose heads share keys. A prefix that all branches of a row share stays
where it is: a token's scores against the prefix and against its own branch are made apart and meet
in one softmax.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .attention import attention_of, registered

LONG = 32  # tokens seen from which a softmax over the last axis is the faster one
# What models hand to attention that changes its numbers and is not made here.
_OTHER = ("s_aux", "position_bias", "cache", "head_mask")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """How a pass attends: its prefix by layer, and its new tokens in branches of one width.

    Args:
        layers: keys and values of the prefix, by attention module (its identity).
        before: added to scores against the prefix; None where nothing is padding.
        own: added to scores within a branch; None where a branch is a single token.
    """

    layers: Mapping[int, tuple[Tensor, Tensor]]
    branches: int
    before: Float[Tensor, "row 1 1 seen"] | None
    own: Float[Tensor, "some 1 1 1 pos pos"] | None


def beside_of(
    layers: Mapping[int, tuple[Tensor, Tensor]],
    attends: Int[Tensor, "row seen"] | None,
    branches: int,
    width: int,
) -> Beside:
    """How tokens attend in these branches.

    Args:
        attends: over the prefix and one branch; None where nothing is padding.
    """
    keys = next(iter(layers.values()))[0]
    nowhere, before, own = torch.finfo(keys.dtype).min, None, None
    if width > 1:
        own = torch.zeros(width, width, dtype=keys.dtype, device=keys.device)
        own = own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu(1), nowhere)
        own = own.expand(1, 1, 1, 1, -1, -1)
    if attends is not None:
        shut = torch.zeros(attends.shape, dtype=keys.dtype, device=keys.device)
        shut = shut.masked_fill_(attends.to(keys.device) == 0, nowhere)
        before = shut[:, None, None, : keys.shape[2]]
        if own is not None:
            own = torch.minimum(own, shut[:, None, None, None, None, keys.shape[2] :])
    return Beside(layers=layers, branches=branches, before=before, own=own)


@contextmanager
def fused(model: nn.Module, *, masked: bool) -> Iterator[None]:
    """The model attends by torch's fused attention until the context ends, but where it caps
    scores.

    Args:
        masked: whether the masks that the model makes say more than "not later tokens".
    """

    def make(before: Callable[..., Any] | None) -> Callable[..., Any]:
        def attend(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            mask: Tensor | None,
            **options: Any,
        ) -> Any:
            if any(options.get(name) is not None for name in (*_OTHER, "softcap")):
                return attention_of(module, before)(module, query, key, value, mask, **options)
            n_new, n_seen = query.shape[2], key.shape[2]
            causal = not masked and 1 < n_new == n_seen  # torch counts from the first of both
            needed = masked or 1 < n_new < n_seen
            made = scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=mask if needed else None,
                is_causal=causal,
                scale=options.get("scaling"),
                enable_gqa=key.shape[1] < query.shape[1],
            )
            return made.transpose(1, 2).contiguous(), None

        return attend

    with registered(model, make):
        yield


@contextmanager
def sharing(model: nn.Module, how: Beside) -> Iterator[None]:
    """The model attends so until the context ends."""

    def make(before: Callable[..., Any] | None) -> Callable[..., Any]:
        def attend(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
        ) -> Any:
            if id(module) not in how.layers:
                return attention_of(module, before)(module, query, key, value, *args, **options)
            return _attend(how, module, query, key, value, options), None

        return attend

    with registered(model, make):
        yield


def _attend(
    how: Beside,
    module: nn.Module,
    query: Float[Tensor, "row head new width"],
    key: Float[Tensor, "row group new width"],
    value: Float[Tensor, "row group new other_width"],
    options: Mapping[str, Any],
) -> Float[Tensor, "row new head other_width"]:
    if any(options.get(name) is not None for name in _OTHER):
        raise LookupError(f"{type(module).__name__} attends in a way that cannot be shared")
    keys, values = how.layers[id(module)]
    n_rows, n_heads, n_new, size = query.shape
    scaling = options.get("scaling") or size**-0.5
    # Row, group of heads that share keys, head, branch, token, width.
    queries = query.reshape(n_rows, key.shape[1], -1, how.branches, n_new // how.branches, size)
    queries, key, value = queries * scaling, _by_branch(key, how), _by_branch(value, how)
    before = queries.flatten(2, 4) @ keys.transpose(2, 3)
    own = _against_own(queries, key, how)
    if (softcap := options.get("softcap")) is not None:
        before, own = (softcap * torch.tanh(one / softcap) for one in (before, own))
    if how.before is not None:
        before = before + how.before.to(before.device)  # layers may be on several devices
    before, own = _weights(before, own)
    made = before.to(query.dtype) @ values
    made = made + _of_own(own.to(query.dtype), value, queries.shape[2:5])
    return made.reshape(n_rows, n_heads, n_new, -1).transpose(1, 2).contiguous()


def _weights(before: Tensor, own: Tensor) -> Sequence[Tensor]:
    """The softmax over both together, of scores "row group all seen"."""
    lengths = [before.shape[3], own.shape[3]]
    if sum(lengths) >= LONG:
        joined = torch.cat([before, own], dim=3).softmax(dim=3, dtype=torch.float32)
    else:  # a softmax over few last entries is slow
        turned = torch.cat([before.transpose(2, 3), own.transpose(2, 3)], dim=2)
        joined = turned.softmax(dim=2, dtype=torch.float32).transpose(2, 3)
    return joined.split(lengths, dim=3)


def _by_branch(own: Tensor, how: Beside) -> Tensor:
    """Keys or values with branches apart: "row group 1 branch token width"."""
    return own.unflatten(2, (how.branches, -1)).unsqueeze(2)


def _against_own(queries: Tensor, keys: Tensor, how: Beside) -> Tensor:
    """Scores of each token against its own branch: "row group all seen"."""
    if how.own is None:  # a product for each pair of vectors would cost a call each
        return (queries * keys).sum(-1).flatten(2).unsqueeze(3)
    return (queries @ keys.transpose(4, 5) + how.own.to(keys.device)).flatten(2, 4)


def _of_own(weights: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    """What each token takes of the values of its own branch: "row group all width"."""
    apart = weights.unflatten(2, tuple(shape))
    taken = apart * values if values.shape[4] == 1 else apart @ values
    return taken.flatten(2, 4)
