"""`top`: the expected token is the most likely of all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.model import Model
from .answer import Target, UnusableAnswers
from .tokens import kl, most_likely, next_ids

UNKNOWN = -1  # stands for the id of an answer that nobody gave

Logits = Float[Tensor, "mask pair d_vocab"]
Ids = Int[Tensor, " pair"]


@dataclass(frozen=True)
class Top:
    """The expected token is what the model would write. The lead is in logits, over the best other
    token (Davies et al. 2023, arXiv 2307.03637, count so)."""

    name = "top"
    unit = "logits"

    def encode(
        self, model: Model, contexts: Sequence[str], answers: Sequence[str | None]
    ) -> Target:
        given = [
            (context, answer)
            for context, answer in zip(contexts, answers, strict=True)
            if answer is not None
        ]
        ids = next_ids(model, given)
        if problems := {one for one in ids.values() if isinstance(one, str)}:
            raise UnusableAnswers(sorted(problems))
        rows = [
            UNKNOWN if answer is None else ids[context, answer]
            for context, answer in zip(contexts, answers, strict=True)
        ]
        found = torch.tensor(rows, device=model.device)
        return Target((found,), found != UNKNOWN)

    def hit(self, output: Logits, target: Target) -> Bool[Tensor, "mask pair"]:
        best = output.max(dim=-1)
        return (best.indices == _ids(output, target)) & ~best.values.isnan()

    def lead(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        index = _index(output, target)
        mine = output.gather(-1, index)[..., 0]
        return mine - output.scatter(-1, index, float("-inf")).amax(dim=-1)

    def contrast(self, output: Logits, target: Target, other: Target) -> Float[Tensor, "mask pair"]:
        return self.score(output, target) - self.score(output, other)

    def score(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        return output.gather(-1, _index(output, target))[..., 0]

    def surprise(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        return -output.log_softmax(dim=-1).gather(-1, _index(output, target))[..., 0]

    def divergence(
        self, untouched: Float[Tensor, "pair d_vocab"], output: Logits
    ) -> Float[Tensor, "mask pair"]:
        return kl(untouched, output)

    def same(
        self, untouched: Float[Tensor, "pair d_vocab"], output: Logits, target: Target
    ) -> Bool[Tensor, "mask pair"]:
        best = output.max(dim=-1)
        return (best.indices == untouched.argmax(-1)) & ~best.values.isnan()

    def words(
        self, model: Model, output: Float[Tensor, "pair d_vocab"], target: Target
    ) -> list[str]:
        return most_likely(model, output)


def _ids(output: Logits, target: Target) -> Ids:
    return target.tensors[0].to(output.device)


def _index(output: Logits, target: Target) -> Int[Tensor, "mask pair 1"]:
    # An unknown answer has no token; the first stands in, and `known` says not to use the number.
    return _ids(output, target).clamp(min=0).expand(len(output), -1)[..., None]
