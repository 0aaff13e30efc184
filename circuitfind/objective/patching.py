"""Patching: gates mix what donors give into a model's own activations.

`prepare` records what patched sites take and runs the base prompts up to the first patched
position; `run` then runs what is left of them, many masks at once. A mediator cuts the activation
at a point into parts, each part becomes `torch.lerp(own, donor, gate)`, and the mediator joins
them: gate 0 leaves the base's value bit for bit, gate 1 takes the donor's.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ..engines.engine import Edit, Point
from ..mediators.site import Mediator, Site
from ..models.model import Model
from ..models.prompts import Prompts
from .continuing import continue_after, from_whole_texts, repeated, whole_texts
from .cost import Cost
from .encoding import Batch
from .passes import CLOSED, Pass, Patch, Prepared
from .shortlist import Wanted

TOKENS_PER_PASS = 1024, 2**14  # at least, at most; more masks than fit go in turns
FLOPS_PER_PASS = 2**37  # a small model takes as many tokens at once as this allows
BRANCHED = 2**11  # tokens a pass of branches: more take more memory, and no less time

Gates = Float[Tensor, "mask site"]


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
    prefix, streams, kept = None, (), batch.kept
    if like and like.start == start and _same(like.batch.base, batch.base):
        prefix, streams = like.prefix, like.streams
    elif start > 0 and kept and kept.is_of(model) and (known := kept.taken(batch.base, start)):
        prefix, streams = known
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
        streams=streams,
    )


def run(prepared: Prepared, gates: Gates) -> Float[Tensor, "mask pair *output"]:
    """The output where each base prompt's answer is read, under every row of gates.

    Gradients reach the gates and nothing else. Without gradients, layers below the first open
    gate are not run again: what enters that layer is the untouched base's.

    Raises:
        ValueError: a gate for each site was expected.
    """
    return measure(prepared, gates, lambda output: output)


def measure(
    prepared: Prepared,
    gates: Gates,
    read: Callable[[Tensor], Tensor],
    wanted: Wanted | None = None,
) -> Shaped[Tensor, "mask pair *read"]:
    """What is read from the output under every row of gates, a pass at a time, so that no more
    outputs are in memory than one pass has.

    Args:
        wanted: which entries of the vocabulary matter to what is read. The output then has these
            alone, and `wanted.target` is what they are scored for.

    Raises:
        ValueError: a gate for each site was expected.
    """
    if gates.shape[1] != len(prepared.sites):
        raise ValueError(f"expected {len(prepared.sites)} gates, one a site; got {gates.shape[1]}")
    one, n_masks = prepared.alone, masks_per_pass(prepared)
    if gates.requires_grad or not prepared.entries:
        turns = gates.split(n_masks)
        return torch.cat([read(run_pass(one, [rows], 0, wanted)[0]) for rows in turns])
    first = _first_layers(prepared, gates)
    order = first.argsort(stable=True)
    made = [
        read(run_pass(one, [gates[rows]], int(first[rows[0]]), wanted)[0])
        for rows in order.split(n_masks)
    ]
    return torch.cat(made)[order.argsort().to(made[0].device)]


def run_pass(
    one: Pass, gates: Sequence[Gates], first: int = 0, wanted: Wanted | None = None
) -> list[Float[Tensor, "mask pair *output"]]:
    """The output of each batch of a pass under its gates, run from layer `first` on; with
    gradients, from the first layer on that has a site."""
    n_masks = len(gates[0])
    backward = gates[0].requires_grad
    first = one.first if backward else first
    branched = one.branches(n_masks)
    edits = one.edits(gates, branched)
    with torch.set_grad_enabled(backward):
        if one.parts[0].batch.continued is not None:
            output = _run_continued(one.parts[0], one, edits, n_masks)
        elif branched:
            output = _run_branched(one, edits, n_masks, first, wanted)
        else:
            output = _run_stacked(one, edits, n_masks, first, wanted)
    spared = None if wanted is None else wanted.unembedded
    for number, part in enumerate(one.parts):
        mine = spared if not number or spared is None else 0
        _count(part, n_masks, backward, first, mine)
    return list(output.split(one.sizes, dim=1))


def pack(parts: Sequence[Prepared], n_masks: int) -> list[list[int]]:
    """Indices of batches in groups that may go through the model in one pass: as many as fit of
    the same width, and no more pairs than may. In a small model a pass costs more than its tokens.
    """
    packs: list[list[int]] = []
    for index, part in enumerate(parts):
        group = packs[-1] if packs else []
        n_pairs = len(part.batch) + sum(len(parts[n].batch) for n in group)
        alike = part.batch.continued is None and all(
            parts[n].width == part.width
            and (parts[n].prefix is None) == (part.prefix is None)
            and parts[n].batch.continued is None
            for n in group
        )
        few = n_pairs <= part.model.pairs_at_once
        fits = few and n_masks * part.width * n_pairs <= tokens_per_pass(part.model)
        if group and alike and fits:
            group.append(index)
        else:
            packs.append([index])
    return packs


def masks_per_pass(prepared: Prepared) -> int:
    """How many masks go through the model at once."""
    tokens = tokens_per_pass(prepared.model)
    most = max(1, tokens // (len(prepared.batch) * prepared.tokens_a_pair))
    if prepared.alone.branches(most):
        return max(1, min(most, BRANCHED // (len(prepared.batch) * prepared.width)))
    return most


def tokens_per_pass(model: Model) -> int:
    """How many tokens go through the model at once: as many as are fast, and as have room."""
    least, most = TOKENS_PER_PASS
    weights = max(1, model.engine.sizes.n_block_parameters)
    fast = min(most, max(least, FLOPS_PER_PASS // (2 * weights)))
    return fast if model.tokens_at_once is None else min(fast, model.tokens_at_once)


def _first_layers(prepared: Prepared, gates: Gates) -> Int[Tensor, " mask"]:
    """The layer from which on each mask changes anything; the last one where it opens nothing."""
    last = prepared.model.n_layers - 1
    return torch.where(gates != 0, prepared.layers.to(gates.device), last).amin(dim=1)


def _run_branched(
    one: Pass, edits: Sequence[tuple[Point, Edit]], n_masks: int, first: int, wanted: Wanted | None
) -> Float[Tensor, "mask row *output"]:
    """The output with masks as branches of each row, over prefixes that they share."""
    entry, reads = None, None
    if first:
        entry = first, one.entering(first).repeat(1, n_masks, 1)
    if one.reads is not None:
        starts = torch.arange(n_masks, device=one.reads.device) * one.width
        reads = one.reads[:, None] + starts
    shown = torch.arange(len(one.tokens)).repeat_interleave(n_masks)
    output, _ = one.model.engine.forward(
        one.tokens.repeat(1, n_masks),
        one.attends,
        edits,
        prefix=one.prefix,
        entry=entry,
        reads=reads,
        branches=n_masks,
        **_shortlisted(wanted, shown),
    )
    return output.transpose(0, 1)


def _run_stacked(
    one: Pass, edits: Sequence[tuple[Point, Edit]], n_masks: int, first: int, wanted: Wanted | None
) -> Float[Tensor, "mask row *output"]:
    """The output with rows of its own for each mask."""
    prefix, engine = one.prefix, one.model.engine
    if prefix is not None and n_masks > 1:
        prefix = engine.repeat_prefix(prefix, n_masks, first)
    output, _ = engine.forward(
        one.tokens.repeat(n_masks, 1),
        one.attends.repeat(n_masks, 1) if one.padded else None,
        edits,
        prefix=prefix,
        entry=(first, one.entering(first).repeat(n_masks, 1, 1)) if first else None,
        reads=None if one.reads is None else one.reads.repeat(n_masks),
        **_shortlisted(wanted, torch.arange(len(one.tokens)).repeat(n_masks)),
    )
    return rearrange(output, "(mask row) ... -> mask row ...", mask=n_masks)


def _shortlisted(wanted: Wanted | None, rows: Int[Tensor, " shown"]) -> dict:
    """What a forward pass takes for a shortlist; nothing where all logits are wanted."""
    return {} if wanted is None else {"shortlist": wanted.of(rows)}


def _run_continued(
    part: Prepared, one: Pass, edits: Sequence[tuple[Point, Edit]], n_masks: int
) -> Float[Tensor, "mask row place d_vocab"]:
    """The output after each prompt and each token of its continuations."""
    engine, base, continued = part.model.engine, part.batch.base, part.batch.continued
    if continued is None:
        raise ValueError("expected a batch with continuations")
    attends = base.attends.repeat(n_masks, 1)
    fed = repeated(continued, n_masks)
    reads = None if base.reads is None else base.reads.repeat(n_masks)
    if "prefix" in engine.can:
        prefix = part.prefix
        if prefix is not None and n_masks > 1:
            prefix = engine.repeat_prefix(prefix, n_masks)
        output, kept = engine.forward(
            one.tokens.repeat(n_masks, 1),
            attends,
            edits,
            prefix=prefix,
            keep_prefix=True,
            reads=None if one.reads is None else one.reads.repeat(n_masks),
        )
        output = continue_after(part.model, output, kept, attends, reads, fed)
        return rearrange(output, "(mask row) ... -> mask row ...", mask=n_masks)
    # Each continuation comes after a patched prompt of its own; all paths are patched alike.
    n_paths, width = continued.tokens.shape[1], base.tokens.shape[1]
    tokens, seen, columns = whole_texts(base.tokens.repeat(n_masks, 1), attends, reads, fed)

    def of_prompt(edit: Edit) -> Edit:
        def mix(own: Tensor) -> Tensor:
            rows = own[:, :width].unflatten(0, (n_paths, -1))
            mixed = torch.stack([_changed(edit, path) for path in rows]).flatten(0, 1)
            return torch.cat([mixed, own[:, width:]], dim=1)

        return mix

    output, _ = engine.forward(
        tokens, seen, [(at, of_prompt(do)) for at, do in edits], reads=columns
    )
    return rearrange(
        from_whole_texts(output, n_paths), "(mask row) ... -> mask row ...", mask=n_masks
    )


def _changed(edit: Edit, own: Tensor) -> Tensor:
    new = edit(own)
    return own if new is None else new


def _count(
    prepared: Prepared,
    n_masks: int,
    backward: bool,
    skipped: int,
    unembedded: int | None,
) -> None:
    batch, rows = prepared.batch, n_masks * len(prepared.batch)
    base = batch.base.tokens.shape[1]
    prepared.cost.add(prepared.model, rows, prepared.width, base, backward, skipped, unembedded)
    if batch.continued is not None:
        n_paths, n_steps = batch.continued.tokens.shape[1:]
        prepared.cost.add(prepared.model, rows * n_paths, n_steps, base + n_steps, backward)
    prepared.cost.add_others(prepared.model, batch, n_masks, prepared.start, backward)


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
    """Run the donor's prompts once and keep what patched sites take, by point.

    Of an activation only the patched columns stay in memory when the pass has gone by.
    """
    wanted: dict[Point, dict[tuple[Mediator, str], list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for index, site in enumerate(sites):
        wanted[site.component.point][site.component.mediator, site.position].append(index)
    prompts, donating = batch.donated, batch.donor.runs_in(model)
    single = batch.base.tokens.shape[1] - start == 1
    patches: dict[Point, list[Patch]] = {point: [] for point in wanted}

    def patch(point: Point, mediator: Mediator, position: str, taken: Tensor) -> None:
        # Where a step runs one token, that token is patched as a whole: no copying.
        everywhere = position == "all" or single
        columns = None if everywhere else batch.base.columns[position] - start
        donor, indices = mediator.split(taken), wanted[point][mediator, position]
        table = torch.full((1, donor.shape[2]), CLOSED)
        table[0, [sites[n].component.part for n in indices]] = torch.tensor(indices)
        at = columns if columns is None else columns.to(taken.device)
        patches[point].append(Patch(mediator, at, donor, table))

    def keep(point: Point) -> Edit:
        def look(own: Tensor) -> None:
            for mediator, position in wanted[point]:
                taken = _taken(own.detach(), batch, position, start)
                patch(point, mediator, position, taken)

        return look

    kept, n_pairs = batch.kept, len(batch)
    at_all = any(site.position == "all" for site in sites)
    if kept and donating is model and kept.is_of(model) and not at_all:
        if known := kept.donated(prompts, list(wanted)):
            for point, groups in wanted.items():
                for mediator, position in groups:
                    acts = known[position][point].unsqueeze(1)
                    patch(point, mediator, position, batch.donor.value(acts, n_pairs))
            return patches
    donating.engine.forward(
        prompts.tokens, prompts.attends, [(point, keep(point)) for point in wanted]
    )
    n_prompts, width = prompts.tokens.shape
    cost.add(donating, n_prompts, width, width)
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
