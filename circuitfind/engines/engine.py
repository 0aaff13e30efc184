"""Engines: which model runs, and where in its pass an activation can be read or changed.

An engine offers plain tensors at named points. Search, validation and reports never see a hook, a
module or a library's cache.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .points import Point as Point
from .points import Sizes as Sizes

Feature = Literal[
    "gradients", "prefix", "start_at_layer", "branches", "shortlist", "qkv", "pattern"
]

KINDS = ("embed", "entry", "q", "k", "v", "pattern", "heads", "mlp_in", "mlp")
# A kind that begins so is what another module of the layer gives, by its name: no site.
OTHER = "other:"
# What a layer's map to queries gives, before any norm or rotation, where there is such a map and
# the engine knows no `q`. Only to try whether heads are cut rightly.
QUERIES = "queries"

# The new value, or None where it only looks.
Edit = Callable[[Tensor], Tensor | None]


class Unembed(ABC):
    """The map from streams to logits."""

    @property
    @abstractmethod
    def n_vocab(self) -> int:
        """How many logits it gives."""

    @abstractmethod
    def __call__(
        self, streams: Float[Tensor, "read width"], tokens: Int[Tensor, " token"] | None = None
    ) -> Float[Tensor, "read token"]:
        """The logits of these entries of the vocabulary, by default of all."""


# Which entries of the vocabulary matter, in rising order, from the streams that get unembedded.
Shortlist = Callable[[Float[Tensor, "row *read width"], Unembed], Int[Tensor, " token"]]


class Engine(ABC):
    """A model that runs, with its activations at named points. Its weights are frozen.

    A class to inherit from, not a protocol: a check against a protocol would read every property,
    and some of these run the model.
    """

    name: str

    @property
    @abstractmethod
    def sizes(self) -> Sizes:
        """How large the model is."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the inputs go in."""

    @property
    @abstractmethod
    def can(self) -> frozenset[Feature]:
        """The features that the engine has for this model, each tried on three tokens."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 over names and values of the weights, to which run folders are bound."""

    @property
    @abstractmethod
    def plain_digest(self) -> str:
        """SHA-256 over the weights as the model's own library names them: every engine gives the
        same for the same weights."""

    @property
    def others(self) -> Mapping[Point, str]:
        """The points where modules that are no sites may write to the residual stream, each with
        the module's class: linear attention, Mamba, convolutions. None by default."""
        return {}

    @abstractmethod
    def has(self, point: Point) -> bool:
        """Whether the model's pass goes through this point."""

    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """The parameters by name, to count, hash or shuffle; each once."""

    @abstractmethod
    def forward(
        self,
        inputs: Int[Tensor, "row pos"],
        attends: Int[Tensor, "row seen"] | None = None,
        edits: Sequence[tuple[Point, Edit]] = (),
        *,
        prefix: Any = None,
        keep_prefix: bool = False,
        entry: tuple[int, Float[Tensor, "row pos width"]] | None = None,
        reads: Int[Tensor, " row *read"] | None = None,
        branches: int = 1,
        shortlist: Shortlist | None = None,
    ) -> tuple[Float[Tensor, "row *read token"], Any]:
        """The logits after the last token, and the prefix if it is to be kept.

        Edits at one point apply in their order. An edit in a layer before `entry` never runs.

        Args:
            attends: 1 for real tokens and 0 for padding, over the prefix and these tokens.
            edits: what happens at which point.
            prefix: what an earlier pass kept, which is left as it was.
            keep_prefix: return keys and values of these tokens, for later passes.
            entry: a layer to begin at and the residual stream that enters it. Earlier layers do
                not run.
            reads: the column of these tokens at which each row's logits are wanted, instead of
                the last one, or several columns for each row.
            branches: how many continuations of one length stand side by side in each row, with
                `attends` over the prefix and one of them. A token sees the prefix and what comes
                before it in its own branch. Without `reads`, the logits after each branch's last
                token come back, "row branch token". Only an engine that can "branches" takes more
                than one.
            shortlist: chooses the entries of the vocabulary whose logits come back, in place of
                all of them. Only an engine that can "shortlist" takes it.

        Raises:
            ValueError: an edit at a point that the model does not have, or one that writes where
                it may only look.
        """

    @abstractmethod
    def repeat_prefix(self, prefix: Any, times: int, first: int = 0) -> Any:
        """The same prefix for a batch that holds all its rows `times` times, one after another.

        Args:
            first: the layer that the pass begins at. Earlier layers, which do not run, stay short.
        """

    def join_prefixes(self, prefixes: Sequence[Any]) -> Any:
        """One prefix for a batch that holds the rows of all these one after another, shorter ones
        filled up on the left; None where the engine cannot make one."""
        return None

    def take_prefix(
        self, parts: Sequence[tuple[Any, Sequence[int] | Tensor, int]], length: int
    ) -> Any:
        """One prefix of `length` columns, of some rows of several prefixes and from a column of
        each on; None where the engine cannot make one."""
        return None

    def prefix_bytes(self, prefix: Any) -> int:
        """How much memory a prefix takes; 0 where the engine cannot take some of it."""
        return 0

    def as_with_many_rows(self) -> AbstractContextManager[None]:
        """Until the context ends, few rows run in the way in which many would."""
        return nullcontext()


def check_points(engine: Engine, edits: Sequence[tuple[Point, Edit]]) -> None:
    """Refuse edits at points that the engine does not have."""
    lacking = sorted({point for point, _ in edits if not engine.has(point)})
    if lacking:
        names = ", ".join(map(str, lacking))
        raise ValueError(
            f"expected points that this model has in the engine {engine.name!r}; got {names}. "
            "Ask `has(point)` first, or take another engine."
        )


def looked(new: Tensor | None) -> None:
    """Refuse a new value for a pattern."""
    if new is not None:
        raise ValueError(
            "expected an edit that only looks at a pattern, and returns None; got one that returns "
            "a new value. Change q, k or v instead."
        )


def logits_at(
    logits: Float[Tensor, "row pos d_vocab"], reads: Int[Tensor, " row *read"] | None
) -> Float[Tensor, "row *read d_vocab"]:
    """Each row's logits at the column it is read at, or at several columns; at the last one where
    no columns are given."""
    if reads is None:
        return logits[:, -1]
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows if reads.ndim == 1 else rows[:, None], reads.to(logits.device)]


def branch_mask(
    attends: Int[Tensor, "row seen"], branches: int, n_new: int, dtype: torch.dtype
) -> Float[Tensor, "row 1 pos all"]:
    """What is added to attention scores so that branches do not see each other: 0 where a token
    may look, and the most negative number elsewhere.

    Args:
        attends: over the prefix and one branch of `n_new` tokens.
    """
    n_rows, n_seen = attends.shape
    before, own = attends.split([n_seen - n_new, n_new], dim=1)
    eye = torch.eye(branches, device=attends.device, dtype=torch.bool)
    causal = torch.ones(n_new, n_new, device=attends.device, dtype=torch.bool).tril()
    beside = causal & own.bool()[:, None, :]
    beside = eye[None, :, None, :, None] & beside[:, None, :, None, :]
    n_all = branches * n_new
    beside = beside.expand(n_rows, -1, -1, -1, -1).reshape(n_rows, n_all, n_all)
    seen = torch.cat([before.bool()[:, None].expand(-1, n_all, -1), beside], dim=2)
    nowhere = torch.finfo(dtype).min
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, nowhere)[:, None]


def ends_of(branches: int, width: int, n_rows: int) -> Int[Tensor, "row branch"]:
    """The last column of each of these branches of one width, for every row."""
    return (torch.arange(1, branches + 1) * width - 1).expand(n_rows, -1)


def counted_positions(attends: Int[Tensor, "row seen"], n_new: int) -> Int[Tensor, "row pos"]:
    """The position of each of the last `n_new` tokens, counted without padding."""
    return (attends.long().cumsum(-1) - 1).clamp(min=0)[:, -n_new:]
