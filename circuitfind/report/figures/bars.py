"""A bar for each desideratum: its satisfaction, the bound it needs, null and ceiling."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ...validate.card import SAME, DesideratumScore
from .lettering import LINE, SMALL, clean, number, put_axes, put_text, wrap
from .style import LOSS_HATCH, THEMES, Theme

LABELS, BAR, REMARKS, PITCH = 1.2, 1.5, 0.78, 0.46  # the columns and the row height, in inches
VERDICTS = {True: "holds", False: "does not hold"}
LIGHT = THEMES["light"]


def put_bars(
    figure: Figure,
    scores: Sequence[DesideratumScore],
    left: float,
    top: float,
    *,
    labels: float = LABELS,
    bar: float = BAR,
    theme: Theme = LIGHT,
) -> None:
    """A bar per desideratum; below each, a rail from null to ceiling. `left` and `top` are the
    corner, `labels` and `bar` the widths of those columns, all in inches."""
    middle, start = left + labels, top + 0.17
    heading = ["satisfaction of each desideratum"]
    put_text(figure, middle, top, heading, weight="bold", color=theme.ink, gid="panel of bars")
    axes = put_axes(figure, middle, start, bar, PITCH * len(scores))
    axes.set(xlim=(0, 1), ylim=(len(scores) - 0.5, -0.5), yticks=[])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(_share_of(scores))
    axes.grid(axis="x", color=theme.faint, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for row, score in enumerate(scores):
        _put_bar(axes, row, score, theme)
        remark = [number(score.satisfaction), VERDICTS[score.holds]]
        remark += ["vacuous"] if score.vacuous else []
        label = [*wrap(score.name, labels - 0.1, 2), f"n = {score.n}"]
        y, half = start + PITCH * (row + 0.5), LINE * SMALL / 2
        weight = "normal" if score.holds else "bold"
        put_text(figure, middle - 0.1, y - half * len(label), label, ha="right", color=theme.ink)
        look = {"weight": weight, "color": theme.ink}
        put_text(figure, middle + bar + 0.1, y - half * len(remark), remark, **look)
    handles, words = axes.get_legend_handles_labels()
    known = dict(zip(words, handles, strict=True)).values()
    ordered = sorted(known, key=lambda handle: isinstance(handle, Line2D))
    put_legend(figure, ordered, 2, middle, start + PITCH * len(scores) + 0.38)


def _put_bar(axes: Axes, row: int, score: DesideratumScore, theme: Theme) -> None:
    name, y, rail = clean(score.name), row - 0.1, row + 0.29
    fill, hatch = ("#9fc3e8", None) if theme is LIGHT else ("#2b5c92", None)
    if not score.holds:
        fill, hatch = theme.paper, LOSS_HATCH
    (bar,) = axes.barh(
        y, score.satisfaction, 0.36, color=fill, edgecolor=theme.ink, label=VERDICTS[score.holds]
    )
    bar.set(linewidth=0.6, hatch=hatch, gid=f"bar:{name}")
    axes.plot([score.null, score.ceiling], [rail, rail], color="#7a7a7a", linewidth=0.7, zorder=2)
    marks = {
        "need": ([score.need], [row]),
        "interval": ([score.low, score.high], [y, y]),
        "null": ([score.null], [rail]),
        "ceiling": ([score.ceiling], [rail]),
    }
    looks = _looks(theme)
    for mark, (x, y) in marks.items():
        look = {"color": theme.ink, "zorder": 4, "clip_on": False} | looks[mark]
        axes.plot(x, y, gid=f"{mark}:{name}", **look)


def _looks(theme: Theme) -> dict[str, dict[str, Any]]:
    bound = "#a8321a" if theme is LIGHT else "#ff8a66"
    return {
        "interval": {"label": "95% interval", "linewidth": 1, "marker": "|", "markersize": 5},
        "need": {
            "label": "needed to hold",
            "linewidth": 0,
            "marker": "|",
            "markersize": 25,
            "markeredgewidth": 1.6,
            "markeredgecolor": bound,
            "path_effects": [withStroke(linewidth=3, foreground=theme.paper)],
        },
        "null": {
            "label": "null: empty circuit",
            "linewidth": 0,
            "marker": "o",
            "markersize": 6,
            "markerfacecolor": theme.paper,
        },
        "ceiling": {
            "label": "ceiling: every site",
            "linewidth": 0,
            "marker": "D",
            "markersize": 2.6,
        },
    }


def put_legend(figure: Figure, handles: list, columns: int, left: float, top: float) -> None:
    """What marks and fills mean, in so many columns, its upper left corner there."""
    w, h = figure.get_size_inches()
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / w, 1 - top / h),
        ncols=columns,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.35,
    )
    for line in legend.findobj(Line2D):
        line.set_markersize(min(line.get_markersize(), 8))


def _share_of(scores: Sequence[DesideratumScore]) -> str:
    """What the bars are shares of."""
    same = any(score.split == SAME for score in scores)
    return f"share of pairs ({SAME})" if same else "share of held-out pairs"
