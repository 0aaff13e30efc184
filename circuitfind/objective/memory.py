"""What a pair takes of memory: measured on a few pairs, by the bytes of the tensors that live.

Tensors are counted as they come and go (`Living`), in whatever engine, type and device. What grows
with the vocabulary stands apart, since a shortlist has an upper limit there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ..mediators.site import Site
from ..models.model import Model
from .cost import Cost
from .encoding import Batch
from .objective import WORTH, NotANumber, Objective
from .passes import Prepared

MEASURED = 2  # pairs, and masks on each of them, that the measured passes have


class Living(TorchDispatchMode):
    """While it is on, the bytes of the tensors that were made and are still there.

    `logits` are those whose last dimension is the vocabulary; `others` are the rest.
    """

    def __init__(self, d_vocab: int, known: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.d_vocab = d_vocab
        self.others = self.logits = self.most_others = self.most_logits = 0
        self._known = {_place(tensor) for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_iter(made):
            if isinstance(one, Tensor) and one.layout == torch.strided:
                self._see(one)
        return made

    def _see(self, tensor: Tensor) -> None:
        place, storage = _place(tensor), tensor.untyped_storage()
        if place in self._known:
            return
        self._known.add(place)
        size, is_logits = storage.nbytes(), tensor.ndim > 1 and tensor.shape[-1] == self.d_vocab
        self._add(size, is_logits)
        finalize(storage, self._forget, place, size, is_logits).atexit = False

    def _forget(self, place: int, size: int, is_logits: bool) -> None:
        self._known.discard(place)
        self._add(-size, is_logits)

    def _add(self, size: int, is_logits: bool) -> None:
        if is_logits:
            self.logits += size
        else:
            self.others += size
        self.most_others = max(self.most_others, self.others)
        self.most_logits = max(self.most_logits, self.logits)

    @contextmanager
    def peak(self) -> Iterator["Peak"]:
        """The most that lives beyond what does at the start, filled in at the end."""
        others, logits = self.others, self.logits
        self.most_others, self.most_logits = others, logits
        found = Peak()
        yield found
        found.others, found.logits = self.most_others - others, self.most_logits - logits
        found.kept = self.others + self.logits - others - logits


@dataclass
class Peak:
    """Bytes that lived at most, and that were kept."""

    others: int = 0
    logits: int = 0
    kept: int = 0


@dataclass(frozen=True, kw_only=True)
class PairBytes:
    """What a pair of one desideratum takes, in bytes.

    Args:
        prefix, donors, entries, untouched: what stays: keys and values of the tokens before the
            first patched one, what sites take, the streams that enter the layers, and the outputs
            with nothing patched, where a limit asks for them.
        prepare, prepare_logits: what lives at most while a pair is made ready.
        step, step_logits: what lives at most in a step, mostly kept for the way back.
        trial, trial_logits: the same of one mask without gradients.
        tokens: that one mask runs.
        shortlisted: whether logits are searched a part at a time.
        branched: whether masks share the prefix.
    """

    name: str
    prefix: float
    donors: float
    entries: float
    untouched: float
    prepare: float
    prepare_logits: float
    step: float
    step_logits: float
    trial: float
    trial_logits: float
    tokens: int
    shortlisted: bool
    branched: bool


def measure_pairs(
    model: Model, batches: Sequence[Batch], sites: Sequence[Site], cost: Cost | None = None
) -> tuple[PairBytes, ...]:
    """What a pair of each desideratum takes, from passes of its first pairs.

    >>> measure_pairs(model, encode(model, desiderata), candidate_sites(model, desiderata))
    """
    cost = cost or Cost()
    few = [batch.take(range(min(MEASURED, len(batch)))) for batch in batches]
    for batch in few[:1]:  # what an engine tries once is no pair's
        with suppress(NotANumber):
            Objective(model, [batch.take([0])], sites, cost).scores(torch.zeros(1, len(sites)))
    with model.engine.as_with_many_rows():
        return tuple(_measure(model, batch, sites, cost) for batch in few)


def _measure(model: Model, batch: Batch, sites: Sequence[Site], cost: Cost) -> PairBytes:
    n, living = len(batch), Living(model.engine.sizes.d_vocab, _stored(model))
    with living:
        with living.peak() as ready:
            objective = Objective(model, [batch], sites, cost)
        (piece,) = objective._prepared[0]
        with living.peak() as entering:
            _ = piece.entries
        closed = torch.zeros(1, len(sites))
        with living.peak() as untouched, suppress(NotANumber):  # that is for the search to say
            objective.scores(closed)
        masks = min(MEASURED, objective.masks_at_once)
        with living.peak() as trial, suppress(NotANumber):
            objective.scores(torch.full((masks, len(sites)), 0.5))
        gates = torch.full((len(sites),), 0.5, requires_grad=True)
        with living.peak() as step, suppress(NotANumber):
            objective.backward({0: 1.0}, gates)
    donors = donor_bytes(piece)
    return PairBytes(
        name=batch.desideratum.name,
        prefix=max(0, ready.kept - donors) / n,
        donors=donors / n,
        entries=entering.kept / n,
        untouched=untouched.kept / n if batch.desideratum.limit is not None else 0.0,
        prepare=max(ready.others - ready.kept, entering.others - entering.kept) / n,
        prepare_logits=ready.logits / n,
        step=step.others / n,
        step_logits=step.logits / n,
        trial=trial.others / (n * masks),
        trial_logits=trial.logits / (n * masks),
        tokens=piece.tokens_a_pair,
        shortlisted=_is_shortlisted(objective),
        branched=piece.alone.branches(2),
    )


def donor_bytes(prepared: Prepared) -> int:
    """The bytes of what a batch's sites take."""
    stored = {
        _place(one.donor): one.donor.untyped_storage().nbytes()
        for patches in prepared.patches.values()
        for one in patches
    }
    return sum(stored.values())


def weight_bytes(model: Model) -> dict[torch.device, int]:
    """The bytes of the weights on each device, tied ones once."""
    found: dict[torch.device, dict[int, int]] = {}
    for weight in model.engine.weights().values():
        storage = weight.untyped_storage()
        found.setdefault(weight.device, {})[_place(weight)] = storage.nbytes()
    return {device: sum(own.values()) for device, own in found.items()}


def _is_shortlisted(objective: Objective) -> bool:
    (batch,), engine = objective.batches, objective.model.engine
    large = engine.sizes.d_vocab >= WORTH and batch.desideratum.limit is None
    return large and objective._wanted([batch], [batch.expected], "hit") is not None


def _stored(model: Model) -> list[Tensor]:
    return list(model.engine.weights().values())


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
