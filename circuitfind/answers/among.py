"""`among`: the expected alternative is more probable than every other one that is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from desiderata import Texts, texts_of

from ..engines.engine import Unembed
from ..models.model import Model
from .answer import Need, Question, Target, UnusableAnswers
from .spelling import NOTHING, Logits, Spelling, by_place, log_shares, scores_of_tokens, spell
from .tokens import Ids, kl, spelled

NOTHING_ELSE = "names no answer to compare"
SHOWN = 3  # texts of an alternative that reports write out

Sides = list[frozenset[str]]  # the expected alternative, then the others


@dataclass(frozen=True)
class Among:
    """A choice between alternatives, each a set of texts that count as one answer.

    The lead is the log odds of the expected alternative against the best other one, in nats: the
    difference of the logarithms of their probabilities. With two single tokens it is the field's
    logit difference (Wang et al. 2022, arXiv 2211.00593). The probability of a text of several
    tokens is that of all of them, by teacher forcing.

    An answer that covers several alternatives is compared with all others together: of all years
    those that are later against those that are not (Hanna et al. 2023, arXiv 2305.00586).

    Args:
        alternatives: of every pair; by default those that each pair names by itself.
        first: compare texts up to the first token that tells alternatives apart.
    """

    alternatives: tuple[tuple[str, ...], ...] = ()
    first: bool = False
    name = "among"
    unit = "nats"

    def encode(self, model: Model, questions: Sequence[Question]) -> Target:
        problems: dict[str, None] = {}
        sides = [self._sides(question, problems) for question in questions]
        found, unspelled = spelled(
            model,
            [
                Question(q.context, None, tuple(tuple(side) for side in own if side), q.ids)
                for q, own in zip(questions, sides, strict=True)
            ],
        )
        problems |= dict.fromkeys(unspelled)
        if problems:
            raise UnusableAnswers(list(problems))
        spelt = [
            _spelt(own, ids, self._partition(question), self.first, problems)
            for own, ids, question in zip(sides, found, questions, strict=True)
        ]
        if problems:
            raise UnusableAnswers(list(problems))
        known = torch.tensor([bool(own[0]) for own in sides], device=model.device)
        return _target(spelt, known, model.device)

    def _partition(self, question: Question) -> list[frozenset[str]]:
        """The alternatives of one question, whichever is right."""
        if self.alternatives:
            return [frozenset(texts) for texts in self.alternatives]
        named = [*question.named, *([] if question.answer is None else [question.answer])]
        return list(dict.fromkeys(frozenset(texts_of(one)) for one in named))

    def _sides(self, question: Question, problems: dict[str, None]) -> Sides:
        """The expected alternative, empty where it is not known, and the others."""
        named = self._partition(question)
        if question.answer is None:
            return [frozenset(), *named]
        right = frozenset(texts_of(question.answer))
        if not self.alternatives:
            others = [one - right for one in named if one - right]
            if not others and not any(NOTHING_ELSE in problem for problem in problems):
                problems[
                    f"a pair {NOTHING_ELSE} {_listed([right])} with; give `others`, or the "
                    "alternatives by `among`"
                ] = None
            return [right, *dict.fromkeys(others)]
        if strangers := right - frozenset().union(*named):
            problems.update(
                dict.fromkeys(
                    f"the answer {one!r} is none of the alternatives {_listed(named)}"
                    for one in sorted(strangers)
                )
            )
        mine = [one for one in named if one & right]
        others = [one for one in named if not one & right]
        if not others:
            problems[f"the answer {_listed([right])} covers every alternative"] = None
        if len(mine) > 1:
            others = [frozenset().union(*others)]
        return [frozenset().union(*mine), *others]

    def hit(self, output: Logits, target: Target) -> Bool[Tensor, "mask pair"]:
        return (self.lead(output, target) > 0) & target.known.to(output.device)

    def lead(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        weights = alternative_weights(output, target)
        lead = weights[..., 0] - weights[..., 1:].amax(dim=-1)
        return torch.where(target.known.to(lead.device), lead, 0.0)

    def contrast(self, output: Logits, target: Target, other: Target) -> Float[Tensor, "mask pair"]:
        return self.score(output, target) - self.score(output, other)

    def score(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        score = alternative_weights(output, target)[..., 0]
        return torch.where(target.known.to(score.device), score, 0.0)

    def surprise(self, output: Logits, target: Target) -> Float[Tensor, "mask pair"]:
        return -alternative_weights(output, target).log_softmax(-1)[..., 0]

    def divergence(
        self, untouched: Float[Tensor, "pair *place d_vocab"], output: Logits
    ) -> Float[Tensor, "mask pair"]:
        return kl(untouched, output)

    def same(
        self, untouched: Float[Tensor, "pair *place d_vocab"], output: Logits, target: Target
    ) -> Bool[Tensor, "mask pair"]:
        before = alternative_weights(untouched[None], target).argmax(-1)
        after = alternative_weights(output, target).max(-1)
        return (after.indices == before) & ~after.values.isnan()

    def words(
        self, model: Model, output: Float[Tensor, "pair *place d_vocab"], target: Target
    ) -> list[str]:
        best = alternative_weights(output[None], target)[0].argmax(-1).tolist()
        ids, (sides,) = _of(target).ids, target.tensors
        grouped = ids.reshape(len(ids), sides.shape[1], -1, ids.shape[2]).tolist()
        made = []
        for row, choice in zip(grouped, best, strict=True):
            texts = [
                model.tokenizer.decode([token for token in text if token != NOTHING])
                for text in row[choice]
                if text[0] != NOTHING
            ]
            more = f" or {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
            made.append(" or ".join(texts[:SHOWN]) + more)
        return made

    def is_decided(self, target: Target) -> bool:
        return target.spelling is not None and target.spelling.is_one_token

    def entries(
        self,
        streams: Float[Tensor, "shown width"],
        unembed: Unembed,
        target: Target,
        near: Int[Tensor, " token"],
        need: Need,
    ) -> Int[Tensor, " kept"]:
        """The tokens of the alternatives; no others matter to the odds between them."""
        ids = _of(target).ids.flatten().unique()
        return ids[ids != NOTHING].to(streams.device)


def alternative_weights(output: Logits, target: Target) -> Float[Tensor, "mask pair alternative"]:
    """The logarithm of each alternative's probability, up to a constant of the pair."""
    spelling, (sides,) = _of(target), target.tensors
    if spelling.is_one_token:  # the constant of the softmax is the same for all
        ids = spelling.ids[..., 0].to(output.device)
        texts = scores_of_tokens(by_place(output), spelling)[..., 0]
        texts = texts.masked_fill(ids == NOTHING, float("-inf"))
    else:
        texts = log_shares(output, spelling)
    # A side without a text has no gradient; minus infinity would give it one that is no number.
    texts = texts.clamp(min=torch.finfo(texts.dtype).min / 4)
    return texts.reshape(*texts.shape[:2], sides.shape[1], -1).logsumexp(-1)


def _of(target: Target) -> Spelling:
    if target.spelling is None:
        raise TypeError("expected a target that `among` has encoded; it has no spelling")
    return target.spelling


def _spelt(
    sides: Sides,
    ids: dict[str, Ids],
    partition: Sequence[frozenset[str]],
    first: bool,
    problems: dict[str, None],
) -> list[list[Ids]]:
    """The tokens of each side's texts; with `first`, up to where they tell alternatives apart."""
    places = {text: frozenset(n for n, one in enumerate(partition) if text in one) for text in ids}
    beginnings: dict[Ids, set[frozenset[int]]] = {}
    for text, own in ids.items():
        for n in range(1, len(own) + 1):
            beginnings.setdefault(own[:n], set()).add(places[text])
    made: list[list[Ids]] = []
    for side in sides:
        mine: dict[Ids, None] = {}
        for text in sorted(side):
            own = ids[text]
            if len(beginnings[own]) > 1:
                problems[
                    f"the answer {text!r} is how another alternative begins, or its whole, in this "
                    "model's tokens; write what ends it"
                ] = None
            cut = next(
                (n for n in range(1, len(own) + 1) if len(beginnings[own[:n]]) == 1), len(own)
            )
            mine[own[:cut] if first else own] = None
        made.append(list(mine))
    return made


def _target(
    rows: Sequence[Sequence[Sequence[Ids]]], known: Bool[Tensor, " pair"], device: torch.device
) -> Target:
    """Each pair's sides, filled up to the same number of sides and of texts in each."""
    n_sides = max(2, max(map(len, rows), default=2))
    widest = max((len(side) for row in rows for side in row), default=1) or 1
    flat, shape = [], []
    for row in rows:
        sides = [*row, *[[] for _ in range(n_sides - len(row))]]
        shape.append([len(side) for side in sides])
        flat.append([text for side in sides for text in [*side, *[()] * (widest - len(side))]])
    keys = tuple(frozenset(row[0]) for row in rows)
    return Target((torch.tensor(shape, device=device),), known, spell(flat, device), keys)


def _listed(alternatives: Sequence[frozenset[str]] | Sequence[Texts]) -> str:
    return ", ".join(" or ".join(map(repr, sorted(texts_of(one)))) for one in alternatives[:8])
