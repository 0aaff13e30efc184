"""Layers that do not run: they hand on the residual stream that they are given."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def skipped(blocks: Sequence[Any], n_returned: int | None = None) -> Iterator[None]:
    """These layers hand on what they are given, until the context ends.

    Args:
        n_returned: how many things a layer returns in a tuple; None where it returns the residual
            stream alone.
    """
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            # Not by assignment: a bridge would pass that on to the component that it wraps.
            vars(block)["forward"] = _hand_on(n_returned)
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            vars(block).pop("forward", None)
            if forward is not None:  # device maps of accelerate put one there
                vars(block)["forward"] = forward


def _hand_on(n_returned: int | None) -> Callable[..., Any]:
    def forward(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        if n_returned is None:
            return hidden_states
        return (hidden_states, *[None] * (n_returned - 1))

    return forward
