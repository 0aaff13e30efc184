"""Reports: a circuit and its card as a figure. Names are imported when they are first used, since
reports in text need no matplotlib."""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .figures.grid import draw
    from .figures.style import save_figure

__all__ = ["draw", "save_figure"]

import_when_used(__name__, {"draw": "figures.grid", "save_figure": "figures.style"})
