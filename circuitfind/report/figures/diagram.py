"""The circuit diagram: members by depth and position, and the direct effects between them.

Depth grows upward, from the embedding to the answer; each position name has a lane. An arrow is as
wide as its effect is great; one for the answer is blue and solid, one against it orange and dashed.
All is laid out in inches (placing.py, routing.py) and drawn smaller where the page is too small.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from matplotlib.figure import Figure

from ...circuits.circuit import Circuit, Edge
from ...mediators.site import Site
from ..text.counts import size_words
from ..text.sitegraph import Graph, build_graph, problems_of
from .example import HEIGHT, JOIN, Example, problems_of_example, put_example
from .lettering import LINE, SMALL, TITLE, cut, wrap
from .marks import (
    LAYERS,
    lane_name,
    legend_of,
    node_size,
    put_arrow,
    put_group,
    put_lanes,
    put_nodes,
)
from .pen import LEGEND_LINE, Item, arrange, open_sheet, put_items
from .placing import Placed, place_nodes
from .routing import route_arrows
from .style import Theme, styled, theme_named, width_named

MARGIN = 0.1
MOST_EDGES = {"one": 48, "two": 72}  # more arrows than this cannot be followed
WEAKEST = 0.01  # of the greatest effect; what is less would be drawn as a hair
TALLEST = 9.0  # inches of a page
UNIT = 0.8  # inches of the name of a unit
SCALES = (1.0, 0.9, 0.8, 0.7, 0.62)  # tried until all fits; the last is made do with


def draw_diagram(
    circuit: Circuit,
    *,
    example: Example | None = None,
    theme: str = "light",
    width: str = "two",
    groups: Mapping[str, Iterable[Site]] | None = None,
) -> Figure:
    """The diagram of a circuit, with the strongest of its edges if they are measured.

    Nodes have the gid `node-{index in circuit.sites}` and their names `label-{...}`, the answer
    `node-answer`; edges `edge-{index in circuit.edges}`. The figure says how many are not drawn.

    Args:
        width: one or two columns of a page, 3.3 or 6.9 inches.
        groups: named, disjoint sets of sites, drawn as boxes; a name says what the group carries.

    Raises:
        ValueError: no such theme or width; a group with a site that is no member; a site in two
            groups; edges that lead to no later component, or whose effect is not finite; an
            example without a token for its columns. Every problem at once.
    """
    colours, page = theme_named(theme), width_named(width)
    named = {name: tuple(sites) for name, sites in (groups or {}).items()}
    problems = problems_of(circuit, circuit.edges, named)
    problems += [*_backward(circuit), *problems_of_example(example)]
    if problems:
        raise ValueError("; ".join(problems))
    kept = _strongest(circuit.edges, MOST_EDGES[width])
    graph = build_graph(circuit, [circuit.edges[n] for n in kept], named)
    with styled(colours):
        return _draw(_Subject(circuit, graph, kept, example), colours, page)


def _backward(circuit: Circuit) -> list[str]:
    return [
        f"edge {number}: {edge} leads to no later component"
        for number, edge in enumerate(circuit.edges, 1)
        if edge.receiver not in (None, edge.sender)
        and edge.sender.component.depth >= edge.receiver.component.depth
    ]


def _strongest(edges: Sequence[Edge], most: int) -> list[int]:
    """The indices of the edges that are drawn, in their order."""
    ordered = sorted(range(len(edges)), key=lambda n: (-abs(edges[n].effect), n))
    peak = abs(edges[ordered[0]].effect) if ordered else 0.0
    return sorted(n for n in ordered[:most] if abs(edges[n].effect) > WEAKEST * peak)


@dataclass(frozen=True)
class _Subject:
    """What is drawn: a circuit, the graph with its strongest edges, which those are (`kept`), and
    the prompt below."""

    circuit: Circuit
    graph: Graph
    kept: Sequence[int]
    example: Example | None

    @property
    def positions(self) -> list[str]:
        """The lanes in the order of the example's tokens, so that lines to them do not cross."""
        columns = self.example.columns if self.example else {}
        return sorted(self.graph.positions, key=lambda name: columns.get(name, inf))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a diagram says around its nodes, where all is, and how much smaller it is drawn.

    `below` is the height of the names of lanes, `margin` that of all below the nodes.
    """

    placed: Placed
    title: list[str]
    about: list[str]
    legend: list[list[Item]]
    below: float
    margin: float
    size: tuple[float, float]
    scale: float


def _plan(subject: _Subject, page: float) -> _Plan:
    """The plan that fits the page best, at full size if it can."""
    for scale in SCALES:
        plan = _plan_at(scale, subject, page)
        width, height = plan.size
        if width * scale <= page + 1e-6 and height * scale <= TALLEST:
            break
    return replace(plan, scale=min(scale, page / width))


def _plan_at(scale: float, subject: _Subject, page: float) -> _Plan:
    inner, circuit, graph = page / scale - 2 * MARGIN, subject.circuit, subject.graph
    title = wrap(circuit.claim, inner, 2, TITLE, "bold")
    about = [line for words in _about(circuit, subject.kept) for line in wrap(words, inner, 3)]
    legend = arrange(legend_of(circuit, graph), inner)
    above = MARGIN + LINE * (TITLE * len(title) + SMALL * len(about)) + 0.12
    margin = MARGIN + LEGEND_LINE * len(legend) + 0.1
    margin += JOIN + HEIGHT if subject.example else 0.0
    tallest = TALLEST / scale - above - margin - 0.3
    tall = min(tallest, 0.75 * page / scale), tallest
    placed = place_nodes(graph, subject.positions, node_size(graph), inner - LAYERS, tall)
    names = max((len(lane_name(*lane)) for lane in placed.lanes), default=0)
    below = 0.07 + LINE * SMALL * names
    width = max(inner, placed.width + LAYERS) + 2 * MARGIN
    size = width, above + placed.height + below + margin
    return _Plan(
        placed=placed,
        title=title,
        about=about,
        legend=legend,
        below=below,
        margin=below + margin,
        size=size,
        scale=scale,
    )


def _draw(subject: _Subject, theme: Theme, page: float) -> Figure:
    plan, graph = _plan(subject, page), subject.graph
    placed, room = plan.placed, plan.size[0] - 2 * MARGIN - LAYERS
    left = MARGIN + LAYERS + (room - placed.width) / 2
    figure, pen = open_sheet(plan.size, (left, plan.margin), plan.scale, theme)
    start, top = MARGIN - left, plan.size[1] - MARGIN - plan.margin
    pen.write_lines(start, top, plan.title, TITLE, weight="bold", gid="title")
    top -= LINE * TITLE * len(plan.title) + 0.02
    pen.write_lines(start, top, plan.about, color=theme.muted, gid="subtitle")
    put_lanes(pen, placed)
    for n, part in enumerate(placed.groups):
        put_group(pen, part, f"{part.group}-{n}")
    routes = route_arrows(graph, placed)
    for arrow, route, n in zip(graph.arrows, routes.routes, subject.kept, strict=True):
        put_arrow(pen, arrow, route, f"edge-{n}")
    put_nodes(pen, subject.circuit, graph, placed, routes.ports)
    if subject.example:
        put_example(pen, subject.example, placed.lanes, start, room + LAYERS, -plan.below)
    put_items(pen, plan.legend, start, MARGIN + LEGEND_LINE * len(plan.legend) - plan.margin)
    return figure


def _about(circuit: Circuit, kept: Sequence[int]) -> list[str]:
    """Where the circuit is from, and which of its paths are drawn."""
    names = [cut(name, 2.6) for name in (circuit.model, circuit.task, circuit.method)]
    about = " · ".join([*filter(None, names), size_words(circuit)])
    effects = [abs(edge.effect) for edge in circuit.edges]
    if not effects:
        return [about, "no paths between them were measured"]
    if len(kept) == len(effects):
        return [about, f"all {len(effects)} paths"]
    rest = set(range(len(effects))) - set(kept)
    most = max(effects[n] for n in rest)
    drawn = f"the strongest {len(kept)} of {len(effects)} paths"
    return [
        about,
        f"{drawn}; {len(rest)} of at most {most:.2g} {cut(circuit.unit, UNIT)} are not drawn",
    ]
