"""A circuit and its card as one figure: where the members are, and what they satisfy.

Sizes are in inches from the top left corner, since every label is measured before it is placed.
Nothing is told by colour alone: members are outlined, losses hatched, verdicts written out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ...circuits.circuit import Circuit
from ...mediators.site import Component, Site
from ...mediators.space import USUAL, Decoder
from ...validate.card import Card
from ...validate.finding import Finding
from ...validate.names import LEAVE_ONE_OUT, RANDOM_CIRCUITS
from ..text.counts import size_words
from .bars import BAR, LABELS, REMARKS, bars_height, put_bars, put_legend
from .columns import (
    Block,
    blocks_of,
    is_before_layers,
    overhang,
    places_of,
    sites_searched,
    strange_to,
)
from .lettering import LINE, SMALL, TITLE, clean, cut, inches, number, put_axes, put_text, wrap
from .style import FAINT, GAINS, INK, LOSS_HATCH, LOSSES, score_colours, score_fill, styled

MARGIN, GUTTER, PAPER = 0.12, 0.36, (7.2, 4.6)
LISTED = 0.8, 1.6  # inches of a column of names, the least and the most
BELOW = 1.4  # cells from the first layer to what comes before it


def draw(circuit: Circuit, card: Card | None = None) -> Figure:
    """The figure of a circuit: its members by layer and part, one panel per position name.

    Heads and MLPs all have a cell, other mediators a column for each part that is a member; a
    component before the first layer, such as the embedding, stands below it.
    With a card, each desideratum has a bar beside them: its satisfaction with the 95 % interval,
    null and ceiling on a rail below, and the bound it needs. The last line tells the checks.
    `positions` in the provenance, if there, adds panels for positions without a member.

    Raises:
        ValueError: the provenance has no n_layers and n_heads, or a member lies outside of them.
    """
    grid, scores = _grid(circuit), card.desiderata if card else ()
    with styled():
        right = 0.25 + LABELS + BAR + REMARKS if scores else 0.0
        grid, height = _arranged(grid, right, bars_height(scores) if scores else 0.0)
        inner = max(grid.width + right, 3.8)
        claim = wrap(circuit.claim, inner, 3, TITLE, "bold")
        about = wrap(_summary(circuit, grid), inner, 4)
        checks = wrap("; ".join(map(_verdict, card.findings if card else ())), inner, 5)
        second = MARGIN + LINE * TITLE * len(claim) + 0.03
        top = second + LINE * SMALL * len(about) + 0.12
        last = top + height + 0.06
        figure = Figure((inner + 2 * MARGIN, last + LINE * SMALL * len(checks) + MARGIN))
        put_text(figure, MARGIN, MARGIN, claim, size=TITLE, weight="bold", gid="title")
        put_text(figure, MARGIN, second, about, color="#444444", gid="subtitle")
        colours = score_colours(circuit.scores)
        for index, position in enumerate(grid.positions):
            row, column = divmod(index, grid.per_row)
            corner = MARGIN + column * grid.panel[0], top + row * grid.panel[1]
            _panel(figure, grid, circuit, position, colours, corner)
        _key(figure, circuit.scores, colours, top + grid.rows * grid.panel[1])
        if scores:
            put_bars(figure, scores, MARGIN + inner - right + 0.25, top)
        put_text(figure, MARGIN, last, checks, gid="checks")
    return figure


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """What the panels show and how they are laid out.

    Args:
        decoder: the sizes of the model.
        below: the components before the first layer.
        n_rows: the layers, and one more for the stream that leaves the last.
        key: the height of the key.
        cell: the size of a cell.
        columns: how many columns of names stand beside a grid too fine for scores in its cells,
            each `listed` wide.
    """

    positions: tuple[str, ...]
    decoder: Decoder
    blocks: tuple[Block, ...]
    below: tuple[Component, ...]
    n_rows: int
    key: float
    cell: tuple[float, float]
    columns: int = 0
    listed: float = LISTED[0]
    per_row: int = 1

    @property
    def places(self) -> list[list[float]]:
        """Where the columns of each block stand, in cells."""
        return places_of(self.blocks, self.cell[0])

    @property
    def aside(self) -> float:
        """The column of the cells below the first layer: that of the MLPs."""
        return self.places[len(USUAL) - 1][-1]

    @property
    def bottom(self) -> float:
        return -0.5 - BELOW * len(self.below)

    @property
    def inner(self) -> tuple[float, float]:
        wide, high = self.places[-1][-1] + 1, self.n_rows - 0.5 - self.bottom
        return wide * self.cell[0], high * self.cell[1]

    @property
    def panel(self) -> tuple[float, float]:
        beyond = max(0.0, overhang(self.blocks, self.cell[0]) - 0.1)  # the gutter has room for 0.1
        wide = self.inner[0] + GUTTER + 0.06 + self.listed * self.columns + beyond
        return max(wide, 1.4), self.inner[1] + 0.52

    @property
    def rows(self) -> int:
        return ceil(len(self.positions) / self.per_row)

    @property
    def width(self) -> float:
        return max(self.per_row * self.panel[0], 2.8)

    def place(self, component: Component) -> tuple[float, float]:
        """The middle of a component's cell, in cells."""
        if component in self.below:
            return self.aside, -BELOW * (1 + self.below.index(component))
        mediators = [block.mediator for block in self.blocks]
        n = mediators.index(component.mediator)
        column = self.blocks[n].parts.index(component.index)
        return self.places[n][column], float(component.layer)


def _grid(circuit: Circuit) -> _Grid:
    facts: dict[str, Any] = {"n_layers": None, "n_heads": None, **circuit.provenance}
    n_layers, n_heads = facts["n_layers"], facts["n_heads"]
    if not all(type(size) is int for size in (n_layers, n_heads)) or n_layers < 1 or n_heads < 0:
        raise ValueError(
            "a figure needs the model's n_layers and n_heads in the circuit's provenance, as whole "
            f"numbers, one layer or more; got {n_layers!r} and {n_heads!r}"
        )
    decoder = Decoder(n_layers, n_heads)
    if beyond := strange_to(decoder, (site.component for site in circuit.sites)):
        names = ", ".join(str(site) for site in circuit.sites if site.component in beyond)
        raise ValueError(f"{n_layers} layers of {n_heads} heads have no {names}")
    members = [site.position for site in circuit.sites]
    positions = tuple(dict.fromkeys([*facts.get("positions", ()), *members]))
    components = sorted({site.component for site in circuit.sites})
    below = tuple(one for one in components if is_before_layers(one.mediator))
    inside = [one for one in components if one not in below]
    blocks = blocks_of(inside, decoder)
    n_rows = max([n_layers, *(one.layer + 1 for one in inside)])
    n_columns = sum(len(block.parts) for block in blocks if block.title)
    side = max(min(0.17, 4.2 / n_rows, 3.6 / max(1, n_columns)), 0.03)
    grid = _Grid(
        positions=positions or ("",),
        decoder=decoder,
        blocks=blocks,
        below=below,
        n_rows=n_rows,
        key=0.62 if members else 0.2,
        cell=(side, side),
    )
    if n_columns <= 9 and n_rows <= 14:
        return replace(grid, cell=(0.33, 0.28))
    most = max(map(members.count, members), default=0)
    return replace(
        grid,
        columns=min(2, ceil(most * LINE * SMALL / grid.inner[1])),
        listed=min(max(_listed(circuit), LISTED[0]), LISTED[1]),
    )


def _listed(circuit: Circuit) -> float:
    """The width of a column of all members' names and scores."""
    names = (inches(str(site.component)) for site in circuit.sites)
    return max(names, default=0.0) + _widest(circuit.scores) + 0.12


def _widest(scores: Sequence[float]) -> float:
    return max((inches(number(score)) for score in scores), default=0.0)


def _arranged(grid: _Grid, right: float, least: float) -> tuple[_Grid, float]:
    """The grid with as many panels in a row as fit the page best, and the height it takes beside
    something of this width and this height at least."""

    def excess(grid: _Grid) -> float:
        height = max(grid.rows * grid.panel[1] + grid.key, least)
        return max((grid.width + right) / PAPER[0], height / PAPER[1])

    choices = [replace(grid, per_row=n) for n in range(1, len(grid.positions) + 1)]
    grid = min(choices, key=excess)
    spare = (least - grid.rows * grid.panel[1] - grid.key) / (grid.rows * grid.n_rows)
    if spare > 0 and not grid.columns:
        grid = replace(grid, cell=(grid.cell[0], min(0.4, grid.cell[1] + spare)))
    return grid, max(grid.rows * grid.panel[1] + grid.key, least)


def _panel(
    figure: Figure,
    grid: _Grid,
    circuit: Circuit,
    position: str,
    colours: ScalarMappable,
    corner: tuple[float, float],
) -> None:
    left, top = corner[0] + GUTTER, corner[1] + 0.17
    name = f"position: {position}" if position else "no members"
    name = wrap(name, grid.panel[0] - GUTTER - 0.1, 1, SMALL, "bold")
    put_text(figure, left, corner[1], name, weight="bold", gid=f"panel:{clean(position)}")
    axes = put_axes(figure, left, top, *grid.inner)
    _cells(axes, grid)
    every = zip(circuit.sites, circuit.scores, strict=True)
    members = [(site, score) for site, score in every if site.position == position]
    for site, score in members:
        _member(axes, grid, site, score, colours)
    if grid.columns:
        _names(figure, grid, members, left + grid.inner[0] + 0.06, top)


def _cells(axes: Axes, grid: _Grid) -> None:
    """The empty cells, as lines, and the numbers of layers and parts."""
    cells, places = [], grid.places  # left, columns, bottom, rows
    for block, its in zip(grid.blocks, places, strict=True):
        high = grid.decoder.n_layers if block.is_usual else grid.n_rows
        if block.apart(grid.cell[0]) == 1:
            cells.append((its[0] - 0.5, len(its), -0.5, high))
        else:
            cells += [(x - 0.5, 1, -0.5, high) for x in its]
    for one in grid.below:
        x, y = grid.place(one)
        cells.append((x - 0.5, 1, y - 0.5, 1))
        axes.text(x - 0.7, y, str(one), ha="right", va="center")
    lines = []
    for x, wide, y, high in cells:
        lines += [[(x, y + n), (x + wide, y + n)] for n in range(high + 1)]
        lines += [[(x + n, y), (x + n, y + high)] for n in range(wide + 1)]
    axes.add_collection(
        LineCollection(lines, colors=FAINT, linewidths=0.5, clip_on=False), autolim=False
    )
    axes.set(xlim=(-0.5, places[-1][-1] + 0.5), ylim=(grid.bottom, grid.n_rows - 0.5))
    step = 1 if grid.cell[1] > 0.15 else 5 if grid.n_rows <= 60 else 10
    axes.set_yticks(range(0, grid.n_rows, step))
    axes.set_ylabel("layer")
    _columns(axes, grid)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _columns(axes: Axes, grid: _Grid) -> None:
    """The labels of the columns, and below them what they are, where that is not their label."""
    ticks: dict[float, str] = {}
    for block, its in zip(grid.blocks, grid.places, strict=True):
        ticks |= {its[n]: block.labels[n] for n in block.ticks(grid.cell[0])}
        middle = (its[0] + its[-1]) / 2
        if block.title and not axes.get_xlabel():
            axes.set_xlabel(block.title, x=(middle + 0.5) / (grid.places[-1][-1] + 1))
        elif block.title:
            at = ("data", axes.xaxis.label)  # as high as the first one's
            look: dict[str, Any] = {"ha": "center", "va": "bottom", "annotation_clip": False}
            axes.annotate(block.title, (middle, 0), xycoords=at, **look)
    axes.set_xticks([*ticks], [*ticks.values()])


def _member(axes: Axes, grid: _Grid, site: Site, score: float, colours: ScalarMappable) -> None:
    name, fill = clean(str(site)), score_fill(colours, score)
    x, y = grid.place(site.component)
    hatch, outline = LOSS_HATCH if score < 0 else None, min(0.9, 9 * grid.cell[1])
    cell = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor=INK, hatch=hatch)
    cell.set(linewidth=outline, zorder=3, clip_on=False, gid=f"member:{name}")
    axes.add_patch(cell)
    if not grid.columns:
        box = {"facecolor": fill, "edgecolor": "none", "pad": 0.6} if score < 0 else None
        ink = "white" if sum(fill[:3]) < 1.35 else INK
        look = {"ha": "center", "va": "center", "color": ink, "bbox": box, "zorder": 4}
        axes.text(x, y, number(score), gid=f"score:{name}", **look)


def _names(
    figure: Figure, grid: _Grid, members: list[tuple[Site, float]], left: float, top: float
) -> None:
    """The members beside the grid, the greatest score first, as many as there is room for."""
    rows = max(1, int(grid.inner[1] / (LINE * SMALL)))
    ordered = sorted(members, key=lambda member: -abs(member[1]))
    wide = grid.listed - _widest([score for _, score in ordered]) - 0.12
    lines = [(cut(str(site.component), wide), number(score)) for site, score in ordered]
    if len(lines) > (room := rows * grid.columns):
        lines[room - 1 :] = [(f"+ {len(lines) - room + 1} more", "")]
    for start in range(0, len(lines), rows):
        names, numbers = zip(*lines[start : start + rows], strict=True)
        x = left + grid.listed * (start // rows)
        put_text(figure, x, top, names)
        put_text(figure, x + grid.listed - 0.1, top, numbers, ha="right")


def _key(figure: Figure, scores: Sequence[float], colours: ScalarMappable, top: float) -> None:
    """What the fills of the cells mean."""
    left = MARGIN + GUTTER
    handles = [Patch(facecolor="white", edgecolor=FAINT, label="not in the circuit")]
    if not scores:
        return put_legend(figure, handles, 1, left, top)
    known = [0.0, *(score for score in scores if isfinite(score))]
    low, high = min(known), max(known)
    ends = [low, high] if low < high else [0.0, colours.get_clim()[1]]
    handles.insert(0, Patch(facecolor=GAINS[3], edgecolor=INK, label="member"))
    if low < 0:
        fill, words = LOSSES[1], "negative score"
        handles.append(Patch(facecolor=fill, edgecolor=INK, hatch=LOSS_HATCH, label=words))
    put_legend(figure, handles, 3, left, top)
    words = ["score: satisfaction lost without the site"]
    put_text(figure, left, top + 0.2, words, gid="score label")
    axes = put_axes(figure, left, top + 0.34, 1.6, 0.09)
    bar = figure.colorbar(colours, cax=axes, orientation="horizontal")
    solids: Any = bar.solids
    solids.set(rasterized=False, edgecolor="face", linewidth=0.3)
    axes.add_patch(Rectangle((low, 0), -low, 1, fill=False, linewidth=0, hatch=LOSS_HATCH))
    axes.set_xlim(*ends)
    if min(-low, high) > 0.25 * (high - low):
        ends.insert(1, 0.0)
    bar.set_ticks(ends, labels=[number(end) for end in ends])
    return None


def _summary(circuit: Circuit, grid: _Grid) -> str:
    members = [site.component for site in circuit.sites]
    size = size_words(circuit, sites_searched(members, grid.decoder, len(grid.positions)))
    names = [wrap(name, 2.6, 1) for name in (circuit.model, circuit.task, circuit.method)]
    return " · ".join([*(line for lines in names for line in lines), size, f"seed {circuit.seed}"])


def _verdict(check: Finding) -> str:
    """The name, the verdict, and what it rests on."""
    found = f"{number(check.value)} (n = {check.n})" if check.n else "nothing to compare"
    if check.n and check.name == RANDOM_CIRCUITS:
        found = f"beats {round(check.value * check.n)}/{check.n}"
    if check.n and check.name == LEAVE_ONE_OUT:
        found = f"{round(check.value * len(check.details))}/{len(check.details)} sites needed"
    return f"{check.name}: {check.verdict}, {found}"
