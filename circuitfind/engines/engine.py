"""Engines: which model runs, and where in its pass an activation can be read or changed.

An engine offers plain tensors at named points. Search, validation and reports never see a hook, a
module or a library's cache.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .points import Point as Point
from .points import Sizes as Sizes

Feature = Literal["gradients", "prefix", "start_at_layer", "qkv", "pattern"]

KINDS = ("embed", "entry", "q", "k", "v", "pattern", "heads", "mlp_in", "mlp")
# A kind that begins so is what another module of the layer gives, by its name: no site.
OTHER = "other:"
# What a layer's map to queries gives, before any norm or rotation, where there is such a map and
# the engine knows no `q`. Only to try whether heads are cut rightly.
QUERIES = "queries"

# The new value, or None where it only looks.
Edit = Callable[[Tensor], Tensor | None]


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
    ) -> tuple[Float[Tensor, "row *read d_vocab"], Any]:
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


def counted_positions(attends: Int[Tensor, "row seen"], n_new: int) -> Int[Tensor, "row pos"]:
    """The position of each of the last `n_new` tokens, counted without padding."""
    return (attends.long().cumsum(-1) - 1).clamp(min=0)[:, -n_new:]
