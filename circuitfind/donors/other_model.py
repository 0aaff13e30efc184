"""A donor that is another model: cross-model activation patching (CMAP)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..models.prompts import Prompts

SIZES = ("n_layers", "n_heads", "d_model", "d_vocab")


@dataclass(frozen=True)
class OtherModel:
    """What another model of the same shape and tokenizer does with the base prompt (Prakash et al.
    2024, arXiv 2402.14811: CMAP), or with the source (`crossed`)."""

    model: Model
    crossed: bool = False
    aligned = True
    placed = False

    @property
    def name(self) -> str:
        """The donor in words, with the other model's name."""
        return f"{self.model.name} on the {'source' if self.crossed else 'base'}"

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        return source if self.crossed else base

    def runs_in(self, model: Model) -> Model:
        """The other model.

        Raises:
            ValueError: models whose activations cannot stand for each other; every reason at once.
        """
        if problems := differences(self.model, model):
            raise ValueError(
                f"{self.model.name} cannot be a donor for {model.name}: {'; '.join(problems)}"
            )
        return self.model

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair pos *acts"]:
        return acts.contiguous()


def differences(one: Model, other: Model) -> list[str]:
    """Why activations of one model cannot stand for the other's, in words."""
    found = []
    for name in SIZES:
        mine, theirs = getattr(one.engine.sizes, name), getattr(other.engine.sizes, name)
        if mine != theirs:
            found.append(f"{name} is {mine} and {theirs}")
    if one.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        found.append("their tokenizers have different vocabularies")
    if one.prepend_bos != other.prepend_bos:
        found.append("only one of them gets a BOS token")
    return found
