"""A model: an engine that runs, and the tokenizer that writes its inputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..engines.engine import Engine

PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Tokens:
    """A text's token ids, and for each the characters it covers (start, end)."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """An engine and its tokenizer, under a name. Weights stay frozen.

    Args:
        pairs_at_once: how many pairs go through the engine in one pass; fewer take less memory.
        checked: what the laws gave when the model was loaded, for the provenance of a run.
    """

    name: str
    engine: Engine
    tokenizer: Any
    prepend_bos: bool = False
    pairs_at_once: int = PAIRS_AT_ONCE
    checked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_layers(self) -> int:
        """How many layers it has."""
        return self.engine.sizes.n_layers

    @property
    def n_heads(self) -> int:
        """How many query heads a layer has."""
        return self.engine.sizes.n_heads

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        return self.engine.sizes.d_model

    @property
    def device(self) -> torch.device:
        """Where tokens go in."""
        return self.engine.device

    @property
    def digest(self) -> str:
        """SHA-256 over the weights, the same in every engine."""
        return self.engine.plain_digest

    def is_known_as(self, digest: str | None) -> bool:
        """Whether this is the digest of these weights, by today's reckoning or by the one that run
        folders of version 0.1 have, over the names that the bridge gives weights."""
        return digest is not None and digest in (self.digest, self.engine.digest)

    def tokenize(self, texts: list[str]) -> list[Tokens]:
        """Each text's tokens, as the model's own tokenizer makes them (with its BOS, if any)."""
        if not texts:  # tokenizers raise on an empty list
            return []
        coded = self.tokenizer(texts, return_offsets_mapping=True)
        bos = self.tokenizer.bos_token_id
        made = []
        for ids, offsets in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            tokens = Tokens(tuple(ids), tuple(map(tuple, offsets)))
            if self.prepend_bos and ids[:1] != [bos]:
                tokens = Tokens((bos, *tokens.ids), ((0, 0), *tokens.offsets))
            made.append(tokens)
        return made


def wrap(
    engine: Engine, name: str, *, tokenizer: Any, prepend_bos: bool | None = None, **fields: Any
) -> Model:
    """A model around an engine.

    Raises:
        ValueError: the tokenizer cannot say which characters a token covers.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{name}: a fast tokenizer is needed, which gives the characters of each token; "
            f"got {type(tokenizer).__name__}"
        )
    return Model(
        name=name, engine=engine, tokenizer=tokenizer, prepend_bos=bool(prepend_bos), **fields
    )


def shuffle_weights(model: Model, seed: int) -> Model:
    """The model with the values of each weight tensor shuffled in place: the same numbers, and
    nothing that training or wiring put there.

    A negative control after Conmy et al. 2023 (arXiv 2304.14997), who reset networks so.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.engine.weights().values():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))
    return replace(model, name=f"{model.name}, weights shuffled")


@contextmanager
def weights_shuffled(model: Model, seed: int) -> Iterator[Model]:
    """The model as `shuffle_weights` makes it, and its own weights again whatever happens."""
    weights = list(model.engine.weights().values())
    own = [weight.detach().clone() for weight in weights]
    try:
        yield shuffle_weights(model, seed)
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)
