"""Drawing in inches from the bottom left corner, all of it smaller where the page is too small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .lettering import LINE, SMALL, cut, inches
from .style import Theme

GAP, SWATCH, NEAR = 0.18, 0.26, 0.06  # between two items, of a swatch, and before its words
LEGEND_LINE = 0.155  # the height of a line of a legend


@dataclass(frozen=True)
class Pen:
    """Axes over a whole figure, their unit an inch at full size; `scale` is what one takes."""

    axes: Axes
    theme: Theme
    scale: float

    def write(self, x: float, y: float, words: str, size: float = SMALL, **look: Any) -> None:
        """Text whose baseline, or whatever `va` names, is at `y`."""
        look = {"color": self.theme.ink, "size": size * self.scale, "zorder": 5} | look
        self.axes.text(x, y, words, **look)

    def write_lines(
        self, x: float, top: float, lines: Sequence[str], size: float = SMALL, **look: Any
    ) -> None:
        """Lines of text below `top`; those after the first have its gid with their number."""
        gid = look.pop("gid", None)
        for n, words in enumerate(lines):
            look["gid"] = f"{gid}-line-{n + 1}" if gid and n else gid
            self.write(x, top - size * (LINE * n + 1 / 72), words, size, **look)

    def add(self, patch: Patch, **look: Any) -> None:
        """A shape, its line as wide as the scale has it."""
        if "linewidth" in look:
            look["linewidth"] *= self.scale
        patch.set(**look)
        self.axes.add_patch(patch)


def open_sheet(
    size: tuple[float, float], origin: tuple[float, float], scale: float, theme: Theme
) -> tuple[Figure, Pen]:
    """A figure for a drawing of this size, in inches before it is scaled, whose 0 is at `origin`
    from the lower left corner."""
    (width, height), (left, bottom) = size, origin
    figure = Figure((width * scale, height * scale))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-left, width - left), ylim=(-bottom, height - bottom))
    axes.axis("off")
    return figure, Pen(axes, theme, scale)


@dataclass(frozen=True)
class Item:
    """An entry of a legend: what draws its swatch, from the left end and the height of its
    middle, and the words beside it."""

    show: Callable[[Pen, float, float], None]
    words: str

    @property
    def width(self) -> float:
        return SWATCH + NEAR + inches(self.words)


def arrange(items: Sequence[Item], room: float) -> list[list[Item]]:
    """The items on lines of this width; words that are too long for one are cut."""
    lines: list[list[Item]] = [[]]
    for item in items:
        item = replace(item, words=cut(item.words, room - SWATCH - NEAR))
        if lines[-1] and sum(i.width + GAP for i in lines[-1]) + item.width > room:
            lines.append([])
        lines[-1].append(item)
    return lines


def put_items(pen: Pen, lines: Sequence[Sequence[Item]], left: float, top: float) -> None:
    """A legend below `top`."""
    for n, line in enumerate(lines):
        x, middle = left, top - LEGEND_LINE * (n + 0.5)
        for item in line:
            item.show(pen, x, middle)
            pen.write(x + SWATCH + NEAR, middle, item.words, va="center_baseline")
            x += item.width + GAP
