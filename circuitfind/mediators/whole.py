"""Mediators that take an activation as a whole: a layer's MLP, and the token embedding."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float

from ..engines.points import Point
from .site import Component, Glyph, Offers, Tensor

_NAME = re.compile(r"m(\d+)", re.ASCII)


def one_part(acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos 1 width"]:
    """The activation as its only part.

    Raises:
        ValueError: an activation that is not row by position by width.
    """
    if acts.ndim != 3:
        raise ValueError(
            "a whole activation is a tensor of row, position and width; got one of shape "
            f"{tuple(acts.shape)}"
        )
    return acts.unsqueeze(2)


@dataclass(frozen=True)
class Mlps:
    """An MLP is what it writes into the residual stream: `m3`."""

    kind = "mlp"
    order = 2
    digest = ""
    glyph = Glyph(noun="MLP", plural="MLPs", shape="box", inputs=("in",))

    def components(self, engine: Offers) -> Iterator[Component]:
        for layer in range(engine.sizes.n_layers):
            if engine.has(Point(layer, "mlp")):
                yield mlp(layer)

    def name(self, component: Component) -> str:
        return f"m{component.layer}"

    def parse(self, name: str) -> Component | None:
        match = _NAME.fullmatch(name)
        return None if match is None else mlp(int(match[1]))

    def point(self, component: Component) -> Point:
        return Point(component.layer, "mlp")

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos 1 width"]:
        return one_part(acts)

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos 1 width"]
    ) -> Float[Tensor, "row pos *acts"]:
        return parts.squeeze(2)


@dataclass(frozen=True)
class Embedding:
    """What the token embedding writes, before the first layer: `embed`."""

    kind = "embed"
    order = 0
    digest = ""
    glyph = Glyph(noun="embedding", plural="embeddings", shape="trapezium")

    def components(self, engine: Offers) -> Iterator[Component]:
        if engine.has(Point(0, "embed")):
            yield EMBED

    def name(self, component: Component) -> str:
        return "embed"

    def parse(self, name: str) -> Component | None:
        return EMBED if name == "embed" else None

    def point(self, component: Component) -> Point:
        return Point(0, "embed")

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos 1 width"]:
        return one_part(acts)

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos 1 width"]
    ) -> Float[Tensor, "row pos *acts"]:
        return parts.squeeze(2)


MLPS = Mlps()
EMBED = Component(0, Embedding())


def mlp(layer: int) -> Component:
    """The MLP of this layer."""
    return Component(layer, MLPS)
