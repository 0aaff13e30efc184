"""Models compiled from a vote, whose answer is rarely yes: what search must not miss.

The prompt is some letters that nothing reads, a bit for each issue, and `?`. A head of the last
token copies its issue's bit, as a vote. An issue passes with a quorum of votes of 1, and the last
MLP says yes where every issue does. So with eight issues eight heads and that MLP are necessary,
all but one of them do nothing (not even to a gradient, where gates are half open), and a circuit
of none is right as often as the answer is no. Quorums that several sets of heads make up give
circuits of equal size.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt

import torch

from circuitfind.bench.truth import Circuits, exhaustive_truth
from circuitfind.engines.boot import native_shapes
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import build_native
from circuitfind.models.model import Model
from circuitfind.models.native import Native, full_config
from circuitfind.objective.encoding import encode
from desiderata import Donor, Saved, SavedInputs

LETTERS = tuple("abcdefgh")
WORDS = (*LETTERS, "0", "1", "?", "yes", "no", "<pad>", "<unk>")
IDLE, SHARP, LOUD, D_HEAD = 3, 15.0, 6.0, 4  # letters that nothing reads before the bits


@dataclass(frozen=True)
class Vote:
    """Issues as (heads, quorum); `heads` a layer; `rare` is the share of yes among the inputs."""

    issues: tuple[tuple[int, int], ...]
    heads: int
    donor: Donor = "zero"
    layers: int = 4
    rare: float = 0.05
    inputs: int = 40
    seed: int = 0

    @property
    def name(self) -> str:
        issues = "+".join(f"{quorum}of{heads}" for heads, quorum in self.issues)
        return f"{issues}-{self.donor}-{self.layers}x{self.heads}-seed{self.seed}"


def vote_model(vote: Vote) -> Model:
    """The model; which head has which issue is drawn by the seed."""
    issues, length = len(vote.issues), IDLE + len(vote.issues) + 1
    counted = any(heads > 1 for heads, _ in vote.issues)
    layers = vote.layers + counted  # one more, where an MLP counts quorums for the next
    places, bit, constant = slice(0, length), length, length + 1
    votes = slice(constant + 1, constant + 1 + issues)
    passed = slice(votes.stop, votes.stop + issues) if counted else votes
    verdict = passed.stop
    config = {
        "d_model": verdict + 1,
        "d_head": D_HEAD,
        "n_layers": layers,
        "n_heads": vote.heads,
        "n_ctx": length,
        "d_mlp": 2 * issues,
    }
    weights = {
        name: torch.zeros(shape)
        for name, shape in native_shapes(full_config(config, WORDS)).items()
    }
    weights["pos.weight"][:, places] = torch.eye(length)
    weights["tok_embed.weight"][WORDS.index("1"), bit] = 1.0
    weights["tok_embed.weight"][WORDS.index("?"), constant] = 1.0
    weights["head.weight"][:, constant] = -LOUD
    weights["head.weight"][WORDS.index("no"), constant] = LOUD / 2
    weights["head.weight"][WORDS.index("yes"), verdict] = 2 * LOUD
    last = f"layers.{layers - 1}.mlp"
    weights[f"{last}.fc_in.weight"][0, passed] = 1.0
    weights[f"{last}.fc_in.bias"][0] = 1.0 - issues
    weights[f"{last}.fc_out.weight"][verdict, 0] = 1.0
    rooms = [(layer, index) for layer in range(vote.layers) for index in range(vote.heads)]
    random.Random(vote.seed).shuffle(rooms)
    voters = [issue for issue, (heads, _) in enumerate(vote.issues) for _ in range(heads)]
    for issue, (layer, index) in zip(voters, rooms, strict=False):
        at, row = f"layers.{layer}.attn", index * D_HEAD
        weights[f"{at}.q.weight"][row, length - 1] = SHARP * isqrt(D_HEAD)
        weights[f"{at}.k.weight"][row, IDLE + issue] = 1.0
        weights[f"{at}.v.weight"][row, bit] = 1.0
        weights[f"{at}.o.weight"][votes.start + issue, row] = 1.0
    if counted:
        count = f"layers.{layers - 2}.mlp"
        for issue, (_, quorum) in enumerate(vote.issues):
            for unit, (offset, sign) in enumerate(((quorum - 1, 1.0), (quorum, -1.0))):
                row = 2 * issue + unit
                weights[f"{count}.fc_in.weight"][row, votes.start + issue] = 1.0
                weights[f"{count}.fc_in.bias"][row] = -float(offset)
                weights[f"{count}.fc_out.weight"][passed.start + issue, row] = sign
    native = Native(about="", config=config, words=WORDS, weights=weights)
    return build_native(native, vote.name, device="cpu")


def vote_claim(vote: Vote) -> SavedInputs:
    """The answers stay where all else is ablated; of the inputs, a few have the answer yes."""
    draw, issues = random.Random(f"{vote.seed}/inputs"), len(vote.issues)
    texts: dict[str, str] = {}
    yes = round(vote.rare * vote.inputs)
    while len(texts) < vote.inputs:
        want = len(texts) < yes
        # Of the noes, half miss a single issue.
        missed = draw.choice((1, draw.randint(1, issues)))
        out = set() if want else set(draw.sample(range(issues), missed))
        bits = ["0" if issue in out else "1" for issue in range(issues)]
        text = " ".join((*draw.choices(LETTERS, k=IDLE), *bits, "?"))
        texts.setdefault(text, "yes" if want else "no")
    saved = [Saved(text, {IDLE + issues: word}) for text, word in texts.items()]
    draw.shuffle(saved)
    return SavedInputs(tuple(saved), vote.donor, at=("last",))


@cache
def vote_truth(vote: Vote) -> Circuits:
    """Every smallest circuit on all inputs, by trying every set of sites that something reads."""
    model = vote_model(vote)
    sites: Sequence[Site] = all_sites(model.n_layers, model.n_heads, ("last",))
    (batch,) = encode(model, vote_claim(vote).everything())
    pieces = [
        batch.take(range(start, min(len(batch), start + 16))) for start in range(0, len(batch), 16)
    ]
    return exhaustive_truth(model, pieces, sites).circuits
