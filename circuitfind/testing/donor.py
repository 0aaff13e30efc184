"""The laws of a donor."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from desiderata import Desideratum

from ..donors.donor import Donor
from ..mediators.space import SearchSpace
from ..models.model import Model
from ..objective.encoding import Batch, encode
from ..objective.patching import prepare, run
from .nonconforming import examine

CLOSE = 1e-4


def check_donor(donor: Donor, model: Model, desideratum: Desideratum) -> None:
    """Examine a donor on the pairs of a desideratum, three or more: what a pair takes does not
    depend on how pairs are cut into batches, and closed gates leave the base as it is.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    batch = encode(model, [replace(desideratum, donor=donor)])[0]
    sites = SearchSpace(desideratum.at).sites(model.engine)

    def patched(part: Batch, gate: float) -> Tensor:
        prepared = prepare(model, part, sites)
        return run(prepared, torch.full((1, len(sites)), gate))[0]

    @torch.no_grad()
    def cutting_into_batches() -> Iterable[str]:
        whole = patched(batch, 1.0)
        for row in range(len(batch)):
            alone = patched(batch.take([row]), 1.0)[0]
            if not torch.allclose(alone, whole[row], atol=CLOSE, rtol=CLOSE):
                yield f"pair {row} takes another value alone than among {len(batch)} pairs"
        order = list(reversed(range(len(batch))))
        turned = patched(batch.take(order), 1.0)
        if not torch.allclose(turned, whole[order], atol=CLOSE, rtol=CLOSE):
            yield "the order of the pairs changes what they take"

    @torch.no_grad()
    def closed_gates() -> Iterable[str]:
        base = batch.base
        reads = base.reads
        plain, _ = model.engine.forward(base.tokens, base.attends, reads=reads)
        if not torch.allclose(patched(batch, 0.0), plain, atol=CLOSE, rtol=CLOSE):
            yield "closed gates do not give the base's output"

    def rows() -> Iterable[str]:
        if donor.aligned and len(batch.donated.tokens) != len(batch):
            yield f"it is aligned, with {len(batch.donated.tokens)} prompts for {len(batch)} pairs"
        if not donor.name:
            yield "it has no name"

    examine(f"the donor {donor.name}", [rows, cutting_into_batches, closed_gates])
