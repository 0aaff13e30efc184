"""How the arrows of a diagram run: upward, through the gaps between the boxes of each line.

An arrow first takes the free interval of each line on its way for which a shortest path is least
bent and crowded; then it is pulled taut in that corridor. Between two knots its x lies between
theirs (monotone cubics), so that it runs through no box.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..text.sitegraph import Arrow, Graph
from .placing import Line, Placed

CLEAR = 0.04  # between an arrow and a box that it passes
LANE = 0.05  # between two arrows that pass the same box, where there is room
STEP = 0.07  # between the places that are tried on a line

Point = tuple[float, float]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Route:
    """An arrow's way: knots, and between each two the inner control points of a cubic Bezier."""

    knots: tuple[Point, ...]
    controls: tuple[tuple[Point, Point], ...]


@dataclass(frozen=True)
class Port:
    """An input of a node (by index) that some arrow enters, and the x of its middle."""

    node: int
    channel: str
    x: float


@dataclass(frozen=True)
class Routes:
    """Routes in the order of the arrows, and the ports that they enter."""

    routes: tuple[Route, ...]
    ports: tuple[Port, ...]


def route_arrows(graph: Graph, placed: Placed) -> Routes:
    """The ways of a graph's arrows between nodes that are placed; each leads to a higher line."""
    index = {node.id: n for n, node in enumerate(graph.nodes)}
    ends = [(index[arrow.source], index[arrow.target]) for arrow in graph.arrows]
    free = [_free(line, placed.width) for line in placed.lines]
    ports = _ports(graph, ends, placed)
    entries = {(port.node, port.channel): port.x for port in ports}
    exits = [(a, placed.nodes[a].middle[0]) for a, _ in ends]
    doors = [
        (b, entries.get((b, arrow.channel), placed.nodes[b].middle[0]))
        for arrow, (_, b) in zip(graph.arrows, ends, strict=True)
    ]
    wide = [placed.nodes[a].right - placed.nodes[a].left for a, _ in ends]
    entered = Counter(port.node for port in ports)
    shares = [(placed.nodes[b].right - placed.nodes[b].left) / max(1, entered[b]) for _, b in ends]
    starts, goals = [x for _, x in exits], [x for _, x in doors]
    corridors = _corridors(graph.arrows, ends, free, placed)
    levels = [_levels(placed, *pair) for pair in ends]
    taut = list(map(_taut, starts, goals, corridors, levels))
    starts = _side_by_side(exits, wide, [x[1] for x in taut], graph.arrows)
    goals = _side_by_side(doors, shares, [x[-2] for x in taut], graph.arrows)
    taut = list(map(_taut, starts, goals, _parted(ends, corridors, taut, placed), levels))
    routes = tuple(map(_curve, taut, levels))
    return Routes(routes, ports)


def _free(line: Line, width: float) -> list[Interval]:
    """Where an arrow may pass the line."""
    found, left = [], CLEAR / 2
    for box in sorted(line.boxes, key=lambda box: box.left):
        if box.left - CLEAR > left:
            found.append((left, box.left - CLEAR))
        left = max(left, box.right + CLEAR)
    return [*found, (left, width - CLEAR / 2)] if left < width - CLEAR / 2 else found


def _corridors(
    arrows: Sequence[Arrow],
    ends: Sequence[tuple[int, int]],
    free: Sequence[Sequence[Interval]],
    placed: Placed,
) -> list[list[Interval]]:
    """The interval that each arrow takes on each line between its ends, the strongest first."""
    taken: dict[tuple[int, Interval], int] = defaultdict(int)
    found: list[list[Interval]] = [[] for _ in arrows]
    for n in sorted(range(len(arrows)), key=lambda n: -arrows[n].weight):
        first, last = (placed.line_of[end] for end in ends[n])
        start, goal = (placed.nodes[end].middle[0] for end in ends[n])
        x, y = np.array([start]), placed.lines[first].top
        cost, back, choices = np.zeros(1), [], []
        for number in range(first + 1, last):
            line = placed.lines[number]
            tried = [(at, span) for span in free[number] for at in _tried(span)]
            there = np.array([at for at, _ in tried])
            crowd = [_crowding(taken[number, span], span) for _, span in tried]
            middle = (line.bottom + line.top) / 2
            total = cost[:, None] + (there - x[:, None]) ** 2 / (middle - y)
            total += 0.1 * np.abs(there - x[:, None]) + np.array(crowd)
            back.append(total.argmin(0))
            cost, x, y = total.min(0), there, middle
            choices.append([span for _, span in tried])
        at = int((cost + (goal - x) ** 2 / (placed.lines[last].bottom - y)).argmin())
        for number, spans, came in zip(
            range(last - 1, first, -1), reversed(choices), reversed(back), strict=True
        ):
            found[n].insert(0, spans[at])
            taken[number, spans[at]] += 1
            at = int(came[at])
    return found


def _tried(span: Interval) -> np.ndarray:
    return np.linspace(*span, max(1, int((span[1] - span[0]) / STEP)) + 2)[1:-1]


def _crowding(count: int, span: Interval) -> float:
    """What it costs to be one more in an interval."""
    return 0.02 * count + 2.0 * max(0.0, (count + 1) * LANE / (span[1] - span[0]) - 1)


def _levels(placed: Placed, sender: int, receiver: int) -> list[float]:
    """The heights of an arrow's knots: its ends, and a line's bottom and top on the way."""
    first, last = placed.line_of[sender], placed.line_of[receiver]
    between = placed.lines[first + 1 : last]
    passed = [y for line in between for y in (line.bottom - CLEAR / 2, line.top + CLEAR / 2)]
    return [placed.nodes[sender].top, *passed, placed.nodes[receiver].bottom]


def _taut(
    start: float, goal: float, corridor: Sequence[Interval], levels: Sequence[float]
) -> np.ndarray:
    """The x of the knots of the least bent way through a corridor."""
    bounds = np.array([span for span in corridor for _ in range(2)]).reshape(-1, 2)
    x = np.array([start, *np.linspace(start, goal, len(bounds) + 2)[1:-1], goal])
    x[1:-1] = np.clip(x[1:-1], bounds[:, 0], bounds[:, 1])
    stiff = 1 / np.diff(levels)
    for _ in range(80 if len(bounds) else 0):
        for n in range(1, len(x) - 1):
            middle = (stiff[n - 1] * x[n - 1] + stiff[n] * x[n + 1]) / (stiff[n - 1] + stiff[n])
            x[n] = min(max(middle, bounds[n - 1, 0]), bounds[n - 1, 1])
    return x


def _parted(
    ends: Sequence[tuple[int, int]],
    corridors: Sequence[Sequence[Interval]],
    taut: Sequence[np.ndarray],
    placed: Placed,
) -> list[list[Interval]]:
    """Narrower corridors, in which the arrows that pass the same interval stand side by side."""
    passing: dict[tuple[int, Interval], list[tuple[float, int, int]]] = defaultdict(list)
    for n, corridor in enumerate(corridors):
        for k, span in enumerate(corridor):
            at = (taut[n][1 + 2 * k] + taut[n][2 + 2 * k]) / 2
            passing[placed.line_of[ends[n][0]] + 1 + k, span].append((at, n, k))
    parted = [list(corridor) for corridor in corridors]
    for (_, (low, high)), through in passing.items():
        step = min(LANE, (high - low) / len(through))
        for rank, (_, n, k) in enumerate(sorted(through)):
            parted[n][k] = low + rank * step, high - (len(through) - 1 - rank) * step
    return parted


def _side_by_side(
    doors: Sequence[tuple[int, float]],
    rooms: Sequence[float],
    toward: Sequence[float],
    arrows: Sequence[Arrow],
) -> list[float]:
    """The x of arrows at doors (node and x): those at the same one in the order in which they go
    on, within the room of the door, wide ones further apart."""
    spread = [x for _, x in doors]
    for door in set(doors):
        mine = [n for _, n in sorted((t, n) for n, t in enumerate(toward) if doors[n] == door)]
        widths = np.array([0.06 + 0.07 * arrows[n].weight for n in mine])
        widths *= min(1.0, 0.85 * rooms[mine[0]] / widths.sum())
        for n, end, width in zip(mine, widths.cumsum(), widths, strict=True):
            spread[n] += float(end - (width + widths.sum()) / 2)
    return spread


def _channels(graph: Graph, ends: Sequence[tuple[int, int]]) -> Mapping[int, list[str]]:
    """The inputs that some arrow enters of each node with several, in the order of its glyph,
    others last."""
    found: dict[int, set[str]] = defaultdict(set)
    for arrow, (_, receiver) in zip(graph.arrows, ends, strict=True):
        if graph.nodes[receiver].has_ports:
            found[receiver].add(arrow.channel)
    ordered = {}
    for n, names in found.items():
        inputs = graph.nodes[n].inputs
        own = [name for name in inputs if name in names]
        ordered[n] = [*own, *sorted(names - set(inputs))]
    return ordered


def _ports(graph: Graph, ends: Sequence[tuple[int, int]], placed: Placed) -> tuple[Port, ...]:
    found = []
    for node, names in sorted(_channels(graph, ends).items()):
        box = placed.nodes[node]
        step = (box.right - box.left) / len(names)
        found += [Port(node, name, box.left + (n + 0.5) * step) for n, name in enumerate(names)]
    return tuple(found)


def _curve(x: np.ndarray, levels: Sequence[float]) -> Route:
    """A smooth way through the knots that leaves and arrives upright."""
    y = np.array(levels)
    slope = _slopes(x, y)
    knots = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    controls = []
    for n, ((x0, y0), (x1, y1)) in enumerate(pairwise(knots)):
        third = (y1 - y0) / 3
        near = x0 + float(slope[n]) * third, y0 + third
        controls.append((near, (x1 - float(slope[n + 1]) * third, y1 - third)))
    return Route(tuple(knots), tuple(controls))


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The slope of x over y at each knot, such that a cubic through the knots never overshoots:
    inside the weighted harmonic mean of both sides' (Fritsch and Butland 1984), 0 at both ends and
    where x turns. scipy.interpolate has it too, and takes as long to load as matplotlib."""
    steps, found = np.diff(y), np.zeros(len(y))
    rises = np.diff(x) / steps
    before, after = rises[:-1], rises[1:]
    on = before * after > 0
    first = 2 * steps[1:] + steps[:-1]
    second = steps[1:] + 2 * steps[:-1]
    mean = (first[on] / before[on] + second[on] / after[on]) / (first[on] + second[on])
    found[1:-1][on] = 1.0 / mean
    return found
