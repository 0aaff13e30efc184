"""Donors that take another prompt's activation: the pair's own source, or another pair's."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..models.prompts import Prompts


@dataclass(frozen=True)
class Source:
    """The pair's own source: an interchange intervention (Geiger et al. 2021, arXiv 2106.02997)."""

    name = "source"
    aligned = True
    placed = False

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        return source

    def runs_in(self, model: Model) -> Model:
        return model

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair pos *acts"]:
        return acts.contiguous()


@dataclass(frozen=True)
class Resample:
    """Another pair's source: the one before among the sources of as many tokens, so that at `all`
    tokens correspond (Chan et al. 2022, causal scrubbing). A source with a length of its own takes
    the one before among all such."""

    name = "resample"
    aligned = True
    placed = False

    def prompts(self, base: Prompts, source: Prompts, mean_over: Prompts | None) -> Prompts:
        lengths = source.attends.sum(dim=1).tolist()
        groups: dict[int, list[int]] = defaultdict(list)
        for row, length in enumerate(lengths):
            groups[length if lengths.count(length) > 1 else 0].append(row)
        taken = list(range(len(lengths)))
        for rows in groups.values():
            for row, before in zip(rows, [rows[-1], *rows[:-1]], strict=True):
                taken[row] = before
        return source.take(torch.tensor(taken))

    def runs_in(self, model: Model) -> Model:
        return model

    def value(
        self, acts: Float[Tensor, "prompt pos *acts"], n_pairs: int
    ) -> Float[Tensor, "pair pos *acts"]:
        return acts.contiguous()
