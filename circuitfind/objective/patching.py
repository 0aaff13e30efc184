"""Patching: gates mix what donors give into a model's own activations.

`prepare` records what patched sites take and runs the base prompts up to the first patched
position; `run` then runs what is left of them, many masks at once. A mediator cuts the activation
at a point into parts, each part becomes `torch.lerp(own, donor, gate)`, and the mediator joins
them: gate 0 leaves the base's value bit for bit, gate 1 takes the donor's.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from ..engines.engine import Edit, Point
from ..mediators.site import Mediator, Site
from ..models.model import Model
from ..models.prompts import Prompts
from .continuing import continue_after, from_whole_texts, repeated, whole_texts
from .cost import Cost
from .encoding import Batch

TOKENS_PER_PASS = 1024, 2**14  # at least, at most; more masks than fit go in turns
FLOPS_PER_PASS = 2**37  # a small model takes as many tokens at once as this allows
ENTRY_BYTES = 2**28  # residual streams are kept for skipping layers where they fit in this


@dataclass(frozen=True)
class Patch:
    """What happens at one point and position: which gates mix in which donors.

    Args:
        columns: of the tokens that each step runs, None for all of them.
        donor: what each part takes; a `pos` of 1 stands for every token.
        slots: which of the parts that the mediator cuts the gate of each of `sites` belongs to.
    """

    mediator: Mediator
    columns: Int[Tensor, " pair"] | None
    donor: Float[Tensor, "pair pos part width"]
    slots: Int[Tensor, " gate"]
    sites: Int[Tensor, " gate"]


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
        can = self.reuse and "start_at_layer" in model.engine.can and self.batch.continued is None
        if not can or 4 * numbers > ENTRY_BYTES:
            return ()
        points = [Point(layer, "entry") for layer in range(model.n_layers)]
        with torch.no_grad():
            seen = _seen(
                model, base.tokens[:, self.start :], base.attends, points, prefix=self.prefix
            )
        self.cost.add(model, len(self.batch), self.width, base.tokens.shape[1])
        return tuple(seen[point] for point in points)

    @cached_property
    def layers(self) -> Int[Tensor, " site"]:
        """The layer of each site; embeddings come before the first."""
        return torch.tensor([site.component.layer for site in self.sites])


@torch.no_grad()
def prepare(
    model: Model,
    batch: Batch,
    sites: Sequence[Site],
    *,
    cost: Cost | None = None,
    reuse: bool = True,
    like: Prepared | None = None,
) -> Prepared:
    """The batch with its donors recorded and its prefix run.

    Args:
        sites: the sites that gates will stand for, in that order.
        like: a preparation of the same base prompts, whose prefix serves where it is the same.
        reuse: keep the keys and values before the first patched position. The result is the same
            without, where an engine cannot, only slower.
    """
    cost = cost or Cost()
    start = _first_patched(model, batch, sites) if reuse and "prefix" in model.engine.can else 0
    patches = _record(model, batch, sites, start, cost)
    prefix = None
    if like and like.start == start and _same(like.batch.base, batch.base):
        prefix = like.prefix
    elif start > 0:
        tokens, attends = batch.base.tokens[:, :start], batch.base.attends[:, :start]
        _, prefix = model.engine.forward(tokens, attends, keep_prefix=True)
        cost.add(model, len(batch), start, start)
    return Prepared(
        model=model,
        batch=batch,
        sites=tuple(sites),
        patches=patches,
        prefix=prefix,
        start=start,
        cost=cost,
        reuse=reuse,
    )


def run(
    prepared: Prepared, gates: Float[Tensor, "mask site"]
) -> Float[Tensor, "mask pair *output"]:
    """The output where each base prompt's answer is read, under every row of gates.

    Gradients reach the gates and nothing else. Without gradients, layers below the first open
    gate are not run again: what enters that layer is the untouched base's.

    Raises:
        ValueError: a gate for each site was expected.
    """
    if gates.shape[1] != len(prepared.sites):
        raise ValueError(f"expected {len(prepared.sites)} gates, one a site; got {gates.shape[1]}")
    turns = gates.split(masks_per_pass(prepared))
    if gates.requires_grad or not prepared.entries:
        return torch.cat([_run_rows([prepared], [rows], 0)[0] for rows in turns])
    first = _first_layers(prepared, gates)
    order = first.argsort(stable=True)
    turns = order.split(masks_per_pass(prepared))
    made = [_run_rows([prepared], [gates[rows]], int(first[rows[0]]))[0] for rows in turns]
    return torch.cat(made)[order.argsort().to(made[0].device)]


def run_together(
    parts: Sequence[Prepared], gates: Sequence[Float[Tensor, "mask site"]]
) -> list[Float[Tensor, "mask pair *output"]]:
    """What `run` gives for each of these batches, from a single pass; see `pack`."""
    return _run_rows(parts, gates, 0)


def pack(parts: Sequence[Prepared], n_masks: int) -> list[list[int]]:
    """Indices of batches in groups that may go through the model in one pass: as many as fit of
    the same width, none with a prefix. In a small model a pass costs more than its tokens."""
    packs: list[list[int]] = []
    for index, part in enumerate(parts):
        group = packs[-1] if packs else []
        n_pairs = len(part.batch) + sum(len(parts[n].batch) for n in group)
        alike = all(
            parts[n].prefix is None and part.prefix is None and parts[n].width == part.width
            for n in group
        ) and all(one.batch.continued is None for one in (part, *(parts[n] for n in group)))
        fits = n_masks * part.width * n_pairs <= _tokens_per_pass(part.model)
        if group and alike and fits:
            group.append(index)
        else:
            packs.append([index])
    return packs


@torch.no_grad()
def record_base(prepared: Prepared) -> list[Float[Tensor, "sample width"]]:
    """What each site itself writes in the base prompts, unpatched: a row per pair and token.

    A component's is its part of the activation, where the site's position is; at `all`, every
    token that is not padding.
    """
    model, base = prepared.model, prepared.batch.base
    points = list(dict.fromkeys(site.component.point for site in prepared.sites))
    seen = _seen(model, base.tokens, base.attends, points)
    n_pairs, width = base.tokens.shape
    prepared.cost.add(model, n_pairs, width, width)
    real, rows = base.attends.bool(), torch.arange(n_pairs)
    written = []
    for site in prepared.sites:
        acts = site.component.mediator.split(seen[site.component.point])
        if site.position == "all":
            taken = acts[real.to(acts.device)]
        else:
            taken = acts[rows.to(acts.device), base.columns[site.position].to(acts.device)]
        written.append(taken[:, site.component.part].float().cpu())
    return written


@torch.no_grad()
def record_attention(
    model: Model, prompts: Prompts, sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "pair pos"]]:
    """How much each head attends to every token of unpatched prompts, from where its site is.

    Weights are shares that sum to 1 over the tokens, and 0 on padding. At `all` a head attends
    from where the answer is read. Sites that are no heads, heads at positions that the prompts do
    not name, and heads of engines without attention patterns, are left out.
    """
    end = prompts.reads if prompts.reads is not None else torch.tensor(prompts.tokens.shape[1] - 1)
    columns = {"all": end, "last": torch.tensor(prompts.tokens.shape[1] - 1), **prompts.columns}
    heads = [s for s in sites if s.component.point.kind == "heads" and s.position in columns]
    points = [
        point
        for point in dict.fromkeys(Point(site.component.layer, "pattern") for site in heads)
        if model.engine.has(point)
    ]
    seen = _seen(model, prompts.tokens, prompts.attends, points)
    rows, found = torch.arange(len(prompts.tokens)), {}
    for site in heads:
        if (pattern := seen.get(Point(site.component.layer, "pattern"))) is not None:
            column = columns[site.position].expand(len(rows)).cpu()
            found[site] = pattern[:, site.component.part].float().cpu()[rows, column]
    return found


def masks_per_pass(prepared: Prepared) -> int:
    """How many masks go through the model at once."""
    tokens = _tokens_per_pass(prepared.model)
    return max(1, tokens // (len(prepared.batch) * prepared.tokens_a_pair))


def _tokens_per_pass(model: Model) -> int:
    least, most = TOKENS_PER_PASS
    weights = max(1, model.engine.sizes.n_block_parameters)
    return min(most, max(least, FLOPS_PER_PASS // (2 * weights)))


def _seen(
    model: Model,
    tokens: Int[Tensor, "pair pos"],
    attends: Int[Tensor, "pair seen"],
    points: Sequence[Point],
    prefix: Any = None,
) -> dict[Point, Tensor]:
    """What is at these points in an unpatched pass."""
    seen: dict[Point, Tensor] = {}

    def keep(point: Point) -> Edit:
        def look(own: Tensor) -> None:
            seen[point] = own.detach()

        return look

    model.engine.forward(tokens, attends, [(one, keep(one)) for one in points], prefix=prefix)
    return seen


def _first_layers(prepared: Prepared, gates: Float[Tensor, "mask site"]) -> Int[Tensor, " mask"]:
    """The layer from which on each mask changes anything; the last one where it opens nothing."""
    last = prepared.model.n_layers - 1
    layers = prepared.layers.to(gates.device).clamp(min=0)
    return torch.where(gates != 0, layers, last).amin(dim=1)


def _run_rows(
    parts: Sequence[Prepared], gates: Sequence[Float[Tensor, "mask site"]], first: int
) -> list[Float[Tensor, "mask pair *output"]]:
    """The output of each batch under its gates, run from layer `first` on; only a batch that is
    alone may have a prefix, or begin later than at the first layer."""
    head, engine, n_masks = parts[0], parts[0].model.engine, len(gates[0])
    prefix, continued = head.prefix, head.batch.continued
    if prefix is not None and n_masks > 1:
        prefix = engine.repeat_prefix(prefix, n_masks, first)
    bases = [part.batch.base for part in parts]
    tokens = [base.tokens[:, part.start :] for base, part in zip(bases, parts, strict=True)]
    backward = gates[0].requires_grad
    attends = torch.cat([base.attends.repeat(n_masks, 1) for base in bases])
    with torch.set_grad_enabled(backward):
        if continued is not None and "prefix" not in engine.can:
            output = _run_whole(head, gates[0], attends)
        else:
            output, kept = engine.forward(
                torch.cat([own.repeat(n_masks, 1) for own in tokens]),
                attends,
                _edits(parts, gates),
                prefix=prefix,
                keep_prefix=continued is not None,
                entry=(first, head.entries[first].repeat(n_masks, 1, 1)) if first else None,
                reads=_reads(parts, n_masks),
            )
            if continued is not None:
                reads = head.batch.base.reads
                reads = None if reads is None else reads.repeat(n_masks)
                fed = repeated(continued, n_masks)
                output = continue_after(head.model, output, kept, attends, reads, fed)
    for part in parts:
        _count(part, n_masks, backward, first)
    rows = output.split([n_masks * len(part.batch) for part in parts])
    return [rearrange(own, "(mask pair) ... -> mask pair ...", mask=n_masks) for own in rows]


def _run_whole(
    part: Prepared, gates: Float[Tensor, "mask site"], attends: Int[Tensor, "row seen"]
) -> Float[Tensor, "row place d_vocab"]:
    """The output with each continuation after a patched prompt of its own, for engines that keep
    no prefix."""
    base, continued = part.batch.base, part.batch.continued
    if continued is None:
        raise ValueError("expected a batch with continuations")
    n_masks, n_paths = len(gates), continued.tokens.shape[1]
    reads = None if base.reads is None else base.reads.repeat(n_masks)
    tokens, seen, columns = whole_texts(
        base.tokens.repeat(n_masks, 1), attends, reads, repeated(continued, n_masks)
    )
    width = base.tokens.shape[1]

    def of_prompt(edit: Callable[[Tensor], Tensor]) -> Edit:
        def mix(own: Tensor) -> Tensor:
            return torch.cat([edit(own[:, :width]), own[:, width:]], dim=1)

        return mix

    # The paths of a prompt are patched alike, as so many masks more would be.
    edits = [(at, of_prompt(do)) for at, do in _edits([part], [gates.repeat(n_paths, 1)])]
    output, _ = part.model.engine.forward(tokens, seen, edits, reads=columns)
    return from_whole_texts(output, n_paths)


def _reads(parts: Sequence[Prepared], n_masks: int) -> Int[Tensor, " row"] | None:
    """The column of each row's answer among the tokens that a step runs; None for the last."""
    if all(part.batch.base.reads is None for part in parts):
        return None
    wanted = []
    for part in parts:
        reads, n_pairs = part.batch.base.reads, len(part.batch.base.tokens)
        own = torch.full((n_pairs,), part.width - 1) if reads is None else reads - part.start
        wanted.append(own.repeat(n_masks))
    return torch.cat(wanted)


def _edits(
    parts: Sequence[Prepared], gates: Sequence[Float[Tensor, "mask site"]]
) -> list[tuple[Point, Callable[[Tensor], Tensor]]]:
    """An edit for each point that is patched, which gives each batch's rows to its own mixer."""
    moved = [rows.to(part.model.device) for part, rows in zip(parts, gates, strict=True)]
    if len(parts) == 1:
        return [(point, mixer(patches, moved[0])) for point, patches in parts[0].patches.items()]
    sizes = [len(rows) * len(part.batch) for part, rows in zip(parts, moved, strict=True)]

    def together(point: Point) -> Callable[[Tensor], Tensor]:
        mixers = [
            mixer(part.patches.get(point, ()), rows)
            for part, rows in zip(parts, moved, strict=True)
        ]

        def mix(own: Tensor) -> Tensor:
            chunks = own.split(sizes)
            return torch.cat([one(chunk) for one, chunk in zip(mixers, chunks, strict=True)])

        return mix

    points = dict.fromkeys(point for part in parts for point in part.patches)
    return [(point, together(point)) for point in points]


def _count(prepared: Prepared, n_masks: int, backward: bool, skipped: int) -> None:
    batch, rows = prepared.batch, n_masks * len(prepared.batch)
    base = batch.base.tokens.shape[1]
    prepared.cost.add(prepared.model, rows, prepared.width, base, backward, skipped)
    if batch.continued is not None:
        n_paths, n_steps = batch.continued.tokens.shape[1:]
        prepared.cost.add(prepared.model, rows * n_paths, n_steps, base + n_steps, backward)
    prepared.cost.add_others(prepared.model, batch, n_masks, prepared.start, backward)


def mixer(
    patches: Sequence[Patch], gates: Float[Tensor, "mask site"]
) -> Callable[[Tensor], Tensor]:
    """The edit that mixes donors into the activation at one point, as the gates say."""
    n_masks = len(gates)

    def mix(own: Tensor) -> Tensor:
        for patch in patches:
            gate = gates.new_zeros(n_masks, patch.donor.shape[2])
            gate = gate.index_copy(1, patch.slots, gates[:, patch.sites])
            gate = gate.to(own.device, own.dtype)[:, None, None, :, None]
            if patch.columns is None:
                own = _mixed(patch, own, gate)
                continue
            rows = torch.arange(len(own), device=own.device)
            columns = patch.columns.repeat(n_masks)
            picked = _mixed(patch, own[rows, columns].unsqueeze(1), gate)
            own = own.clone()
            own[rows, columns] = picked.squeeze(1)
        return own

    return mix


def _mixed(
    patch: Patch, own: Float[Tensor, "row pos *acts"], gate: Float[Tensor, "mask 1 1 part 1"]
) -> Float[Tensor, "row pos *acts"]:
    """The activation with the donor mixed into its parts."""
    parts = patch.mediator.split(own)
    by_mask = parts.unflatten(0, (len(gate), -1))
    mixed = torch.lerp(by_mask, patch.donor.expand(by_mask.shape[1:]), gate)
    return patch.mediator.join(own, mixed.flatten(0, 1))


def _same(one: Prompts, other: Prompts) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.attends, other.attends)


def _first_patched(model: Model, batch: Batch, sites: Sequence[Site]) -> int:
    """The first column of the base prompts that a step has to run: that a patch can change, or
    that the answer is read at."""
    columns = [
        int(batch.base.columns[name].min()) for name in {site.position for site in sites} - {"all"}
    ]
    if any(site.position == "all" for site in sites):
        # Where base and donor prompts begin alike, the same model also computes alike: patching
        # changes nothing.
        alike = batch.donor.aligned and batch.donor.runs_in(model) is model
        differ = (batch.base.tokens != batch.donated.tokens).any(dim=0) if alike else None
        found = differ is not None and bool(differ.any())
        columns.append(int(differ.int().argmax()) if found and differ is not None else 0)
    if batch.base.reads is not None:  # what is read must be run, patched or not
        columns.append(int(batch.base.reads.min()))
    return min(columns)


def _record(
    model: Model, batch: Batch, sites: Sequence[Site], start: int, cost: Cost
) -> dict[Point, list[Patch]]:
    """Run the donor's prompts once and keep what patched sites take, by point."""
    wanted: dict[Point, dict[tuple[Mediator, str], list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for index, site in enumerate(sites):
        wanted[site.component.point][site.component.mediator, site.position].append(index)
    prompts, donating = batch.donated, batch.donor.runs_in(model)
    seen = _seen(donating, prompts.tokens, prompts.attends, list(wanted))
    n_prompts, width = prompts.tokens.shape
    cost.add(donating, n_prompts, width, width)
    single = batch.base.tokens.shape[1] - start == 1
    patches: dict[Point, list[Patch]] = {}
    for point, groups in wanted.items():
        patches[point] = []
        for (mediator, position), indices in groups.items():
            # Where a step runs one token, that token is patched as a whole: no copying.
            everywhere = position == "all" or single
            donor = mediator.split(_taken(seen[point], batch, position, start))
            patches[point].append(
                Patch(
                    mediator,
                    None if everywhere else batch.base.columns[position] - start,
                    donor,
                    torch.tensor([sites[n].component.part for n in indices], device=donor.device),
                    torch.tensor(indices, device=donor.device),
                )
            )
    return patches


def _taken(
    acts: Float[Tensor, "prompt pos *acts"], batch: Batch, position: str, start: int
) -> Float[Tensor, "pair taken *acts"]:
    """What each pair's sites take at one position, from the donor prompts' activations."""
    if position == "all":
        return batch.donor.value(acts[:, start:], len(batch))
    rows = torch.arange(len(acts), device=acts.device)
    column = batch.donated.columns[position].to(acts.device)
    return batch.donor.value(acts[rows, column].unsqueeze(1), len(batch))
