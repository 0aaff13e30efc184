"""A scale that tells what the shades of a figure are worth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .lettering import put_axes
from .style import Theme

BAR = 0.09  # inches, the height of the bar; its numbers and its name stand below
ROOM = 0.42  # and of all of it
STEPS = 48


def put_colour_bar(
    figure: Figure,
    corner: tuple[float, float],
    wide: float,
    colours: ScalarMappable,
    ticks: Sequence[float],
    words: str,
    theme: Theme,
) -> None:
    """The bar with its upper left corner there, in inches, from the least to the greatest value;
    `words` tell what is measured and in which unit."""
    low, high = colours.get_clim()
    axes = put_axes(figure, *corner, wide, BAR)
    edges = np.linspace(low, high, STEPS + 1)
    shades = colours.to_rgba((edges[:-1] + edges[1:]) / 2)
    # Each step reaches under the next one: seams would show where they only touch.
    wider = np.minimum(edges[1:] + (edges[1] - edges[0]) / 2, high) - edges[:-1]
    steps = axes.bar(edges[:-1], 1, wider, align="edge", color=shades, linewidth=0)
    for n, step in enumerate(steps):
        step.set_gid(f"shade-{n}")
    axes.set(xlim=(low, high), ylim=(0, 1), yticks=[])
    axes.set_xticks(ticks, [f"{tick:.3g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    axes.set_xlabel(words, labelpad=1.5, color=theme.ink)
    for spine in axes.spines.values():
        spine.set(color=theme.muted, linewidth=0.5)
