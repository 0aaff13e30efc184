"""The diagram: boxes, labels and arrows are kept apart by geometry, whatever the circuit."""

import random
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.text import Text

from circuitfind.circuits.circuit import Circuit, Edge
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED, mlp
from circuitfind.report import save_figure
from circuitfind.report.figures.diagram import MOST_EDGES, WEAKEST, draw_diagram
from circuitfind.report.figures.example import Example

from ..plugins import mixed_circuit, plug_in

POSITIONS = ("names.0", "x", "query", "last")
SIZES = {3: (1, 4, 4), 10: (2, 6, 8), 30: (4, 12, 8), 60: (4, 24, 12)}  # positions, layers, heads
ATOMS = (
    "<script>alert('&')</script>",
    "--> ]]> <!--",
    "<![CDATA[",
    '"',
    "'",
    "\\",
    "\\end{document}",
    "$x_1^2$",
    "$",
    "$$ \\frac{1}{0} $$",
    "$\\undefined$",
    "a $ b",
    "100% # & ~ ^ { }",
    "}{",
    "under_score_",
    "^",
    "line\nbreak",
    "\r\n\u2028\u2029",
    "\t tab",
    "\x00\x01\x1b[31m\x7f",
    "\u202eevil\u202c\u200f",
    "שלום עולם",
    "سلام دنیا",
    "\ud800",
    "\ufffe\uffff",
    "🦜👨‍👩‍👧",
    "é ü → Ω",
    "漢字かな",
    "e\u0301" * 9,
    "Q" * 500,
    "wide words " * 50,
    "M" * 41,
    "",
    " ",
    "…",
    "\u00ad",
    "&amp;",
    "&#x24;",
    "url(#a)",
    "nan",
    "None",
    "0",
)
PLACES = ("@", "x@", "@ y", "@@", '"@;')
HOSTILE = [place.replace("@", atom) for place, atom in product(PLACES, ATOMS)]


def make_circuit(n: int, *, edges: bool = True, **names: str) -> Circuit:
    """A circuit of n random sites, one of them the embedding, and random edges upward."""
    rng, (n_positions, n_layers, n_heads) = random.Random(n), SIZES[n]
    positions = POSITIONS[-n_positions:]
    sites = [*rng.sample(all_sites(n_layers, n_heads, positions), n - 1), Site(EMBED, positions[0])]
    found = []
    for a, b in product(sites, sites):
        if a.component.depth < b.component.depth and rng.random() < min(0.6, 5 / n):
            inputs = b.component.glyph.inputs
            channel = rng.choice(inputs) if len(inputs) > 1 else "in"
            found.append(make_edge(a, b, channel, rng.gauss(0.2, 0.6) * rng.random()))
    found += [make_edge(a, None, "answer", rng.gauss(0.8, 0.6)) for a in sites[: 1 + n // 4]]
    scores = tuple(rng.uniform(-0.1, 0.5) for _ in sites)
    told: dict[str, Any] = {
        "model": "binder",
        "task": "ioi",
        "claim": "a claim",
        "method": "constrained",
    } | names
    facts = {"positions": list(positions)}
    shown = tuple(found) if edges else ()
    return Circuit(**told, seed=0, sites=tuple(sites), scores=scores, provenance=facts, edges=shown)


def make_edge(sender: Site, receiver: Site | None, channel, effect: float) -> Edge:
    return Edge(
        sender=sender,
        receiver=receiver,
        channel=channel,
        effect=effect,
        low=effect - 0.1,
        high=effect + 0.1,
        n=64,
    )


def make_groups(circuit: Circuit, names=("looks up the name", "moves x")) -> dict[str, list[Site]]:
    """Two groups, over several positions and layers."""
    half = len(circuit.sites) // 2
    return {names[0]: list(circuit.sites[:half:2]), names[1]: list(circuit.sites[half::3])}


def drawn(figure: Figure, kind: str) -> dict[str, Any]:
    """The shapes whose gid begins so, by the rest of it."""
    found = {}
    for artist in figure.findobj(Patch):
        gid = artist.get_gid() or ""
        if gid.startswith(f"{kind}-"):
            assert gid not in found, f"{gid} is there twice"
            found[gid.removeprefix(f"{kind}-")] = artist
    return found


def corners(patch: Patch) -> np.ndarray:
    """The least and the greatest x and y of a shape, in inches at full size."""
    return patch.get_patch_transform().transform_path(patch.get_path()).get_extents().get_points()


def texts(figure: Figure) -> list[Any]:
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_text().strip()]


def is_apart(one: np.ndarray, other: np.ndarray, slack: float = 1e-6) -> bool:
    (a, b), (c, d) = one, other
    return bool((a >= d - slack).any() or (c >= b - slack).any())


def way_of(arrow: FancyArrowPatch) -> tuple[np.ndarray, np.ndarray]:
    """Points close together along an arrow's shaft, and its tip."""
    shaft, *heads = map(np.asarray, arrow.get_path().to_polygons(closed_only=False))
    dense = [np.linspace(a, b, 12) for a, b in pairwise(shaft)]
    tip = max((point for part in heads for point in part), key=lambda point: point[1])
    return np.concatenate(dense), tip


def check_geometry(figure: Figure, circuit: Circuit) -> None:
    """No two labels or boxes overlap, all text lies in the figure, and arrows end at the borders
    of their nodes and enter no other node."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    page, pixel = figure.bbox.get_points(), figure.dpi / 72
    words = [
        (text.get_text(), text.get_window_extent(renderer).get_points()) for text in texts(figure)
    ]
    for word, box in words:
        assert (box[0] >= page[0] - 1).all() and (box[1] <= page[1] + 1).all(), f"{word} is cut off"
    for (word, box), (other, there) in combinations(words, 2):
        assert is_apart(box, there, 0.7 * pixel), f"{word!r} lies on {other!r}"
    nodes = {name: corners(patch) for name, patch in drawn(figure, "node").items()}
    for (name, box), (other, there) in combinations(nodes.items(), 2):
        assert is_apart(box, there), f"node {name} lies on node {other}"
    index = {site: str(n) for n, site in enumerate(circuit.sites)}
    for name, arrow in drawn(figure, "edge").items():
        edge = circuit.edges[int(name)]
        sender = index[edge.sender]
        receiver = "answer" if edge.receiver is None else index[edge.receiver]
        way, tip = way_of(arrow)
        (left, _), (right, top) = nodes[sender]
        assert left <= way[0, 0] <= right and abs(way[0, 1] - top) < 0.01
        (left, bottom), (right, _) = nodes[receiver]
        assert left <= tip[0] <= right and abs(tip[1] - bottom) < 0.05
        for other in nodes.keys() - {sender, receiver}:
            low, high = nodes[other]
            inside = ((way > low) & (way < high)).all(1)
            assert not inside.any(), f"{edge} runs through node {other}"


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("theme", "width"), [("light", "two"), ("dark", "one")])
def test_nodes_labels_and_arrows_keep_apart(n, theme, width):
    circuit = make_circuit(n)
    figure = draw_diagram(circuit, theme=theme, width=width)
    check_geometry(figure, circuit)
    assert drawn(figure, "node").keys() == {*map(str, range(n)), "answer"}
    assert figure.get_figwidth() == pytest.approx({"one": 3.3, "two": 6.9}[width])
    assert figure.get_figheight() < 11


@pytest.mark.parametrize("n", SIZES)
def test_without_edges_and_with_groups_and_an_example(n):
    circuit = make_circuit(n, edges=False)
    tokens = tuple(" the name of x is 4 . then , what".split(" ") * 4)
    example = Example(tokens=tokens, columns={name: 3 + 7 * k for k, name in enumerate(POSITIONS)})
    figure = draw_diagram(circuit, groups=make_groups(circuit), example=example)
    check_geometry(figure, circuit)
    assert not drawn(figure, "edge")
    assert any("no paths" in text.get_text() for text in texts(figure))
    used = {site.position for site in circuit.sites}
    lit = {t.get_text() for t in texts(figure) if (t.get_gid() or "").startswith("token-")}
    assert {tokens[example.columns[name]] for name in used} <= lit


@pytest.mark.parametrize("n", [10, 30, 60])
def test_a_groups_boxes_hold_its_members_and_no_other_node(n):
    circuit = make_circuit(n)
    groups = make_groups(circuit)
    figure = draw_diagram(circuit, groups=groups)
    check_geometry(figure, circuit)
    boxes = {name: corners(patch) for name, patch in drawn(figure, "group").items()}
    for one, other in combinations(boxes.values(), 2):
        assert is_apart(one, other)
    for name, patch in drawn(figure, "node").items():
        holding = [
            int(box_name.split("-")[0])
            for box_name, box in boxes.items()
            if not is_apart(box, corners(patch))
        ]
        site = None if name == "answer" else circuit.sites[int(name)]
        assert holding == [k for k, members in enumerate(groups.values()) if site in members]
    shown = " ".join(text.get_text() for text in texts(figure))
    assert "looks up the name" in shown


def test_depth_grows_upward_and_positions_follow_the_example():
    sites = (Site(mlp(2), "b"), Site(head(2, 1), "a"), Site(EMBED, "a"), Site(head(0, 3), "b"))
    edges = (make_edge(sites[3], sites[0], "in", 1.0), make_edge(sites[0], None, "answer", 2.0))
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=sites,
        scores=(0.1,) * 4,
        provenance={},
        edges=edges,
    )
    figure = draw_diagram(circuit, example=Example(tokens=("b", "a"), columns={"a": 1, "b": 0}))
    box = {name: corners(patch) for name, patch in drawn(figure, "node").items()}
    order = ["2", "3", "1", "0", "answer"]
    for low, high in pairwise(order):
        assert box[low][1, 1] < box[high][0, 1]
    assert box["0"][1, 0] < box["1"][0, 0] and box["3"][1, 0] < box["2"][0, 0]
    in_given_order = draw_diagram(circuit)
    box = {name: corners(patch) for name, patch in drawn(in_given_order, "node").items()}
    assert box["0"][1, 0] < box["1"][0, 0]


def max_of(circuit: Circuit) -> float:
    return max(edge.effect for edge in circuit.edges)


def test_signs_and_sizes_of_effects_and_what_is_left_out():
    circuit = make_circuit(60)
    figure = draw_diagram(circuit, width="two")
    arrows = drawn(figure, "edge")
    sizes = [abs(edge.effect) for edge in circuit.edges]
    strong = [n for n, size in enumerate(sizes) if size > WEAKEST * max(sizes)]
    wanted = sorted(strong, key=lambda n: -sizes[n])[: MOST_EDGES["two"]]
    assert arrows.keys() == set(map(str, wanted)) and len(wanted) < len(sizes)
    for name, arrow in arrows.items():
        dashed = arrow.get_linestyle() not in ("-", "solid")
        assert dashed is (circuit.edges[int(name)].effect < 0)
    widths = [arrows[str(n)].get_linewidth() for n in wanted]
    assert widths == sorted(widths, reverse=True) and widths[0] > 2 * widths[-1]
    words = " ".join(text.get_text() for text in texts(figure))
    assert f"{len(wanted)} of {len(sizes)} paths" in words
    most = max(size for n, size in enumerate(sizes) if n not in wanted)
    assert f"{len(sizes) - len(wanted)} of at most {most:.2g} logits" in words
    other = replace(circuit, edges=tuple(replace(edge, unit="nats") for edge in circuit.edges))
    words = " ".join(text.get_text() for text in texts(draw_diagram(other, width="two")))
    assert f"of at most {most:.2g} nats" in words and f"up to {max_of(circuit):+.2g} nats" in words
    assert "logits" not in words


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 7))]
)
@pytest.mark.filterwarnings("ignore:Glyph")  # which saving hushes itself
def test_hostile_names_never_break_a_figure(part, tmp_path):
    assert len(HOSTILE) >= 200
    for number, name in enumerate(HOSTILE[part::7]):
        sites = (Site(EMBED, "last"), Site(head(1, 2), name or "p"), Site(mlp(1), "last"))
        edges = (make_edge(sites[0], sites[1], "k", -1.0), make_edge(sites[2], None, "answer", 2.0))
        circuit = Circuit(
            model=name,
            task=name,
            claim=name,
            method=name,
            seed=0,
            sites=sites,
            scores=(0.1, -0.2, 0.3),
            provenance={},
            edges=edges,
        )
        figure = draw_diagram(
            circuit,
            groups={name: sites[:1], name + " too": sites[1:]},
            example=Example(tokens=(name, "a", name), columns={"last": 2, name: 0}),
            theme=("light", "dark")[number % 2],
            width=("one", "two")[part % 2],
        )
        check_geometry(figure, circuit)
        assert not any(text.get_parse_math() for text in texts(figure))
        if number % 4 == 0:
            save_figure(figure, tmp_path / "f.svg")
            tree = ElementTree.parse(tmp_path / "f.svg")
            assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_the_same_input_gives_the_same_bytes_in_each_format(tmp_path):
    circuit = make_circuit(10, claim="costs $5 & <more>")
    for suffix, start in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        for path in (one, two):
            save_figure(draw_diagram(circuit, groups=make_groups(circuit), theme="dark"), path)
        assert one.read_bytes() == two.read_bytes() and one.read_bytes().startswith(start)
    assert (tmp_path / "one.pdf").read_bytes().rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in (tmp_path / "one.pdf").read_bytes()
    assert imread(tmp_path / "one.png").shape[1] == 2070
    found = [node.get("id") for node in ElementTree.parse(tmp_path / "one.svg").iter()]
    ids = [name for name in found if name is not None]
    wanted = {f"node-{n}" for n in range(10)} | {f"label-{n}" for n in range(10)}
    wanted |= {f"edge-{name}" for name in drawn(draw_diagram(circuit), "edge")}
    assert wanted <= set(ids)
    assert len(ids) == len(set(ids)), "ids are there twice"


def test_a_dark_figure_has_light_words_on_dark_paper():
    for theme, brighter in (("light", False), ("dark", True)):
        figure = draw_diagram(make_circuit(10), theme=theme)
        title = next(text for text in texts(figure) if text.get_gid() == "title")
        paper = sum(to_rgb(figure.get_facecolor()))
        ink = sum(to_rgb(title.get_color()))
        assert (ink > paper + 1.5) is brighter and (paper > ink + 1.5) is not brighter


def test_no_sites_and_odd_scores():
    empty = Circuit(model="m", task="t", claim="c", method="x", seed=0, sites=(), scores=())
    check_geometry(draw_diagram(empty), empty)
    sites = (Site(head(0, 0), "last"), Site(head(0, 1), "last"))
    odd = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=sites,
        scores=(float("nan"), -1234.5),
    )
    check_geometry(draw_diagram(odd, width="one"), odd)


def test_mediators_of_a_plug_in_stand_among_the_others(monkeypatch):
    plug_in(monkeypatch)
    circuit = mixed_circuit()
    after, late, early, _, _, low, embed = circuit.sites
    edges = (
        make_edge(embed, early, "in", 0.5),
        make_edge(low, late, "in", 0.5),
        make_edge(late, after, "k", -0.5),
        make_edge(after, None, "answer", 1.0),
    )
    circuit = replace(circuit, edges=edges)
    figure = draw_diagram(circuit)
    check_geometry(figure, circuit)
    boxes = {name: corners(patch) for name, patch in drawn(figure, "node").items()}
    order = ["6", "5", "2", "4", "3", "1", "0", "answer"]  # embed, a0, m1.n1423, a2, m2, m3.n17, r4
    for low_name, high_name in pairwise(order):
        assert boxes[low_name][1, 1] < boxes[high_name][0, 1]
    words = [text.get_text() for text in texts(figure)]
    assert {"m3.n17", "m1.n1423", "r4", "neuron", "residual stream", "MLP", "head"} <= set(words)
    assert "its query, key, value" in words and "k" in words
    makeup = "2 heads, 1 MLP, 1 embedding, 2 neurons, 1 residual stream"
    assert any(f"7 sites ({makeup})" in word for word in words)
    with pytest.raises(ValueError, match=r"m3\.n17@last -> m1\.n1423@last .in. leads to no"):
        draw_diagram(replace(circuit, edges=(make_edge(late, early, "in", 1.0),)))


def test_every_problem_is_named_at_once():
    low, high, other = Site(head(1, 0), "last"), Site(mlp(3), "last"), Site(head(2, 0), "x")
    back = (make_edge(high, low, "q", 1.0), make_edge(low, high, "in", float("inf")))
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=(low, high),
        scores=(0.1, 0.2),
        provenance={},
        edges=back,
    )
    with pytest.raises(ValueError) as caught:
        draw_diagram(
            circuit, groups={"g": [other]}, example=Example(tokens=("a",), columns={"last": 1})
        )
    for words in (
        "edge 1: m3@last -> a1.h0@last (q) leads to no later component",
        "edge 2: the effect must be a finite number",
        "a2.h0@x is not in the circuit",
        "1 tokens, and none at 1 for position 'last'",
    ):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="light, dark; got 'pink'"):
        draw_diagram(make_circuit(3), theme="pink")
    with pytest.raises(ValueError, match="one, two"):
        draw_diagram(make_circuit(3), width="three")
