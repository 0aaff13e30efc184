"""Every circuit on every claim, as one figure: a matrix with a column for each desideratum."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...validate.finding import DesideratumScore
from .style import GAINS, INK, LOSS_HATCH, STYLE

CELL, NAMES, HEADS, EDGE, GAP = (0.66, 0.36), 1.7, 1.1, 0.12, 0.2  # inches
SHADES = GAINS[:3]  # light enough for dark words


def draw_matrix(matrix: Mapping[str, Mapping[str, Sequence[DesideratumScore]]]) -> Figure:
    """The figure of a comparison's matrix: a row for each circuit, columns grouped by claim.

    A cell is the satisfaction, a share of held-out pairs. Whether the desideratum's bound is
    reached is written out, and cells that do not reach it are hatched.
    """
    rows = list(matrix)
    groups = {claim: list(scores) for claim, scores in matrix[rows[0]].items()}
    columns = sum(map(len, groups.values()))
    width = NAMES + columns * CELL[0] + GAP * len(groups) + 2 * EDGE
    height = HEADS + len(rows) * CELL[1] + 0.4
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        left = EDGE + NAMES
        for claim, scores in groups.items():
            axes.text(left, EDGE, _wrapped(claim, 11 * len(scores)), weight="bold", va="top")
            for column, score in enumerate(scores):
                x = left + column * CELL[0]
                axes.text(x + 0.03, HEADS - 0.06, _wrapped(score.name, 11), va="bottom")
                for row, circuit in enumerate(rows):
                    _cell(axes, x, HEADS + row * CELL[1], matrix[circuit][claim][column])
            left += len(scores) * CELL[0] + GAP
        for row, circuit in enumerate(rows):
            y = HEADS + (row + 0.5) * CELL[1]
            axes.text(EDGE + NAMES - 0.1, y, _wrapped(circuit, 28), ha="right", va="center")
        words = "rows: circuits; columns: desiderata, shares of held-out pairs"
        axes.text(EDGE, height - EDGE, words, va="bottom", color="#444444")
    return figure


def _wrapped(words: str, width: int) -> str:
    return fill(words, max(8, width), break_long_words=True)


def _cell(axes: Axes, x: float, y: float, score: DesideratumScore) -> None:
    """One cell; x and y are its top left corner in inches."""
    shade = SHADES[min(len(SHADES) - 1, int(score.satisfaction * len(SHADES)))]
    inset = 0.02
    box = (x + inset, y + inset), CELL[0] - 2 * inset, CELL[1] - 2 * inset
    axes.add_patch(
        Rectangle(
            *box,
            facecolor=shade if score.holds else "white",
            edgecolor="#b0b0b0",
            linewidth=0.6,
            hatch=None if score.holds else LOSS_HATCH,
        )
    )
    verdict = "holds" if score.holds else "fails"
    axes.text(
        x + CELL[0] / 2,
        y + CELL[1] / 2,
        f"{score.satisfaction:.2f}\n{verdict}",
        ha="center",
        va="center",
        color=INK,
        linespacing=1.15,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if not score.holds else None,
    )
