"""`among`: the expected alternative is more probable than every other one that is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.model import Model
from .answer import Target, UnusableAnswers
from .tokens import kl, next_ids

NOTHING = -1  # fills up the tokens of a set that is smaller than the largest

Logits = Float[Tensor, "mask pair d_vocab"]


@dataclass(frozen=True)
class Among:
    """A choice between alternatives, each a set of single tokens that count as one answer.

    The lead is the log odds of the expected alternative against the best other one, in nats: the
    difference of the logarithms of their probabilities. With two single tokens it is the field's
    logit difference (Wang et al. 2022, arXiv 2211.00593).
    """

    alternatives: tuple[tuple[str, ...], ...]
    name = "among"
    unit = "nats"

    def encode(
        self, model: Model, contexts: Sequence[str], answers: Sequence[str | None]
    ) -> Target:
        place = {text: n for n, texts in enumerate(self.alternatives) for text in texts}
        given = [one for one in answers if one is not None]
        problems = dict.fromkeys(
            f"the answer {one!r} is none of the alternatives {_listed(self.alternatives)}"
            for one in given
            if one not in place
        )
        wanted = [(context, text) for context in dict.fromkeys(contexts) for text in place]
        ids = next_ids(model, wanted)
        problems |= dict.fromkeys(one for one in ids.values() if isinstance(one, str))
        if problems:
            raise UnusableAnswers(list(problems))
        widest = max(map(len, self.alternatives))
        rows = [
            [
                [int(ids[context, text]) for text in texts] + [NOTHING] * (widest - len(texts))
                for texts in self.alternatives
            ]
            for context in contexts
        ]
        chosen = [NOTHING if one is None else place[one] for one in answers]
        index = torch.tensor(chosen, device=model.device)
        return Target((index, torch.tensor(rows, device=model.device)), index != NOTHING)

    def hit(self, output: Logits, target: Target) -> Bool[Tensor, "mask pair"]:
        return (self.lead(output, target) > 0) & target.known.to(output.device)

    def lead(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        weights = alternative_weights(output, target)
        index = _chosen(output, target)
        mine = weights.gather(-1, index)[..., 0]
        return mine - weights.scatter(-1, index, float("-inf")).amax(dim=-1)

    def contrast(self, output: Logits, target: Target, other: Target) -> Float[Tensor, "mask pair"]:
        return self.score(output, target) - self.score(output, other)

    def score(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        weights = alternative_weights(output, target)
        return weights.gather(-1, _chosen(output, target))[..., 0]

    def surprise(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        shares = alternative_weights(output, target).log_softmax(-1)
        return -shares.gather(-1, _chosen(output, target))[..., 0]

    def divergence(
        self, untouched: Float[Tensor, "pair d_vocab"], output: Logits
    ) -> Float[Tensor, "mask pair"]:
        return kl(untouched, output)

    def same(
        self, untouched: Float[Tensor, "pair d_vocab"], output: Logits, target: Target
    ) -> Bool[Tensor, "mask pair"]:
        before = alternative_weights(untouched[None], target).argmax(-1)
        after = alternative_weights(output, target).max(-1)
        return (after.indices == before) & ~after.values.isnan()

    def words(
        self, model: Model, output: Float[Tensor, "pair d_vocab"], target: Target
    ) -> list[str]:
        best = alternative_weights(output[None], target)[0].argmax(-1).tolist()
        return [" or ".join(self.alternatives[index]) for index in best]


def alternative_weights(output: Logits, target: Target) -> Float[Tensor, "mask pair alternative"]:
    """The logarithm of each alternative's probability, up to a constant of the pair."""
    ids: Int[Tensor, "pair alternative token"] = target.tensors[1].to(output.device)
    flat = ids.clamp(min=0).reshape(len(ids), -1).expand(len(output), -1, -1)
    picked = output.gather(-1, flat).reshape(len(output), *ids.shape)
    return picked.masked_fill(ids == NOTHING, float("-inf")).logsumexp(-1)


def _chosen(output: Logits, target: Target) -> Int[Tensor, "mask pair 1"]:
    index = target.tensors[0].to(output.device).clamp(min=0)
    return index.expand(len(output), -1)[..., None]


def _listed(alternatives: Sequence[Sequence[str]]) -> str:
    return ", ".join(" or ".join(map(repr, texts)) for texts in alternatives[:8])
