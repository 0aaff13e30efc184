"""The laws of an answer."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from desiderata import Desideratum

from ..answers.answer import Answer
from ..models.model import Model
from ..objective.continuing import untouched
from ..objective.encoding import encode
from .nonconforming import examine

CLOSE = 1e-4


def check_answer(answer: Answer, model: Model, desideratum: Desideratum) -> None:
    """Examine an answer on the pairs of a desideratum, two or more: a hit is a lead above 0, each
    pair is scored by itself, and an unknown answer is never hit.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    batch = encode(model, [replace(desideratum, answer=answer)])[0]
    base = batch.base
    with torch.no_grad():
        plain = untouched(model, base, batch.continued)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(3, *plain.shape, generator=generator).to(plain)
        output = plain + noise * plain.float().std().to(plain)
    expected, own = batch.expected, batch.base_answer

    def hits_and_leads() -> Iterable[str]:
        hit, lead = answer.hit(output, expected), answer.lead(output, expected)
        if hit.shape != output.shape[:2] or lead.shape != output.shape[:2]:
            yield f"hit and lead have an entry for each mask and pair; got {tuple(hit.shape)}"
        elif bool((hit != (lead > 0))[:, expected.known].any()):
            yield "a hit is not where the lead is above 0"
        if bool(answer.hit(torch.full_like(output, float("nan")), expected).any()):
            yield "an output that is not a number counts as a hit"
        unknown = replace(expected, known=torch.zeros_like(expected.known))
        if not bool(unknown.known.any()) and not answer.unit:
            yield "its lead has no unit"

    def one_pair_at_a_time() -> Iterable[str]:
        whole = answer.lead(output, expected)
        for row in range(len(batch)):
            alone = answer.lead(output[:, [row]], expected.take(torch.tensor([row])))
            if not torch.allclose(alone[:, 0], whole[:, row], atol=CLOSE, rtol=CLOSE):
                yield f"pair {row} has another lead alone than among {len(batch)} pairs"

    def contrasts() -> Iterable[str]:
        forth = answer.contrast(output, expected, own)
        back = answer.contrast(output, own, expected)
        if not torch.allclose(forth, -back, atol=CLOSE, rtol=CLOSE):
            yield "the contrast of two answers is not minus that of the two exchanged"

    def divergences() -> Iterable[str]:
        far = answer.divergence(output[0], output)
        if not torch.allclose(far[0], torch.zeros_like(far[0]), atol=CLOSE):
            yield "an output diverges from itself"
        if bool((far < 0).any()):
            yield "a divergence is below 0"
        if not bool(answer.same(output[0], output[:1], expected).all()):
            yield "an output does not give the same answer as itself"

    def words() -> Iterable[str]:
        made = answer.words(model, output[0], expected)
        if len(made) != len(batch) or not all(isinstance(one, str) for one in made):
            yield f"words are a text for each of {len(batch)} pairs; got {made!r:.80}"

    def gradients() -> Iterable[str]:
        moved = output.detach().clone().requires_grad_()
        answer.lead(moved, expected).sum().backward()
        if moved.grad is None or not bool(moved.grad.abs().sum() > 0):
            yield "its lead has no gradient, so that no method can descend on it"

    examine(
        f"the answer {answer.name}",
        [hits_and_leads, one_pair_at_a_time, contrasts, divergences, words, gradients],
    )
