"""Attention heads: slices of what enters a layer's output projection."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float

from ..engines.points import Point
from .site import Component, Glyph, Offers, Tensor

_NAME = re.compile(r"a(\d+)\.h(\d+)", re.ASCII)


@dataclass(frozen=True)
class Heads:
    """A head is its slice of the tensor that enters the output projection, one for each query
    head. Names follow EAP-IG (Hanna et al. 2024, arXiv 2403.17806): `a9.h6`."""

    kind = "head"
    order = 1
    digest = ""
    glyph = Glyph(noun="head", plural="heads", shape="round", inputs=("q", "k", "v"))

    def components(self, engine: Offers) -> Iterator[Component]:
        for layer in range(engine.sizes.n_layers):
            if engine.has(Point(layer, "heads")):
                for index in range(engine.sizes.n_heads):
                    yield head(layer, index)

    def name(self, component: Component) -> str:
        return f"a{component.layer}.h{component.index}"

    def parse(self, name: str) -> Component | None:
        match = _NAME.fullmatch(name)
        return None if match is None else head(int(match[1]), int(match[2]))

    def point(self, component: Component) -> Point:
        return Point(component.layer, "heads")

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos head width"]:
        if acts.ndim != 4:
            raise ValueError(
                "heads are cut from a tensor of row, position, head and width; got one of shape "
                f"{tuple(acts.shape)}"
            )
        return acts

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos head width"]
    ) -> Float[Tensor, "row pos *acts"]:
        return parts


HEADS = Heads()


def head(layer: int, index: int) -> Component:
    """The head of this index in this layer."""
    return Component(layer, HEADS, index)
