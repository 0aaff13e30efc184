"""The circuit kept and the rest ablated: what four kinds of ablation leave of the behaviour.

Behaviour is that of the base prompts: the logit of the base's answer less that of the source's,
or, where the source's is not known, less that of the best other token. Ablated are the candidate
sites, at the claim's positions; what is elsewhere stays as it is.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from desiderata import Desideratum, Donor, Pair

from ..encoding import UNKNOWN, encode
from ..objective import Objective, Piece, correct, lead
from .subject import PAIRS_COMPARED, Subject

DONORS: tuple[Donor, ...] = ("zero", "mean", "resample", "source")


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
    words: str
    objective: Objective

    @torch.no_grad()
    def outcome(self, membership: Float[Tensor, "mask site"]) -> Outcome:
        """What each circuit keeps; a membership of ones is the untouched model."""
        untouched = [
            piece.logits[0].log_softmax(-1)
            for made in self.objective.passes([0], torch.ones(1, len(self.objective.sites)))
            for piece in made
        ]
        turns = []
        for rows in membership.split(self.objective.masks_at_once):
            pieces = [piece for made in self.objective.passes([0], rows) for piece in made]
            turns.append([
                _measure(piece, whole) for piece, whole in zip(pieces, untouched, strict=True)
            ])  # fmt: skip
        return Outcome(*(
            torch.cat([torch.cat([piece[part] for piece in pieces], 1) for pieces in turns]).cpu()
            for part in range(len(fields(Outcome)))
        ))  # fmt: skip


def ablate(subject: Subject, donor: Donor, n: int = PAIRS_COMPARED) -> Ablated:
    """The subject's base prompts, each once, with the circuit kept and the rest taking `donor`.

    The mean is over all of these base and source prompts, per position; resample takes the
    source of another pair; source that of the same pair, the counterfactual.

    Raises:
        ValueError: the ablation cannot be made of these prompts, such as a mean at `all` over
            prompts of different lengths.
    """
    first = subject.batches[0].desideratum
    pairs: dict[str, Pair] = {}
    desiderata = [batch.desideratum for batch in subject.batches]
    alike = [one for one in desiderata if (one.at, one.read) == (first.at, first.read)]
    for pair in (pair for one in alike for pair in one.pairs):
        if pair.source_answer != pair.base_answer:
            pairs.setdefault(pair.base.text, replace(pair, expected=pair.base_answer))
    if not pairs:
        raise ValueError("no pair's source has another answer than its base")
    chosen = tuple(pairs.values())[:n]
    prompts = tuple({p.text: p for pair in chosen for p in (pair.base, pair.source)}.values())
    desideratum = Desideratum(
        f"keeps the answer, {donor}", "outside", "keeps", chosen, first.at, donor=donor,
        read=first.read, mean_over=prompts if donor == "mean" else (),
    )  # fmt: skip
    batch = encode(subject.model, [desideratum])[0]
    words = {
        "zero": "zero",
        "mean": f"mean over the {len(prompts)} base and source prompts, per position",
        "resample": "another pair's source",
        "source": "the pair's own source (counterfactual)",
    }
    objective = Objective(subject.model, [batch], subject.objective.sites, subject.objective.cost)
    return Ablated(donor, words[donor], objective)


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
