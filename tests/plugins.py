"""Mediators as a plug-in brings them: no file of the package knows their kinds or names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from circuitfind.circuits.circuit import Circuit
from circuitfind.engines.engine import Point
from circuitfind.mediators.head import head
from circuitfind.mediators.known import MEDIATORS
from circuitfind.mediators.site import Component, Glyph, Mediator, Offers, Site
from circuitfind.mediators.whole import EMBED, mlp, one_part


@dataclass(frozen=True)
class Neurons:
    """An MLP's hidden units, `m3.n17`; how many, the sizes of an engine do not tell."""

    kind = "mlp-neuron"
    order = 2
    digest = ""
    glyph = Glyph(noun="neuron", plural="neurons", shape="box", inputs=("in",))

    def components(self, engine: Offers) -> Iterator[Component]:
        yield from ()

    def name(self, component: Component) -> str:
        return f"m{component.layer}.n{component.index}"

    def parse(self, name: str) -> Component | None:
        match = re.fullmatch(r"m(\d+)\.n(\d+)", name)
        return None if match is None else Component(int(match[1]), self, int(match[2]))

    def point(self, component: Component) -> Point:
        return Point(component.layer, "mlp")

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos part width"]:
        return acts.unsqueeze(-1)

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos part width"]
    ) -> Float[Tensor, "row pos *acts"]:
        return parts.squeeze(-1)


@dataclass(frozen=True)
class Stream:
    """The residual stream that enters a layer, `r5`; `r4` leaves the last of four."""

    kind = "stream"
    order = 0
    digest = ""
    glyph = Glyph(
        noun="residual stream", plural="residual streams", shape="round", inputs=("q", "k", "v")
    )

    def components(self, engine: Offers) -> Iterator[Component]:
        for layer in range(1, engine.sizes.n_layers + 1):
            if engine.has(Point(layer, "entry")):
                yield Component(layer, self)

    def name(self, component: Component) -> str:
        return f"r{component.layer}"

    def parse(self, name: str) -> Component | None:
        match = re.fullmatch(r"r(\d+)", name)
        return None if match is None else Component(int(match[1]), self)

    def point(self, component: Component) -> Point:
        return Point(component.layer, "entry")

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos 1 width"]:
        return one_part(acts)

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos 1 width"]
    ) -> Float[Tensor, "row pos *acts"]:
        return parts.squeeze(2)


NEURONS, STREAM = Neurons(), Stream()


def neuron(layer: int, index: int) -> Component:
    return Component(layer, NEURONS, index)


def stream(layer: int) -> Component:
    return Component(layer, STREAM)


def plug_in(monkeypatch, *mediators: Mediator) -> None:
    """Let these be known by name, as an installed package's are."""
    brought = {one.kind: (one, "a stranger") for one in mediators or (NEURONS, STREAM)}
    monkeypatch.setattr(MEDIATORS, "_found", MEDIATORS._objects() | brought)


def mixed_circuit(position: str = "last") -> Circuit:
    """A circuit of a member of every mediator there is, with two neurons, in a model of four
    layers of four heads."""
    parts = [stream(4), neuron(3, 17), neuron(1, 1423), mlp(2), head(2, 1), head(0, 3), EMBED]
    return Circuit(
        model="binder",
        task="ioi",
        claim="a claim",
        method="constrained",
        seed=0,
        sites=tuple(Site(part, position) for part in parts),
        scores=(0.4, 0.3, -0.2, 0.2, 0.1, 0.05, 0.01),
        provenance={"n_layers": 4, "n_heads": 4, "positions": [position]},
    )
