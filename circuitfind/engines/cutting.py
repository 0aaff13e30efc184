"""Whether the heads of a point are the model's heads, one by one."""

import torch
from jaxtyping import Int
from torch import Tensor

from .engine import QUERIES, Edit, Engine, Point
from .laws import look

# By how much other heads may move, as a share of how far a head moves with its own queries. Heads
# that are cut wrongly move as far as it.
CLOSE = {torch.float32: 1e-3, torch.float64: 1e-3}
HALF_PRECISION = 0.05


@torch.no_grad()
def wrong_parts(engine: Engine, ids: Int[Tensor, "row pos"]) -> dict[int, str]:
    """The layers whose heads are cut wrongly, each with what is wrong in words.

    Where the engine has queries, each head's queries are changed by themselves, with what enters
    every layer held: then the head of that number has to move, and no other one.
    """
    n_heads = engine.sizes.n_heads
    wanted = [Point(layer, "heads") for layer in range(engine.sizes.n_layers)]
    points = [point for point in wanted if engine.has(point)]
    _, seen = look(engine, ids[:1], points)
    wrong = {
        at.layer: f"its heads have {_parts(seen[at])} parts and the model says {n_heads} heads"
        for at in points
        if seen[at].ndim != 4 or seen[at].shape[2] != n_heads
    }
    asked = [at for at in points if at.layer not in wrong and queries(engine, at.layer)]
    return wrong | _moved_by_queries(engine, ids[:1], asked)


def queries(engine: Engine, layer: int) -> Point | None:
    """The point of a layer's queries, None where the engine has none."""
    known = (Point(layer, kind) for kind in ("q", QUERIES))
    return next((point for point in known if engine.has(point)), None)


def _parts(value: Tensor) -> int | str:
    return value.shape[2] if value.ndim == 4 else "no"


def _moved_by_queries(engine: Engine, ids: Tensor, heads: list[Point]) -> dict[int, str]:
    layers, n_heads = [at.layer for at in heads], engine.sizes.n_heads
    entries = [Point(layer, "entry") for layer in layers]
    asked = {layer: at for layer in layers if (at := queries(engine, layer)) is not None}
    _, seen = look(engine, ids, [*entries, *asked.values()])
    wrong = {
        at.layer: f"it attends with {seen[at].shape[2]} heads and the model says {n_heads}"
        for at in asked.values()
        if seen[at].shape[2] != n_heads
    }
    left = [at for at in heads if at.layer not in wrong]
    moved: dict[Point, Tensor] = {}

    def keep(point: Point) -> Edit:
        def see(own: Tensor) -> None:
            moved[point] = _turned(own[:1].float(), own[1:].float()).abs().amax((1, 3)).cpu()

        return see

    edits: list[tuple[Point, Edit]] = []
    for at in left:
        edits.append((Point(at.layer, "entry"), _held(seen[Point(at.layer, "entry")])))
        edits.append((asked[at.layer], _one_each))
        edits.append((at, keep(at)))
    if left:
        # Row 0 is untouched; in row 1 + i the queries of head i are others.
        engine.forward(ids.repeat(1 + n_heads, 1), edits=edits)
    close = min((CLOSE.get(seen[at].dtype, HALF_PRECISION) for at in entries), default=0.0)
    for at in left:
        own = moved[at].diagonal()
        rest = moved[at] - torch.diag(own)
        if bool((rest.amax(1) > close * moved[at].amax().clamp(min=1e-12)).any()):
            head = int(rest.amax(1).argmax())
            other = int(rest[head].argmax())
            wrong[at.layer] = f"other queries in head {head} change what is cut as head {other}"
    return wrong


def _held(value: Tensor) -> Edit:
    return lambda own: value.expand_as(own).clone()


def _one_each(own: Tensor) -> Tensor:
    """Queries with those of head i turned round in row 1 + i."""
    own = own.clone()
    for head in range(own.shape[2]):
        own[1 + head, :, head] = -own[1 + head, :, head].flip(-1)
    return own


def _turned(own: Tensor, other: Tensor) -> Tensor:
    """By how much heads differ, but for a factor: a norm over all heads, as in BitNet, scales the
    others where one changes."""
    change = other - own
    if own.shape[-1] == 1:
        return change
    square = own.square().sum(-1, keepdim=True).clamp(min=1e-30)
    return change - (change * own).sum(-1, keepdim=True) / square * own
