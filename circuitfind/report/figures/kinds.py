"""The figures that one finished run can be drawn as, by name; the names need no matplotlib."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...circuits.circuit import Circuit
from ...circuits.examples import Examples
from ...validate.card import card_from_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = ("frontier", "bars", "effects", "stability")  # of numbers
GRID = "grid"  # which a run writes itself
FIGURES = (GRID, "circuit", *PLOTS, "attention")
OLD_NAMES = {"map": GRID}  # what a kind was called before


def draw_kind(
    circuit: Circuit,
    report: Mapping[str, Any],
    kind: str,
    *,
    examples: Examples | None = None,
    theme: str | None = None,
    width: str | None = None,
) -> "Figure":
    """The figure of this kind of a circuit and its report, by default as the kind has it.

    Args:
        examples: where the circuit's heads look; only the kind `attention` shows it.

    Raises:
        ValueError: no such kind, theme or width; a report without what the kind shows, or about
            another circuit; a theme or width for the grid, which has its own.
    """
    kind = OLD_NAMES.get(kind, kind)
    card = card_from_json(report)
    card.require(circuit)
    look = {key: value for key, value in (("theme", theme), ("width", width)) if value}
    if kind == GRID and look:
        raise ValueError("the grid is light and as wide as it needs: leave out --theme and --width")
    if kind == GRID:
        from .grid import draw

        return draw(circuit, card)
    if kind == "circuit":
        from .diagram import draw_diagram

        return draw_diagram(circuit, theme=theme or "light", width=width or "two")
    if kind == "attention":
        from .attention import draw_attention

        return draw_attention(circuit, examples, **look)
    if kind not in PLOTS:
        raise ValueError(f"a figure is one of {', '.join(FIGURES)}; got {kind!r}")
    from . import effects, plots

    drawn = {
        "frontier": plots.draw_frontier,
        "bars": plots.draw_bars,
        "effects": effects.draw_effects,
        "stability": effects.draw_stability,
    }
    return drawn[kind](circuit, report, **look)
