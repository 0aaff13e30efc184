"""Keys and values of a prefix, in transformers' cache: copied and repeated, never changed."""

import copy
from typing import Any


def copy_cache(cache: Any) -> Any:
    """A cache that shares its tensors but grows by itself: an update makes new tensors."""
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
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
