"""The laws of an engine."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from ..engines.cutting import wrong_parts
from ..engines.engine import KINDS, Engine, Point
from ..engines.laws import additive_gap, look
from .nonconforming import examine

CLOSE = 1e-4
BY_HEAD = ("heads", "q", "k", "v")
LENGTHS = (5, 3)


def check_engine(
    engine: Engine,
    *,
    base: Int[Tensor, "row pos"] | None = None,
    source: Int[Tensor, "row pos"] | None = None,
    points: Sequence[Point] = (),
    additive: bool = True,
) -> None:
    """Examine an engine: an edit that changes nothing leaves the output bit for bit, tensors have
    rows and tokens first, what it says it can it can, and nothing is left behind after an error.

    Args:
        base, source: inputs of the same shape, two rows or more; by default random token ids.
        points: points of the engine's own kinds, beside those of a transformer.
        additive: whether heads and MLPs must write all that the residual stream gains.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    generator = torch.Generator().manual_seed(0)
    shape, top = (2, LENGTHS[0]), max(2, engine.sizes.d_vocab)
    if base is None or source is None:
        drawn = (torch.randint(top, shape, generator=generator) for _ in range(2))
        base, source = (ids.to(engine.device) for ids in drawn)
    inputs, other = base, source
    known = _points(engine, points)

    def shapes() -> Iterable[str]:
        return _shapes(engine, inputs, known)

    def edits() -> Iterable[str]:
        with torch.no_grad():
            return list(_edits(engine, inputs, other, known))

    def errors() -> Iterable[str]:
        return _errors(engine, inputs, known)

    def features() -> Iterable[str]:
        return _features(engine, inputs, known)

    def heads() -> Iterable[str]:
        return _heads(engine, inputs)

    def additive_law() -> Iterable[str]:
        return _additive(engine, inputs, other)

    examine(
        f"the engine {engine.name}",
        [shapes, edits, errors, features, heads, *([additive_law] if additive else [])],
    )


def _points(engine: Engine, more: Sequence[Point]) -> list[Point]:
    layers = range(engine.sizes.n_layers + 1)
    usual = [Point(layer, kind) for layer in layers for kind in KINDS]
    return [point for point in dict.fromkeys((*usual, *more)) if engine.has(point)]


@torch.no_grad()
def _shapes(engine: Engine, base: Tensor, points: Sequence[Point]) -> Iterable[str]:
    if not points:
        yield "it has no point at all"
    if engine.has(Point(0, "no such point")):
        yield "it says that it has a point of a kind that nobody knows"
    for length in LENGTHS:
        inputs = base[:, :length]
        output, seen = look(engine, inputs, points)
        if len(output) != len(inputs):
            yield f"{len(inputs)} rows of inputs give {len(output)} rows of output"
        for point in points:
            if point not in seen:
                yield f"{point}: the pass does not go through it"
            else:
                yield from shape_problems(engine, point, seen[point], len(inputs), length)


def shape_problems(
    engine: Engine, point: Point, acts: Tensor, n_rows: int, length: int
) -> Iterable[str]:
    """What is wrong with the layout of the tensor at a point, in words."""
    shape = tuple(acts.shape)
    if point.kind == "pattern":
        wanted = (n_rows, engine.sizes.n_heads, length)
        if shape[:3] != wanted:
            yield f"{point}: row, head and token are {wanted}; the tensor has shape {shape}"
        return
    if shape[0] != n_rows:
        yield f"{point}: axis 0 holds rows, of which there are {n_rows}; the shape is {shape}"
    if len(shape) < 3 or shape[1] != length:
        yield (
            f"{point}: axis 1 holds tokens, of which there are {length}; the shape is {shape}, as "
            "of a module that is not laid out as row, token and then its parts (a convolution, or "
            "heads on another axis)"
        )
    elif point.kind == "heads" and (len(shape) != 4 or shape[2] != engine.sizes.n_heads):
        yield (
            f"{point}: axis 2 holds the {engine.sizes.n_heads} heads, axis 3 their width; the "
            f"shape is {shape}"
        )


def _edits(engine: Engine, base: Tensor, source: Tensor, points: Sequence[Point]) -> Iterable[str]:
    plain, _ = engine.forward(base)
    again, _ = engine.forward(base)
    if not torch.equal(plain, again):
        yield "the same inputs give another output the second time"
    other, donors = look(engine, source, points)
    for point in points:
        if point.kind == "pattern":
            continue
        kept, _ = engine.forward(base, edits=[(point, lambda own: own.clone())])
        if not torch.equal(kept, plain):
            yield f"{point}: an edit that gives the value back changes the output"
        looked, _ = engine.forward(base, edits=[(point, lambda own: None)])
        if not torch.equal(looked, plain):
            yield f"{point}: an edit that only looks changes the output"
        taken, _ = engine.forward(base, edits=[(point, lambda own, at=point: donors[at].clone())])
        last = point == Point(engine.sizes.n_layers, "entry")
        if not torch.equal(donors[point], look(engine, base, [point])[1][point]):
            if torch.equal(taken, plain):
                yield f"{point}: taking another prompt's value changes nothing"
            if last and (taken - other).abs().max() > CLOSE * (1 + other.abs().max()):
                yield f"{point}: what leaves the last layer does not decide the output"


@torch.no_grad()
def _errors(engine: Engine, base: Tensor, points: Sequence[Point]) -> Iterable[str]:
    plain, _ = engine.forward(base)
    try:
        engine.forward(base, edits=[(Point(0, "no such point"), lambda own: own)])
        yield "an edit at a point that it does not have is no error"
    except (ValueError, LookupError):
        pass

    def fail(own: Tensor) -> Tensor:
        raise KeyboardInterrupt

    for point in points:
        try:
            engine.forward(base, edits=[(point, fail)])
            yield f"{point}: an edit that raises does not stop the pass"
        except KeyboardInterrupt:
            pass
    if not torch.equal(engine.forward(base)[0], plain):
        yield "after an edit that raised, a plain pass gives another output"


def _features(engine: Engine, base: Tensor, points: Sequence[Point]) -> Iterable[str]:
    with torch.no_grad():
        plain, _ = engine.forward(base)
        if "prefix" in engine.can:
            _, prefix = engine.forward(base[:, :2], keep_prefix=True)
            for _ in range(2):
                rest, _ = engine.forward(base[:, 2:], prefix=prefix)
                if not torch.allclose(rest, plain, atol=CLOSE, rtol=CLOSE):
                    yield "a prefix that was kept gives another output than its tokens"
        if "branches" in engine.can:
            ways = base[:, 2:], base[:, 2:].flip(1)
            _, prefix = engine.forward(base[:, :2], keep_prefix=True)
            attends = torch.ones_like(base)
            both, _ = engine.forward(torch.cat(ways, 1), attends, prefix=prefix, branches=2)
            for number, way in enumerate(ways):
                alone, _ = engine.forward(torch.cat([base[:, :2], way], 1))
                if not torch.allclose(both[:, number], alone, atol=CLOSE, rtol=CLOSE):
                    yield f"branch {number} of two gives another output than alone"
        if "shortlist" in engine.can:
            some = torch.arange(0, plain.shape[-1], 3, device=plain.device)
            few, _ = engine.forward(base, shortlist=lambda streams, unembed: some)
            if not torch.allclose(few, plain[:, some], atol=CLOSE, rtol=CLOSE):
                yield "a shortlist gives other logits than those of its entries"
        if "start_at_layer" in engine.can:
            last = engine.sizes.n_layers - 1
            _, seen = look(engine, base, [Point(last, "entry")])
            late, _ = engine.forward(base, entry=(last, seen[Point(last, "entry")]))
            if not torch.allclose(late, plain, atol=CLOSE, rtol=CLOSE):
                yield "a pass that begins at the last layer gives another output"
    if any(weight.requires_grad for weight in engine.weights().values()):
        yield "its weights are not frozen"
    if "gradients" in engine.can:
        for point in points:
            if point.kind != "pattern":
                yield from _gradient(engine, base, point)


def _gradient(engine: Engine, base: Tensor, point: Point) -> Iterable[str]:
    """Whether the gradient towards an edit is that of finite differences."""

    def summed(gate: Tensor) -> Tensor:
        output, _ = engine.forward(base, edits=[(point, lambda own: own * gate.to(own))])
        return output.float().log_softmax(-1)[:, 0].sum()

    gate = torch.tensor(1.0, device=base.device, requires_grad=True)
    (slope,) = torch.autograd.grad(summed(gate), gate)
    with torch.no_grad():
        step = 1e-2
        difference = (summed(gate + step) - summed(gate - step)) / (2 * step)
    if (slope - difference).abs() > 0.05 * difference.abs() + 5e-2:
        yield (
            f"{point}: the gradient is {float(slope):.4g}, by finite differences "
            f"{float(difference):.4g}"
        )


def _heads(engine: Engine, base: Tensor) -> Iterable[str]:
    for layer, why in wrong_parts(engine, base).items():
        yield f"layer {layer}: {why}"


@torch.no_grad()
def _additive(engine: Engine, base: Tensor, source: Tensor) -> Iterable[str]:
    gap = additive_gap(engine, base, source)
    if not gap <= 1e-3:
        yield (
            f"heads and MLPs do not write all that the layers write (additive gap {gap:.2g}): a "
            "layer writes at a point that is no site, or a point is not what it is taken for"
        )
