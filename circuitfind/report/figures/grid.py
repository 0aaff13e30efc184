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
from ...mediators.site import Site
from ...validate.card import Card, Finding
from ...validate.names import LEAVE_ONE_OUT, RANDOM_CIRCUITS
from .bars import BAR, LABELS, PITCH, REMARKS, put_bars, put_legend
from .lettering import LINE, SMALL, TITLE, clean, inches, number, put_axes, put_text, wrap
from .style import FAINT, GAINS, INK, LOSS_HATCH, LOSSES, score_colours, score_fill, styled

MARGIN, GUTTER, PAPER = 0.12, 0.36, (7.2, 4.6)


def draw(circuit: Circuit, card: Card | None = None) -> Figure:
    """The figure of a circuit: its members by layer and head, one panel per position name.

    With a card, each desideratum has a bar beside them: its satisfaction with the 95 % interval,
    null and ceiling on a rail below, and the bound it needs. The last line tells the checks.
    `positions` in the provenance, if there, adds panels for positions without a member.

    Raises:
        ValueError: the provenance has no n_layers and n_heads, or a member lies outside of them.
    """
    grid, scores = _grid(circuit), card.desiderata if card else ()
    with styled():
        right = 0.25 + LABELS + BAR + REMARKS if scores else 0.0
        grid, height = _arranged(grid, right, len(scores) * PITCH + 1.0 if scores else 0.0)
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
    """What the panels show and how they are laid out; `key` is the height of the key, `cell`
    the size of a cell, `columns` how many columns of names stand beside a grid too fine for
    scores in its cells."""

    positions: tuple[str, ...]
    n_layers: int
    n_heads: int
    embeds: bool
    key: float
    cell: tuple[float, float]
    columns: int = 0
    per_row: int = 1

    @property
    def mlp(self) -> float:
        """Where the MLPs stand, in cells, if heads stand at 0, 1, ..."""
        return self.n_heads + max(0.5, 0.24 / self.cell[0] - 1)

    @property
    def inner(self) -> tuple[float, float]:
        below = 1.4 if self.embeds else 0.0
        return (self.mlp + 1) * self.cell[0], (self.n_layers + below) * self.cell[1]

    @property
    def panel(self) -> tuple[float, float]:
        return max(self.inner[0] + GUTTER + 0.06 + 0.8 * self.columns, 1.4), self.inner[1] + 0.52

    @property
    def rows(self) -> int:
        return ceil(len(self.positions) / self.per_row)

    @property
    def width(self) -> float:
        return max(self.per_row * self.panel[0], 2.8)


def _grid(circuit: Circuit) -> _Grid:
    facts: dict[str, Any] = {"n_layers": None, "n_heads": None, **circuit.provenance}
    n_layers, n_heads = facts["n_layers"], facts["n_heads"]
    if not all(type(size) is int and size > 0 for size in (n_layers, n_heads)):
        raise ValueError(
            "a figure needs the model's n_layers and n_heads in the circuit's provenance, as whole "
            f"numbers above 0; got {n_layers!r} and {n_heads!r}"
        )
    parts = {str(site): site.component for site in circuit.sites}
    beyond = [s for s, c in parts.items() if c.layer >= n_layers or c.part >= n_heads]
    if beyond:
        raise ValueError(f"{n_layers} layers of {n_heads} heads have no {', '.join(beyond)}")
    members = [site.position for site in circuit.sites]
    positions = tuple(dict.fromkeys([*facts.get("positions", ()), *members]))
    embeds = any(part.kind == "embed" for part in parts.values())
    side = max(min(0.17, 4.2 / n_layers, 3.6 / n_heads), 0.03)
    key = 0.62 if members else 0.2
    grid = _Grid(
        positions=positions or ("",),
        n_layers=n_layers,
        n_heads=n_heads,
        embeds=embeds,
        key=key,
        cell=(side, side),
    )
    if n_heads <= 9 and n_layers <= 14:
        return replace(grid, cell=(0.33, 0.28))
    most = max(map(members.count, members), default=0)
    return replace(grid, columns=min(2, ceil(most * LINE * SMALL / grid.inner[1])))


def _arranged(grid: _Grid, right: float, least: float) -> tuple[_Grid, float]:
    """The grid with as many panels in a row as fit the page best, and the height it takes beside
    something of this width and this height at least."""

    def excess(grid: _Grid) -> float:
        height = max(grid.rows * grid.panel[1] + grid.key, least)
        return max((grid.width + right) / PAPER[0], height / PAPER[1])

    choices = [replace(grid, per_row=n) for n in range(1, len(grid.positions) + 1)]
    grid = min(choices, key=excess)
    spare = (least - grid.rows * grid.panel[1] - grid.key) / (grid.rows * grid.n_layers)
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
    """The empty cells, as lines, and the numbers of layers and heads."""
    mlp, bottom, layers = grid.mlp, -1.9 if grid.embeds else -0.5, grid.n_layers - 0.5
    blocks = [(-0.5, grid.n_heads, -0.5, grid.n_layers), (mlp - 0.5, 1, -0.5, grid.n_layers)]
    if grid.embeds:
        blocks.append((mlp - 0.5, 1, bottom, 1))
        axes.text(mlp - 0.7, -1.4, "embed", ha="right", va="center")
    lines = []
    for x, wide, y, high in blocks:
        lines += [[(x, y + n), (x + wide, y + n)] for n in range(high + 1)]
        lines += [[(x + n, y), (x + n, y + high)] for n in range(wide + 1)]
    axes.add_collection(
        LineCollection(lines, colors=FAINT, linewidths=0.5, clip_on=False), autolim=False
    )
    axes.set(xlim=(-0.5, mlp + 0.5), ylim=(bottom, layers))
    fits = inches(str(grid.n_heads - 1)) + 0.05 < grid.cell[0]
    heads = range(0, grid.n_heads, 1 if fits else 5 if grid.n_heads <= 50 else 10)
    axes.set_xticks([*heads, mlp], [*map(str, heads), "MLP"])
    step = 1 if grid.cell[1] > 0.15 else 5 if grid.n_layers <= 60 else 10
    axes.set_yticks(range(0, grid.n_layers, step))
    axes.set_xlabel("head", x=grid.n_heads / 2 / (mlp + 1))
    axes.set_ylabel("layer")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _member(axes: Axes, grid: _Grid, site: Site, score: float, colours: ScalarMappable) -> None:
    part, name = site.component, clean(str(site))
    fill = score_fill(colours, score)
    x = grid.mlp if part.index is None else part.index
    y = -1.4 if part.kind == "embed" else part.layer
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
    lines = [(str(site.component), number(score)) for site, score in ordered]
    if len(lines) > (room := rows * grid.columns):
        lines[room - 1 :] = [(f"+ {len(lines) - room + 1} more", "")]
    for start in range(0, len(lines), rows):
        names, numbers = zip(*lines[start : start + rows], strict=True)
        x = left + 0.8 * (start // rows)
        put_text(figure, x, top, names)
        put_text(figure, x + 0.7, top, numbers, ha="right")


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
    n_sites = len(grid.positions) * grid.n_layers * (grid.n_heads + 1)
    n_sites += sum(site.component.kind == "embed" for site in circuit.sites)
    counts = [(len(circuit.heads), "head"), (len(circuit.mlps), "MLP")]
    made_up = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts)
    names = [wrap(name, 2.6, 1) for name in (circuit.model, circuit.task, circuit.method)]
    size = f"{len(circuit)} of {n_sites} sites ({made_up})"
    return " · ".join([*(line for lines in names for line in lines), size, f"seed {circuit.seed}"])


def _verdict(check: Finding) -> str:
    """The name, the verdict, and what it rests on."""
    found = f"{number(check.value)} (n = {check.n})" if check.n else "nothing to compare"
    if check.n and check.name == RANDOM_CIRCUITS:
        found = f"beats {round(check.value * check.n)}/{check.n}"
    if check.n and check.name == LEAVE_ONE_OUT:
        found = f"{round(check.value * len(check.details))}/{len(check.details)} sites needed"
    return f"{check.name}: {check.verdict}, {found}"
