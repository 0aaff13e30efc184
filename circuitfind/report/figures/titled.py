"""A figure under the title of its circuit, and what a report holds for it."""

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ...circuits.circuit import Circuit
from .lettering import LINE, SMALL, TITLE, cut, put_text, wrap
from .style import Theme


class Shown(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot is there."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


Report = Mapping[str, Any]

MARGIN = 0.12  # inches


def titled_figure(
    page: float, circuit: Circuit, words: str, theme: Theme, high: float
) -> tuple[Figure, float]:
    """A figure with a title over a room of this height, and how far below its top that begins."""
    room = page - 2 * MARGIN
    title = wrap(circuit.claim, room, 2, TITLE, "bold")
    names = " · ".join(filter(None, (cut(circuit.model, 2.0), cut(circuit.task, 2.0), words)))
    about = wrap(names, room, 3)
    second = MARGIN + LINE * TITLE * len(title) + 0.02
    top = second + LINE * SMALL * len(about) + 0.1
    figure = Shown((page, top + high + MARGIN))
    put_text(figure, MARGIN, MARGIN, title, size=TITLE, weight="bold", color=theme.ink, gid="title")
    put_text(figure, MARGIN, second, about, color=theme.muted, gid="subtitle")
    return figure, top


def details_of(report: Report, check: str) -> list[Mapping[str, Any]]:
    """The rows of a check; none where it was not made."""
    return [
        row for one in report.get("checks", ()) if one["name"] == check for row in one["details"]
    ]
