"""A bar for each desideratum: its satisfaction, the bound it needs, null and ceiling; below it, by
how much the expected answer leads, and what is lost where there is a limit."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ...validate.finding import SAME, DesideratumScore
from .lettering import LINE, SMALL, clean, number, put_axes, put_text, signed, wrap
from .style import LOSS_HATCH, THEMES, Theme

LABELS, BAR, REMARKS, PITCH = 1.2, 1.5, 0.78, 0.46  # the columns and the row height, in inches
BELOW, INDENT = PITCH - 0.03, 0.05  # inches from a row's top and left to the words below its bar
VERDICTS = {"holds": "holds", "fails": "does not hold", "inconclusive": "inconclusive"}
HATCHES = {"holds": None, "fails": LOSS_HATCH, "inconclusive": "......"}
LIGHT = THEMES["light"]


def bars_height(scores: Sequence[DesideratumScore], bar: float = BAR) -> float:
    """The inches that these bars take, with their heading, axis and legend."""
    return _pitch(scores, bar) * len(scores) + 1.0


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
    middle, start, pitch = left + labels, top + 0.17, _pitch(scores, bar)
    heading = ["satisfaction of each desideratum"]
    put_text(figure, middle, top, heading, weight="bold", color=theme.ink, gid="panel of bars")
    axes = put_axes(figure, middle, start, bar, pitch * len(scores))
    axes.set(xlim=(0, 1), ylim=(pitch * len(scores), 0), yticks=[])  # in inches
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(_share_of(scores))
    axes.grid(axis="x", color=theme.faint, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for row, score in enumerate(scores):
        _put_bar(axes, pitch * row + PITCH / 2, score, theme)
        _put_words(figure, score, (left, start + pitch * row), (labels, bar), theme)
    handles, words = axes.get_legend_handles_labels()
    known = dict(zip(words, handles, strict=True)).values()
    ordered = sorted(known, key=lambda handle: isinstance(handle, Line2D))
    put_legend(figure, ordered, 2, middle, start + pitch * len(scores) + 0.38)


def _put_words(
    figure: Figure,
    score: DesideratumScore,
    corner: tuple[float, float],
    widths: tuple[float, float],
    theme: Theme,
) -> None:
    """What stands at the left of a bar, at its right, and below it."""
    (left, top), (labels, bar) = corner, widths
    remark = [number(score.satisfaction), VERDICTS[score.verdict]]
    remark += ["vacuous"] if score.vacuous else []
    label = [*wrap(score.name, labels - 0.1, 2), f"n = {score.n}"]
    x, y, half = left + labels, top + PITCH / 2, LINE * SMALL / 2
    put_text(figure, x - 0.1, y - half * len(label), label, ha="right", color=theme.ink)
    look: dict[str, Any] = {"weight": "normal" if score.holds else "bold", "color": theme.ink}
    put_text(figure, x + bar + 0.1, y - half * len(remark), remark, **look)
    look = {"color": theme.muted, "path_effects": _casing(theme)}
    told = f"told:{clean(score.name)}"
    put_text(figure, x + INDENT, top + BELOW, _told(score, bar), gid=told, **look)


def _pitch(scores: Sequence[DesideratumScore], bar: float) -> float:
    """The inches of a row, with what stands below its bar."""
    lines = max((len(_told(score, bar)) for score in scores), default=0)
    return PITCH + LINE * SMALL * lines


def _told(score: DesideratumScore, bar: float) -> list[str]:
    """The mean lead and the loss, in lines below a bar."""
    told = []
    if score.lead_in_words:
        ends = f" ({score.lead_interval})" if score.lead_interval else ""
        told.append(f"mean lead {score.lead_in_words}{ends}")
    if score.loss:
        told.append(score.loss.words)
    return [line for words in told for line in wrap(signed(words), bar + REMARKS - INDENT, 2)]


def _casing(theme: Theme) -> list[withStroke]:
    """A margin around what stands on lines."""
    return [withStroke(linewidth=3, foreground=theme.paper)]


def _put_bar(axes: Axes, middle: float, score: DesideratumScore, theme: Theme) -> None:
    name, y, rail = clean(score.name), middle - 0.1 * PITCH, middle + 0.29 * PITCH
    fill, told = "#9fc3e8" if theme is LIGHT else "#2b5c92", VERDICTS[score.verdict]
    fill = fill if score.verdict == "holds" else theme.paper
    (bar,) = axes.barh(y, score.satisfaction, 0.36 * PITCH, color=fill, label=told)
    look = {"edgecolor": theme.ink, "linewidth": 0.6, "hatch": HATCHES[score.verdict]}
    bar.set(gid=f"bar:{name}", **look)
    axes.plot([score.null, score.ceiling], [rail, rail], color="#7a7a7a", linewidth=0.7, zorder=2)
    marks = {
        "need": ([score.need], [middle]),
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
            "path_effects": _casing(theme),
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
    share = f"share of pairs ({SAME})" if same else "share of held-out pairs"
    limited = [score.loss is not None for score in scores]
    if all(limited):
        return share.replace("share of", "share kept, on", 1)
    return f"{share} (limits: share kept)" if any(limited) else share
