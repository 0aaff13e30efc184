"""Reports: a circuit and its card as a figure."""

from .figures.grid import draw
from .figures.style import save_figure

__all__ = ["draw", "save_figure"]
