"""A mediator: the coordinates of what one layer's MLP writes, each a part of width 1."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from circuitfind.engines import Point
from circuitfind.mediators.site import Component, Glyph


@dataclass(frozen=True)
class Coordinates:
    layer: int = 1
    kind = "coordinate"
    order = 2
    digest = ""
    glyph = Glyph(noun="coordinate", plural="coordinates", shape="box", inputs=("in",))

    def components(self, engine) -> Iterator[Component]:
        if engine.has(Point(self.layer, "mlp")):
            for index in range(engine.sizes.d_model):
                yield Component(self.layer, self, index)

    def name(self, component):
        return f"m{component.layer}.c{component.index}"

    def parse(self, name):
        match = re.fullmatch(rf"m{self.layer}\.c(\d+)", name)
        return None if match is None else Component(self.layer, self, int(match[1]))

    def point(self, component):
        return Point(component.layer, "mlp")

    def split(self, acts):
        return acts.unsqueeze(-1)

    def join(self, acts, parts):
        return parts.squeeze(-1)


COORDINATES = Coordinates()
