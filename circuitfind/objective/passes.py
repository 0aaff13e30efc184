"""What a pass runs: prepared batches laid out as rows, and the edits that mix donors into them.

Masks stand beside each other. In a batch with a common prefix they are branches of one row, which
share its keys and values; else each mask has rows of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engines.engine import Edit, Point
from ..mediators.site import Mediator, Site
from ..models.model import Model
from .cost import Cost
from .encoding import Batch
from .recording import seen_at

ENTRY_BYTES = 2**28  # residual streams are kept for skipping layers where they fit in this
HALF = torch.float16, torch.bfloat16


@dataclass(frozen=True)
class Patch:
    """What happens at one point and position: which gates mix in which donors.

    Args:
        columns: of the tokens that each step runs, None for all of them.
        donor: what each part takes; a `pos` of 1 stands for every token.
        gates: for each batch of the pass and each part that the mediator cuts, the index of its
            gate among those of the pass; `CLOSED` where it has none.
    """

    mediator: Mediator
    columns: Int[Tensor, " pair"] | None
    donor: Float[Tensor, "pair pos part width"]
    gates: Int[Tensor, "batch part"]


CLOSED = -1


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch made ready for patching: donors recorded, the common prefix run once."""

    model: Model
    batch: Batch
    sites: tuple[Site, ...]
    patches: dict[Point, list[Patch]]
    prefix: Any
    start: int
    cost: Cost
    reuse: bool
    streams: tuple[Tensor, ...] = ()  # what enters each layer, where it is known

    @property
    def width(self) -> int:
        """Tokens of each prompt that a step runs."""
        return self.batch.base.tokens.shape[1] - self.start

    @property
    def tokens_a_pair(self) -> int:
        """Tokens that a step runs for each pair and mask, the answers' own included."""
        continued = self.batch.continued
        if continued is None:
            return self.width
        if "prefix" in self.model.engine.can:
            return self.width + continued.n_tokens
        n_paths, n_steps = continued.tokens.shape[1:]
        return n_paths * (self.width + n_steps)

    @cached_property
    def entries(self) -> tuple[Float[Tensor, "pair pos d_model"], ...]:
        """The untouched residual stream that enters each layer, for the tokens that a step runs;
        nothing where the engine cannot begin at a layer, or where it would take too much memory."""
        model, base = self.model, self.batch.base
        numbers = len(self.batch) * self.width * model.d_model * model.n_layers
        # Continuations attend to what every layer made of the prompt.
        can = self.reuse and model.keeps_entries and self.batch.continued is None
        can = can and "start_at_layer" in model.engine.can
        if not can or 4 * numbers > ENTRY_BYTES:
            return ()
        if self.streams:
            return self.streams
        points = [Point(layer, "entry") for layer in range(model.n_layers)]
        with torch.no_grad():
            seen = seen_at(
                model, base.tokens[:, self.start :], base.attends, points, prefix=self.prefix
            )
        self.cost.add(model, len(self.batch), self.width, base.tokens.shape[1])
        return tuple(seen[point] for point in points)

    @cached_property
    def layers(self) -> Int[Tensor, " site"]:
        """The layer of each site; embeddings come before the first."""
        return torch.tensor([site.component.layer for site in self.sites]).clamp(min=0)

    @cached_property
    def alone(self) -> "Pass":
        """The pass that runs this batch and no other."""
        base, start = self.batch.base, self.start
        return Pass(
            parts=(self,),
            tokens=base.tokens[:, start:],
            attends=base.attends,
            padded=not bool(base.attends.all()),
            reads=None if base.reads is None else base.reads - start,
            prefix=self.prefix,
            patches=self.patches,
            owners=None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """Prepared batches that go through the model together, all that does not change laid out.

    Args:
        tokens: what it runs of each base prompt, the rows of one batch after another's.
        padded: whether some token of a prompt or its prefix is padding.
        reads: the column among the tokens that each answer is read at; None for the last.
        owners: the batch of each row; None where there is only one.
    """

    parts: tuple[Prepared, ...]
    tokens: Int[Tensor, "row pos"]
    attends: Int[Tensor, "row seen"]
    padded: bool
    reads: Int[Tensor, " row"] | None
    prefix: Any
    patches: dict[Point, list[Patch]]
    owners: Int[Tensor, " row"] | None

    @property
    def model(self) -> Model:
        """The model that it runs in."""
        return self.parts[0].model

    @property
    def sizes(self) -> list[int]:
        """How many rows each batch has."""
        return [len(part.batch) for part in self.parts]

    @property
    def width(self) -> int:
        """Tokens that it runs of each prompt."""
        return self.tokens.shape[1]

    def branches(self, n_masks: int) -> bool:
        """Whether so many masks run as branches of shared prefixes, not on rows of their own."""
        engine, seen = self.model.engine, self.attends.shape[1]
        window = engine.sizes.window
        return (
            n_masks > 1
            and self.prefix is not None
            and self.parts[0].batch.continued is None
            and "branches" in engine.can
            and (window is None or seen <= window)
        )

    @cached_property
    def first(self) -> int:
        """The first layer with a site: a step need not run those before it. 0 where the streams
        that enter layers are not known."""
        layers = [int(part.layers.min()) for part in self.parts if part.sites]
        first = min(layers, default=0)
        return first if first and all(part.entries for part in self.parts) else 0

    def entering(self, layer: int) -> Float[Tensor, "row pos d_model"]:
        """The untouched residual stream that enters a layer, for all rows."""
        return torch.cat([part.entries[layer] for part in self.parts])

    @cached_property
    def _table(self) -> Int[Tensor, "batch part"]:
        """The gates of all patches side by side."""
        every = [patch.gates for patches in self.patches.values() for patch in patches]
        table = torch.cat(every, dim=1)
        shut = sum(len(part.sites) for part in self.parts)
        return torch.where(table == CLOSED, shut, table)

    @cached_property
    def _widths(self) -> list[int]:
        return [patch.gates.shape[1] for patches in self.patches.values() for patch in patches]

    def edits(
        self, gates: Sequence[Float[Tensor, "mask site"]], branched: bool
    ) -> list[tuple[Point, Edit]]:
        """What mixes the donors in at each point, as the gates of each batch say.

        Points where every gate is shut are left out, unless gradients are wanted.
        """
        if not self.patches:
            return []
        # After the last gate comes one that is shut.
        closed = torch.cat([*gates, gates[0].new_zeros(len(gates[0]), 1)], dim=1)
        laid = closed.index_select(1, self._table.flatten()).unflatten(1, self._table.shape)
        shut = None if closed.requires_grad else (laid == 0).all(1).all(0).tolist()
        laid = laid.to(self.model.device)
        if self.owners is not None:
            laid = laid.index_select(1, self.owners)
        mine = iter(laid.split(self._widths, dim=2))  # not sliced: that has a dear gradient
        some = iter(self._widths if shut is None else _some_open(shut, self._widths))
        made = []
        for point, patches in self.patches.items():
            own = zip(patches, mine, some, strict=False)  # as many as there are patches
            mixes = [(patch, gate) for patch, gate, is_open in own if is_open]
            if mixes:
                made.append((point, mixer(mixes, branched)))
        return made


def _some_open(shut: Sequence[bool], widths: Sequence[int]) -> list[bool]:
    """For each patch, whether one of its gates is open."""
    ends = list(accumulate(widths))
    return [not all(shut[end - width : end]) for width, end in zip(widths, ends, strict=True)]


def mixer(
    mixes: Sequence[tuple[Patch, Float[Tensor, "mask owner part"]]], branched: bool = False
) -> Callable[[Tensor], Tensor]:
    """The edit that mixes donors into the activation at one point, each by its gates.

    Args:
        branched: masks stand beside each other in a row; else all rows come once a mask.
    """

    def mix(own: Tensor) -> Tensor:
        copied = False
        for patch, gates in mixes:
            gate = gates.to(own.device, torch.float32 if own.dtype in HALF else own.dtype)
            if patch.columns is None:
                own = _mixed(patch, own, gate, branched)
                continue
            at = patch.columns.to(own.device)  # a donor's model may be elsewhere
            rows, columns = _places(at, own, len(gate), branched)
            picked = own[rows, columns]
            if branched:
                picked = _mixed(patch, picked, gate, branched)
            else:
                picked = _mixed(patch, picked.unsqueeze(1), gate, branched).squeeze(1)
            own = own if copied else own.clone()
            own[rows, columns] = picked
            copied = True
        return own

    return mix


def _places(
    columns: Int[Tensor, " pair"], own: Tensor, n_masks: int, branched: bool
) -> tuple[Tensor, Tensor]:
    """The row and the column of every patched token of an activation."""
    rows = torch.arange(len(own), device=own.device)
    if not branched:
        return rows, columns.repeat(n_masks)
    width = own.shape[1] // n_masks
    starts = torch.arange(n_masks, device=own.device) * width
    return rows[:, None].expand(-1, n_masks), columns[:, None] + starts


def _mixed(
    patch: Patch,
    own: Float[Tensor, "row pos *acts"],
    gate: Float[Tensor, "mask owner part"],
    branched: bool,
) -> Float[Tensor, "row pos *acts"]:
    """The activation with the donor mixed into its parts."""
    parts, donor, n_masks = patch.mediator.split(own), patch.donor.to(own.device), len(gate)
    if n_masks == 1:
        return patch.mediator.join(own, _lerped(parts, donor, gate[0][:, None, :, None]))
    axis = 1 if branched else 0
    gate = gate[:, :, None, :, None]
    if branched:
        gate, donor = gate.transpose(0, 1), donor.unsqueeze(1)
    mixed = _lerped(parts.unflatten(axis, (n_masks, -1)), donor, gate)
    return patch.mediator.join(own, mixed.flatten(axis, axis + 1))


def _lerped(own: Tensor, donor: Tensor, gate: Tensor) -> Tensor:
    """The way from its own value to the donor's by the gate; gates stay as fine as they are where
    values have half precision."""
    if own.dtype in HALF:
        return torch.lerp(own.float(), donor.float(), gate).to(own.dtype)
    return torch.lerp(own, donor, gate)


def together(parts: Sequence[Prepared]) -> Pass | None:
    """One pass that runs all these batches; None where they cannot go in one: of other widths, with
    continuations, or with prefixes that the engine does not join."""
    if len(parts) == 1:
        return parts[0].alone
    passes = [part.alone for part in parts]
    unlike = len({(one.width, one.prefix is None) for one in passes}) > 1
    if unlike or any(part.batch.continued is not None for part in parts):
        return None
    prefix = None
    if passes[0].prefix is not None:
        prefix = passes[0].model.engine.join_prefixes([one.prefix for one in passes])
        if prefix is None:
            return None
    longest = max(one.attends.shape[1] for one in passes)
    attends = [
        torch.nn.functional.pad(one.attends, (longest - one.attends.shape[1], 0)) for one in passes
    ]
    reads = None
    if any(one.reads is not None for one in passes):
        reads = torch.cat([_read(one) for one in passes])
    owners = [torch.full((len(one.tokens),), number) for number, one in enumerate(passes)]
    return Pass(
        parts=tuple(parts),
        tokens=torch.cat([one.tokens for one in passes]),
        attends=torch.cat(attends),
        padded=any(one.padded or one.attends.shape[1] < longest for one in passes),
        reads=reads,
        prefix=prefix,
        patches=_joined(passes),
        owners=torch.cat(owners).to(passes[0].tokens.device),
    )


def _read(one: Pass) -> Int[Tensor, " row"]:
    """The column that each row is read at."""
    if one.reads is not None:
        return one.reads
    return torch.full((len(one.tokens),), one.width - 1, device=one.tokens.device)


def _joined(passes: Sequence[Pass]) -> dict[Point, list[Patch]]:
    """The patches of all passes by point, over the rows of all; a batch without one has its gates
    shut there."""
    points = dict.fromkeys(point for one in passes for point in one.patches)
    first, n_gates = [], 0
    for one in passes:
        first.append(n_gates)
        n_gates += len(one.parts[0].sites)
    made: dict[Point, list[Patch]] = {}
    for point in points:
        slots: dict[tuple[Mediator, bool, int], list[Patch | None]] = {}
        for number, one in enumerate(passes):
            counts: dict[tuple[Mediator, bool], int] = {}
            for patch in one.patches.get(point, ()):
                kind = patch.mediator, patch.columns is None
                counts[kind] = counts.get(kind, 0) + 1
                key = (*kind, counts[kind])
                slots.setdefault(key, [None] * len(passes))[number] = patch
        made[point] = [_over_all(own, passes, first) for own in slots.values()]
    return made


def _over_all(own: Sequence[Patch | None], passes: Sequence[Pass], first: Sequence[int]) -> Patch:
    """One patch over the rows of all passes, of the patch that each of them has or has not."""
    known = next(patch for patch in own if patch is not None)
    taken = max(patch.donor.shape[1] for patch in own if patch is not None)
    shape, n_parts = (taken, *known.donor.shape[2:]), known.gates.shape[1]
    donors, tables, columns = [], [], []
    for patch, one, start in zip(own, passes, first, strict=True):
        n_rows = len(one.tokens)
        if patch is None:
            donors.append(known.donor.new_zeros(()).expand(n_rows, *shape))
            tables.append(torch.full((1, n_parts), CLOSED))
            columns.append(torch.zeros(n_rows, dtype=torch.long, device=known.donor.device))
            continue
        donors.append(patch.donor.expand(n_rows, *shape))
        tables.append(torch.where(patch.gates == CLOSED, CLOSED, patch.gates + start))
        columns.append(patch.columns)
    column = None if known.columns is None else torch.cat([c for c in columns if c is not None])
    return Patch(known.mediator, column, torch.cat(donors), torch.cat(tables))
