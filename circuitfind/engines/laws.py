"""What must hold of every engine, tried on a few tokens: features, sites that add up, no dead site.

Open gates with the embedding give the source's logits whichever sites an engine has missed. The
additive law here does not: the sites must write all that the residual stream gains.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from .engine import Edit, Engine, Feature, Point

# What a model raises that lacks a feature.
LACKS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)


def tried_features(engine: Engine) -> frozenset[Feature]:
    """The features that an engine has, each tried on two prompts of three tokens."""
    trials: dict[Feature, Callable[[Engine, Tensor], bool]] = {
        "gradients": _gives_gradients,
        "prefix": _reuses_prefix,
        "start_at_layer": _starts_at_layer,
        "branches": _branches,
        "shortlist": _shortlists,
        "qkv": _has_qkv,
        "pattern": _has_pattern,
    }
    n_ids = min(engine.sizes.d_vocab, 7)
    inputs = (torch.arange(6, device=engine.device) % n_ids).reshape(2, 3)
    found = []
    for feature, trial in trials.items():
        try:
            if trial(engine, inputs):
                found.append(feature)
        except LACKS:
            continue
    return frozenset(found)


def _gives_gradients(engine: Engine, inputs: Tensor) -> bool:
    """Whether the logits pass gradients on to edits of heads and MLPs; some may do nothing."""
    points = sites(engine) or [Point(0, "entry")]
    with torch.enable_grad():
        gate = torch.ones((), device=engine.device, requires_grad=True)
        edits = [(point, lambda own: own * gate.to(own)) for point in points]
        logits, _ = engine.forward(inputs, edits=edits)
        (slope,) = torch.autograd.grad(logits.float().square().sum(), gate)
    return bool(slope.isfinite()) and bool(slope != 0)


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two engines' numbers differ by no more than rounding."""
    return torch.allclose(one, other, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def _reuses_prefix(engine: Engine, inputs: Tensor) -> bool:
    """Whether a prefix gives the same logits as its tokens, twice, and in a batch of two."""
    if not engine.sizes.causal:
        return False
    full, _ = engine.forward(inputs)
    _, prefix = engine.forward(inputs[:, :2], keep_prefix=True)
    if prefix is None:
        return False
    once, _ = engine.forward(inputs[:, 2:], prefix=prefix)
    twice, _ = engine.forward(inputs[:, 2:].repeat(2, 1), prefix=engine.repeat_prefix(prefix, 2))
    return alike(once, full) and alike(twice, full.repeat(2, 1))


@torch.no_grad()
def _starts_at_layer(engine: Engine, inputs: Tensor) -> bool:
    """Whether a pass from the last layer on gives the same logits as a full one."""
    last = engine.sizes.n_layers - 1
    full, seen = look(engine, inputs, [Point(last, "entry")])
    again, _ = engine.forward(inputs, entry=(last, seen[Point(last, "entry")]))
    return alike(again, full)


@torch.no_grad()
def _branches(engine: Engine, inputs: Tensor) -> bool:
    """Whether two continuations beside each other give what each gives by itself, with padding
    before a prompt and without."""
    if not engine.sizes.causal:
        return False
    whole = torch.ones_like(inputs)
    padded = whole.clone()
    padded[1, 0] = 0
    for attends in (whole, padded):
        _, prefix = engine.forward(inputs[:, :1], attends[:, :1], keep_prefix=True)
        if prefix is None:
            return False
        ways = inputs[:, 1:], inputs[:, 1:].flip(1)
        apart = [engine.forward(way, attends, prefix=prefix)[0] for way in ways]
        both, _ = engine.forward(torch.cat(ways, 1), attends, prefix=prefix, branches=2)
        if not alike(both, torch.stack(apart, 1)):
            return False
    return True


@torch.enable_grad()
def passes_tried(engine: Engine) -> list[Tensor]:
    """Logits of passes of two prompts, whole and after a prefix, padded and not: what must not
    depend on how an engine attends."""
    made, device = [], engine.device
    ids = (torch.arange(8, device=device) % min(engine.sizes.d_vocab, 7)).reshape(2, 4)
    whole, padded = torch.ones_like(ids), torch.ones_like(ids)
    padded[1, :2] = 0
    for attends in (whole, padded):
        made.append(engine.forward(ids, attends)[0])
        for n_seen in (2, 3) if engine.sizes.causal else ():
            _, prefix = engine.forward(ids[:, :n_seen], attends[:, :n_seen], keep_prefix=True)
            for n in (1, 2):
                following = ids[:, n_seen:].repeat(1, n)
                logits, _ = engine.forward(following, attends, prefix=prefix, branches=n)
                made.append(logits)
    return made


@torch.no_grad()
def _shortlists(engine: Engine, inputs: Tensor) -> bool:
    """Whether a few entries get the same logits alone as among all."""
    full, _ = engine.forward(inputs)
    some = torch.arange(0, engine.sizes.d_vocab, 2, device=engine.device)
    few, _ = engine.forward(inputs, shortlist=lambda streams, unembed: some)
    return alike(few, full[:, some])


def _has_qkv(engine: Engine, inputs: Tensor) -> bool:
    layers = [point.layer for point in sites(engine) if point.kind == "heads"]
    return bool(layers) and all(
        engine.has(Point(layer, kind)) for layer in layers for kind in "qkv"
    )


@torch.no_grad()
def _has_pattern(engine: Engine, inputs: Tensor) -> bool:
    """Whether every layer with heads has a pattern whose rows sum to 1."""
    points = [Point(at.layer, "pattern") for at in sites(engine) if at.kind == "heads"]
    if not points or not all(engine.has(point) for point in points):
        return False
    _, seen = look(engine, inputs, points)
    sums = torch.stack([seen[point].float().sum(-1).cpu() for point in points])
    return alike(sums, torch.ones_like(sums))


def look(
    engine: Engine, inputs: Int[Tensor, "row pos"], points: Sequence[Point]
) -> tuple[Tensor, dict[Point, Tensor]]:
    """The logits after the last token, and what is at each of these points."""
    seen: dict[Point, Tensor] = {}

    def keep(point: Point) -> Edit:
        def see(own: Tensor) -> None:
            seen[point] = own.detach().clone()

        return see

    logits, _ = engine.forward(inputs, edits=[(point, keep(point)) for point in points])
    return logits, seen


def sites(engine: Engine) -> list[Point]:
    """The points where heads and MLPs write, in the order of the layers."""
    return [
        point
        for layer in range(engine.sizes.n_layers)
        for kind in ("heads", "mlp")
        if engine.has(point := Point(layer, kind))
    ]


@torch.no_grad()
def additive_gap(
    engine: Engine,
    base_ids: Int[Tensor, "row pos"],
    source_ids: Int[Tensor, "source source_pos"],
    without: Collection[Point] = (),
) -> float:
    """How far heads and MLPs are from all that the layers write; 0 in theory, 1e-6 by rounding.

    The base runs with every head and MLP of the source, and with what the engine's `others` give
    in the source, on its own embedding. What leaves the last
    layer must then be the source's, minus what entered the source's first layer, plus what entered
    the base's. Returned is the greatest deviation, as a share of the greatest difference between
    what leaves the last layer in source and base.

    A gap says that layers write what is no site, or that a site is not what it is taken for. The
    law does not apply to models whose residual stream is not a sum, with a norm after the addition.

    Args:
        without: points that keep what they give in the base. The gap is then their share in the
            difference between source and base.

    Raises:
        ValueError: base and source have other shapes, or nothing differs between them.
    """
    if base_ids.shape != source_ids.shape:
        raise ValueError(
            f"expected base and source of the same shape; got {tuple(base_ids.shape)} and "
            f"{tuple(source_ids.shape)}. Take prompts of one length."
        )
    enters, leaves = Point(0, "entry"), Point(engine.sizes.n_layers, "entry")
    writers = [*sites(engine), *engine.others]
    _, source = look(engine, source_ids, [enters, *writers, leaves])
    _, base = look(engine, base_ids, [enters, *without, leaves])
    got: list[Tensor] = []
    given = {at: base[at] if at in without else source[at] for at in writers}
    edits: list[tuple[Point, Edit]] = [(at, _put(value)) for at, value in given.items()]
    edits.append((leaves, lambda own: got.append(own.detach().clone())))
    engine.forward(base_ids, edits=edits)
    wanted = source[leaves].double() - (source[enters].double() - base[enters].double()).to(
        source[leaves].device
    )
    distance = (source[leaves].double() - base[leaves].double()).abs().max()
    if not distance > 0:
        raise ValueError(
            "expected base and source that leave the last layer differently; got two alike. "
            "Take other tokens."
        )
    return float((got[0].double() - wanted).abs().max() / distance)


def _put(value: Tensor) -> Edit:
    return lambda own: value.clone()


@torch.no_grad()
def dead_sites(
    engine: Engine, base_ids: Int[Tensor, "row pos"], source_ids: Int[Tensor, "row pos"]
) -> tuple[tuple[Point, int | None], ...]:
    """The single heads and MLPs that change no logit when the source's stand in at all positions.

    A head comes with its number, an MLP with None. Base and source have the same shape.
    """
    points = sites(engine)
    _, source = look(engine, source_ids, points)
    dead: list[tuple[Point, int | None]] = []
    for point in points:
        parts = range(source[point].shape[2]) if point.kind == "heads" else [None]
        # Row 0 is the untouched base; row 1 + i has part i of the source.
        logits, _ = engine.forward(
            base_ids.repeat(1 + len(parts), 1), edits=[(point, _swap_each(source[point], parts))]
        )
        rows = logits.float().unflatten(0, (1 + len(parts), -1))
        moved = (rows[1:] - rows[0]).abs().flatten(1).amax(1)
        least = 1e-7 * rows[0].abs().max()
        dead += [(point, part) for part, far in zip(parts, moved, strict=True) if far <= least]
    return tuple(dead)


def _swap_each(donor: Tensor, parts: Sequence[int | None]) -> Edit:
    """An edit that gives the donor's part i to block 1 + i of the rows."""

    def swap(own: Tensor) -> Tensor:
        blocks = own.unflatten(0, (1 + len(parts), -1)).clone()
        for index, part in enumerate(parts, 1):
            if part is None:
                blocks[index] = donor
            else:
                blocks[index, :, :, part] = donor[:, :, part]
        return blocks.flatten(0, 1)

    return swap
