"""Gradients of every site's gate in one pass, against finite differences; and silent sites."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from .engine import Edit, Engine, Point
from .laws import look, sites

# A head of a point by its number, or None for the whole of it.
Part = tuple[Point, int | None]
# Steps of the finite differences, forwards, backwards and both. An expert that is chosen otherwise
# within a step spoils it, so that the nearest of several counts; after a near one they end.
STEPS = (1e-2, 3e-3, 1e-3, 3e-4)
NEAR = 1e-3
MIDDLE = 0.5  # where the gates stand


@dataclass(frozen=True)
class Slopes:
    """What gradients say of the gates of all sites.

    `gap` is how far the slope along one random direction of all gates is from finite differences,
    as a share of the sum of what the gates add to it. `none` are the gates whose gradient is zero
    or no finite number.
    """

    gap: float
    none: tuple[Part, ...]


def gate_slopes(
    engine: Engine, base_ids: Int[Tensor, "row pos"], source_ids: Int[Tensor, "row pos"]
) -> Slopes:
    """The gradients of gates that stand half open at every head and MLP, from base to source.

    What is differentiated is a fixed random sum of the logits.

    Raises:
        RuntimeError: no gradient comes back at all.
    """
    points = sites(engine)
    with torch.no_grad():
        output, source = look(engine, source_ids, points)
    generator = torch.Generator().manual_seed(0)
    weigh = torch.randn(output.shape, generator=generator).to(output.device)

    def summed(gates: Mapping[Point, Tensor]) -> Tensor:
        edits = [(at, _between(source[at], gates[at])) for at in points]
        logits, _ = engine.forward(base_ids, edits=edits)
        return (logits.float() * weigh).sum().double()

    gates = {
        at: torch.full((_n_parts(at, source[at]),), MIDDLE, requires_grad=True) for at in points
    }
    way = {at: torch.rand(len(gate), generator=generator) + 0.5 for at, gate in gates.items()}
    with torch.enable_grad():
        found = torch.autograd.grad(summed(gates), list(gates.values()), allow_unused=True)
    slopes = {
        at: torch.zeros(len(gates[at])) if slope is None else slope
        for at, slope in zip(points, found, strict=True)
    }
    none = tuple(
        (at, part if at.kind == "heads" else None)
        for at, slope in slopes.items()
        for part, one in enumerate(slope.tolist())
        if one == 0 or one != one or abs(one) == float("inf")
    )
    return Slopes(_gap(summed, slopes, way), none)


@torch.no_grad()
def _gap(
    summed: Callable[[Mapping[Point, Tensor]], Tensor],
    slopes: Mapping[Point, Tensor],
    way: Mapping[Point, Tensor],
) -> float:
    along = {at: slopes[at].double() * way[at] for at in way}
    slope = sum(float(one.sum()) for one in along.values())
    whole = sum(float(one.abs().sum()) for one in along.values())
    if not whole > 0:
        return float("inf")

    def at(distance: float) -> float:
        return float(
            summed({at: torch.full_like(one, MIDDLE) + distance * one for at, one in way.items()})
        )

    here, gap = at(0.0), float("inf")
    for step in STEPS:
        ahead, behind = at(step), at(-step)
        differences = (ahead - behind) / 2, ahead - here, here - behind
        gap = min(gap, *(abs(slope - found / step) / whole for found in differences))
        if gap <= NEAR:
            break
    return gap


def _n_parts(point: Point, value: Tensor) -> int:
    return value.shape[2] if point.kind == "heads" else 1


def _between(value: Tensor, gate: Tensor) -> Edit:
    """An edit that goes from its own value to this one by the gate of each head."""

    def go(own: Tensor) -> Tensor:
        share = gate.to(own)
        return own + (share[:, None] if own.ndim == 4 else share) * (value - own)

    return go


@torch.no_grad()
def silent(engine: Engine, ids: Int[Tensor, "row pos"], parts: Sequence[Part]) -> tuple[Part, ...]:
    """Those of these heads and MLPs that change no logit at all when noise takes their place."""
    plain, seen = look(engine, ids, list(dict.fromkeys(point for point, _ in parts)))
    found = []
    for point, part in parts:
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(seen[point].shape, generator=generator).to(seen[point])
        noise = noise * (1 + seen[point].abs().amax())
        output, _ = engine.forward(ids, edits=[(point, _noisy(noise, part))])
        if torch.equal(output, plain):
            found.append((point, part))
    return tuple(found)


def _noisy(noise: Tensor, part: int | None) -> Edit:
    def put(own: Tensor) -> Tensor:
        own = own.clone()
        if part is None:
            return own + noise
        own[:, :, part] += noise[:, :, part]
        return own

    return put
