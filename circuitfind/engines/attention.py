"""Queries, keys, values and patterns of models that attend through transformers' interface.

The interface is one table of functions for the whole process. While such a pass runs, its entry is
a function that hands over to the edits of this model's attention, and acts for any other module as
the entry before it did. The table is as it was when the pass has ended, whatever happens.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .engine import Edit, looked

# Edits by attention module (its identity) and kind, in their order.
Taps = Mapping[int, Mapping[str, Sequence[Edit]]]

KINDS = ("q", "k", "v", "pattern")
# Two passes at a time would restore each other's entry of the table.
_ONE_AT_A_TIME = threading.RLock()
_IMPLEMENTATION = "_attn_implementation"


@contextmanager
def tapped(model: nn.Module, taps: Taps, *, eager: bool) -> Iterator[None]:
    """These edits act in the model's attention until the context ends.

    Args:
        eager: attend eagerly, whatever the model was loaded with. Only so is there a pattern.
    """
    if not taps:
        yield
        return
    with _ONE_AT_A_TIME, _attending_eagerly(model, eager):
        with registered(model, lambda before: _tap(taps, before)):
            yield


@contextmanager
def registered(
    model: nn.Module, make: Callable[[Callable[..., Any] | None], Callable[..., Any]]
) -> Iterator[None]:
    """The model attends by the function that is made of the one before, until the context ends."""
    with _ONE_AT_A_TIME:
        key = str(getattr(model.config, _IMPLEMENTATION, None) or "eager")
        with _registered(key, make):
            yield


@contextmanager
def watched(model: nn.Module, see: Callable[..., None]) -> Iterator[None]:
    """`see(module, query, key, value)` is called at each attention until the context ends."""

    def make(before: Callable[..., Any] | None) -> Callable[..., Any]:
        def attend(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
        ) -> Any:
            see(module, query, key, value)
            return attention_of(module, before)(module, query, key, value, *args, **options)

        return attend

    with _ONE_AT_A_TIME, _attending_eagerly(model, True), _registered("eager", make):
        yield


@contextmanager
def _registered(key: str, make: Callable[..., Callable[..., Any]]) -> Iterator[None]:
    from transformers.modeling_utils import AttentionInterface

    table = AttentionInterface._global_mapping
    before = table.get(key)
    table[key] = make(before)
    try:
        yield
    finally:
        if before is None:
            table.pop(key, None)
        else:
            table[key] = before


@contextmanager
def _attending_eagerly(model: nn.Module, wanted: bool) -> Iterator[None]:
    """All configs of the model say eager until the context ends. Masks are made accordingly."""
    # The attribute behind the property: the property would change the configs inside as well.
    name = f"{_IMPLEMENTATION}_internal"
    configs = {id(c): c for part in model.modules() if (c := getattr(part, "config", None))}
    held = [vars(config) for config in configs.values() if name in vars(config)]
    before = [settings[name] for settings in held]
    try:
        for settings in held if wanted else ():
            settings[name] = "eager"
        yield
    finally:
        for settings, value in zip(held, before, strict=True):
            settings[name] = value


def _tap(taps: Taps, before: Callable[..., Any] | None) -> Callable[..., Any]:
    """An attention function that applies the edits, for entries "row head pos width"."""

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
    ) -> Any:
        inner, edits = attention_of(module, before), taps.get(id(module), {})
        n_new = query.shape[2]
        query, key, value = (
            _edited(own, edits.get(kind, ()), n_new)
            for kind, own in (("q", query), ("k", key), ("v", value))
        )
        made, pattern = inner(module, query, key, value, *args, **options)
        for edit in edits.get("pattern", ()):
            looked(edit(pattern))
        return made, pattern

    return attend


def _edited(own: Tensor, edits: Sequence[Edit], n_new: int) -> Tensor:
    """Queries, keys or values with the new tokens' edited; those of a prefix stay."""
    if not edits:
        return own
    old, new = own[:, :, : own.shape[2] - n_new], own[:, :, own.shape[2] - n_new :]
    new = new.transpose(1, 2)
    for edit in edits:
        changed = edit(new)
        new = new if changed is None else changed
    return torch.cat([old, new.transpose(1, 2)], dim=2)


def attention_of(module: nn.Module, before: Callable[..., Any] | None) -> Callable[..., Any]:
    """The attention function that the module would have called."""
    if before is not None:
        return before
    for kind in type(module).__mro__:
        # Eager attention is in no table: each file of models has its own.
        own = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if own is not None:
            return own
    raise LookupError(
        f"expected an eager_attention_forward beside {type(module).__name__}; found none. "
        "Take the bridge engine for queries, keys, values and patterns."
    )
