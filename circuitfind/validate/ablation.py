"""The circuit kept and the rest ablated: what four kinds of ablation leave of the behaviour.

Behaviour is that of the base prompts: by how much the base's answer is ahead of the source's, or,
where the source's is not known, of the best other one, in the unit of the answer. Ablated are the
candidate sites, at the claim's positions; what is elsewhere stays as it is.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from desiderata import Desideratum, Donor, DonorChoice, Pair, Texts, name_of

from ..objective.encoding import encode
from ..objective.graded import preferences
from ..objective.objective import Objective, Piece
from .inputs import PAIRS_COMPARED, CheckInputs

DONORS: tuple[Donor, ...] = ("zero", "mean", "resample", "source")
WORDS: Mapping[str, str] = {
    "zero": "zero",
    "mean": "mean over the base and source prompts, per position",
    "resample": "another pair's source",
    "source": "the pair's own source (counterfactual)",
}


def donor_words(donor: DonorChoice) -> str:
    """What ablated sites take, in words."""
    name = name_of(donor)
    return WORDS.get(name, name)


@dataclass(frozen=True)
class Outcome:
    """What each membership leaves, per mask and pair.

    `difference` in the answer's unit; `divergence` from the untouched output, for tokens
    KL(untouched || ablated) in nats where the answer is read; `right` whether the base's answer is
    given, `same` whether the answer is the untouched model's.
    """

    difference: Float[Tensor, "mask pair"]
    divergence: Float[Tensor, "mask pair"]
    right: Bool[Tensor, "mask pair"]
    same: Bool[Tensor, "mask pair"]


@dataclass(frozen=True)
class Ablated:
    """Base prompts in which everything outside a circuit is ablated in one way."""

    donor: DonorChoice
    objective: Objective

    @torch.no_grad()
    def outcome(self, membership: Float[Tensor, "mask site"]) -> Outcome:
        """What each circuit keeps; a membership of ones is the untouched model."""
        indices, whole = range(len(self.objective.batches)), torch.ones(len(self.objective.sites))
        untouched = [
            piece.output[0]
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


def ablate(subject: CheckInputs, donor: DonorChoice, n: int = PAIRS_COMPARED) -> Ablated:
    """The subject's base prompts, each once, with the circuit kept and the rest taking `donor`;
    see `donor_words`. It is made once for each number of pairs.

    Raises:
        ValueError: the ablation cannot be made of these prompts, such as a mean at `all` over
            prompts of different lengths.
    """
    if (donor, n) not in subject.ablated:
        subject.ablated[donor, n] = _ablate(subject, donor, n)
    return subject.ablated[donor, n]


def _ablate(subject: CheckInputs, donor: DonorChoice, n: int) -> Ablated:
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
            name=f"keeps the answer, {name_of(donor)}",
            part="outside",
            sense="keeps",
            pairs=tuple(pair for where, pair in chosen if where == read),
            at=first.at,
            donor=donor,
            answer=first.answer,
            read=read,
            mean_over=tuple(prompts.values()) if donor == "mean" else (),
        )
        for read in dict.fromkeys(read for read, _ in chosen)
    ]
    like = next((one.objective for (_, m), one in subject.ablated.items() if m == n), None)
    sites, known = subject.objective.sites, subject.batches[0].kept
    batches = [replace(batch, kept=known) for batch in encode(subject.model, desiderata)]
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
    seen, rounds = Counter[tuple[str, Texts]](), {}
    for read, text in drawn:
        answer = read, pairs[read, text].base_answer
        rounds[read, text] = seen[answer]
        seen[answer] += 1
    return sorted(drawn, key=rounds.__getitem__)[:n]


def _measure(piece: Piece, untouched: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, answer, output = piece.batch, piece.batch.answer, piece.output
    difference = preferences(batch, output)
    divergence = answer.divergence(untouched, output)
    same = answer.same(untouched, output, batch.base_answer)
    return difference, divergence, answer.hit(output, batch.base_answer), same
