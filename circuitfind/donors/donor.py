"""Donors: what a patched site takes in the place of its own activation."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..models.prompts import Prompts


@runtime_checkable
class Donor(Protocol):
    """Where the value of a patched site comes from. Frozen and hashable.

    The law: the value that a pair takes does not depend on how pairs are cut into batches. So
    `prompts` is asked once, of all pairs together; afterwards a pair keeps its row.

    Args:
        aligned: whether each pair has a prompt of its own among `prompts`, rather than all sharing
            them.
        placed: whether a token takes what tokens at its own place do in prompts that all pairs
            share, so that at `all` every prompt must have as many tokens.
    """

    aligned: bool
    placed: bool

    @property
    def name(self) -> str:
        """The donor in claims, circuits and tables."""
        ...

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        """The prompts whose activations are looked at, a row a pair where `aligned`.

        Args:
            base, source: of all pairs of a desideratum.
            mean_over: the prompts that the desideratum names for a mean, if any.
        """
        ...

    def runs_in(self, model: Model) -> Model:
        """The model in which those prompts run, by default the one that is patched."""
        ...

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair taken *acts"]:
        """What each pair takes, from the activations of the prompts at the patched tokens; one
        token may stand for all."""
        ...
