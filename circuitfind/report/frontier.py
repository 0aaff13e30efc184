"""The frontier of a search as a figure: how far the best circuit of each size gets."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..search.result import FrontierPoint
from .sitegraph import shortened

SIZE = (6.4, 3.6)  # inches
STYLE: dict[Any, Any] = {"font.size": 9, "text.parse_math": False, "axes.spines.top": False,
         "axes.spines.right": False, "legend.frameon": False}  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito
MARKERS = "osD^vP"
SHOWN = 6  # desiderata with a line of their own


class Shown(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot is there."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def draw_frontier(
    frontier: Sequence[FrontierPoint],
    bounds: Mapping[str, float] | None = None,
    chosen: int | None = None,
) -> Shown:
    """Satisfaction of each desideratum (a share of selection pairs) against the number of sites.

    Past the sixth desideratum the others are left out, which the title says.

    Args:
        bounds: what each desideratum has to reach, by its name; a dashed line.
        chosen: the size of the circuit that was chosen; an upright line.

    Raises:
        ValueError: no circuit was tried.
    """
    if not frontier:
        raise ValueError("there is no frontier to draw: this search has tried no circuit")
    names = list(frontier[0].satisfaction)
    with matplotlib.rc_context(STYLE):
        figure = Shown(SIZE, layout="constrained")
        axes = figure.add_subplot(
            xlabel="sites in the circuit, the best tried of each size",
            ylabel="satisfaction (share of pairs)", ylim=(-0.04, 1.06),
        )  # fmt: skip
        sizes = [point.size for point in frontier]
        for number, name in enumerate(names[:SHOWN]):
            look = {"color": COLOURS[number], "alpha": 0.85}
            values = [point.satisfaction[name] for point in frontier]
            # The later lines are thinner and smaller, so that those below show where they meet.
            axes.plot(
                sizes, values, marker=MARKERS[number], markersize=7 - 0.8 * number,
                linewidth=2.6 - 0.35 * number, label=shortened(name), **look,
            )  # fmt: skip
        for number, name in enumerate(names[:SHOWN]):
            if bounds and name in bounds:
                style = (4 * number, (3, 5))  # dashes of equal bounds stand beside each other
                axes.axhline(bounds[name], color=COLOURS[number], linestyle=style, linewidth=1.2)
        if bounds:
            axes.plot([], [], "--", color="#555555", label="needed to hold")
        if chosen is not None:
            axes.axvline(chosen, color="#555555", linewidth=1, label=f"chosen: {chosen} sites")
        if len(names) > SHOWN:
            axes.set_title(f"{SHOWN} of {len(names)} desiderata", loc="left", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower left", ncols=2)
    return figure
