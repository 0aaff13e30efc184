"""The graph of a circuit: its sites as nodes and effects as edges, before a format writes it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import inf, isfinite
from typing import Any, Protocol, runtime_checkable

from ...circuits.circuit import Circuit
from ...mediators.site import Site

ANSWER = "answer"
CUT = 60  # letters of a label in a drawing


@runtime_checkable  # so that tests can check types
class Edge(Protocol):
    """What `sender` does to `receiver` (None: the answer) through a channel such as q, k or v.

    `effect` has the unit of the method that measured it; its sign gives the colour, its size
    beside the greatest one the width.
    """

    @property
    def sender(self) -> Site: ...
    @property
    def receiver(self) -> Site | None: ...
    @property
    def channel(self) -> str: ...
    @property
    def effect(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Node:
    """A member of the circuit, or the answer, under a generated id; `name` is what a person calls
    it, `label` its site. `shape` and `inputs` are its glyph's, those of the answer `answer` and
    none."""

    id: str
    label: str
    kind: str
    shape: str
    inputs: tuple[str, ...] = ()
    rank: tuple[int | float, int]  # greater is nearer to the answer
    layer: int | None = None
    score: float | None = None
    position: str | None = None
    group: int | None = None
    name: str | None = None

    @property
    def has_ports(self) -> bool:
        """Whether a drawing says which of its inputs an arrow enters."""
        return len(self.inputs) > 1

    @property
    def lines(self) -> list[str]:
        """What a drawing writes in the node."""
        called = shortened(self.name or "")
        named = [called] if called else []  # a name of blanks is no line
        score = [] if self.score is None else [f"{self.score:.3g}"]
        return [*named, shortened(self.label), *score]


@dataclass(frozen=True)
class Arrow:
    """An edge between the nodes of two ids."""

    source: str
    target: str
    channel: str
    effect: float
    weight: float  # the size of the effect, from 0 to 1

    @property
    def line(self) -> str:
        """What a drawing writes beside the edge."""
        return f"{shortened(self.channel)} {self.effect:+.3g}".strip()


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the circuit, arrows, the names of groups and of positions in order."""

    about: Mapping[str, str]
    positions: tuple[str, ...]
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    groups: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{shortened(self.about['claim'])} ({shortened(self.about['model'])})"

    @property
    def rows(self) -> list[list[Node]]:
        """The nodes of each rank, the lowest first."""
        ordered = sorted(self.nodes, key=lambda node: node.rank)
        return [list(row) for _, row in groupby(ordered, key=lambda node: node.rank)]

    @property
    def spine(self) -> list[tuple[str, str]]:
        """Unseen links that keep the ranks in order where no edge does."""
        return [(low[0].id, high[0].id) for low, high in pairwise(self.rows)]

    def within(self, group: int | None) -> list[Node]:
        """The nodes of a group, or of none."""
        return [node for node in self.nodes if node.group == group]


def build_graph(
    circuit: Circuit,
    edges: Sequence[Edge],
    groups: Mapping[str, tuple[Site, ...]],
    names: Mapping[Site, str] | None = None,
) -> Graph:
    """The graph of a circuit in which `problems_of` finds nothing; groups without a site go."""
    groups = {name: sites for name, sites in groups.items() if sites}
    group_of = {site: n for n, sites in enumerate(groups.values()) for site in sites}
    nodes, ids = [], {site: f"n{n}" for n, site in enumerate(circuit.sites)}
    for site, score in zip(circuit.sites, circuit.scores, strict=True):
        part = site.component
        known = float(score) if isfinite(score) else None
        nodes.append(
            Node(
                id=ids[site],
                label=str(site),
                kind=part.kind,
                shape=part.glyph.shape,
                inputs=part.glyph.inputs,
                rank=part.depth,
                layer=part.layer,
                score=known,
                position=site.position,
                group=group_of.get(site),
                name=(names or {}).get(site),
            )
        )
    if any(edge.receiver is None for edge in edges):
        nodes.append(Node(id=ANSWER, label=ANSWER, kind=ANSWER, shape=ANSWER, rank=(inf, 0)))
    peak = max((abs(edge.effect) for edge in edges), default=0.0) or 1.0
    arrows = tuple(
        Arrow(
            ids[edge.sender],
            ANSWER if edge.receiver is None else ids[edge.receiver],
            edge.channel,
            float(edge.effect),
            float(abs(edge.effect) / peak),
        )
        for edge in edges
    )
    named = circuit.provenance.get("positions")  # a run's are in the order of the tokens
    used = [site.position for site in circuit.sites]
    order = [p for p in named if p in used] if isinstance(named, list | tuple) else []
    about = {"claim": circuit.claim, "model": circuit.model, "task": circuit.task}
    positions = tuple(dict.fromkeys([*order, *used]))
    return Graph(about, positions, tuple(nodes), arrows, tuple(groups))


def problems_of(
    circuit: Circuit,
    edges: Sequence[Edge],
    groups: Mapping[str, tuple[Site, ...]],
    names: Mapping[Site, str] | None = None,
) -> list[str]:
    """What keeps these edges, groups and names from being a graph of the circuit."""
    found, members, taken = [], set(circuit.sites), set()
    for number, edge in enumerate(edges, 1):
        ends = [site for site in (edge.sender, edge.receiver) if site is not None]
        found += [f"edge {number}: {s} is not in the circuit" for s in ends if s not in members]
        if edge.sender == edge.receiver:
            found.append(f"edge {number}: {edge.sender} leads to itself")
        if not isfinite(edge.effect):
            found.append(f"edge {number}: the effect must be a finite number; got {edge.effect}")
    for name, sites in groups.items():
        found += [f"group {name!r}: {s} is not in the circuit" for s in sites if s not in members]
        found += [f"group {name!r}: {s} is in another group" for s in sites if s in taken]
        taken.update(sites)
    strangers = (site for site in names or {} if site not in members)
    return [*found, *(f"{site}, which has a name, is not in the circuit" for site in strangers)]


def json_text(value: Any, indent: int | None = None) -> str:
    r"""In ASCII, with \u003c for < and the like, so that it may stand in a page or a title too."""
    text = json.dumps(value, indent=indent, allow_nan=False)
    return re.sub("[<>&=]", lambda match: f"\\u{ord(match[0]):04x}", text)


def on_one_line(text: str) -> str:
    """On one line; what XML, TeX or a terminal cannot hold, direction marks too, becomes �."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def shortened(text: str) -> str:
    """On one line and short enough to be drawn."""
    text = on_one_line(text)
    return text if len(text) <= CUT else text[: CUT - 1].rstrip() + "…"
