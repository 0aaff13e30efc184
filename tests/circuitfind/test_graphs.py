"""Text graphs: each format read back has the circuit's nodes and edges, whatever the names."""

import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from circuitfind.circuits.circuit import Circuit, circuit_from_json
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import EMBED, mlp
from circuitfind.report.text.graphs import KINDS, export_graph

from ..plugins import mixed_circuit, plug_in

ATOMS = (
    "</script><script>alert(1)</script>",
    "--> <!-- --",
    "]]>",
    "<![CDATA[",
    '"',
    '\\"',
    "\\",
    "\\end{document}",
    "\\input{/etc/passwd}",
    "$x_1^2$",
    "100% # & ~ ^ { }",
    "^^5c^^0a",
    "}",
    "{",
    "`code` **bold** __b__",
    "1. item",
    "- item",
    "%%{init: {'theme': 'x'}}%%",
    "%% note",
    "<x =",
    "#quot; #35; &amp; &#34;",
    "style: #a;",
    "end",
    "\n---\n",
    "line\r\nbreak\u2028\u2029",
    "\x00\x01\x1b[31m\x7f",
    "\u202eevil\u202c\u200f\u200b",
    "\ud800",
    "\ufffe\uffff",
    "🦜👨‍👩‍👧",
    "é ü → Ω שלום سلام 漢字",
    "ﬂ°°34¶ß",
    "; drop | [a](b)",
    "http://www.a.b/?c=d&e",
    "fa:fa-car",
    "Q" * 5000,
    "'' ,, -- ?` <<",
    "\\N \\G \\l",
    "a" * 58 + "\\\\",
    "@{ shape: x }",
)
PLACES = ("@", "x@", "@ y", "@@", '"@;')
HOSTILE = [place.replace("@", atom) for place, atom in product(PLACES, ATOMS)]
DRAWINGS = ("dot", "mermaid", "tikz")
Nodes = dict[str, list[str]]  # the lines of each node's label, by id
Arrows = list[tuple[str, str, str]]  # from, to, and what stands beside


@dataclass(frozen=True)
class Effect:
    """An edge as path patching gives it."""

    sender: Site
    receiver: Site | None
    channel: str
    effect: float


def make_case(name: str, *, model: str = "binder") -> tuple[Circuit, list[Effect], dict]:
    """A circuit of five sites, edges of both signs and two groups, all called by this name."""
    low, other, high = Site(head(1, 3), name), Site(head(1, 4), name), Site(mlp(4), name)
    sites = (high, low, Site(EMBED, name), other, Site(head(4, 11), "last"))
    circuit = Circuit(
        model=model,
        task=name,
        claim=name,
        method="constrained",
        seed=0,
        sites=sites,
        scores=(0.5, -0.125, 0.0, float("nan"), 1e-9),
    )
    edges = [
        Effect(low, sites[4], "q", 0.25),
        Effect(low, sites[4], name, -0.5),
        Effect(sites[4], high, "in", 0.125),
        Effect(high, None, name, 1.0),
    ]
    return circuit, edges, {name: [low, sites[4]], "other": [high]}


def drawn(text: str) -> str:
    """What of a name a drawing shows: one line of 60 letters, all printable."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return text if len(text) <= 60 else text[:59].rstrip() + "…"


def expected(
    circuit: Circuit, edges: list[Effect], called: dict[Site, str]
) -> tuple[Nodes, Arrows]:
    """Every node's and edge's label as a drawing shows it."""
    ids: dict[Site | None, str] = {site: f"n{n}" for n, site in enumerate(circuit.sites)}
    nodes = {
        ids[site]: [
            *filter(None, [drawn(called.get(site, ""))]),
            drawn(str(site)),
            *([] if score != score else [f"{score:.3g}"]),
        ]
        for site, score in zip(circuit.sites, circuit.scores, strict=True)
    }
    if any(edge.receiver is None for edge in edges):
        nodes[ids.setdefault(None, "answer")] = ["answer"]
    return nodes, [
        (ids[e.sender], ids[e.receiver], f"{drawn(e.channel)} {e.effect:+.3g}".strip())
        for e in edges
    ]


def read_dot(text: str) -> tuple[Nodes, Arrows]:
    """By the grammar of graphviz.org/doc/info/lang.html, less HTML strings, ports and `+`."""
    token = re.compile(
        r'\s*("(?:[^"\\]|\\.)*"|->|[{}\[\];,=]|[A-Za-z_]\w*|-?(?:\.\d+|\d+(?:\.\d*)?))', re.ASCII
    )
    tokens, at = [], 0
    while text[at:].strip():
        if (match := token.match(text, at)) is None:
            raise ValueError(f"no token of DOT: {text[at : at + 40]!r}")
        tokens.append(match[1])
        at = match.end()
    nodes, arrows = {}, []

    def take(wanted: str | None = None) -> str:
        got = tokens.pop(0)
        named = got.startswith('"') or got[-1].isalnum() or got[-1] == "_"
        if got != wanted if wanted else not named:
            raise ValueError(f"expected {wanted or 'a name'}; got {got!r}")
        return got

    def attributes() -> dict[str, str]:
        found = {}
        take("[")
        while tokens[0] != "]":
            key = take()
            take("=")
            found[key] = take()
            if tokens[0] in ",;":
                take(tokens[0])
        take("]")
        return found

    def statement() -> None:
        if tokens[0] == "subgraph":
            take("subgraph")
            take()
        if tokens[0] == "{":
            return block()
        name = take()
        if tokens[0] == "=":
            take("=")
            take()
        elif tokens[0] == "->":
            take("->")
            target, facts = take(), attributes()
            if facts.get("style") != "invis":
                arrows.append((name, target, "".join(dot_lines(facts["label"]))))
        elif tokens[0] == "[":
            facts = attributes()
            if name not in ("graph", "node", "edge"):
                nodes[name] = dot_lines(facts["label"])
        return None

    def block() -> None:
        take("{")
        while tokens[0] != "}":
            statement()
            if tokens[0] == ";":
                take(";")
        take("}")

    take("digraph")
    take()
    block()
    if tokens:
        raise ValueError(f"after the graph: {tokens}")
    return nodes, arrows


def dot_lines(quoted: str) -> list[str]:
    r"""The lines of a quoted label, with \", \\, \n and HTML entities undone."""
    lines = [""]
    for part in re.findall(r"\\.|[^\\]", quoted[1:-1]):
        if part == r"\n":
            lines.append("")
        elif part in (r"\"", r"\\"):
            lines[-1] += part[1]
        elif part.startswith("\\"):
            raise ValueError(f"an escape that Graphviz replaces: {part}")
        else:
            lines[-1] += part
    return [html.unescape(line) for line in lines]


def read_mermaid(text: str) -> tuple[Nodes, Arrows]:
    """A line is a whole statement; a label is words, entities and <br>, and nothing else."""
    # ﬂ and ß, with ° and ¶, are what Mermaid itself puts in the place of an entity's # and ;
    label = r'"((?:[^\W_ﬂß]|(?<=\d)\.(?=h\d)| |#\d+;|<br>)+)"'
    shapes = [rf"\(\[{label}\]\)", rf"\[{label}\]", rf"\[/{label}\\\]", rf"\{{\{{{label}\}}\}}"]
    start, *lines = re.split(r"\n(?=flowchart BT\n)", text, maxsplit=1)
    if not (head_ := re.fullmatch(r'---\ntitle: ("[ -~]*")\n---', start)) or len(lines) != 1:
        raise ValueError(f"no front matter and flowchart: {start!r}")
    json.loads(head_[1])
    if re.search("[<>=]", start):
        raise ValueError("Mermaid rewrites what looks like a tag, before it reads the title")
    nodes, arrows, depth, styled = {}, [], 0, []
    for line in map(str.strip, lines[0].splitlines()[1:]):
        if match := re.fullmatch(rf"(\w+)(?:{'|'.join(shapes)})", line):
            nodes[match[1]] = mermaid_lines(next(filter(None, match.groups()[1:])))
        elif match := re.fullmatch(rf"(\w+) -(?:-|\.-)>\|{label}\| (\w+)", line):
            arrows.append((match[1], match[3], "".join(mermaid_lines(match[2]))))
        elif match := re.fullmatch(r"linkStyle (\d+) stroke:#\w{6},stroke-width:[\d.]+px", line):
            styled.append(int(match[1]))
        elif re.fullmatch(rf"subgraph g\d+\[{label}\]", line):
            depth += 1
        elif line == "end":
            depth -= 1
        elif not re.fullmatch(r"(\w+) ~~~ (\w+)", line):
            raise ValueError(f"no statement of Mermaid: {line!r}")
    if depth or styled != list(range(len(arrows))):
        raise ValueError("a subgraph without an end, or a style for no edge")
    return nodes, arrows


def mermaid_lines(label: str) -> list[str]:
    decoded = re.sub(r"#(\d+);|<br>", lambda m: chr(int(m[1])) if m[1] else "\n", label)
    return decoded.split("\n")


TEX_NAMES = {
    "backslash": "\\",
    "asciicircum": "^",
    "asciitilde": "~",
    "less": "<",
    "greater": ">",
    "bar": "|",
}


def read_tikz(text: str) -> tuple[Nodes, Arrows]:
    """The nodes and paths; a label holds escapes and ASCII that TeX prints, and nothing else."""
    plain = r"[A-Za-z0-9 .:;=+/()!?@\]]"
    label = rf"((?:{plain}|\\text\w+\{{\}}|\\[{{}}$&#_%]|\{{(?:[-`',\[*]|'')\}})*)"
    number = r"-?\d+\.\d\d"
    another = rf"(?: \\\\ {label})?"  # line of a node: name, site, score
    body = text.split("\n]\n")[1].split("\n\\end{tikzpicture}")[0]
    nodes, arrows = {}, []
    for line in body.split("\n"):
        at = rf"at \({number}, {number}\)"
        if match := re.fullmatch(
            rf"\\node\[\w+ site\] \((\w+)\) {at} \{{{label}{another}{another}\}};", line
        ):
            nodes[match[1]] = [tex_plain(part) for part in match.groups()[1:] if part is not None]
        elif match := re.fullmatch(
            rf"\\draw\[(?:gain|loss) arrow, line width=[\d.]+pt\] \((\w+)\) "
            rf"to(?:\[bend left=\d+\])? node\[effect label\] \{{{label}\}} \((\w+)\);",
            line,
        ):
            arrows.append((match[1], match[3], tex_plain(match[2])))
        elif not re.fullmatch(
            r"\\begin\{scope\}\[on background layer\] \\node\[draw=gray, rounded corners, "
            r"fit=(\(\w+\))+\] \(g\d+\) \{\}; \\end\{scope\}"
            rf"|\\node\[font=\\bfseries\] {at} \{{{label}\}};"
            r"|\\node\[anchor=south west, font=\\scriptsize\] at \(g\d+.north west\) "
            rf"\{{{label}\}};",
            line,
        ):
            raise ValueError(f"no line of the picture: {line!r}")
    unescaped = re.sub(r"\\[{}]", "", text)
    if unescaped.count("{") != unescaped.count("}") or not text.isascii():
        raise ValueError("braces that do not balance, or letters that TeX may lack")
    return nodes, arrows


def tex_plain(label: str) -> str:
    def letter(match: re.Match) -> str:
        return TEX_NAMES.get(match[1], "") or match[2] or match[3].replace("''", '"')

    return re.sub(r"\\text(\w+)\{\}|\\(.)|\{(''|.)\}", letter, label)


def in_ascii(text: str) -> str:
    """As TikZ shows it: other letters by number."""
    text = text.replace("…", "...")
    return "".join(c if ord(c) < 128 else f"U+{ord(c):04X} " for c in text).strip()


READERS: dict[str, Callable[[str], tuple[Nodes, Arrows]]] = {
    "dot": read_dot,
    "mermaid": read_mermaid,
    "tikz": read_tikz,
}


def named_ones(circuit: Circuit) -> dict[Site, str]:
    """Two sites called by the case's own name."""
    return dict.fromkeys(circuit.sites[:2], circuit.claim)


def check_drawings(circuit: Circuit, edges: list[Effect], groups: dict) -> None:
    called = named_ones(circuit)
    nodes, arrows = expected(circuit, edges, called)
    for kind in ("dot", "mermaid"):
        text = export_graph(circuit, kind, edges=edges, groups=groups, names=called)
        text.encode()  # a lone surrogate could not be written
        assert READERS[kind](text) == (nodes, arrows), kind
    ascii_nodes = {name: [in_ascii(line) for line in lines] for name, lines in nodes.items()}
    ascii_arrows = [(a, b, in_ascii(line)) for a, b, line in arrows]
    text = export_graph(circuit, "tikz", edges=edges, groups=groups, names=called)
    assert read_tikz(text) == (ascii_nodes, ascii_arrows)


def check_data(circuit: Circuit, edges: list[Effect], groups: dict) -> None:
    """JSON says what the circuit says; GraphML says what JSON says, on one line."""
    called = named_ones(circuit)
    written = export_graph(circuit, "json", edges=edges, groups=groups, names=called)
    told = json.loads(written)
    assert not re.search("[<>&]", written)
    assert written.isascii()
    assert told["graph"] == {"claim": circuit.claim, "model": circuit.model, "task": circuit.task}
    names = {site: name for name, sites in groups.items() for site in sites}
    ids: dict[Site | None, str] = {None: "answer"}
    for node, site, score in zip(told["nodes"], circuit.sites, circuit.scores, strict=False):
        ids[site] = node["id"]
        part = site.component
        assert node["score"] == (score if score == score else None)
        label = f"{called[site]} ({site})" if site in called else str(site)
        assert (node["label"], node["site"], node["name"]) == (label, str(site), called.get(site))
        assert node["layer"] == part.layer
        assert (node["kind"], node["position"]) == (part.kind, site.position)
        assert node["group"] == names.get(site)
    rest = [node["id"] for node in told["nodes"][len(circuit.sites) :]]
    assert rest == ["answer"] * any(edge.receiver is None for edge in edges)
    assert [(e["source"], e["target"], e["channel"], e["effect"]) for e in told["edges"]] == [
        (ids[e.sender], ids[e.receiver], e.channel, e.effect) for e in edges
    ]
    xml = export_graph(circuit, "graphml", edges=edges, groups=groups, names=called)
    read = read_graphml(xml)
    assert read == (one_line(told["nodes"]), one_line(told["edges"]))


def one_line(rows: list[dict]) -> list[dict]:
    """Rows as XML can hold them: no null, no control characters, no line breaks."""

    def kept(value):
        if not isinstance(value, str):
            return value
        return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(value.split()))

    return [{key: kept(v) for key, v in row.items() if v is not None} for row in rows]


def read_graphml(text: str) -> tuple[list[dict], list[dict]]:
    """With the types that the file declares."""
    space = "{http://graphml.graphdrawing.org/xmlns}"
    types = {"string": str, "int": int, "double": float}
    root = ElementTree.fromstring(text)
    keys = {k.attrib["id"]: k.attrib for k in root.iter(f"{space}key")}

    def facts(element: ElementTree.Element) -> dict:
        found = dict(element.attrib)
        for data in element.iter(f"{space}data"):
            key = keys[data.attrib["key"]]
            assert element.tag == space + key["for"]
            found[key["attr.name"]] = types[key["attr.type"]](data.text or "")
        return found

    edges = [facts(edge) for edge in root.iter(f"{space}edge")]
    assert [edge.pop("id") for edge in edges] == [f"e{n}" for n in range(len(edges))]
    return [facts(node) for node in root.iter(f"{space}node")], edges


def test_200_hostile_names() -> None:
    assert len(set(HOSTILE)) == 200
    for name in HOSTILE:
        case = make_case(name, model=name)
        check_drawings(*case)
        check_data(*case)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=90).filter(lambda name: name not in ("last", "other")))
@example(" ")
def test_any_name(name: str) -> None:
    case = make_case(name, model=name)
    check_drawings(*case)
    check_data(*case)


def test_networkx_reads_both_data_formats() -> None:
    networkx = pytest.importorskip("networkx")
    circuit, edges, groups = make_case('x "1" <&> \\')
    xml = networkx.parse_graphml(export_graph(circuit, "graphml", edges=edges, groups=groups))
    told = json.loads(export_graph(circuit, "json", edges=edges, groups=groups))
    linked = networkx.node_link_graph(told, edges="edges")
    assert xml.is_directed()
    assert list(xml.nodes) == list(linked.nodes) == ["n0", "n1", "n2", "n3", "n4", "answer"]
    assert sorted(xml.edges(data="effect")) == sorted(linked.edges(data="effect"))
    assert sorted(xml.edges(data="effect")) == [
        ("n0", "answer", 1.0),
        ("n1", "n4", -0.5),
        ("n1", "n4", 0.25),
        ("n4", "n0", 0.125),
    ]
    assert xml.nodes["n0"]["layer"] == 4
    assert xml.nodes["n1"]["label"] == 'a1.h3@x "1" <&> \\'
    assert "score" not in xml.nodes["n3"]


def latex_has(name: str) -> bool:
    """Whether a LaTeX that is installed has this file."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    found = subprocess.run(["kpsewhich", name], capture_output=True, text=True)
    return found.returncode == 0 and bool(found.stdout.strip())


@pytest.mark.skipif(
    not all(map(latex_has, ("standalone.cls", "tikz.sty"))),
    reason="no pdflatex with the class standalone and TikZ is installed",
)
def test_pdflatex_compiles_every_hostile_name(tmp_path) -> None:
    sites = tuple(Site(head(n % 12, n), name) for n, name in enumerate(HOSTILE))
    circuit = Circuit(
        model="m",
        task="t",
        claim=HOSTILE[0],
        method="c",
        seed=0,
        sites=sites,
        scores=(0.5,) * len(sites),
    )
    edges = [Effect(site, None, site.position, 0.1) for site in sites]
    groups = {site.position: [site] for site in sites}
    for name, case in {"many": (circuit, edges, groups), "none": empty_case()}.items():
        called = {site: site.position for site in case[0].sites}
        text = export_graph(case[0], "tikz", edges=case[1], groups=case[2], names=called)
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]


def empty_case() -> tuple[Circuit, list[Effect], dict]:
    return (
        Circuit(model="m", task="t", claim="c", method="c", seed=0, sites=(), scores=()),
        [],
        {"none": []},
    )


def test_a_circuit_without_sites_is_a_graph_without_nodes() -> None:
    check_drawings(*empty_case())
    check_data(*empty_case())


def test_ranks_grow_from_the_embedding_to_the_answer() -> None:
    circuit, edges, _ = make_case("x")
    order = ["n2", "n1", "n3", "n4", "n0", "answer"]  # embed, a1 twice, a4, m4, answer
    dot = export_graph(circuit, "dot", edges=edges)
    ranks = [re.findall(r"\w+(?=;)", row) for row in re.findall(r"\{ rank=same; (.*) \}", dot)]
    assert ranks == [["n2"], ["n1", "n3"], ["n4"], ["n0"], ["answer"]]
    spine = ["n2", "n1", "n4", "n0", "answer"]
    links = list(pairwise(spine))
    assert re.findall(r"(\w+) -> (\w+) \[style=invis\]", dot) == links
    assert re.findall(r"(\w+) ~~~ (\w+)", export_graph(circuit, "mermaid", edges=edges)) == links
    tikz = export_graph(circuit, "tikz", edges=edges)
    places = re.findall(r"site\] \((\w+)\) at \((\S+), (\S+)\)", tikz)
    heights = {name: float(y) for name, _, y in places}
    assert sorted(order, key=heights.__getitem__) == order
    assert len({(x, y) for _, x, y in places}) == len(places)


def test_mediators_of_a_plug_in_are_written_in_each_format(monkeypatch) -> None:
    plug_in(monkeypatch)
    circuit = mixed_circuit()
    after, late, early, *_, embed = circuit.sites
    edges = [
        Effect(embed, early, "in", 0.5),
        Effect(early, after, "q", 0.25),
        Effect(late, None, "answer", 1.0),
    ]
    groups = {"g": [after, early]}
    check_drawings(circuit, edges, groups)
    check_data(circuit, edges, groups)
    dot = export_graph(circuit, "dot", edges=edges)
    assert 'kind="mlp-neuron"' in dot
    assert re.findall(r"shape=(\w+)", dot) == [
        "ellipse",  # r4
        "box",
        "box",
        "box",
        "ellipse",
        "ellipse",
        "trapezium",
        "doubleoctagon",
    ]
    ranks = [re.findall(r"\w+(?=;)", row) for row in re.findall(r"\{ rank=same; (.*) \}", dot)]
    assert ranks == [["n6"], ["n5"], ["n2"], ["n4"], ["n3"], ["n1"], ["n0"], ["answer"]]
    mermaid = export_graph(circuit, "mermaid", edges=edges)
    assert 'n0(["r4' in mermaid and 'n1["m3' in mermaid
    tikz = export_graph(circuit, "tikz", edges=edges)
    used = set(re.findall(r"\\node\[(\w+ site)\]", tikz))
    assert (
        used
        == set(re.findall(r"  (\w+ site)/\.style", tikz))
        == {
            "head site",
            "mlp site",
            "embed site",
            "mlpneuron site",
            "stream site",
            "answer site",
        }
    )
    assert circuit_from_json(json.loads(json.dumps(circuit.as_json()))) == circuit


def test_sign_and_size_of_an_effect_show() -> None:
    circuit, edges, _ = make_case("x")
    dot = export_graph(circuit, "dot", edges=edges)
    looks = re.findall(r"color=\"(\S+)\", penwidth=([\d.]+)(, style=dashed)?", dot)
    assert [bool(dashed) for *_, dashed in looks] == [False, True, False, False]
    assert looks[0][0] == looks[2][0] != looks[1][0]
    widths = [float(width) for _, width, _ in looks]
    assert widths == [1.38, 2.25, 0.94, 4.0]
    mermaid = export_graph(circuit, "mermaid", edges=edges)
    assert re.findall(r"-->|-\.->", mermaid) == ["-->", "-.->", "-->", "-->"]
    tikz = export_graph(circuit, "tikz", edges=edges)
    assert re.findall(r"(gain|loss) arrow, line", tikz) == ["gain", "loss", "gain", "gain"]
    assert re.findall(r"bend left=(\d+)", tikz) == ["8", "24", "8", "8"]


def test_groups_are_boxes_around_their_members() -> None:
    circuit, edges, groups = make_case("x")
    dot = export_graph(circuit, "dot", edges=edges, groups=groups)
    boxes = re.findall(r"subgraph cluster_\d \{ label=\"(\w+)\"; style=rounded; (.*) \}", dot)
    found = {name: re.findall(r"(n\d) \[", members) for name, members in boxes}
    assert found == {"x": ["n1", "n4"], "other": ["n0"]}
    mermaid = export_graph(circuit, "mermaid", edges=edges, groups=groups)
    boxes = re.findall(r"subgraph \w+\[\"(\w+)\"\]\n(.*?)\n  end\n", mermaid, re.DOTALL)
    assert {name: re.findall(r"n\d", members) for name, members in boxes} == found
    tikz = export_graph(circuit, "tikz", edges=edges, groups=groups)
    assert re.findall(r"fit=(\S+)\]", tikz) == ["(n1)(n4)", "(n0)"]


def test_columns_follow_the_tokens_where_the_run_tells_their_order() -> None:
    sites = tuple(Site(head(0, n), name) for n, name in enumerate(("last", "y", "x")))
    facts = {"positions": ["x", "y", "unused", "last"]}
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="c",
        seed=0,
        sites=sites,
        scores=(1.0, 1.0, 1.0),
        provenance=facts,
    )
    across = re.findall(r"\((n\d)\) at \((\S+),", export_graph(circuit, "tikz"))
    assert sorted(across, key=lambda place: float(place[1])) == [across[2], across[1], across[0]]


def test_every_problem_is_named_at_once() -> None:
    circuit, _, _ = make_case("x")
    low, stranger = circuit.sites[1], Site(head(9, 9), "x")
    edges = [Effect(stranger, low, "q", 1.0), Effect(low, low, "q", float("inf"))]
    with pytest.raises(ValueError) as caught:
        groups = {"a": [low], "b": [low, stranger]}
        export_graph(circuit, "dot", edges=edges, groups=groups, names={stranger: "mover"})
    said = str(caught.value)
    for part in (
        "edge 1: a9.h9@x is not in the circuit",
        "edge 2: a1.h3@x leads to itself",
        "edge 2: the effect must be a finite number; got inf",
        "group 'b': a9.h9@x is not in the circuit",
        "group 'b': a1.h3@x is in another group",
        "a9.h9@x, which has a name, is not in the circuit",
    ):
        assert part in said
    with pytest.raises(ValueError, match="one of dot, mermaid, tikz, graphml, json; got 'svg'"):
        export_graph(circuit, "svg")


def test_a_circuit_too_large_for_mermaid_is_refused_there_only() -> None:
    sites = tuple(Site(head(n, 0), "x") for n in range(60))
    circuit = Circuit(
        model="m", task="t", claim="c", method="c", seed=0, sites=sites, scores=(1.0,) * 60
    )
    edges = [Effect(a, b, "q", 0.1) for a, b in product(sites, sites) if a != b]
    with pytest.raises(ValueError, match=r"Mermaid draws up to 500 links .* has 3599 in"):
        export_graph(circuit, "mermaid", edges=edges)
    for kind in set(KINDS) - {"mermaid"}:
        assert export_graph(circuit, kind, edges=edges)
    places = re.findall(r"at \((\S+), (\S+)\)", export_graph(circuit, "tikz", edges=edges))
    assert max(float(side) for place in places for side in place) < 575
