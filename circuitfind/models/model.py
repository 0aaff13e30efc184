"""A model: an engine that runs, and the tokenizer that writes its inputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..engines.digest import known_digests, put_back
from ..engines.engine import Engine
from .findings import Findings

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
        tokens_at_once: how many tokens do at most, all masks on a pair counted; None for as many
            as are fast.
        keeps_entries: whether the streams that enter layers are kept, to begin there.
        prepend_bos: whether texts begin with BOS; None for what the tokenizer does.
        found: what the doctor found when the model was loaded.
    """

    name: str
    engine: Engine
    tokenizer: Any
    prepend_bos: bool | None = None
    pairs_at_once: int = PAIRS_AT_ONCE
    tokens_at_once: int | None = None
    keeps_entries: bool = True
    found: Findings | None = None

    @property
    def checked(self) -> Mapping[str, Any]:
        """What the doctor found, as plain values for the provenance of a run."""
        return {} if self.found is None else self.found.as_json()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results in this model has to know, in sentences."""
        return () if self.found is None else self.found.told()

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
        return digest is not None and (digest == self.digest or digest == self.engine.digest)

    def tokenize(self, texts: list[str]) -> list[Tokens]:
        """Each text's tokens, as the model's own tokenizer makes them, with BOS as asked. A text
        that has its own BOS gets no second one."""
        if not texts:  # tokenizers raise on an empty list
            return []
        coded = self.tokenizer(texts, return_offsets_mapping=True)
        return [
            self._with_bos(Tokens(tuple(ids), tuple(map(tuple, offsets))))
            for ids, offsets in zip(coded["input_ids"], coded["offset_mapping"], strict=True)
        ]

    def _with_bos(self, tokens: Tokens) -> Tokens:
        bos, n_added = self.tokenizer.bos_token_id, 0
        if bos is None:
            return tokens
        # What a tokenizer adds covers no characters; what is written in the text does.
        while tokens.ids[n_added : n_added + 1] == (bos,) and not _covers(tokens, n_added):
            n_added += 1
        own = Tokens(tokens.ids[n_added:], tokens.offsets[n_added:])
        wanted = n_added > 0 if self.prepend_bos is None else self.prepend_bos
        if not wanted or own.ids[:1] == (bos,):
            return own
        return Tokens((bos, *own.ids), ((0, 0), *own.offsets))


def _covers(tokens: Tokens, index: int) -> bool:
    start, end = tokens.offsets[index]
    return end > start


def wrap(
    engine: Engine, name: str, *, tokenizer: Any, prepend_bos: bool | None = None, **fields: Any
) -> Model:
    """A model around an engine.

    Raises:
        ValueError: the tokenizer cannot say which characters a token covers, or has no BOS token
            and it is asked for.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{name}: a fast tokenizer is needed, which gives the characters of each token; "
            f"got {type(tokenizer).__name__}"
        )
    if prepend_bos and tokenizer.bos_token_id is None:
        raise ValueError(
            f"{name}: BOS is to come first, and its tokenizer has no BOS token; leave it out"
        )
    return Model(name=name, engine=engine, tokenizer=tokenizer, prepend_bos=prepend_bos, **fields)


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
    own, digests = [weight.detach().clone() for weight in weights], known_digests(weights)
    try:
        yield shuffle_weights(model, seed)
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)
        put_back(weights, digests)
