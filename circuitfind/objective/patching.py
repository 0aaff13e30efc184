"""Patching: the one file that adds hooks.

`prepare` records what patched sites take and runs the base prompts up to the first patched
position; `run` then runs what is left of them, many masks at once. Heads are patched at `hook_z`,
the input of the output projection with a slice per query head, MLPs at their output, both as
`torch.lerp(own, donor, gate)`: gate 0 leaves the base's value bit for bit, gate 1 is the donor's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from ..mediators.site import Site
from ..models.model import Model, repeat_cache
from .cost import Cost
from .encoding import Batch, Prompts

TOKENS_PER_PASS = 1024, 2**14  # at least, at most; more masks than fit go in turns
FLOPS_PER_PASS = 2**37  # a small model takes as many tokens at once as this allows
ENTRY_BYTES = 2**28  # residual streams are kept for skipping layers where they fit in this


@dataclass(frozen=True)
class Edit:
    """What happens at one hook point and position: which gates mix in which donors.

    `columns` are columns of the tokens run at each step, None for all of them. A donor has a
    part per head (or a single one) so that gates line up with it; `slots` says which part the
    gate of each of `sites` belongs to.
    """

    columns: Int[Tensor, " pair"] | None
    donor: Float[Tensor, "pair *pos part width"]
    slots: Int[Tensor, " gate"]
    sites: Int[Tensor, " gate"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch made ready for patching: donors recorded, the common prefix run once."""

    model: Model
    batch: Batch
    sites: tuple[Site, ...]
    edits: dict[str, list[Edit]]
    prefix: Any
    start: int
    cost: Cost
    reuse: bool

    @property
    def width(self) -> int:
        """Tokens per pair that a step runs."""
        return self.batch.base.tokens.shape[1] - self.start

    @cached_property
    def entries(self) -> tuple[Float[Tensor, "pair pos d_model"], ...]:
        """The untouched residual stream that enters each layer, for the tokens that a step runs;
        nothing where the model cannot begin at a layer, or where it would take too much memory."""
        model, base = self.model, self.batch.base
        numbers = len(self.batch) * self.width * model.d_model * model.n_layers
        if not self.reuse or not model.skips_layers or 4 * numbers > ENTRY_BYTES:
            return ()
        names = [model.entry_name(layer) for layer in range(model.n_layers)]
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def look(own: Tensor, hook: Any) -> None:
                seen[name] = own.detach()

            return look

        with hooked(model, [(name, keep(name)) for name in names]), torch.no_grad():
            model.forward(base.tokens[:, self.start :], base.attends, prefix=self.prefix)
        self.cost.add(model, len(self.batch), self.width, base.tokens.shape[1])
        return tuple(seen[name] for name in names)

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
            without, where a model cannot, only slower.
    """
    cost = cost or Cost()
    start = _first_patched(batch, sites) if reuse and model.reuses_prefix else 0
    edits = _record(model, batch, sites, start, cost)
    prefix = None
    if like and like.start == start and _same(like.batch.base, batch.base):
        prefix = like.prefix
    elif start > 0:
        tokens, attends = batch.base.tokens[:, :start], batch.base.attends[:, :start]
        _, prefix = model.forward(tokens, attends, keep_prefix=True)
        cost.add(model, len(batch), start, start)
    return Prepared(
        model=model,
        batch=batch,
        sites=tuple(sites),
        edits=edits,
        prefix=prefix,
        start=start,
        cost=cost,
        reuse=reuse,
    )


def run(
    prepared: Prepared, gates: Float[Tensor, "mask site"]
) -> Float[Tensor, "mask pair d_vocab"]:
    """The logits where each base prompt's answer is read, under every row of gates.

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
) -> list[Float[Tensor, "mask pair d_vocab"]]:
    """What `run` gives for each of these batches, from a single pass; see `pack`."""
    return _run_rows(parts, gates, 0)


def pack(parts: Sequence[Prepared], n_masks: int) -> list[list[int]]:
    """Indices of batches in groups that may go through the model in one pass: as many as fit of
    the same width, none with a prefix. In a small model a pass costs more than its tokens."""
    packs: list[list[int]] = []
    for index, part in enumerate(parts):
        mine = packs[-1] if packs else []
        tokens = n_masks * part.width * (len(part.batch) + sum(len(parts[n].batch) for n in mine))
        alike = all(
            parts[n].prefix is None and part.prefix is None and parts[n].width == part.width
            for n in mine
        )
        if mine and alike and tokens <= _tokens_per_pass(part.model):
            mine.append(index)
        else:
            packs.append([index])
    return packs


@torch.no_grad()
def record_base(prepared: Prepared) -> list[Float[Tensor, "sample width"]]:
    """What each site itself writes in the base prompts, unpatched: a row per pair and token.

    A head's is its slice of `hook_z`, an MLP's its output, where the site's position is; at `all`,
    every token that is not padding.
    """
    model, base = prepared.model, prepared.batch.base
    names = dict.fromkeys(model.hook_name(site.component) for site in prepared.sites)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def look(own: Tensor, hook: Any) -> None:
            seen[name] = own.detach() if own.ndim == 4 else own.detach().unsqueeze(2)

        return look

    with hooked(model, [(name, keep(name)) for name in names]):
        model.forward(base.tokens, base.attends)
    n_pairs, width = base.tokens.shape
    prepared.cost.add(model, n_pairs, width, width)
    real, rows = base.attends.bool(), torch.arange(n_pairs)
    written = []
    for site in prepared.sites:
        acts = seen[model.hook_name(site.component)]
        if site.position == "all":
            taken = acts[real.to(acts.device)]
        else:
            taken = acts[rows.to(acts.device), base.columns[site.position].to(acts.device)]
        written.append(taken[:, site.component.head or 0].float().cpu())
    return written


@torch.no_grad()
def record_attention(
    model: Model, prompts: Prompts, sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "pair pos"]]:
    """How much each head looks at every token of unpatched prompts, from where its site is.

    Weights are shares that sum to 1 over the tokens, and 0 on padding. At `all` a head is looked
    at from where the answer is read. Heads at positions that the prompts do not name, and heads
    of models that do not tell their attention, are left out.
    """
    end = prompts.reads if prompts.reads is not None else torch.tensor(prompts.tokens.shape[1] - 1)
    columns = {"all": end, "last": torch.tensor(prompts.tokens.shape[1] - 1), **prompts.columns}
    heads = [s for s in sites if s.component.kind == "head" and s.position in columns]
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def look(own: Tensor, hook: Any) -> None:
            seen[name] = own.detach()

        return look

    names = dict.fromkeys(model.attention_name(site.component) for site in heads)
    with hooked(model, [(name, keep(name)) for name in names]):
        model.forward(prompts.tokens, prompts.attends)
    rows, found = torch.arange(len(prompts.tokens)), {}
    for site in heads:
        if (pattern := seen.get(model.attention_name(site.component))) is not None:
            column = columns[site.position].expand(len(rows)).cpu()
            found[site] = pattern[:, site.component.head].float().cpu()[rows, column]
    return found


def masks_per_pass(prepared: Prepared) -> int:
    """How many masks go through the model at once."""
    tokens = _tokens_per_pass(prepared.model)
    return max(1, tokens // (len(prepared.batch) * prepared.width))


def _tokens_per_pass(model: Model) -> int:
    least, most = TOKENS_PER_PASS
    return min(most, max(least, FLOPS_PER_PASS // (2 * model.n_block_parameters)))


def _first_layers(prepared: Prepared, gates: Float[Tensor, "mask site"]) -> Int[Tensor, " mask"]:
    """The layer from which on each mask changes anything; the last one where it opens nothing."""
    last = prepared.model.n_layers - 1
    layers = prepared.layers.to(gates.device).clamp(min=0)
    return torch.where(gates != 0, layers, last).amin(dim=1)


def _run_rows(
    parts: Sequence[Prepared], gates: Sequence[Float[Tensor, "mask site"]], first: int
) -> list[Float[Tensor, "mask pair d_vocab"]]:
    """The logits of each batch under its gates, run from layer `first` on; only a batch that is
    alone may have a prefix, or begin later than at the first layer."""
    head, model, n_masks = parts[0], parts[0].model, len(gates[0])
    prefix = head.prefix
    if prefix is not None and n_masks > 1:
        prefix = repeat_cache(prefix, n_masks, first)
    bases = [part.batch.base for part in parts]
    reads = [
        None if base.reads is None else base.reads - part.start
        for base, part in zip(bases, parts, strict=True)
    ]
    ends = [base.tokens.shape[1] - 1 - part.start for base, part in zip(bases, parts, strict=True)]
    wanted = [
        torch.full((len(base.tokens),), end) if read is None else read
        for base, read, end in zip(bases, reads, ends, strict=True)
    ]
    entry = (first, head.entries[first].repeat(n_masks, 1, 1)) if first else None
    backward = gates[0].requires_grad
    with hooked(model, _mixers(parts, gates)), torch.set_grad_enabled(backward):
        logits, _ = model.forward(
            torch.cat(
                [part.batch.base.tokens[:, part.start :].repeat(n_masks, 1) for part in parts]
            ),
            torch.cat([base.attends.repeat(n_masks, 1) for base in bases]),
            prefix=prefix,
            entry=entry,
            reads=None
            if all(read is None for read in reads)
            else torch.cat([read.repeat(n_masks) for read in wanted]),
        )
    for part in parts:
        _count(part, n_masks, backward, first)
    rows = logits.split([n_masks * len(part.batch) for part in parts])
    return [
        rearrange(mine, "(mask pair) d_vocab -> mask pair d_vocab", mask=n_masks) for mine in rows
    ]


def _mixers(
    parts: Sequence[Prepared], gates: Sequence[Float[Tensor, "mask site"]]
) -> list[tuple[str, Callable[..., Tensor]]]:
    """A hook for each point that is patched, which gives each batch's rows to its own mixer."""
    moved = [rows.to(part.model.device) for part, rows in zip(parts, gates, strict=True)]
    if len(parts) == 1:
        return [(name, _mixer(edits, moved[0])) for name, edits in parts[0].edits.items()]
    sizes = [len(rows) * len(part.batch) for part, rows in zip(parts, moved, strict=True)]

    def mixer(name: str) -> Callable[..., Tensor]:
        mine = [
            _mixer(part.edits.get(name, ()), rows) for part, rows in zip(parts, moved, strict=True)
        ]

        def mix(own: Tensor, hook: Any) -> Tensor:
            chunks = own.split(sizes)
            return torch.cat([one(chunk, hook) for one, chunk in zip(mine, chunks, strict=True)])

        return mix

    return [(name, mixer(name)) for name in dict.fromkeys(name for p in parts for name in p.edits)]


def _count(prepared: Prepared, n_masks: int, backward: bool, skipped: int) -> None:
    batch, rows = prepared.batch, n_masks * len(prepared.batch)
    base, source = batch.base.tokens.shape[1], batch.source.tokens.shape[1]
    prepared.cost.add(prepared.model, rows, prepared.width, base, backward, skipped)
    prepared.cost.add_plain(prepared.model, rows, base, source, backward)


def _mixer(edits: Sequence[Edit], gates: Float[Tensor, "mask site"]) -> Callable[..., Tensor]:
    """The hook that mixes donors into a component's output, as the gates say."""
    n_masks = len(gates)

    def mix(own: Tensor, hook: Any) -> Tensor:
        parts = own if own.ndim == 4 else own.unsqueeze(2)
        for edit in edits:
            gate = gates.new_zeros(n_masks, edit.donor.shape[-2])
            gate = gate.index_copy(1, edit.slots, gates[:, edit.sites])
            gate = gate.to(own.device, own.dtype)
            by_mask = rearrange(parts, "(mask pair) ... -> mask pair ...", mask=n_masks)
            if edit.columns is None:
                mixed = torch.lerp(by_mask, edit.donor, gate[:, None, None, :, None])
            else:
                pairs = torch.arange(by_mask.shape[1], device=own.device)
                picked = by_mask[:, pairs, edit.columns]
                patched = torch.lerp(picked, edit.donor.expand_as(picked), gate[:, None, :, None])
                mixed = by_mask.clone()
                mixed[:, pairs, edit.columns] = patched
            parts = rearrange(mixed, "mask pair ... -> (mask pair) ...")
        return parts if own.ndim == 4 else parts.squeeze(2)

    return mix


@contextmanager
def hooked(model: Model, hooks: Sequence[tuple[str, Callable[..., Any]]]) -> Iterator[None]:
    """Hooks on these points of the model, gone again whatever happens inside."""
    with model.bridge.hooks(fwd_hooks=list(hooks)):
        yield


def _same(one: Prompts, other: Prompts) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.attends, other.attends)


def _first_patched(batch: Batch, sites: Sequence[Site]) -> int:
    """The first column of the base prompts that a step has to run: that a patch can change, or
    that the answer is read at."""
    columns = [
        int(batch.base.columns[name].min()) for name in {site.position for site in sites} - {"all"}
    ]
    if any(site.position == "all" for site in sites):
        # Where base and source begin alike, they also compute alike: patching changes nothing.
        differ = (batch.base.tokens != batch.source.tokens).any(dim=0)
        alike = batch.desideratum.donor == "source" and bool(differ.any())
        columns.append(int(differ.int().argmax()) if alike else 0)
    if batch.base.reads is not None:  # what is read must be run, patched or not
        columns.append(int(batch.base.reads.min()))
    return min(columns)


def _record(
    model: Model, batch: Batch, sites: Sequence[Site], start: int, cost: Cost
) -> dict[str, list[Edit]]:
    """Run the sources once (or the prompts that a mean is over) and keep what patched sites will
    take, by hook point."""
    points: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, site in enumerate(sites):
        points[model.hook_name(site.component)][site.position].append(index)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def look(own: Tensor, hook: Any) -> None:
            seen[name] = own.detach() if own.ndim == 4 else own.detach().unsqueeze(2)

        return look

    source, kind = batch.source, batch.desideratum.donor
    if kind == "zero":
        source = source.take(torch.tensor([0]))  # of zeros only the shape is asked
    elif kind == "mean":
        source = batch.mean_over or source
    with hooked(model, [(name, keep(name)) for name in points]):
        model.forward(source.tokens, source.attends)
    n_sources, width = source.tokens.shape
    cost.add(model, n_sources, width, width)
    edits: dict[str, list[Edit]] = {}
    for name, by_position in points.items():
        edits[name] = []
        for position, indices in by_position.items():
            columns = None if position == "all" else batch.base.columns[position] - start
            donor = _donor(seen[name], batch, source, position, start)
            slots = torch.tensor([sites[i].component.head or 0 for i in indices])
            edits[name].append(
                Edit(
                    columns,
                    donor,
                    slots.to(donor.device),
                    torch.tensor(indices, device=donor.device),
                )
            )
    return edits


def _donor(acts: Tensor, batch: Batch, source: Prompts, position: str, start: int) -> Tensor:
    """What the sites of one hook point take at one position, from what they did in the source."""
    kind = batch.desideratum.donor
    if kind == "zero":
        n, width = batch.base.tokens.shape
        shape = (n, width - start) if position == "all" else (n,)
        return torch.zeros_like(acts[0, 0]).expand(*shape, *acts.shape[2:])
    if position == "all":
        taken = acts[:, start:]
    else:
        rows = torch.arange(len(acts), device=acts.device)
        taken = acts[rows, source.columns[position].to(acts.device)]
    if kind == "mean":
        mean = taken.mean(dim=0, keepdim=True)
        return mean.expand(len(batch), *mean.shape[1:]).contiguous()
    if kind == "resample":
        return taken.roll(1, dims=0)
    return taken.contiguous()
