"""The circuit kept and the rest ablated: what four kinds of ablation leave of the behaviour.

Behaviour is that of the base prompts: the logit of the base's answer less that of the source's,
or, where the source's is not known, less that of the best other token. Ablated are the candidate
sites, at the claim's positions; what is elsewhere stays as it is.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from desiderata import Desideratum, Donor, Pair

from ..objective.encoding import UNKNOWN, encode
from ..objective.objective import Objective, Piece, correct, lead
from .inputs import PAIRS_COMPARED, CheckInputs

DONORS: tuple[Donor, ...] = ("zero", "mean", "resample", "source")
WORDS: Mapping[Donor, str] = {
    "zero": "zero",
    "mean": "mean over the base and source prompts, per position",
    "resample": "another pair's source",
    "source": "the pair's own source (counterfactual)",
}


@dataclass(frozen=True)
class Outcome:
    """What each membership leaves, per mask and pair.

    `difference` in logits; `divergence` is KL(untouched || ablated) in nats, summed over the
    vocabulary, where the answer is read; `right` whether the base's answer is the most likely,
    `same` whether the token is that the untouched model finds most likely.
    """

    difference: Float[Tensor, "mask pair"]
    divergence: Float[Tensor, "mask pair"]
    right: Bool[Tensor, "mask pair"]
    same: Bool[Tensor, "mask pair"]


@dataclass(frozen=True)
class Ablated:
    """Base prompts in which everything outside a circuit is ablated in one way."""

    donor: Donor
    objective: Objective

    @torch.no_grad()
    def outcome(self, membership: Float[Tensor, "mask site"]) -> Outcome:
        """What each circuit keeps; a membership of ones is the untouched model."""
        indices, whole = range(len(self.objective.batches)), torch.ones(len(self.objective.sites))
        untouched = [
            piece.logits[0].log_softmax(-1)
            for made in self.objective.passes(indices, whole[None])
            for piece in made
        ]
        turns = []
        for rows in membership.split(self.objective.masks_at_once):
            pieces = [piece for made in self.objective.passes(indices, rows) for piece in made]
            turns.append(
                [_measure(piece, whole) for piece, whole in zip(pieces, untouched, strict=True)]
            )
        return Outcome(
            *(
                torch.cat(
                    [torch.cat([piece[part] for piece in pieces], 1) for pieces in turns]
                ).cpu()
                for part in range(len(fields(Outcome)))
            )
        )


def ablate(subject: CheckInputs, donor: Donor, n: int = PAIRS_COMPARED) -> Ablated:
    """The subject's base prompts, each once, with the circuit kept and the rest taking `donor`;
    see `WORDS`. It is made once for each number of pairs.

    Raises:
        ValueError: the ablation cannot be made of these prompts, such as a mean at `all` over
            prompts of different lengths.
    """
    if (donor, n) not in subject.ablated:
        subject.ablated[donor, n] = _ablate(subject, donor, n)
    return subject.ablated[donor, n]


def _ablate(subject: CheckInputs, donor: Donor, n: int) -> Ablated:
    first = subject.batches[0].desideratum
    pairs: dict[tuple[str, str], Pair] = {}  # by where the answer is read, and the base
    for one in (batch.desideratum for batch in subject.batches):
        for pair in one.pairs if one.at == first.at else ():
            if pair.source_answer != pair.base_answer:
                kept = replace(pair, expected=pair.base_answer)
                pairs.setdefault((one.read, pair.base.text), kept)
    if not pairs:
        raise ValueError("no pair's source has another answer than its base")
    chosen = [(read, pairs[read, text]) for read, text in _balanced(pairs, n, subject.seed)]
    prompts = {p.text: p for _, pair in chosen for p in (pair.base, pair.source)}
    desiderata = [
        Desideratum(
            name=f"keeps the answer, {donor}",
            part="outside",
            sense="keeps",
            pairs=tuple(pair for where, pair in chosen if where == read),
            at=first.at,
            donor=donor,
            read=read,
            mean_over=tuple(prompts.values()) if donor == "mean" else (),
        )
        for read in dict.fromkeys(read for read, _ in chosen)
    ]
    like = next((one.objective for (_, m), one in subject.ablated.items() if m == n), None)
    batches, sites = encode(subject.model, desiderata), subject.objective.sites
    return Ablated(
        donor, Objective(subject.model, batches, sites, subject.objective.cost, like=like)
    )


def _balanced(
    pairs: Mapping[tuple[str, str], Pair], n: int, seed: int
) -> Sequence[tuple[str, str]]:
    """Up to `n` pairs drawn at random, in rounds that have every answer once. Given pairs may be
    in an order, so that the first ones would be no sample."""
    drawn = list(pairs)
    if len(drawn) <= n:
        return drawn
    random.Random(f"ablation/{seed}").shuffle(drawn)
    seen, rounds = Counter[tuple[str, str]](), {}
    for read, text in drawn:
        answer = read, pairs[read, text].base_answer
        rounds[read, text] = seen[answer]
        seen[answer] += 1
    return sorted(drawn, key=rounds.__getitem__)[:n]


def _measure(piece: Piece, untouched: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, logits = piece.batch, piece.logits
    pairs = torch.arange(len(batch), device=logits.device)
    own = lead(logits, batch.base_answer)
    theirs = logits[:, pairs, batch.base_answer] - logits[:, pairs, batch.source_answer]
    difference = torch.where(batch.source_answer == UNKNOWN, own, theirs)
    log_probabilities = logits.log_softmax(-1)
    divergence = (untouched.exp() * (untouched - log_probabilities)).sum(-1).clamp(min=0)
    same = correct(logits, untouched.argmax(-1))
    return difference, divergence, correct(logits, batch.base_answer), same
