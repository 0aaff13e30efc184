"""A circuit as a graph in text: Graphviz DOT, Mermaid, TikZ, GraphML or JSON.

Each format has the same nodes and edges under the same generated ids (n0, n1, ..., and `answer`
where an edge leads to it); names from outside are only ever labels, escaped as the format asks.
JSON keeps names as they are; GraphML has them on one line; the drawings (`drawings.py`) cut their
labels at 60 letters.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...circuits.circuit import Circuit
from ...mediators.site import Site
from .drawings import write_dot, write_mermaid, write_tikz
from .sitegraph import Edge, Graph, Node, build_graph, json_text, on_one_line, problems_of


def export_graph(
    circuit: Circuit,
    kind: str,
    *,
    edges: Sequence[Edge] = (),
    groups: Mapping[str, Iterable[Site]] | None = None,
    names: Mapping[Site, str] | None = None,
) -> str:
    """The circuit as text of this kind: dot, mermaid, tikz, graphml or json.

    A node is a site with its layer, kind, score (left out where it is not finite) and position;
    an edge has its channel and effect. `groups` are named, disjoint sets of sites, drawn as boxes.
    A site in `names` is labelled with its name beside it.

    Raises:
        ValueError: no such kind; an edge, a group or a name with a site that is no member; a site
            in two groups; an edge to its own sender or whose effect is not finite; more than
            Mermaid draws. Every problem at once.
    """
    if kind not in KINDS:
        raise ValueError(f"a graph is written as one of {', '.join(KINDS)}; got {kind!r}")
    named = {name: tuple(sites) for name, sites in (groups or {}).items()}
    if problems := problems_of(circuit, edges, named, names):
        raise ValueError("; ".join(problems))
    return KINDS[kind](build_graph(circuit, edges, named, names))


def write_graphml(graph: Graph) -> str:
    """With the keys and types that networkx and Gephi read."""
    root = ElementTree.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    types = {
        "graph": dict.fromkeys(graph.about, "string"),
        "node": {
            "label": "string",
            "site": "string",
            "name": "string",
            "layer": "int",
            "kind": "string",
            "score": "double",
            "position": "string",
            "group": "string",
        },
        "edge": {"channel": "string", "effect": "double"},
    }
    for owner, keys in types.items():
        for name, type_ in keys.items():
            told = {"id": f"{owner}_{name}", "for": owner, "attr.name": name, "attr.type": type_}
            ElementTree.SubElement(root, "key", told)
    top = ElementTree.SubElement(root, "graph", id="circuit", edgedefault="directed")

    def tell(element: ElementTree.Element, owner: str, facts: Mapping[str, Any]) -> None:
        for name in types[owner]:
            if facts[name] is not None:
                data = ElementTree.SubElement(element, "data", key=f"{owner}_{name}")
                data.text = on_one_line(str(facts[name]))

    tell(top, "graph", graph.about)
    for node in graph.nodes:
        tell(ElementTree.SubElement(top, "node", id=node.id), "node", _node_facts(graph, node))
    for number, arrow in enumerate(graph.arrows):
        ends = {"id": f"e{number}", "source": arrow.source, "target": arrow.target}
        facts = {"channel": arrow.channel, "effect": arrow.effect}
        tell(ElementTree.SubElement(top, "edge", ends), "edge", facts)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True).decode() + "\n"


def write_json(graph: Graph) -> str:
    """As networkx's node_link_graph(..., edges="edges") reads it."""
    told = {
        "directed": True,
        "multigraph": True,
        "graph": dict(graph.about),
        "nodes": [{"id": node.id, **_node_facts(graph, node)} for node in graph.nodes],
        "edges": [
            {"source": a.source, "target": a.target, "channel": a.channel, "effect": a.effect}
            for a in graph.arrows
        ],
    }
    return json_text(told, indent=2) + "\n"


def _node_facts(graph: Graph, node: Node) -> dict[str, Any]:
    return {
        "label": node.label if node.name is None else f"{node.name} ({node.label})",
        "site": None if node.position is None else node.label,
        "name": node.name,
        "layer": node.layer,
        "kind": node.kind,
        "score": node.score,
        "position": node.position,
        "group": None if node.group is None else graph.groups[node.group],
    }


KINDS = {
    "dot": write_dot,
    "mermaid": write_mermaid,
    "tikz": write_tikz,
    "graphml": write_graphml,
    "json": write_json,
}
