"""A circuit's graph for the programs that lay out or typeset it: Graphviz, Mermaid and TikZ.

Ranks grow from bottom to top in the order of the pass, the answer last.
A gain is blue and solid, a loss orange and dashed; the greatest effect is the widest.
"""

import re
from collections import Counter
from collections.abc import Mapping
from math import dist

from ..figures.colours import GAINS, INK, LOSSES
from .sitegraph import ANSWER, Arrow, Graph, Node, json_text, on_one_line, shortened

GAIN, LOSS = GAINS[4], LOSSES[3]
MERMAID_EDGES, MERMAID_LETTERS = 500, 50_000  # more, and Mermaid's defaults (GitHub's) refuse it
TITLE = "title"
# A node's outline by its shape, in each language.
DOT_SHAPES = {"round": "ellipse", "box": "box", "trapezium": "trapezium", ANSWER: "doubleoctagon"}
MERMAID_SHAPES = {
    "round": '(["{}"])',
    "box": '["{}"]',
    "trapezium": '[/"{}"\\]',
    ANSWER: '{{{{"{}"}}}}',
}
TIKZ_SHAPES = {
    "round": ", rounded rectangle",
    "box": "",
    "trapezium": ", trapezium",
    ANSWER: ", double",
}
TIKZ_ROOM = 400.0  # cm; TeX knows no length over 575
TIKZ_BEND = 30.0  # cm; TeX cannot bend what is much longer


def write_dot(graph: Graph) -> str:
    r"""As Graphviz's language; a backslash in an attribute is doubled, as it is in labels."""

    def node(n: Node) -> str:
        told = {"name": n.name, "layer": n.layer, "kind": n.kind, "score": n.score}
        told["position"] = n.position
        facts = {key: on_one_line(str(value)) for key, value in told.items() if value is not None}
        label = r"\n".join(map(_dot_text, n.lines))
        return f'{n.id} [label="{label}", {_dot_facts(facts)}, shape={DOT_SHAPES[n.shape]}];'

    lines = [
        "digraph circuit {",
        # newrank lets a rank reach across boxes
        f'  graph [rankdir=BT, newrank=true, label="{_dot_text(graph.title)}"];',
        f'  node [color="{INK}"];',
        "  edge [fontsize=10];",
    ]
    for number, name in enumerate(graph.groups):
        members = " ".join(map(node, graph.within(number)))
        title = f'label="{_dot_text(shortened(name))}"; style=rounded;'
        lines.append(f"  subgraph cluster_{number} {{ {title} {members} }}")
    lines += [f"  {node(n)}" for n in graph.within(None)]
    for row in graph.rows:
        lines.append(f"  {{ rank=same; {' '.join(n.id + ';' for n in row)} }}")
    for arrow in graph.arrows:
        facts = {"channel": on_one_line(arrow.channel), "effect": str(arrow.effect)}
        look = f'color="{_colour(arrow)}", penwidth={0.5 + 3.5 * arrow.weight:.2f}'
        look += ", style=dashed" if arrow.effect < 0 else ""
        label = f'label="{_dot_text(arrow.line)}", {_dot_facts(facts)}'
        lines.append(f"  {arrow.source} -> {arrow.target} [{label}, {look}];")
    lines += [f"  {low} -> {high} [style=invis];" for low, high in graph.spine]
    return "\n".join([*lines, "}", ""])


def _colour(arrow: Arrow) -> str:
    return LOSS if arrow.effect < 0 else GAIN


def _dot_facts(facts: Mapping[str, str]) -> str:
    return ", ".join(f'{key}="{_dot_quoted(value)}"' for key, value in facts.items())


def _dot_text(text: str) -> str:
    """As a label, in which Graphviz also reads HTML entities."""
    return _dot_quoted(text.replace("&", "&amp;"))


def _dot_quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def write_mermaid(graph: Graph) -> str:
    """As a Mermaid flowchart, to stand in a ```mermaid block of Markdown.

    Raises:
        ValueError: more than Mermaid draws.
    """

    def node(n: Node) -> str:
        return n.id + MERMAID_SHAPES[n.shape].format("<br>".join(map(_mermaid_text, n.lines)))

    lines = ["---", f"title: {json_text(graph.title)}", "---", "flowchart BT"]
    for number, name in enumerate(graph.groups):
        lines.append(f'  subgraph g{number}["{_mermaid_text(shortened(name))}"]')
        lines += [*(f"    {node(n)}" for n in graph.within(number)), "  end"]
    lines += [f"  {node(n)}" for n in graph.within(None)]
    for arrow in graph.arrows:
        shaft = "-.->" if arrow.effect < 0 else "-->"
        lines.append(f'  {arrow.source} {shaft}|"{_mermaid_text(arrow.line)}"| {arrow.target}')
    lines += [f"  {low} ~~~ {high}" for low, high in graph.spine]
    for number, arrow in enumerate(graph.arrows):
        width = f"{1 + 4 * arrow.weight:.2f}px"
        lines.append(f"  linkStyle {number} stroke:{_colour(arrow)},stroke-width:{width}")
    text, links = "\n".join([*lines, ""]), len(graph.arrows) + len(graph.spine)
    if links > MERMAID_EDGES or len(text) > MERMAID_LETTERS:
        raise ValueError(
            f"Mermaid draws up to {MERMAID_EDGES} links in {MERMAID_LETTERS} letters; this circuit "
            f"has {links} in {len(text)}: leave weak edges out, or write another kind"
        )
    return text


def _mermaid_text(text: str) -> str:
    """Between quotes, every letter that some stage of Mermaid reads (Markdown, HTML, directives,
    links, and the four that it marks entities with) as a numbered entity. The dot of a9.h6 is
    none of these."""
    if not text:
        return " "  # "" is no string in Mermaid's grammar
    special = r"(?!(?<=\d)\.(?=h\d))[^\w ]|[_ﬂ°¶ß]"
    return re.sub(special, lambda match: f"#{ord(match[0])};", text)


def write_tikz(graph: Graph) -> str:
    """As a LaTeX document of its own, for any engine."""
    places, twins = _places(graph), Counter()
    lines = [
        r"\documentclass[tikz, border=4pt]{standalone}",
        r"\usetikzlibrary{arrows.meta, backgrounds, fit, shapes.geometric, shapes.misc}",
        rf"\definecolor{{gain}}{{HTML}}{{{GAIN[1:].upper()}}}",
        rf"\definecolor{{loss}}{{HTML}}{{{LOSS[1:].upper()}}}",
        r"\begin{document}",
        r"\begin{tikzpicture}[",
        r"  site/.style={draw, fill=white, align=center, font=\small},",
        *(f"  {name}/.style={{site{look}}}," for name, look in _tikz_styles(graph).items()),
        r"  gain arrow/.style={draw=gain, -{Stealth}},",
        r"  loss arrow/.style={draw=loss, -{Stealth}, densely dashed},",
        r"  effect label/.style={midway, fill=white, inner sep=1pt, font=\scriptsize},",
        r"]",
    ]
    for node in graph.nodes:
        x, y = places[node.id]
        label = r" \\ ".join(map(_tikz_text, node.lines))
        lines.append(rf"\node[{_tikz_style(node)}] ({node.id}) at ({x:.2f}, {y:.2f}) {{{label}}};")
    for arrow in graph.arrows:
        style = "loss arrow" if arrow.effect < 0 else "gain arrow"
        look = f"{style}, line width={0.4 + 2.2 * arrow.weight:.2f}pt"
        bend = (8 + 16 * twins[arrow.source, arrow.target]) % 80  # parts the q, k and v of a pair
        twins[arrow.source, arrow.target] += 1
        near = dist(places[arrow.source], places[arrow.target]) < TIKZ_BEND
        to = (
            rf"to[bend left={bend}]" if near else "to"
        ) + rf" node[effect label] {{{_tikz_text(arrow.line)}}}"
        lines.append(rf"\draw[{look}] ({arrow.source}) {to} ({arrow.target});")
    for number, name in enumerate(graph.groups):
        members = "".join(f"({n.id})" for n in graph.within(number))
        box = rf"\node[draw=gray, rounded corners, fit={members}] (g{number}) {{}};"
        lines.append(rf"\begin{{scope}}[on background layer] {box} \end{{scope}}")
        at = rf"\node[anchor=south west, font=\scriptsize] at (g{number}.north west)"
        lines.append(rf"{at} {{{_tikz_text(shortened(name))}}};")
    x, y = places[TITLE]
    title = rf"\node[font=\bfseries] at ({x:.2f}, {y:.2f}) {{{_tikz_text(graph.title)}}};"
    lines.append(title)
    return "\n".join([*lines, r"\end{tikzpicture}", r"\end{document}", ""])


def _tikz_styles(graph: Graph) -> dict[str, str]:
    """What each kind of node adds to the style that all have, by the name of its own style."""
    return {_tikz_style(node): TIKZ_SHAPES[node.shape] for node in graph.nodes}


def _tikz_style(node: Node) -> str:
    """The name of the style of a node's kind, in letters that TikZ takes for a name."""
    return re.sub("[^A-Za-z0-9]", "", node.kind) + " site"


def _places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Where each node stands, in cm: a lane for each position, a height for each rank."""
    longest = max((len(_ascii(line)) for n in graph.nodes for line in n.lines), default=0)
    cells = [
        {p: [n for n in row if n.position == p] for p in graph.positions} for row in graph.rows
    ]
    wide = {p: max(len(cell[p]) for cell in cells) for p in graph.positions}
    total = sum(wide.values())
    across = min(0.18 * longest + 0.9, TIKZ_ROOM / max(total, 1))
    up = min(1.7, TIKZ_ROOM / max(len(cells), 1))
    middle = max(total - 1, 0) / 2 * across
    places = {ANSWER: (middle, (len(cells) - 1) * up), TITLE: (middle, len(cells) * up)}
    left = 0
    for position in graph.positions:
        for height, cell in enumerate(cells):
            start = left + (wide[position] - len(cell[position])) / 2
            for n, node in enumerate(cell[position]):
                places[node.id] = (start + n) * across, height * up
        left += wide[position]
    return places


TEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "-": r"{-}",
    "`": r"{`}",
    "'": r"{'}",
    ",": "{,}",
    '"': "{''}",
    "[": "{[}",
    "*": "{*}",
} | {letter: "\\" + letter for letter in "{}$&#_%"}


def _tikz_text(text: str) -> str:
    r"""In ASCII, which every TeX engine and font has; braces keep ligatures (--) and the options
    of a line break (\\[...]) from forming."""
    return "".join(TEX.get(letter, letter) for letter in _ascii(text))


def _ascii(text: str) -> str:
    text = text.replace("…", "...")
    return "".join(c if c.isascii() else f"U+{ord(c):04X} " for c in text).strip()
