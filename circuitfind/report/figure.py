"""A circuit and its card as one figure: where its members are, and what they satisfy.

Sizes are in inches from the top left corner, since every label is measured before it is placed.
Nothing is told by colour alone: members are outlined, negative scores hatched, verdicts written.
"""

import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.textpath import text_to_path

from ..circuit import Circuit
from ..component import Site
from ..storage import write_atomically
from ..validate.card import Card, DesideratumScore, Finding

FORMATS = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 6.5, "text.parse_math": False,
    "axes.linewidth": 0.6, "hatch.linewidth": 0.6, "xtick.major.size": 2, "xtick.major.pad": 2,
    "ytick.major.pad": 2, "svg.fonttype": "path", "svg.hashsalt": "circuitfind",
    "pdf.fonttype": 42, "savefig.dpi": 300,
}  # fmt: skip
SMALL, TITLE, LINE = 6.5, 10.0, 0.118  # points, points, and inches from line to line of SMALL
INK, GRID, MARGIN, PAPER = "#1a1a1a", "#d0d0d0", 0.12, (7.2, 4.6)
# One hue each, lightness even in OKLab. The second ends lighter: hatches lie on it.
GAINS = LinearSegmentedColormap.from_list(
    "gains", ["#dfe9f3", "#aacbee", "#74ade7", "#448dd4", "#226fb3", "#11518b", "#093562"]
)
LOSSES = LinearSegmentedColormap.from_list("losses", ["#f2e5dc", "#ebc1a5", "#e09c6d", "#d27830"])
LABELS, BAR, REMARKS, PITCH = 1.2, 1.5, 0.72, 0.46  # the columns and the row height of the bars
VERDICTS = {  # whether a desideratum holds -> words, fill, hatch
    True: ("holds", "#9fc3e8", None),
    False: ("does not hold", "#ffffff", "//////"),
}
WHISKER = {"color": INK, "linewidth": 1.0, "marker": "|", "markersize": 5, "zorder": 5}
NEED = {"color": INK, "linewidth": 2.2, "solid_capstyle": "butt", "zorder": 4}
NULL = {"color": INK, "marker": "o", "markersize": 5, "markerfacecolor": "white", "linewidth": 0,
        "zorder": 3}  # fmt: skip
CEILING = {"color": INK, "marker": "D", "markersize": 3, "linewidth": 0, "zorder": 3}


def draw(circuit: Circuit, card: Card | None = None) -> Figure:
    """The figure of a circuit: its members by layer and head, one panel per position name.

    With a card, a bar per desideratum stands beside it: the satisfaction on held-out pairs with
    its interval, between null and ceiling, and the bound it needs; below, what the checks found.

    Raises:
        ValueError: the provenance has no n_layers and n_heads, or a member lies outside of them.
    """
    grid, scores = _grid(circuit), card.desiderata if card else ()
    with _style():
        right = LABELS + BAR + REMARKS + 0.25 if scores else 0.0
        grid, height = _arranged(grid, right, len(scores) * PITCH + 1.05 if scores else 0.0)
        width = max(grid.width + right, 3.8) + 2 * MARGIN
        claim = _wrap(circuit.claim, width - 2 * MARGIN, 3, TITLE, "bold")
        about = _wrap(_summary(circuit, grid), width - 2 * MARGIN, 4)
        checks = _wrap(_verdicts(card.findings) if card else "", width - 2 * MARGIN, 5)
        top = MARGIN + 0.19 * len(claim) + LINE * len(about) + 0.14
        figure = Figure((width, top + height + LINE * len(checks) + 0.08 + MARGIN))
        _text(figure, MARGIN, MARGIN, claim, size=TITLE, weight="bold", gid="title")
        _text(figure, MARGIN, MARGIN + 0.19 * len(claim), about, color="#444444", gid="subtitle")
        scale = _scale(circuit.scores)
        for number, position in enumerate(grid.positions):
            row, column = divmod(number, grid.per_row)
            left, above = MARGIN + column * grid.panel[0], top + row * grid.panel[1]
            _panel(figure, grid, circuit, position, scale, left, above)
        _key(figure, circuit.scores, scale, top + grid.n_rows * grid.panel[1])
        if scores:
            _bars(figure, scores, width - MARGIN - right + 0.25, top)
        _text(figure, MARGIN, top + height + 0.08, checks, gid="checks")
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG, PDF or PNG by its suffix: whole or not at all, equal bytes each time.

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(f"a figure is saved as one of {known}; got {str(path)!r}")
    with _style():
        write_atomically(
            path, lambda file: figure.savefig(file, format=suffix[1:], metadata=FORMATS[suffix])
        )


@dataclass(frozen=True)
class _Grid:
    """The panels: what they show, the size of a cell, and how they are laid out."""

    positions: tuple[str, ...]
    n_layers: int
    n_heads: int
    embeds: bool
    numbers: bool  # scores stand in the cells; otherwise beside the grid, by name
    cell: tuple[float, float]
    columns: int = 0  # of the list of names
    per_row: int = 1

    @property
    def mlp(self) -> float:
        """Where the column of MLPs stands, in cells, heads standing at 0, 1, ..."""
        return self.n_heads + max(0.5, 0.24 / self.cell[0] - 1)

    @property
    def inner(self) -> tuple[float, float]:
        below = 1.4 if self.embeds else 0.0
        return (self.mlp + 1) * self.cell[0], (self.n_layers + below) * self.cell[1]

    @property
    def panel(self) -> tuple[float, float]:
        return max(self.inner[0] + 0.42 + 0.8 * self.columns, 1.3), self.inner[1] + 0.52

    @property
    def n_rows(self) -> int:
        return ceil(len(self.positions) / self.per_row)

    @property
    def width(self) -> float:
        return max(self.per_row * self.panel[0], 2.75)


def _grid(circuit: Circuit) -> _Grid:
    sizes = [circuit.provenance.get(key) for key in ("n_layers", "n_heads")]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(
            "a figure needs the model's n_layers and n_heads in the circuit's provenance, as whole "
            f"numbers; got {sizes[0]!r} and {sizes[1]!r}"
        )
    n_layers, n_heads = sizes
    parts = {str(site): site.component for site in circuit.sites}
    if outside := [
        name for name, part in parts.items()
        if part.layer >= n_layers or (part.head or 0) >= n_heads
    ]:  # fmt: skip
        raise ValueError(f"{n_layers} layers of {n_heads} heads have no {', '.join(outside)}")
    members = [site.position for site in circuit.sites]
    embeds = any(part.kind == "embed" for part in parts.values())
    small = n_heads <= 9 and n_layers <= 14
    side = max(min(0.17, 4.2 / n_layers, 3.6 / n_heads), 0.03)
    positions = tuple(dict.fromkeys([*circuit.provenance.get("positions", ()), *members]))
    grid = _Grid(
        positions or ("",), n_layers, n_heads, embeds, small, (0.33, 0.28) if small else (side,) * 2
    )
    most = max(map(members.count, members), default=0)
    return grid if small else replace(grid, columns=min(2, ceil(most / (grid.inner[1] // LINE))))


def _arranged(grid: _Grid, right: float, least: float) -> tuple[_Grid, float]:
    """The grid with as many panels in a row as fit the page best, and the height it then takes
    beside something of this width and height."""
    def height(grid: _Grid) -> float:
        return grid.n_rows * grid.panel[1] + 0.62

    def excess(grid: _Grid) -> float:
        return max((grid.width + right) / PAPER[0], max(height(grid), least) / PAPER[1])

    choices = [replace(grid, per_row=n) for n in range(1, len(grid.positions) + 1)]
    grid = min(choices, key=excess)
    if grid.numbers and height(grid) < least:
        more = (least - height(grid)) / (grid.n_rows * grid.n_layers)
        grid = replace(grid, cell=(grid.cell[0], min(0.4, grid.cell[1] + more)))
    return grid, max(height(grid), least)


def _panel(
    figure: Figure, grid: _Grid, circuit: Circuit, position: str, scale: "_Scale", left: float,
    top: float,
) -> None:  # fmt: skip
    name = f"position: {position}" if position else "no members"
    heading = _wrap(name, grid.panel[0] - 0.5, 1)
    _text(figure, left + 0.36, top, heading, weight="bold", gid=f"panel:{_clean(position)}")
    axes = _axes(figure, left + 0.36, top + 0.17, *grid.inner)
    _cells(axes, grid)
    members = [
        (site, score)
        for site, score in zip(circuit.sites, circuit.scores, strict=True)
        if site.position == position
    ]
    for site, score in members:
        _member(axes, grid, site, score, scale)
    _text(figure, left, top + 0.17 + grid.n_layers * grid.cell[1] / 2, ["layer"], rotation=90,
          va="center")  # fmt: skip
    _text(figure, left + 0.36 + grid.n_heads * grid.cell[0] / 2, top + grid.inner[1] + 0.32,
          ["head"], ha="center")  # fmt: skip
    if not grid.numbers:
        _names(figure, grid, members, left + grid.inner[0] + 0.42, top + 0.17)


def _cells(axes: Axes, grid: _Grid) -> None:
    """The empty cells, as lines, and the numbers of layers and heads."""
    heads, layers, mlp = grid.n_heads - 0.5, grid.n_layers - 0.5, grid.mlp
    lines = [[(-0.5, y - 0.5), (heads, y - 0.5)] for y in range(grid.n_layers + 1)]
    lines += [[(x - 0.5, -0.5), (x - 0.5, layers)] for x in range(grid.n_heads + 1)]
    lines += [[(mlp - 0.5, y - 0.5), (mlp + 0.5, y - 0.5)] for y in range(grid.n_layers + 1)]
    lines += [[(x, -0.5), (x, layers)] for x in (mlp - 0.5, mlp + 0.5)]
    bottom = -0.5
    if grid.embeds:
        bottom = -1.9
        corners = [(mlp - 0.5, -1.9), (mlp + 0.5, -1.9), (mlp + 0.5, -0.9), (mlp - 0.5, -0.9)]
        lines.append([*corners, corners[0]])
        axes.text(mlp - 0.7, -1.4, "embed", ha="right", va="center")
    axes.add_collection(LineCollection(lines, colors=GRID, linewidths=0.5), autolim=False)
    axes.set(xlim=(-0.5, mlp + 0.5), ylim=(bottom, layers))
    wide = _inches(str(grid.n_heads - 1)) + 0.05 < grid.cell[0]
    heads_shown = range(0, grid.n_heads, 1 if wide else 5 if grid.n_heads <= 50 else 10)
    axes.set_xticks([*heads_shown, mlp], [*map(str, heads_shown), "MLP"])
    tall = 1 if grid.cell[1] > 0.15 else 5 if grid.n_layers <= 60 else 10
    axes.set_yticks(range(0, grid.n_layers, tall))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _member(axes: Axes, grid: _Grid, site: Site, score: float, scale: "_Scale") -> None:
    part = site.component
    x = grid.mlp if part.head is None else part.head
    y = -1.4 if part.kind == "embed" else part.layer
    fill, hatch = scale.fill(score), "////" if grid.numbers else "//////"
    axes.add_patch(
        Rectangle(
            (x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor=INK, zorder=3, clip_on=False,
            linewidth=min(0.9, 9 * grid.cell[1]), hatch=hatch if score < 0 else None,
            gid=f"member:{_clean(str(site))}",
        )
    )  # fmt: skip
    if grid.numbers:
        box = {"facecolor": fill, "edgecolor": "none", "pad": 0.6} if score < 0 else None
        ink = "white" if score > 0.55 * scale.peak else INK
        axes.text(x, y, _number(score), ha="center", va="center", color=ink, zorder=4, bbox=box,
                  gid=f"score:{_clean(str(site))}")  # fmt: skip


def _names(
    figure: Figure, grid: _Grid, members: list[tuple[Site, float]], left: float, top: float
) -> None:
    """The members beside the grid, the greatest score first, as many as there is room for."""
    members = sorted(members, key=lambda member: -abs(member[1]))
    rows = max(1, int(grid.inner[1] // LINE))
    room = rows * grid.columns
    if len(members) > room:
        rest, members = len(members) - room + 1, members[: room - 1]
    else:
        rest = 0
    for start in range(0, len(members), rows):
        column, x = members[start : start + rows], left + 0.8 * (start // rows)
        _text(figure, x, top, [str(site.component) for site, _ in column])
        _text(figure, x + 0.7, top, [_number(score) for _, score in column], ha="right")
    if rest:
        column, row = divmod(len(members), rows)
        _text(figure, left + 0.8 * column, top + LINE * row, [f"+ {rest} more"], style="italic")


@dataclass(frozen=True)
class _Scale:
    """Scores as fills: from `low` to `high`, of which at least one is not 0."""

    low: float
    high: float

    @property
    def peak(self) -> float:
        return max(self.high, -self.low)

    def fill(self, score: float) -> Any:
        if not isfinite(score):
            return "white"
        return GAINS(score / self.peak) if score >= 0 else LOSSES(-score / self.peak)


def _scale(scores: Sequence[float]) -> _Scale:
    known = [score for score in scores if isfinite(score)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return _Scale(min(low, 0.0), max(high, 0.0) if low or high else 1.0)


def _key(figure: Figure, scores: Sequence[float], scale: _Scale, top: float) -> None:
    """What the fills of the cells mean."""
    handles = [Patch(facecolor="white", edgecolor=GRID, label="not in the circuit")]
    if scores:
        member = Patch(facecolor=GAINS(0.5), edgecolor=INK, label="member")
        handles.insert(0, member)
    if scale.low < 0:
        loss = Patch(facecolor=LOSSES(0.5), edgecolor=INK, hatch="//////", label="negative score")
        handles.append(loss)
    _legend(figure, handles, 3, MARGIN + 0.36, top)
    if not scores:
        return
    label = "score: satisfaction lost without the site"
    _text(figure, MARGIN + 0.36, top + 0.19, [label], gid="score label")
    axes, steps = _axes(figure, MARGIN + 0.36, top + 0.33, 1.6, 0.09), 48
    width = (scale.high - scale.low) / steps
    lefts = [scale.low + step * width for step in range(steps)]
    fills = [scale.fill(left + width / 2) for left in lefts]
    axes.bar(lefts, 1, width, align="edge", color=fills, edgecolor=fills, linewidth=0.3)
    if scale.low < 0:
        axes.add_patch(Rectangle((scale.low, 0), -scale.low, 1, fill=False, hatch="//////"))
    ends = [scale.low, scale.high]
    if min(-scale.low, scale.high) > 0.25 * (scale.high - scale.low):
        ends.insert(1, 0.0)
    axes.set(xlim=(scale.low, scale.high), ylim=(0, 1), yticks=[])
    axes.set_xticks(ends, [_number(end) for end in ends])


def _bars(figure: Figure, scores: Sequence[DesideratumScore], left: float, top: float) -> None:
    """A bar per desideratum; below each, a rail from null to ceiling."""
    head, start = ["satisfaction of each desideratum"], top + 0.17
    _text(figure, left, top, head, weight="bold", gid="panel of bars")
    axes = _axes(figure, left + LABELS, start, BAR, PITCH * len(scores))
    axes.set(xlim=(0, 1), ylim=(len(scores) - 0.5, -0.5), yticks=[])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x", color=GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    below = start + PITCH * len(scores)
    axes_label = ["share of held-out pairs"]
    _text(figure, left + LABELS + BAR / 2, below + 0.17, axes_label, ha="center", gid="x label")
    for row, score in enumerate(scores):
        _bar(axes, row, score)
        label = [*_wrap(score.name, LABELS - 0.08, 2), f"n = {score.n}"]
        middle = start + PITCH * (row + 0.5)
        _text(figure, left + LABELS - 0.08, middle, label, ha="right", va="center")
        remark = [_number(score.satisfaction), VERDICTS[score.holds][0]]
        remark += ["vacuous"] if score.vacuous else []
        _text(figure, left + LABELS + BAR + 0.09, middle, remark, va="center",
              weight="normal" if score.holds else "bold")  # fmt: skip
    _legend(figure, _handles(scores), 2, left, below + 0.36)


def _bar(axes: Axes, row: int, score: DesideratumScore) -> None:
    _, fill, hatch = VERDICTS[score.holds]
    name, y, rail = _clean(score.name), row - 0.1, row + 0.29
    axes.barh(y, score.satisfaction, height=0.36, facecolor=fill, edgecolor=INK, linewidth=0.6,
              hatch=hatch, gid=f"bar:{name}")  # fmt: skip
    axes.patches[-1].set_gid(f"bar:{name}")
    axes.plot([score.low, score.high], [y, y], gid=f"interval:{name}", **WHISKER)
    axes.plot([score.null, score.ceiling], [rail, rail], color="#7a7a7a", linewidth=0.7, zorder=2)
    axes.plot([score.null], [rail], gid=f"null:{name}", **NULL)
    axes.plot([score.ceiling], [rail], gid=f"ceiling:{name}", **CEILING)
    axes.plot([score.need] * 2, [row - 0.36, row + 0.4], gid=f"need:{name}", **NEED)


def _handles(scores: Sequence[DesideratumScore]) -> list[Patch | Line2D]:
    """The legend of the bars: the verdicts that occur, then the marks."""
    verdicts = [
        Patch(facecolor=fill, edgecolor=INK, hatch=hatch, linewidth=0.6, label=words)
        for holds, (words, fill, hatch) in VERDICTS.items()
        if any(score.holds is holds for score in scores)
    ]
    marks = {
        "95% interval": WHISKER, "needed to hold": NEED | {"marker": "|", "markersize": 8},
        "null: empty circuit": NULL, "ceiling: every site": CEILING,
    }  # fmt: skip
    lines = [
        Line2D([], [], label=label, **mark | ({"linewidth": 0} if label.startswith("need") else {}))
        for label, mark in marks.items()
    ]
    return [*verdicts, *lines]


def _summary(circuit: Circuit, grid: _Grid) -> str:
    n_sites = len(grid.positions) * grid.n_layers * (grid.n_heads + 1)
    n_sites += sum(site.component.kind == "embed" for site in circuit.sites)
    heads, mlps = len(circuit.heads), len(circuit.mlps)
    size = f"{len(circuit)} of {n_sites} sites ({_count(heads, 'head')}, {_count(mlps, 'MLP')})"
    return " · ".join(
        [_wrap(circuit.model, 2.6, 1)[0], *_wrap(circuit.task, 2.6, 1), *_wrap(circuit.method, 2.6, 1), size, f"seed {circuit.seed}"]
    )


def _verdicts(findings: Sequence[Finding]) -> str:
    """What each check found, in a few words."""
    return "; ".join(f"{finding.name}: {finding.verdict}{_evidence(finding)}" for finding in findings)


def _evidence(finding: Finding) -> str:
    if not finding.n:
        return ""
    if finding.name == "random circuits":
        return f", beats {round(finding.value * finding.n)}/{finding.n}"
    if finding.name == "leave one out" and finding.details:
        n = len(finding.details)
        return f", {round(finding.value * n)}/{n} sites needed"
    return f", {_number(finding.value)} (n = {finding.n})"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 99.5 else f"{value:.0e}".replace("e+0", "e")
    return text.replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def _clean(text: str) -> str:
    """On one line, and without what neither a page nor XML can hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def _wrap(
    text: str, width: float, lines: int, size: float = SMALL, weight: str = "normal"
) -> list[str]:
    """The text in at most so many lines of this width, ended by an ellipsis where it is cut."""
    rest, wrapped = _clean(text)[:600], []
    while rest:
        def measure(n: int, rest: str = rest) -> float:
            return _inches(rest[:n], size, weight)

        last = len(wrapped) == lines - 1
        fits = max(1, bisect_right(range(1, len(rest) + 1), width, key=measure))
        if fits < len(rest) and last:
            fits = bisect_right(range(1, len(rest) + 1), width - _inches("…", size, weight), key=measure)
            return [*wrapped, rest[:fits].rstrip() + "…"]
        if fits < len(rest) and " " in rest[1 : fits + 1]:
            fits = rest.rindex(" ", 1, fits + 1)
        wrapped.append(rest[:fits])
        rest = rest[fits:].lstrip()
    return wrapped


def _inches(text: str, size: float = SMALL, weight: str = "normal") -> float:
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    return 1.02 * text_to_path.get_text_width_height_descent(text, font, False)[0] / 72


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def _text(figure: Figure, left: float, top: float, lines: list[str], **look: Any) -> None:
    if lines:
        w, h = figure.get_size_inches()
        look = {"va": "top", "linespacing": 1.15, "color": INK} | look
        figure.text(left / w, 1 - top / h, "\n".join(lines), **look)


def _legend(figure: Figure, handles: list, columns: int, left: float, top: float) -> None:
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(left / w, 1 - top / h), ncols=columns,
        frameon=False, borderpad=0, borderaxespad=0, handlelength=1.6, columnspacing=1.2,
        labelspacing=0.35,
    )  # fmt: skip


@contextmanager
def _style() -> Iterator[None]:
    """The look, whatever the user's settings; letters that the font lacks become boxes, quietly."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
