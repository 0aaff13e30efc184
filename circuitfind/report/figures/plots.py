"""What a run's report tells, as figures: frontier and satisfaction; and overlap of several.

Each takes the plain values of a report, so that it can be drawn from a run folder alone, and is as
wide as one column of a page or two. What a report does not hold is named, with the command that
makes it. Nothing is told by colour alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ...circuits.circuit import Circuit
from ...validate.card import card_from_json
from ...validate.names import RANDOM_CIRCUITS
from .bars import REMARKS, bars_height, put_bars
from .lettering import LINE, SMALL, clean, cut, inches, number, put_axes, put_text, wrap
from .style import INK, Theme, score_colours, score_fill, styled, theme_named, width_named
from .titled import MARGIN, Report, details_of, titled_figure

if TYPE_CHECKING:
    from ...search.result import SearchResult

PANEL = 1.15  # inches, the height of a panel of the frontier
DRAWN = (5, 50, 95)  # percentiles of random circuits


def draw_search(result: "SearchResult") -> Figure:
    """The frontier of a search as a figure; see `draw_frontier`.

    Raises:
        ValueError: the search broke off before it tried a circuit.
    """
    report = {
        "frontier": [asdict(point) for point in result.frontier],
        "desiderata": [{"name": name, "need": need} for name, need in result.bounds.items()],
    }
    return draw_frontier(result.circuit, report, width="two")


def draw_frontier(
    circuit: Circuit, report: Report, *, theme: str = "light", width: str = "one"
) -> Figure:
    """The best circuit seen of each size: its satisfaction of each desideratum, the bound, and the
    chosen size; in a last panel, by how much the worst-off desideratum clears its bound, beside
    random circuits of the chosen make-up.

    Raises:
        ValueError: the report has no frontier; no such theme or width.
    """
    colours, page = theme_named(theme), width_named(width)
    points = report.get("frontier") or []
    if not points:
        raise ValueError(
            "this report holds no frontier: a search by `circuitfind discover` makes one"
        )
    names = list(points[0]["satisfaction"])
    needs = {row["name"]: row["need"] for row in report.get("desiderata", ())}
    sizes = [point["size"] for point in points]
    with styled(colours):
        figure, top = titled_figure(
            page,
            circuit,
            "size against satisfaction, on selection pairs",
            colours,
            _panels_height(len(names) + 1, page),
        )
        for n, name in enumerate([*names, None]):
            axes = _panel(figure, page, top, n)
            _size_axis(axes, sizes)
            shown = {"color": colours.muted, "linewidth": 0.8, "linestyle": (0, (1, 1.5))}
            axes.axvline(len(circuit), gid=f"chosen-{n}", zorder=1, **shown)
            if name is None:
                values = [point["slack"] for point in points]
                bound = 0.0
                _put_random(axes, len(circuit), report, colours)
                axes.set(ylim=(min(values) - 0.05, max(*values, 0.0) + 0.05))
                axes.set_yticks([-1, -0.5, 0] if min(values) < -0.3 else [0])
            else:
                values = [point["satisfaction"][name] for point in points]
                bound = needs.get(name)
                axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
            _put_line(axes, sizes, values, len(circuit), colours, f"line-{n}")
            if bound is not None:
                axes.axhline(
                    bound,
                    color=colours.loss,
                    linewidth=0.9,
                    linestyle="--",
                    zorder=1,
                    gid=f"bound-{n}",
                )
            words = name if name is not None else "least margin over the bounds"
            room = axes.get_position().width * page
            axes.set_title(
                cut(words, room, weight="bold"), weight="bold", size=SMALL, loc="left", pad=3
            )
    return figure


def _panels_height(n: int, page: float) -> float:
    return ceil(n / _per_row(page)) * (PANEL + 0.5) + 0.2


def _per_row(page: float) -> int:
    return max(1, int(page / 2.3))


def _panel(figure: Figure, page: float, top: float, n: int) -> Axes:
    row, column = divmod(n, _per_row(page))
    wide = (page - 2 * MARGIN) / _per_row(page)
    left = MARGIN + column * wide + 0.32
    return put_axes(figure, left, top + 0.2 + row * (PANEL + 0.5), wide - 0.42, PANEL)


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("sites in the circuit", labelpad=1.5)
    end, ticks = max(sizes) * 1.08 + 0.5, MaxNLocator(5, integer=True).tick_values(0, max(sizes))
    if max(sizes) > 40:
        axes.set_xscale("symlog", linthresh=10, linscale=1)
        ticks = [0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000]
    ticks = [tick for tick in ticks if tick <= end]  # others would still be measured
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.5, end)


def _put_line(
    axes: Axes, sizes: Sequence[int], values: Sequence[float], chosen: int, theme: Theme, gid: str
) -> None:
    axes.plot(
        sizes,
        values,
        color=theme.gain,
        linewidth=1.1,
        marker="o",
        markersize=2.2,
        zorder=3,
        gid=gid,
        clip_on=False,
    )
    at = [n for n, size in enumerate(sizes) if size == chosen]
    here = [sizes[n] for n in at], [values[n] for n in at]
    axes.plot(
        *here,
        linestyle="",
        marker="D",
        markersize=4,
        color=theme.ink,
        zorder=4,
        gid=f"{gid}-chosen",
        clip_on=False,
    )


def _put_random(axes: Axes, size: int, report: Report, theme: Theme) -> None:
    """Random circuits as a bar of the middle nine tenths, a line at the median, and their best."""
    slacks = [row["slack"] for row in details_of(report, RANDOM_CIRCUITS)]
    if not slacks:
        return
    low, middle, high = np.percentile(slacks, DRAWN)
    x = [size, size]
    axes.plot(
        x,
        [low, high],
        color=theme.faint,
        linewidth=5,
        solid_capstyle="butt",
        zorder=1.5,
        gid="random-band",
    )
    axes.plot(
        [size],
        [middle],
        marker="_",
        markersize=6,
        color=theme.muted,
        zorder=2,
        linestyle="",
        gid="random-median",
    )
    look = {"ha": "left", "va": "center", "color": theme.muted, "size": 5.5}
    axes.annotate(
        f"{len(slacks)} random", (size, middle), (6, 0), textcoords="offset points", **look
    )


def draw_bars(
    circuit: Circuit, report: Report, *, theme: str = "light", width: str = "one"
) -> Figure:
    """The satisfaction of each desideratum with its interval, null, ceiling and bound; by how
    much the expected answer leads, and what is lost of a desideratum with a limit.

    Raises:
        ValueError: the report has no desiderata; no such theme or width.
    """
    colours, page = theme_named(theme), width_named(width)
    card = card_from_json(report)
    scores = card.desiderata
    if not scores:
        raise ValueError(
            "this report holds no desiderata: `circuitfind validate RUN` checks a circuit on some"
        )
    labels = 0.4 * (page - REMARKS - 2 * MARGIN)
    bar = page - 2 * MARGIN - labels - REMARKS - 0.1
    with styled(colours):
        figure, top = titled_figure(page, circuit, card.pairs, colours, bars_height(scores, bar))
        put_bars(figure, scores, MARGIN, top, labels=labels, bar=bar, theme=colours)
    return figure


def draw_overlap(
    overlaps: Sequence[Mapping[str, Any]], *, theme: str = "light", width: str = "one"
) -> Figure:
    """The Jaccard index of every two circuits, with that of random ones as large below each.

    Args:
        overlaps: the rows of a compare.json.

    Raises:
        ValueError: there are none; no such theme or width.
    """
    colours, page = theme_named(theme), width_named(width)
    if not overlaps:
        raise ValueError("no two circuits to lay over each other: `circuitfind compare RUN RUN`")
    names = list(dict.fromkeys(row[end] for row in overlaps for end in ("first", "second")))
    with styled(colours):
        room = min(max(inches(clean(name)[::-1]) for name in names), 0.4 * page) + 0.08
        cell = min(0.5, (page - 2 * MARGIN - room) / len(names))
        lines = wrap(
            "Jaccard index of each two circuits; below it, by chance", page - 2 * MARGIN, 2
        )
        top = MARGIN + LINE * SMALL * len(lines) + 0.08
        high = top + cell * len(names) + room + MARGIN
        figure = Figure((page, high))
        put_text(figure, MARGIN, MARGIN, lines, weight="bold", color=colours.ink, gid="title")
        axes = put_axes(figure, MARGIN + room, top, cell * len(names), cell * len(names))
        axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
        axes.axis("off")
        _put_overlaps(axes, names, overlaps, cell, room, colours)
    return figure


def _put_overlaps(
    axes: Axes,
    names: Sequence[str],
    overlaps: Sequence[Mapping[str, Any]],
    cell: float,
    room: float,
    theme: Theme,
) -> None:
    shades = score_colours([1.0])
    cells = {(n, n): (1.0, None) for n in range(len(names))}
    for row in overlaps:
        x, y = names.index(row["first"]), names.index(row["second"])
        cells[x, y] = cells[y, x] = row["jaccard"], row["chance"]
    size = min(SMALL, 22 * cell)
    for (x, y), (jaccard, chance) in sorted(cells.items()):
        fill = score_fill(shades, jaccard)
        look = {"facecolor": fill, "edgecolor": theme.paper, "linewidth": 0.8}
        axes.add_patch(Rectangle((x, y), 1, 1, gid=f"overlap-{x}-{y}", **look))
        ink = "white" if sum(fill[:3]) < 1.35 else INK
        words = number(jaccard) + ("" if chance is None else f"\n({number(chance)})")
        look = {"ha": "center", "va": "center", "color": ink, "size": size}
        axes.text(x + 0.5, y + 0.5, words, gid=f"label-{x}-{y}", **look)
    for n, name in enumerate(names):
        words = cut(clean(name)[::-1], room - 0.08)[::-1]  # names of runs differ at their ends
        look: dict[str, Any] = {"color": theme.ink}
        axes.text(-0.06 / cell, n + 0.5, words, ha="right", va="center_baseline", **look)
        axes.text(
            n + 0.5, len(names) + 0.06 / cell, words, ha="center", va="top", rotation=90, **look
        )
