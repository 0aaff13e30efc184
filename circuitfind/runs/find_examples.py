"""Held-out pairs to look at: what the model answers under the circuit's patch and without it, and
where the circuit's heads look in one prompt. For the page (report/page/page.py)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits.circuit import Circuit
from ..circuits.examples import Attention, Example, Examples, ExampleSet
from ..mediators.site import Site
from ..models.model import Model
from ..objective.encoding import UNKNOWN, Batch
from ..objective.mask import membership_of
from ..objective.objective import Objective
from ..objective.patching import record_attention
from ..search import candidate_sites
from ..validate import Card, DesideratumScore

SHOWN = 12  # pairs kept of each desideratum


def find_examples(model: Model, circuit: Circuit, batches: Sequence[Batch], card: Card) -> Examples:
    """Examples of each desideratum on these pairs, and the attention on one of the base prompts.

    Args:
        card: the circuit's card on the same pairs, which tells the wrong ones.

    Raises:
        LookupError: a member of the circuit that the desiderata's positions do not offer.
    """
    sites = candidate_sites(model, [batch.desideratum for batch in batches])
    membership = membership_of(sites, circuit.sites)
    sets = tuple(
        _examples_of(model, batch, score, sites, membership)
        for batch, score in zip(batches, card.desiderata, strict=True)
    )
    return Examples(circuit.digest, sets, _attention(model, circuit, batches))


def _examples_of(
    model: Model,
    batch: Batch,
    score: DesideratumScore,
    sites: Sequence[Site],
    membership: Float[Tensor, " site"],
) -> ExampleSet:
    rows = [*score.wrong, *(row for row in range(len(batch)) if row not in score.wrong)][:SHOWN]
    if batch.desideratum.donor in ("source", "zero"):  # other donors are made of other pairs, too
        batch, rows = batch.take(rows), list(range(len(rows)))
    objective = Objective(model, [batch], sites)
    end = objective.untouched(0)[0]
    patches = [_answers(objective, one) for one in (membership, end, 1 - end)]
    right = patches[0] == batch.expected.cpu()
    examples = []
    for row in rows:
        pair, source = batch.desideratum.pairs[row], int(batch.source_answer[row])
        ids = [batch.expected[row], batch.base_answer[row], *(made[row] for made in patches)]
        expected, own, *made = [model.tokenizer.decode([int(one)]) for one in ids]
        other = None if source == UNKNOWN else model.tokenizer.decode([source])
        got, untouched, everything = made
        examples.append(
            Example(
                base=pair.base.text,
                source=pair.source.text,
                expected=expected,
                base_answer=own,
                source_answer=other,
                got=got,
                untouched=untouched,
                everything=everything,
                right=bool(right[row]),
            )
        )
    return ExampleSet(score.name, score.n, score.n - len(score.wrong), tuple(examples))


@torch.no_grad()
def _answers(objective: Objective, membership: Float[Tensor, " site"]) -> Int[Tensor, " pair"]:
    """The most likely next token of each pair, one membership at a time: logits are large."""
    passes = objective.passes([0], membership[None])
    return torch.cat([piece.logits[0].argmax(-1).cpu() for one in passes for piece in one])


def _attention(model: Model, circuit: Circuit, batches: Sequence[Batch]) -> Attention:
    """The attention on the first base prompt of the desideratum whose positions hold the most of
    the circuit's members."""
    batch = max(batches, key=lambda b: sum(s.position in b.desideratum.at for s in circuit.sites))
    base = batch.base.take(torch.tensor([0]))
    text = batch.desideratum.pairs[0].base.text
    tokens = model.tokenize([text])[0]
    starts = [0, *(end for _, end in tokens.offsets)]  # what is between tokens goes to the next
    words = tuple(
        text[start:end] if end > first else model.tokenizer.decode([token])
        for token, (first, end), start in zip(tokens.ids, tokens.offsets, starts, strict=False)
    )
    found = record_attention(model, base, circuit.sites)
    weights = {
        str(site): tuple(round(weight, 4) for weight in rows[0, -len(words) :].tolist())
        for site, rows in found.items()
    }
    pad = base.tokens.shape[1] - len(words)
    columns = {name: int(column[0]) - pad for name, column in base.columns.items()}
    return Attention(words, columns, weights)
