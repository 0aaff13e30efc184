"""The columns of a grid of components: which parts of which mediator they are, where they stand.

Every head and MLP of a model has its cell; of other mediators, which may have thousands of parts,
only those with a member have a column.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...mediators.site import Component, Mediator
from ...mediators.space import USUAL, Decoder
from .lettering import cut, inches

NEAR = 0.06  # inches between two labels
LEAST = 0.24  # inches between the last column of a block and the first of the next
WIDEST = 1.0  # inches of a label
ROOMY = 2.0  # inches up to which a block's columns stand apart for their labels


@dataclass(frozen=True)
class Block:
    """The columns of a mediator, one for each part; None is the only part of a layer."""

    mediator: Mediator
    parts: tuple[int | None, ...]

    @property
    def is_usual(self) -> bool:
        """Whether every part has a column, a member or not."""
        return self.mediator in USUAL

    @property
    def title(self) -> str:
        """What the columns are, where their labels are numbers."""
        return "" if self.parts == (None,) else cut(self.mediator.glyph.noun, WIDEST)

    @property
    def labels(self) -> list[str]:
        """What stands below each column."""
        noun = cut(self.mediator.glyph.noun, WIDEST)
        return [noun if part is None else str(part) for part in self.parts]

    def apart(self, cell: float) -> float:
        """How far the columns are from each other, in cells of this width."""
        wide = max(1.0, (max(map(inches, self.labels)) + NEAR) / cell)
        return 1.0 if self.is_usual or wide * cell * len(self.parts) > ROOMY else wide

    def ticks(self, cell: float) -> list[int]:
        """The numbers of the columns whose labels have room."""
        needed, pitch = max(map(inches, self.labels)) + 0.05, self.apart(cell) * cell
        n = len(self.parts)
        step = 1 if needed < pitch or n == 1 else 5 if n <= 50 else 10
        while step > 1 and step * pitch <= needed:
            step *= 2
        return list(range(0, n, step))


def blocks_of(components: Iterable[Component], decoder: Decoder) -> tuple[Block, ...]:
    """The columns for these members of a model of these sizes."""
    parts: dict[Mediator, set[int | None]] = {
        usual: {one.index for one in usual.components(decoder)} for usual in USUAL
    }
    for one in components:
        parts.setdefault(one.mediator, set()).add(one.index)
    return tuple(
        Block(mediator, tuple(sorted(its, key=lambda part: -1 if part is None else part)))
        for mediator, its in parts.items()
        if its  # a model may have no heads
    )


def places_of(blocks: Sequence[Block], cell: float) -> list[list[float]]:
    """The middle of each column of each block, in cells of this width from the first one's."""
    placed, titled = [], 0.0  # `titled`: where the last title ends, in inches
    for n, block in enumerate(blocks):
        start, apart, title = 0.0, block.apart(cell), inches(block.title)
        span = apart * (len(block.parts) - 1)
        if n:
            room = (inches(blocks[n - 1].labels[-1]) + inches(block.labels[0])) / 2 + NEAR
            start = placed[-1][-1] + max(1.5, LEAST / cell, room / cell)
        if n and block.title:
            start = max(start, (titled + NEAR + title / 2) / cell - span / 2)
        placed.append([start + apart * number for number in range(len(block.parts))])
        if block.title:
            titled = cell * (start + span / 2) + title / 2
    return placed


def overhang(blocks: Sequence[Block], cell: float) -> float:
    """By how many inches labels and titles reach beyond the last column."""
    ends = []
    for block, places in zip(blocks, places_of(blocks, cell), strict=True):
        ends.append(places[-1] * cell + inches(block.labels[-1]) / 2)
        ends.append((places[0] + places[-1]) / 2 * cell + inches(block.title) / 2)
    return max(ends) - (places_of(blocks, cell)[-1][-1] + 0.5) * cell


def is_before_layers(mediator: Mediator) -> bool:
    """Whether a mediator has one component in all, whatever the number of layers."""
    return sum(1 for _ in mediator.components(Decoder(2, 1))) == 1


def strange_to(decoder: Decoder, components: Iterable[Component]) -> set[Component]:
    """Those of these components that a model of these sizes does not have. Where the sizes do not
    decide which parts a mediator has, only the layer counts; the stream that leaves the last layer
    counts as one that enters a further layer."""
    found, offered = set(), {}
    for one in components:
        if one.mediator not in offered:
            offered[one.mediator] = set(one.mediator.components(decoder))
        its = offered[one.mediator]
        if one not in its if its else one.layer > decoder.n_layers:
            found.add(one)
    return found


def sites_searched(components: Sequence[Component], decoder: Decoder, positions: int) -> int | None:
    """How many sites there are to choose from at so many positions, with those of these members
    that come before the layers; None where the sizes of the model do not tell."""
    others = [one for one in components if one.mediator not in USUAL]
    if not all(is_before_layers(one.mediator) for one in others):
        return None
    return positions * sum(1 for usual in USUAL for _ in usual.components(decoder)) + len(others)
