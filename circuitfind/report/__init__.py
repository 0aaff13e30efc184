"""Reports: a circuit and its card as a figure."""

from .figure import draw
from .style import save_figure

__all__ = ["draw", "save_figure"]
