"""The unembedding, run only where it is read and for the entries of the vocabulary that matter."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import linear

from .engine import Shortlist, Unembed, logits_at
from .laws import LACKS
from .watch import three_tokens

# What a config calls the number of tokens that some of its layers attend to at most.
_WINDOWS = (
    "sliding_window",
    "window_size",
    "attention_window_size",
    "attention_chunk_size",
    "local_attention",
)


@dataclass(frozen=True)
class Unembedding(Unembed):
    """A linear map to logits, as a shortlist takes it."""

    weight: Tensor
    bias: Tensor | None

    @property
    def n_vocab(self) -> int:
        """How many logits it gives."""
        return len(self.weight)

    def __call__(self, streams: Tensor, tokens: Tensor | None = None) -> Tensor:
        if tokens is None:
            return linear(streams, self.weight, self.bias)
        bias = None if self.bias is None else self.bias[tokens]
        return linear(streams, self.weight[tokens], bias)


@contextmanager
def reading(
    head: nn.Linear | None,
    reads: Int[Tensor, " row *read"] | None,
    shortlist: Shortlist | None,
) -> Iterator[None]:
    """Until the context ends, the unembedding runs at the columns read alone and, with a shortlist,
    gives the logits of its entries alone.

    Raises:
        ValueError: the model has no unembedding that can be run so.
    """
    if head is None:
        raise ValueError(
            "expected a model whose unembedding is a linear map for a shortlist; this one's is "
            'not. Ask whether the engine can "shortlist" first.'
        )
    unembed = Unembedding(head.weight, head.bias)

    def forward(streams: Tensor) -> Tensor:
        streams = streams.to(head.weight.device)  # as the forward would that this one replaces
        if reads is not None:
            streams = logits_at(streams, reads)
        if shortlist is None:
            return unembed(streams)
        with torch.no_grad():
            kept = shortlist(streams.detach(), unembed)
        return unembed(streams, kept)

    before = vars(head).get("forward")
    vars(head)["forward"] = forward
    try:
        yield
    finally:
        vars(head).pop("forward", None)
        if before is not None:  # device maps of accelerate put one there
            vars(head)["forward"] = before


@torch.no_grad()
def find_unembedding(model: nn.Module) -> nn.Linear | None:
    """The linear map from the stream to logits, where the model treats every logit by itself after
    it: tried on three tokens. None where there is no such map."""
    get: Any = getattr(model, "get_output_embeddings", None)
    head = get() if get is not None else None
    if not isinstance(head, nn.Linear):
        return None
    tokens = three_tokens(model)
    try:
        whole = model(tokens, use_cache=False).logits
        some = torch.arange(0, whole.shape[-1], max(1, whole.shape[-1] // 7), device=whole.device)
        reads = torch.tensor([[0, 2]])
        with reading(head, reads, lambda streams, unembed: some):
            part = model(tokens, use_cache=False).logits
        wanted = whole[:, [0, 2]][..., some.to(whole.device)]
        same = part.shape == wanted.shape and torch.allclose(
            part, wanted.to(part.device), atol=1e-3, rtol=1e-3
        )
    except LACKS:  # as where weights are brought in for each pass
        return None
    return head if same else None


def window_of(model: nn.Module) -> int | None:
    """How many tokens the layer that sees the fewest attends to, by the model's config."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config(decoder=True)
    found = [getattr(config, name, None) for name in _WINDOWS]
    known = [value for value in found if isinstance(value, int) and value > 0]
    return min(known, default=None)
