"""Keys and values of a prefix, in transformers' cache: copied and repeated, never changed."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def copy_cache(cache: Any) -> Any:
    """A cache that shares its tensors but grows by itself: an update makes new tensors."""
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    return fresh


def keep_apart(cache: Any) -> Any:
    """The same cache, which hands on new keys and values by themselves and does not grow."""
    fresh = copy_cache(cache)
    for layer in fresh.layers:
        layer.update = lambda keys, values, *_, **__: (keys, values)
    return fresh


def repeat_cache(cache: Any, times: int, first: int = 0) -> Any:
    """The same cache for a batch that holds all its rows `times` times, one after another.

    Args:
        first: the layer that the pass begins at. Earlier layers, which do not run, stay short.
    """
    fresh = copy_cache(cache)
    # Masks and positions are made from the first layer's length alone, never from its batch.
    for layer in fresh.layers[first:]:
        layer.keys = layer.keys.repeat(times, 1, 1, 1)
        layer.values = layer.values.repeat(times, 1, 1, 1)
    return fresh


def join_caches(caches: Sequence[Any]) -> Any:
    """One cache for a batch that holds the rows of all these one after another, shorter ones filled
    up with zeros on the left; None where layers count by themselves how long they are."""
    if len(caches) == 1:
        return caches[0]
    fresh = copy_cache(caches[0])
    for number, layer in enumerate(fresh.layers):
        every = [cache.layers[number] for cache in caches]
        lengths = {one.keys.shape[-2] for one in every}
        if len(lengths) > 1 and any(getattr(one, "is_sliding", False) for one in every):
            return None
        layer.keys = _beside([one.keys for one in every], max(lengths))
        layer.values = _beside([one.values for one in every], max(lengths))
    return fresh


def _beside(parts: Sequence[Tensor], length: int) -> Tensor:
    return torch.cat([pad(one, (0, 0, length - one.shape[-2], 0)) for one in parts])
