"""What single members do, as figures: effects of leaving them out, and how often they are found."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...circuits.circuit import Circuit
from ...validate.card import card_from_json
from ...validate.names import LEAVE_ONE_OUT, NECESSITY, STABILITY
from .colourbar import ROOM, put_colour_bar
from .lettering import LINE, SMALL, cut, inches, number, put_axes, put_text
from .style import (
    INK,
    LOSS_HATCH,
    Theme,
    score_colours,
    score_fill,
    styled,
    theme_named,
    width_named,
)
from .titled import MARGIN, Report, details_of, titled_figure

ROW, MOST_ROWS = 0.15, 48  # inches, and how many sites are listed
NUMBERED, CROSSED = 0.26, 0.13  # inches: smaller cells have no room for a number, or for a cross
KEY = ROOM + LINE * SMALL  # what shades and signs mean, below the pairs


def draw_effects(
    circuit: Circuit, report: Report, *, theme: str = "light", width: str = "one"
) -> Figure:
    """What leaving out each member costs, and, where pairs were knocked out, how much more or less
    two members cost together than apart; pairs that were not measured have a cross, or stay
    blank where there is no room for one.

    Raises:
        ValueError: the report has neither; no such theme or width.
    """
    colours, page = theme_named(theme), width_named(width)
    single = details_of(report, LEAVE_ONE_OUT)
    pairs = [row for row in details_of(report, NECESSITY) if row["of"] == "pair"]
    if not single and not pairs:
        raise ValueError(
            "this report holds no effects: `circuitfind validate RUN --checks "
            f'"{LEAVE_ONE_OUT},{NECESSITY}"` measures them, and the run keeps what it finds'
        )
    single = sorted(single, key=lambda row: -row["effect"])
    named = dict.fromkeys(site for row in pairs for site in row["sites"].split())
    members = sorted(named, key=[*map(str, circuit.sites), *named].index)
    beside = bool(pairs and single) and width == "two"
    wide = (page - 2 * MARGIN - 0.3 * beside) / (2 if beside else 1)
    bars_high = 0.45 + ROW * min(len(single), MOST_ROWS) + 0.35 if single else 0.0
    cell, names = _cells(members, wide)
    pairs_high = 0.32 + cell * len(members) + names + 0.2 + KEY if pairs else 0.0
    high = max(bars_high, pairs_high) if beside else bars_high + pairs_high
    card = card_from_json(report)
    with styled(colours):
        figure, top = titled_figure(page, circuit, card.pairs, colours, high)
        if single:
            rows = [(row["site"], row["effect"], bool(row["needed"])) for row in single]
            head = "lost when a site is left out", "share of pairs; hatched: cannot be told from 0"
            _put_rows(figure, rows, (MARGIN, top), wide, head, colours)
        if pairs:
            corner = (MARGIN + wide + 0.3, top) if beside else (MARGIN, top + bars_high)
            _put_pairs(figure, members, pairs, corner, cell, names, colours)
            below = corner[0], corner[1] + pairs_high - KEY
            unit = f"effect beyond the sum, in {cut(card.unit, 0.8)}"
            _put_key(figure, len(members), pairs, below, min(1.6, wide - 0.4), cell, unit, colours)
    return figure


def _cells(members: Sequence[str], wide: float) -> tuple[float, float]:
    """The side of a cell and the room for names, in inches."""
    names = min(max((inches(name) for name in members), default=0.0), 0.35 * wide) + 0.06
    return min(0.34, (wide - names) / max(len(members), 1)), names


def _put_pairs(
    figure: Figure,
    members: Sequence[str],
    pairs: Sequence[Mapping[str, Any]],
    corner: tuple[float, float],
    cell: float,
    names: float,
    theme: Theme,
) -> None:
    """The excess of each pair of members, as the lower half of a matrix."""
    left, top = corner
    put_text(
        figure,
        left,
        top,
        ["two left out: effect beyond the sum of each"],
        weight="bold",
        color=theme.ink,
    )
    words = ["less than 0 where what they do overlaps"]
    put_text(figure, left, top + LINE * SMALL, words, color=theme.muted)
    n, number_of = len(members), {name: k for k, name in enumerate(members)}
    axes = put_axes(figure, left + names, top + 0.32, cell * n, cell * n)
    axes.set(xlim=(0, n), ylim=(n, 0))
    axes.axis("off")
    colours = score_colours([row["excess"] for row in pairs])
    for row in pairs:
        x, y = sorted(number_of[site] for site in row["sites"].split())
        excess, fill = row["excess"], score_fill(colours, row["excess"])
        look = {"facecolor": fill, "edgecolor": theme.paper, "linewidth": 0.6}
        hatch = LOSS_HATCH if excess < 0 and cell < NUMBERED else None
        axes.add_patch(Rectangle((x, y), 1, 1, hatch=hatch, gid=f"pair-{x}-{y}", **look))
        if cell >= NUMBERED:
            ink = "white" if sum(fill[:3]) < 1.35 else INK
            axes.text(
                x + 0.5,
                y + 0.5,
                number(excess),
                ha="center",
                va="center_baseline",
                color=ink,
                size=5.2,
            )
    known = {frozenset(row["sites"].split()) for row in pairs}
    for x, y in combinations(range(n), 2):
        if frozenset((members[x], members[y])) not in known and cell >= CROSSED:
            axes.plot(
                x + 0.5,
                y + 0.5,
                marker="x",
                markersize=14 * cell,
                markeredgewidth=0.5,
                color=theme.muted,
                gid=f"unknown-{x}-{y}",
            )
    size = min(SMALL, 62 * cell)
    for k, name in enumerate(members):
        words = cut(name, names - 0.06, size)
        look = {"size": size, "color": theme.ink}
        axes.text(-0.06 / cell, k + 0.5, words, ha="right", va="center_baseline", **look)
        axes.text(k + 0.5, n + 0.06 / cell, words, ha="center", va="top", rotation=90, **look)


def _put_key(
    figure: Figure,
    n: int,
    pairs: Sequence[Mapping[str, Any]],
    corner: tuple[float, float],
    wide: float,
    cell: float,
    words: str,
    theme: Theme,
) -> None:
    """What the shades of pairs are worth, and what a hatch, a cross and a blank mean."""
    left, top = corner
    colours = score_colours([row["excess"] for row in pairs])
    peak = colours.get_clim()[1]
    put_colour_bar(figure, (left + 0.2, top), wide, colours, [-peak, 0.0, peak], words, theme)
    said = []
    if cell < NUMBERED and any(row["excess"] < 0 for row in pairs):
        said.append("hatched: below 0")
    if (total := n * (n - 1) // 2) > len(pairs):
        sign = "\N{MULTIPLICATION SIGN}" if cell >= CROSSED else "blank"
        said.append(f"{sign}: not measured ({len(pairs)} of {total} pairs are)")
    put_text(figure, left, top + ROOM, ["; ".join(said)], color=theme.muted, gid="key")


def _put_rows(
    figure: Figure,
    rows: Sequence[tuple[str, float, bool]],
    corner: tuple[float, float],
    wide: float,
    head: tuple[str, str],
    theme: Theme,
) -> None:
    """A bar for each site, hatched where the third value is false, as many as there is room for."""
    (left, top), shown = corner, rows[:MOST_ROWS]
    spare = f" (+ {len(rows) - len(shown)} more)" if len(rows) > len(shown) else ""
    title = [cut(head[0] + spare, wide, weight="bold")]
    put_text(figure, left, top, title, weight="bold", color=theme.ink)
    put_text(figure, left, top + LINE * SMALL, [cut(head[1], wide)], color=theme.muted)
    names = min(max(inches(name) for name, _, _ in shown), 0.4 * wide) + 0.08
    high, numbers = ROW * len(shown), 0.34
    axes = put_axes(figure, left + names, top + 0.32, wide - names - numbers, high)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    ends = [0.0, *(value for _, value, _ in shown)]
    axes.set(ylim=(len(shown) - 0.5, -0.5), yticks=[], xticks=[])
    axes.set_xlim(min(ends), max(ends) or 1.0)
    for n, (name, value, sure) in enumerate(shown):
        fill = theme.gain if value >= 0 else theme.loss
        look = {"facecolor": fill if sure else theme.paper, "edgecolor": fill, "linewidth": 0.7}
        (bar,) = axes.barh(n, value, 0.7, **look)
        bar.set(hatch=None if sure else LOSS_HATCH, gid=f"row-{n}", clip_on=False)
        y = top + 0.32 + ROW * (n + 0.5) - LINE * SMALL / 2
        put_text(
            figure, left + names - 0.06, y, [cut(name, names - 0.08)], ha="right", color=theme.ink
        )
        put_text(figure, left + wide, y, [number(value)], ha="right", color=theme.ink)


def draw_stability(
    circuit: Circuit, report: Report, *, theme: str = "light", width: str = "one"
) -> Figure:
    """In what share of searches, by other seeds and on resampled pairs, each site was found;
    sites that are not in this circuit are hatched.

    Raises:
        ValueError: the report has no such check; no such theme or width.
    """
    colours, page = theme_named(theme), width_named(width)
    details = details_of(report, STABILITY)
    if not details:
        raise ValueError(
            "this report holds no stability: `circuitfind validate RUN --checks stability` "
            "searches again with other seeds and pairs, and the run keeps what it finds"
        )
    finding = next(row for row in report["checks"] if row["name"] == STABILITY)
    members = {str(site) for site in circuit.sites}
    rows = [(row["site"], row["share"], row["site"] in members) for row in details]
    words = f"{finding['n']} further searches, mean pairwise Jaccard {number(finding['value'])}"
    with styled(colours):
        high = 0.45 + ROW * min(len(rows), MOST_ROWS) + 0.1
        figure, top = titled_figure(page, circuit, words, colours, high)
        head = "share of searches that find a site", "hatched: not in this circuit"
        _put_rows(figure, rows, (MARGIN, top), page - 2 * MARGIN, head, colours)
    return figure
