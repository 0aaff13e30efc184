"""`top`: the expected text is what the model would write."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..engines.engine import Unembed
from ..models.model import Model
from .answer import Need, Question, Target, UnusableAnswers
from .spelling import NOTHING, Logits, Spelling, by_place, log_shares, scores_of_tokens, spell
from .tokens import kl, spelled

AT_ONCE = 2**23  # logits in memory at a time while the best other token is searched


@dataclass(frozen=True)
class Top:
    """Greedy decoding writes the expected text, or one of several that are right; what it would
    write after that is not looked at.

    The lead is in logits: of a token over the best other one, at the worst of the text's tokens,
    for the best of the texts. For one token: Davies et al. 2023 (arXiv 2307.03637).
    """

    name = "top"
    unit = "logits"

    def encode(self, model: Model, questions: Sequence[Question]) -> Target:
        found, problems = spelled(
            model, [Question(q.context, q.answer, (), q.ids) for q in questions]
        )
        if problems:
            raise UnusableAnswers(sorted(problems))
        rows = [list(dict.fromkeys(one.values())) for one in found]
        known = torch.tensor([q.answer is not None for q in questions], device=model.device)
        keys = tuple(map(frozenset, rows))
        return Target((), known, spell(rows, model.device), keys)

    def hit(self, output: Logits, target: Target) -> Bool[Tensor, "mask pair"]:
        spelling = _of(target)
        if not _is_plain(spelling):
            return (self.lead(output, target) > 0) & target.known.to(output.device)
        best = by_place(output)[:, :, 0].max(dim=-1)
        return (best.indices == _ids(output, spelling)) & ~best.values.isnan()

    def lead(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        spelling, places = _of(target), by_place(output)
        if _is_plain(spelling):
            first, index = places[:, :, 0], _index(output, spelling)
            mine = first.gather(-1, index)[..., 0]
            return mine - first.scatter(-1, index, float("-inf")).amax(dim=-1)
        mine = scores_of_tokens(places, spelling)
        ids = spelling.ids.to(mine.device)
        ahead = (mine - _best_others(places, spelling)).masked_fill(ids == NOTHING, float("inf"))
        worst = ahead.amin(-1).masked_fill(ids[..., 0] == NOTHING, float("-inf"))
        # A pair without an answer has no text; `known` says not to use its number.
        return worst.amax(-1).masked_fill((ids[..., 0] == NOTHING).all(-1), 0.0)

    def contrast(self, output: Logits, target: Target, other: Target) -> Float[Tensor, "mask pair"]:
        if _is_plain(_of(target)) and _is_plain(_of(other)):
            return self.score(output, target) - self.score(output, other)
        return _whole(output, target) - _whole(output, other)

    def score(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        spelling = _of(target)
        if _is_plain(spelling):
            return by_place(output)[:, :, 0].gather(-1, _index(output, spelling))[..., 0]
        return _whole(output, target)

    def surprise(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        return -_whole(output, target)

    def divergence(
        self, untouched: Float[Tensor, "pair *place d_vocab"], output: Logits
    ) -> Float[Tensor, "mask pair"]:
        return kl(untouched, output)

    def same(
        self, untouched: Float[Tensor, "pair *place d_vocab"], output: Logits, target: Target
    ) -> Bool[Tensor, "mask pair"]:
        before, after = by_place(untouched[None])[:, :, 0], by_place(output)[:, :, 0].max(dim=-1)
        alike = (after.indices == before.argmax(-1)) & ~after.values.isnan()
        if _of(target).is_one_token:
            return alike
        # Of an answer of several tokens the first is compared, and whether all are written.
        return alike & (self.hit(output, target) == self.hit(untouched[None], target))

    def words(
        self, model: Model, output: Float[Tensor, "pair *place d_vocab"], target: Target
    ) -> list[str]:
        best = by_place(output[None])[0].argmax(-1).tolist()
        spelling = _of(target)
        return [
            model.tokenizer.decode(_followed(own, ids, places))
            for own, ids, places in zip(
                best, spelling.ids.tolist(), spelling.places.tolist(), strict=True
            )
        ]

    def is_decided(self, target: Target) -> bool:
        return target.spelling is not None and _is_plain(target.spelling)

    def entries(
        self,
        streams: Float[Tensor, "shown width"],
        unembed: Unembed,
        target: Target,
        near: Int[Tensor, " token"],
        need: Need,
    ) -> Int[Tensor, " kept"]:
        """The expected tokens and, for a lead, the best other one of each stream. For a hit that is
        searched only where no token of `near` is ahead: where one is, the stream is no hit."""
        own = _of(target).ids[:, 0, 0].to(streams.device).clamp(min=0)
        near = torch.cat([near, own]).unique()
        left = torch.arange(len(streams), device=streams.device)
        if need == "hit":
            few = unembed(streams, near)
            mine = few.gather(1, torch.searchsorted(near, own)[:, None])
            left = left[(few <= mine).all(1)]
        found = [near]
        for rows in left.split(max(1, AT_ONCE // unembed.n_vocab)):
            logits = unembed(streams[rows])
            logits[torch.arange(len(rows), device=rows.device), own[rows]] = float("-inf")
            found.append(logits.argmax(-1).unique())
        return torch.cat(found).unique()


def _of(target: Target) -> Spelling:
    if target.spelling is None:
        raise TypeError("expected a target that `top` or `among` has encoded; it has no spelling")
    return target.spelling


def _is_plain(spelling: Spelling) -> bool:
    """Whether every pair has one text of one token."""
    return tuple(spelling.ids.shape[1:]) == (1, 1)


def _ids(output: Logits, spelling: Spelling) -> Int[Tensor, " pair"]:
    return spelling.ids[:, 0, 0].to(output.device)


def _index(output: Logits, spelling: Spelling) -> Int[Tensor, "mask pair 1"]:
    # An unknown answer has no token; the first stands in, and `known` says not to use the number.
    return _ids(output, spelling).clamp(min=0).expand(len(output), -1)[..., None]


def _best_others(
    places: Float[Tensor, "mask pair place d_vocab"], spelling: Spelling
) -> Float[Tensor, "mask pair text token"]:
    """The best logit at each token's place but its own. Tokens there that complete a right text
    are no others: whichever of them is written, the text is right."""
    ids, where = (one.to(places.device) for one in (spelling.ids, spelling.places))
    real = ids != NOTHING
    last = (real.sum(-1, keepdim=True) - 1).clamp(min=0)
    ends = ids.gather(-1, last)[..., 0], where.gather(-1, last)[..., 0]
    n_vocab = places.shape[-1]
    index = (ends[1] * n_vocab + ends[0].clamp(min=0)).expand(len(places), -1, -1)
    hidden = torch.where(
        real[..., 0].expand_as(index), float("-inf"), places.flatten(2).gather(-1, index)
    )
    others = places.flatten(2).scatter(-1, index, hidden).view_as(places)
    top = others.topk(2, dim=-1)
    at = where.flatten(1).expand(len(places), -1, -1)
    own = ids.flatten(1).expand(len(places), -1, -1)
    best, second = (top.values[..., n].gather(-1, at) for n in (0, 1))
    best = torch.where(top.indices[..., 0].gather(-1, at) == own, second, best)
    return best.reshape(len(places), *ids.shape)


def _whole(output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
    """The log-probability of the right texts together, in nats."""
    made = log_shares(output, _of(target))
    none = (_of(target).ids[..., 0] == NOTHING).all(-1).to(made.device)
    return made.masked_fill(none[:, None], 0.0).logsumexp(-1)


def _followed(
    best: Sequence[int], texts: Sequence[Sequence[int]], places: Sequence[Sequence[int]]
) -> list[int]:
    """The tokens that are written one after another, as far as an output shows them."""
    written = [best[0]]
    while True:
        for ids, where in zip(texts, places, strict=True):
            n = len(written)
            if len(ids) > n and ids[n] != NOTHING and list(ids[:n]) == written:
                written.append(best[where[n]])
                break
        else:
            return written
