"""Donors that give every pair the same value: the mean over prompts, or zero."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..models.prompts import Prompts


@dataclass(frozen=True)
class Mean:
    """The mean over the prompts that the desideratum names, by default all its sources, at each
    position by itself."""

    name = "mean"
    aligned = False
    placed = True

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        return mean_over or source

    def runs_in(self, model: Model) -> Model:
        return model

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair pos *acts"]:
        mean = acts.mean(dim=0, keepdim=True)
        return mean.expand(n_pairs, *mean.shape[1:]).contiguous()


@dataclass(frozen=True)
class Zero:
    """Zeros. A single prompt runs, which only gives the shapes."""

    name = "zero"
    aligned = False
    placed = False

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        return base.take(torch.tensor([0]))

    def runs_in(self, model: Model) -> Model:
        return model

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair 1 *acts"]:
        return torch.zeros_like(acts[:1, :1]).expand(n_pairs, 1, *acts.shape[2:])
