"""What a circuit diagram is drawn with: lanes, boxes, nodes, arrows, and what they mean."""

from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import AbstractPathEffect

from ...circuits.circuit import Circuit
from ..text.sitegraph import ANSWER, Arrow, Graph, Node
from .lettering import LINE, SMALL, clean, cut, inches, number, wrap
from .pen import SWATCH, Item, Pen
from .placing import GROUP_SIZE, Box, GroupBox, Placed
from .routing import Port, Route
from .style import INK, LOSSES, score_colours, score_fill

LAYERS = 0.3  # inches for the numbers of layers
PORT, SCORE = 4.5, 5.0  # points of the letters of a node's inputs, and of scores
INPUTS = {"q": "query", "k": "key", "v": "value"}  # in words, where they have some
DASHES = {False: "solid", True: (0, (2.4, 1.4))}  # of positive and of negative ones
ROOMY = 14  # lines up to which nodes tell their scores


def node_size(graph: Graph) -> tuple[float, float]:
    names = [node.label.partition("@")[0] for node in graph.nodes]
    wide = max((inches(name[:30], weight="bold") for name in names), default=0.0) + 0.14
    telling = len(graph.rows) <= ROOMY
    entered = {arrow.target for arrow in graph.arrows}
    ported = any(node.has_ports and node.id in entered for node in graph.nodes)
    return min(max(wide, 0.42), 1.2), 0.17 + 0.09 * telling + 0.085 * ported


def put_lanes(pen: Pen, placed: Placed) -> None:
    """The names of positions below their lanes, and the numbers of layers beside them."""
    muted = pen.theme.muted
    for n, (name, left, right) in enumerate(placed.lanes):
        lane = Box(left + 0.02, -0.02, right - 0.02, placed.height)
        pen.add(_rectangle(lane, 0.05), facecolor=pen.theme.fill, edgecolor="none", zorder=0)
        lines = lane_name(name, left, right)
        look: dict[str, Any] = {"ha": "center", "weight": "bold"}
        pen.write_lines((left + right) / 2, -0.05, lines, gid=f"lane-{n}", **look)
    x = -0.07
    for layer, y in placed.layers:
        words = cut(str(layer), LAYERS - 0.07)
        look: dict[str, Any] = {"ha": "right", "va": "center_baseline", "color": muted}
        pen.write(x, y, words, gid=f"layer-{layer}", **look)
    if placed.layers:
        pen.write_lines(x, -0.05, ["layer"], ha="right", color=muted)


def lane_name(name: str, left: float, right: float) -> list[str]:
    return wrap(name, right - left - 0.06, 2, weight="bold")


def put_group(pen: Pen, part: GroupBox, name: str) -> None:
    outline = {"facecolor": pen.theme.paper, "edgecolor": pen.theme.muted, "linewidth": 0.7}
    pen.add(_rectangle(part.box, 0.06), zorder=1, gid=f"group-{name}", **outline)
    look = {"color": pen.theme.muted, "style": "italic", "gid": f"group-label-{name}"}
    pen.write_lines(part.label.left, part.label.top, part.words, GROUP_SIZE, **look)


class _Cased(AbstractPathEffect):
    """A margin beside a line, so that it passes visibly over others; heads are never dashed."""

    def __init__(self, width: float, colour: str) -> None:
        super().__init__()
        self.width, self.colour = width, colour

    def draw_path(self, renderer: Any, gc: Any, tpath: Any, affine: Any, rgbFace: Any) -> None:
        under = renderer.new_gc()
        under.copy_properties(gc)
        under.set_dashes(0, None)
        if rgbFace is not None:
            renderer.draw_path(under, tpath, affine, rgbFace)
            under.restore()
            return
        under.set_linewidth(self.width)
        under.set_foreground(self.colour)
        renderer.draw_path(under, tpath, affine, None)
        under.restore()
        renderer.draw_path(gc, tpath, affine, None)


def put_arrow(pen: Pen, arrow: Arrow, route: Route, gid: str | None) -> None:
    wide = 0.45 + 2.0 * arrow.weight
    vertices, codes = [route.knots[0]], [Path.MOVETO]
    for (near, far), knot in zip(route.controls, route.knots[1:], strict=True):
        vertices += [near, far, knot]
        codes += [Path.CURVE4] * 3
    way = Path(vertices, codes)
    colour = pen.theme.loss if arrow.effect < 0 else pen.theme.gain
    head = f"-|>,head_length={0.28 + 0.1 * wide:.3f},head_width={0.14 + 0.07 * wide:.3f}"
    shaft = FancyArrowPatch(
        path=way,
        arrowstyle=head,
        mutation_scale=7 * pen.scale,
        shrinkA=0,
        shrinkB=0,
        joinstyle="miter",
        capstyle="butt",
        path_effects=[_Cased((wide + 1.4) * pen.scale, pen.theme.fill)],
    )
    shaft.set_linestyle(DASHES[arrow.effect < 0])
    pen.add(shaft, color=colour, linewidth=wide, zorder=2 + arrow.weight, gid=gid)


def put_nodes(
    pen: Pen, circuit: Circuit, graph: Graph, placed: Placed, ports: Sequence[Port]
) -> None:
    """Each node in its shape, filled by its score; in it its name, its score where there
    is room, and at its lower border the letters of the inputs that arrows enter."""
    colours, telling = score_colours(circuit.scores), len(placed.lines) <= ROOMY
    for n, (node, box) in enumerate(zip(graph.nodes, placed.nodes, strict=True)):
        name, fill, line = str(n), score_fill(colours, node.score), INK
        ink = "white" if sum(fill[:3]) < 1.35 else INK
        if node.kind == ANSWER:
            name, fill, line, ink = ANSWER, pen.theme.paper, pen.theme.ink, pen.theme.ink
        negative = (node.score or 0.0) < 0
        look = {"facecolor": fill, "edgecolor": line, "linestyle": DASHES[negative]}
        pen.add(_outline(node.shape, box), zorder=4, gid=f"node-{name}", linewidth=0.8, **look)
        mine = [port for port in ports if port.node == n]
        words = {f"label-{name}": (_name(node, box.right - box.left - 0.06), SMALL)}
        if node.score is not None and telling:
            words[f"score-{name}"] = number(node.score), SCORE
        high = sum(LINE * size for _, size in words.values())
        y = (box.bottom + box.top + high + (0.07 if mine else 0.0)) / 2
        for gid, (word, size) in words.items():
            weight = "bold" if size == SMALL else "normal"
            look = {"ha": "center", "color": ink, "weight": weight, "gid": gid}
            pen.write_lines(box.middle[0], y, [word], size, **look)
            y -= LINE * size
        for port in mine:
            word = cut(port.channel, 0.9 * (box.right - box.left) / len(mine), PORT)
            look = {"ha": "center", "color": ink, "gid": f"port-{n}-{clean(port.channel)}"}
            pen.write(port.x, box.bottom + 0.03, word, PORT, **look)


def _name(node: Node, room: float) -> str:
    return cut(node.label.partition("@")[0], room, weight="bold")


def _outline(shape: str, box: Box) -> Patch:
    """Of a glyph's shape, or of the answer's."""
    if shape != "trapezium":
        high = box.top - box.bottom
        return _rectangle(box, {"round": 0.4 * high, ANSWER: 0.03}.get(shape, 0.0))
    slant = 0.06
    return Polygon(
        [
            (box.left, box.bottom),
            (box.right, box.bottom),
            (box.right - slant, box.top),
            (box.left + slant, box.top),
        ]
    )


def _rectangle(box: Box, rounding: float = 0.0) -> Patch:
    size = box.right - box.left, box.top - box.bottom
    if not rounding:
        return Rectangle((box.left, box.bottom), *size)
    style = f"round,pad=0,rounding_size={rounding}"
    return FancyBboxPatch((box.left, box.bottom), *size, boxstyle=style)


def legend_of(circuit: Circuit, graph: Graph) -> list[Item]:
    """The legend: what the arrows, shapes and fills mean."""
    effects, items = [arrow.effect for arrow in graph.arrows], []
    if effects and max(effects) > 0:
        words = f"helps the answer, up to {max(effects):+.2g} {cut(circuit.unit, 0.8)}"
        items.append(Item(partial(_show_line, sign=1.0), words))
    if effects and min(effects) < 0:
        words = f"hinders it, up to {min(effects):+.2g}".replace("-", "\N{MINUS SIGN}")
        items.append(Item(partial(_show_line, sign=-1.0), words))
    entered = {arrow.target for arrow in graph.arrows}
    ported = {node.inputs for node in graph.nodes if node.has_ports and node.id in entered}
    for glyph, _ in circuit.counts:
        items.append(Item(partial(_show_shape, glyph.shape), glyph.noun))
        if glyph.inputs in ported:
            ported.remove(glyph.inputs)  # one entry is for all that have these
            words = f"its {', '.join(INPUTS.get(name, name) for name in glyph.inputs)}"
            items.append(Item(partial(_show_ports, glyph.inputs), words))
    known = [score for score in circuit.scores if isfinite(score)]
    if known:
        words = f"score, {number(min(known))} to {number(max(known))}: what is lost without it"
        items.append(Item(partial(_show_scores, (min(known), max(known))), words))
    if known and min(known) < 0:
        items.append(Item(_show_negative, "less than 0"))
    return items


def _show_negative(pen: Pen, x: float, y: float) -> None:
    box = Box(x + 0.03, y - 0.05, x + SWATCH - 0.03, y + 0.05)
    look = {"facecolor": LOSSES[1], "edgecolor": INK, "linestyle": DASHES[True]}
    pen.add(_outline("box", box), linewidth=0.8, **look)


def _show_line(pen: Pen, x: float, y: float, *, sign: float) -> None:
    route = Route(((x, y), (x + SWATCH, y)), (((x + 0.1, y), (x + 0.15, y)),))
    put_arrow(pen, Arrow("", "", "", float(sign), 0.5), route, None)


def _show_shape(shape: str, pen: Pen, x: float, y: float) -> None:
    box = Box(x + 0.03, y - 0.05, x + SWATCH - 0.03, y + 0.05)
    pen.add(_outline(shape, box), facecolor=pen.theme.paper, edgecolor=pen.theme.ink, linewidth=0.7)


def _show_ports(inputs: tuple[str, ...], pen: Pen, x: float, y: float) -> None:
    look = {"ha": "center", "va": "center_baseline"}
    pen.write(x + SWATCH / 2, y, cut(" ".join(inputs), SWATCH, PORT), PORT, **look)


def _show_scores(ends: tuple[float, float], pen: Pen, x: float, y: float) -> None:
    steps, colours = 8, score_colours(ends)
    for n, value in enumerate(np.linspace(*ends, steps)):
        box = Rectangle((x + n * SWATCH / steps, y - 0.045), SWATCH / steps, 0.09)
        shade = score_fill(colours, float(value))
        pen.add(box, facecolor=shade, edgecolor=shade, linewidth=0.2)
