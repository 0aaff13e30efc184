"""Where the nodes of a diagram stand: a lane for each position, a line for each depth.

A lane is divided into strips, one for each group in it and one for members of none, so that a box
around a group's members in a strip never holds another node. Lines are of nodes, or of the labels
of groups that end below; both are obstacles to arrows. Sizes are in inches, y grows upward.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil

import numpy as np

from ..text.sitegraph import ANSWER, Graph, Node
from .lettering import LINE, wrap

GROUP_SIZE = 5.5  # points of a group's label
PAD = 0.06  # between a group's box and what is in it
APART = 0.14  # least room between two nodes, in which arrows pass
GAPS = (0.17, 0.24, 0.42)  # between lines: the least, enough for arrows, the greatest
WIDEST = 1.4  # columns further apart than this make no clearer drawing


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


@dataclass(frozen=True)
class Line:
    """What stands at one height: nodes (by index) or group labels, as boxes that arrows avoid."""

    bottom: float
    top: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class GroupBox:
    """The part of a group in one lane: its box and the lines of its label with their place."""

    group: int
    box: Box
    words: tuple[str, ...]
    label: Box


@dataclass(frozen=True, kw_only=True)
class Placed:
    """All places. `nodes` are in the graph's order, with the number of their line in `line_of`;
    `lanes` are position, left and right; `layers` are number and height."""

    width: float
    height: float
    nodes: tuple[Box, ...]
    line_of: tuple[int, ...]
    lines: tuple[Line, ...]
    lanes: tuple[tuple[str, float, float], ...]
    layers: tuple[tuple[int, float], ...]
    groups: tuple[GroupBox, ...]


@dataclass(frozen=True)
class _Strip:
    position: str
    group: int | None
    columns: int
    left: float = 0.0
    pitch: float = 0.0

    @property
    def right(self) -> float:
        return self.left + self.columns * self.pitch


@dataclass(frozen=True)
class _Row:
    """A line before it has a height: the nodes of each strip, or the labels above groups."""

    nodes: Mapping[int, tuple[int, ...]]
    labels: Mapping[int, tuple[str, ...]]
    layer: int | None = None


def place_nodes(
    graph: Graph,
    positions: Sequence[str],
    size: tuple[float, float],
    room: float,
    tall: tuple[float, float],
) -> Placed:
    """The places of a graph's nodes and groups in a room of this width, or a wider one if needed.

    Args:
        positions: the lanes, from left to right.
        size: width and height of a node.
        tall: the height to aim at, and the one up to which lines may stand well apart.
    """
    strips = _strips(graph, positions, size[0], room)
    rows = _rows(graph, strips)
    places = _across(graph, strips, rows, size[0])
    height = sum(_needs(row, size[1]) for row in rows)
    wanted, most = ((inches - height) / max(len(rows), 1) for inches in tall)
    gap = float(np.clip(wanted, min(max(most, GAPS[0]), GAPS[1]), GAPS[2]))
    return _stacked(graph, strips, rows, places, size, gap)


def _strips(graph: Graph, positions: Sequence[str], wide: float, room: float) -> list[_Strip]:
    """The strips with their columns and places; a cell with more nodes takes several lines."""
    cells: dict[tuple[str, int | None], list[int]] = {}
    for row in graph.rows:
        for key in sorted({_key(n) for n in row if n.kind != ANSWER}, key=str):
            cells.setdefault(key, []).append(sum(_key(n) == key for n in row))
    strips = []
    for position in positions:
        mine = [key for key in cells if key[0] == position]
        mine.sort(key=lambda key: (key[1] is None, key[1]))
        strips += [_Strip(*key, max(cells[key])) for key in mine]
    least = wide + APART
    while sum(s.columns for s in strips) * least > room and any(s.columns > 1 for s in strips):
        widest = max(range(len(strips)), key=lambda n: strips[n].columns)
        strips[widest] = replace(strips[widest], columns=strips[widest].columns - 1)
    busy = _traffic(graph)
    while (sum(s.columns for s in strips) + 1) * least * 1.25 <= room:
        narrow = [n for n, s in enumerate(strips) if s.columns < 4 and busy[_of(s)]]
        if not narrow:
            break
        n = max(narrow, key=lambda n: busy[_of(strips[n])] / strips[n].columns ** 2)
        strips[n] = replace(strips[n], columns=strips[n].columns + 1)  # nodes may stand aside
    pitch = min(max(room / max(sum(s.columns for s in strips), 1), least), WIDEST)
    left, placed = 0.0, []
    for strip in strips:
        placed.append(replace(strip, left=left, pitch=pitch))
        left = placed[-1].right
    return placed


def _traffic(graph: Graph) -> Counter[tuple[str, int | None]]:
    """How many arrows begin or end in each strip."""
    at = {node.id: _key(node) for node in graph.nodes}
    return Counter(at[end] for arrow in graph.arrows for end in (arrow.source, arrow.target))


def _of(strip: _Strip) -> tuple[str, int | None]:
    return strip.position, strip.group


def _key(node: Node) -> tuple[str, int | None]:
    return node.position or "", node.group


def _rows(graph: Graph, strips: Sequence[_Strip]) -> list[_Row]:
    index = {node.id: n for n, node in enumerate(graph.nodes)}
    number = {_of(s): n for n, s in enumerate(strips)}
    last = {_key(node): node.rank for row in graph.rows for node in row}
    rows = []
    for rank, row in groupby(sorted(graph.nodes, key=lambda n: n.rank), key=lambda n: n.rank):
        cells: dict[int, list[int]] = {}
        for node in row:
            if node.kind == ANSWER:
                rows.append(_Row({-1: (index[node.id],)}, {}))
            else:
                cells.setdefault(number[_key(node)], []).append(index[node.id])
        if not cells:
            continue
        layer = graph.nodes[next(iter(cells.values()))[0]].layer
        for turn in range(max(ceil(len(c) / strips[n].columns) for n, c in cells.items())):
            parts = {
                n: tuple(cell[turn * strips[n].columns : (turn + 1) * strips[n].columns])
                for n, cell in cells.items()
            }
            rows.append(_Row({n: part for n, part in parts.items() if part}, {}, layer))
        ended = [
            n
            for n, s in enumerate(strips)
            if s.group is not None and n in cells and last[_of(s)] == rank
        ]
        if ended:
            rows.append(_Row({}, {n: _label(graph, strips[n]) for n in ended}))
    return rows


def _label(graph: Graph, strip: _Strip) -> tuple[str, ...]:
    name = graph.groups[strip.group or 0]
    return tuple(wrap(name, strip.columns * strip.pitch - 4 * PAD, 3, GROUP_SIZE))


def _needs(row: _Row, high: float) -> float:
    most = max(map(len, row.labels.values()), default=0)
    return high if row.nodes else most * GROUP_SIZE * LINE


def _across(
    graph: Graph, strips: Sequence[_Strip], rows: Sequence[_Row], wide: float
) -> np.ndarray:
    """The middle of each node, so that straight arrows would meet few nodes and be short."""
    x, y = np.zeros(len(graph.nodes)), np.zeros(len(graph.nodes))
    cells = []
    for height, row in enumerate(rows):
        for n, cell in row.nodes.items():
            y[list(cell)] = height
            if n == -1:
                continue
            strip, spare = strips[n], strips[n].columns - len(cell)
            x[list(cell)] = strip.left + (spare / 2 + np.arange(len(cell)) + 0.5) * strip.pitch
            cells.append((strip, cell, spare))
    index = {node.id: n for n, node in enumerate(graph.nodes)}
    senders = np.array([index[arrow.source] for arrow in graph.arrows], int)
    receivers = np.array([index[arrow.target] for arrow in graph.arrows], int)
    weights = np.array([arrow.weight for arrow in graph.arrows])

    def settle() -> None:
        for n in np.flatnonzero([node.kind == ANSWER for node in graph.nodes]):
            mine = receivers == n
            x[n] = np.average(x[senders[mine]], weights=weights[mine] + 1e-3)

    def cost() -> float:
        settle()
        rise = (y[receivers] - y[senders])[:, None]
        part = (y - y[senders][:, None]) / rise
        at = x[senders][:, None] + part * (x[receivers] - x[senders])[:, None]
        near = np.clip(1.2 - np.abs(at - x) / (0.5 * wide + 0.05), 0, None)
        met = near * ((part > 0.01) & (part < 0.99))
        aside = np.abs(x - x.mean()).sum() * 0.002
        return float(met.sum() + 0.12 * np.abs(x[receivers] - x[senders]).sum() + aside)

    for _ in range(3 if len(senders) else 0):
        for strip, cell, spare in cells:
            best, where = cost() - 1e-9, x[list(cell)].copy()
            for offset in np.arange(0, spare + 0.1, 0.5):
                slots = strip.left + (offset + np.arange(len(cell)) + 0.5) * strip.pitch
                orders = [np.argsort(np.argsort(where))]
                orders += [_swapped(orders[0], n) for n in range(len(cell) - 1)]
                for order in orders:
                    x[list(cell)] = slots[order]
                    if (now := cost()) < best:
                        best, where = now - 1e-9, x[list(cell)].copy()
            x[list(cell)] = where
    settle()
    return x


def _swapped(order: np.ndarray, n: int) -> np.ndarray:
    """The same order with the nodes of two neighbouring places exchanged."""
    swapped = order.copy()
    swapped[order == n], swapped[order == n + 1] = n + 1, n
    return swapped


def _stacked(
    graph: Graph,
    strips: Sequence[_Strip],
    rows: Sequence[_Row],
    x: np.ndarray,
    size: tuple[float, float],
    gap: float,
) -> Placed:
    width = strips[-1].right if strips else size[0] + APART
    entering = Counter(arrow.target for arrow in graph.arrows)
    wide = np.full(len(graph.nodes), size[0])
    for n, node in enumerate(graph.nodes):
        if node.kind == ANSWER:  # what many arrows enter needs a long border
            wide[n] = min(max(size[0], 0.11 * entering[node.id]), width - 0.06)
    x = np.clip(x, wide / 2 + 0.03, width - wide / 2 - 0.03)
    y, lines, layers = gap / 2, [], []
    boxes = [Box(0.0, 0.0, 0.0, 0.0)] * len(graph.nodes)
    line_of, labels = [0] * len(graph.nodes), {}
    for row in rows:
        if row.labels:
            y -= gap - 1.6 * PAD  # a label stands close to what it names
        top, mine = y + _needs(row, size[1]), []
        for cell in row.nodes.values():
            for n in cell:
                boxes[n] = Box(float(x[n] - wide[n] / 2), y, float(x[n] + wide[n] / 2), top)
                line_of[n] = len(lines)
                mine.append(boxes[n])
        for n, words in row.labels.items():
            strip, high = strips[n], len(words) * GROUP_SIZE * LINE
            labels[n] = words, Box(strip.left + 2 * PAD, y, strip.right - 2 * PAD, y + high)
            mine.append(labels[n][1])
        if row.layer is not None and row.layer not in dict(layers):
            layers.append((row.layer, (y + top) / 2))
        lines.append(Line(y, top, tuple(mine)))
        y = top + gap
    groups = []
    for n, (words, label) in labels.items():
        strip = strips[n]
        inside = [boxes[m] for row in rows for m in row.nodes.get(n, ())]
        box = Box(
            strip.left + PAD,
            min(b.bottom for b in inside) - PAD,
            strip.right - PAD,
            label.top + PAD / 2,
        )
        groups.append(GroupBox(strip.group or 0, box, words, label))
    lanes = [
        (position, min(s.left for s in part), max(s.right for s in part))
        for position, part in ((p, list(g)) for p, g in groupby(strips, key=lambda s: s.position))
    ]
    height = (lines[-1].top if lines else 0.0) + gap / 2
    return Placed(
        width=width,
        height=height,
        nodes=tuple(boxes),
        line_of=tuple(line_of),
        lines=tuple(lines),
        lanes=tuple(lanes),
        layers=tuple(layers),
        groups=tuple(groups),
    )
