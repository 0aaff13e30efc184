"""Held-out pairs to look at: what the model answers under the circuit's patch and without it, and
where the circuit's heads look in one prompt. For the page (report/page/page.py)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import words_of

from ..circuits.circuit import Circuit
from ..circuits.examples import Attention, Example, Examples, ExampleSet
from ..mediators.site import Site
from ..mediators.space import SearchSpace
from ..models.model import Model
from ..objective.encoding import Batch
from ..objective.mask import membership_of
from ..objective.objective import Objective
from ..objective.recording import record_attention
from ..search import positions_of
from ..validate import Card, DesideratumScore

SHOWN = 12  # pairs kept of each desideratum


def find_examples(model: Model, circuit: Circuit, batches: Sequence[Batch], card: Card) -> Examples:
    """Examples of each desideratum on these pairs, and the attention on one of the base prompts.

    Args:
        card: the circuit's card on the same pairs, which tells the wrong ones.

    Raises:
        LookupError: a member of the circuit that the desiderata's positions do not offer.
    """
    desiderata = [batch.desideratum for batch in batches]
    space = (circuit.space or SearchSpace(())).at(positions_of(desiderata))
    sites = space.sites(model.engine)
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
    batch = batch.take(rows)
    objective = Objective(model, [batch], sites)
    end = objective.untouched(0)[0]
    (got, right), (untouched, _), (everything, _) = (
        _answers(model, objective, one) for one in (membership, end, 1 - end)
    )
    examples = tuple(
        Example(
            base=pair.base.text,
            source=pair.source.text,
            expected=words_of(pair.asked),
            base_answer=words_of(pair.base_answer),
            source_answer=None if pair.source_answer is None else words_of(pair.source_answer),
            got=got[row],
            untouched=untouched[row],
            everything=everything[row],
            right=right[row],
        )
        for row, pair in enumerate(batch.desideratum.pairs)
    )
    return ExampleSet(score.name, score.n, score.n - len(score.wrong), examples)


@torch.no_grad()
def _answers(
    model: Model, objective: Objective, membership: Float[Tensor, " site"]
) -> tuple[list[str], list[bool]]:
    """The answer to each pair in words, and whether it is the expected one."""
    words, right = [], []
    for one in objective.passes([0], membership[None]):
        for piece in one:
            answer, expected = piece.batch.answer, piece.batch.expected
            words += answer.words(model, piece.output[0], expected)
            right += answer.hit(piece.output, expected)[0].tolist()
    return words, right


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
