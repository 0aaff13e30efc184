"""What is patched: mediators, their components, and sites (a component at a named position).

A mediator is a lens on an activation: it cuts the tensor at a point of the model's pass into parts
and puts changed parts back. A component is one part in one layer, a site a component at a position.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float

from ..engines.points import Point, Sizes

if TYPE_CHECKING:
    from torch import Tensor
else:
    # Sites are read and named where no model runs, and torch takes a second to load. Shapes are
    # checked all the same.
    Tensor = Any

Shape = Literal["round", "box", "trapezium"]


@runtime_checkable
class Offers(Protocol):
    """What a mediator asks of an engine to know which components it has."""

    @property
    def sizes(self) -> Sizes: ...

    def has(self, point: Point) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Glyph:
    """How reports show a mediator's components.

    Args:
        noun, plural: in words; `plural`, in lower case, is also the name that selects them all.
        shape: of a node in a drawing.
        inputs: the channels of a component that an edge can enter.
    """

    noun: str
    plural: str
    shape: Shape
    inputs: tuple[str, ...] = ()


@runtime_checkable
class Mediator(Protocol):
    """A kind of thing that can be patched. Frozen and hashable.

    The law that makes it a lens: `join(acts, split(acts))` is `acts`, bit for bit where a part is
    a slice, to rounding where it is a projection.
    """

    kind: str
    glyph: Glyph
    order: int  # where in a layer's pass: 0 before the heads, 1 heads, 2 after them
    digest: str  # of the parameters, such as a rotation; empty where there are none

    def components(self, engine: Offers) -> Iterator["Component"]:
        """The components that this engine offers, layer by layer."""
        ...

    def name(self, component: "Component") -> str:
        """The component's name, such as `a9.h6`; `parse` reads it back."""
        ...

    def parse(self, name: str) -> "Component | None":
        """The component of this name, None where the name is not one of this mediator's."""
        ...

    def point(self, component: "Component") -> Point:
        """Where in the pass the component's activation is."""
        ...

    def split(self, acts: Float[Tensor, "row pos *acts"]) -> Float[Tensor, "row pos part width"]:
        """The parts of the activation at a point.

        Raises:
            ValueError: an activation of another shape than the mediator is for.
        """
        ...

    def join(
        self, acts: Float[Tensor, "row pos *acts"], parts: Float[Tensor, "row pos part width"]
    ) -> Float[Tensor, "row pos *acts"]:
        """The activation with these parts in the place of its own."""
        ...


@dataclass(frozen=True)
class Component:
    """An addressable part of a model: in this layer, the part of this index as its mediator cuts
    it; `index` is None where a mediator has one part a layer."""

    layer: int
    mediator: Mediator
    index: int | None = None

    def __str__(self) -> str:
        return self.mediator.name(self)

    @property
    def kind(self) -> str:
        """The kind of its mediator, such as `head`."""
        return self.mediator.kind

    @property
    def glyph(self) -> Glyph:
        """How reports show it."""
        return self.mediator.glyph

    @property
    def point(self) -> Point:
        """Where in the pass its activation is."""
        return self.mediator.point(self)

    @property
    def part(self) -> int:
        """Which of the parts that its mediator cuts is its own."""
        return self.index or 0

    @property
    def depth(self) -> tuple[int, int]:
        """Its layer, and its place in the layer's pass; components of one depth run together."""
        return self.layer, self.mediator.order

    @property
    def rank(self) -> tuple[int, int, int]:
        """Where it comes in the order of the pass, parts of one activation by index."""
        return *self.depth, self.part

    def __lt__(self, other: "Component") -> bool:
        return (self.rank, self.kind) < (other.rank, other.kind)


@dataclass(frozen=True)
class Site:
    """A component at a named position: the unit that a gate opens."""

    component: Component
    position: str

    def __str__(self) -> str:
        return f"{self.component}@{self.position}"
