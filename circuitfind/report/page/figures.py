"""The drawings of the page: matplotlib's SVG put inside HTML, in the page's own colours."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from xml.etree import ElementTree

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ...circuits.circuit import Circuit
from ...circuits.examples import Attention
from ...mediators.site import Site
from ..figures.diagram import draw_diagram
from ..figures.example import Example
from ..figures.plots import draw_frontier, draw_overlap
from ..figures.style import THEMES, styled
from ..figures.titled import Report

LINK = "{http://www.w3.org/1999/xlink}href"
# The page's variable for each colour of the light theme: in the dark they have other values.
COLOURS = {to_hex(getattr(THEMES["light"], one.name)): one.name for one in fields(THEMES["light"])}
FEW = 10  # members that have room in a column beside what is told of them
PAD = 0.04  # inches around a drawing
OWN = re.compile(r"(node|edge)-\d+")  # the ids that the page's script looks for
FILLED = re.compile(r"(node|label|score|port)-\d+.*")  # on a member's fill, the same in the dark


def page_diagram(
    circuit: Circuit, attention: Attention | None, groups: Mapping[str, Sequence[Site]]
) -> str:
    """The diagram with its groups as boxes; the prompt whose attention is known stands below it.

    Raises:
        ValueError: as in `draw_diagram`.
    """
    prompt = Example(tokens=attention.tokens, columns=attention.columns) if attention else None
    width = "one" if len(circuit) <= FEW else "two"
    figure = draw_diagram(circuit, example=prompt, width=width, groups=groups)
    return inline_svg(figure, "diagram")


def page_frontier(circuit: Circuit, report: Report) -> str:
    """The frontier.

    Raises:
        ValueError: the report has none.
    """
    return inline_svg(draw_frontier(circuit, report, width="two"), "frontier")


def page_overlap(overlaps: Sequence[Mapping[str, Any]]) -> str:
    """The Jaccard index of every two circuits, from the rows of a compare.json.

    Raises:
        ValueError: there are none.
    """
    return inline_svg(draw_overlap(overlaps, width="two"), "overlap")


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page: without its headings, which the page says itself;
    its ids begun with `name` except the nodes' and edges', its colours the page's variables."""
    for heading in figure.findobj(lambda artist: _line_of(artist) in ("title", "subtitle")):
        heading.remove()
    file, notes = io.BytesIO(), {"Date": None, "Creator": None}
    with styled():
        box = _drawn(figure)
        figure.savefig(file, format="svg", bbox_inches=box, transparent=True, metadata=notes)
    root = ElementTree.fromstring(file.getvalue())
    for child in [one for one in root if one.tag.endswith("metadata")]:
        root.remove(child)
    _adopt(root, name, themed=True)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("id", name)
    return ElementTree.tostring(root, encoding="unicode")


def _line_of(artist: Artist) -> str:
    """What text a line is of: those after the first have its gid with their number."""
    return str(artist.get_gid()).split("-line-")[0]


def _drawn(figure: Figure) -> Bbox:
    """What is drawn on, in inches: headings may have left room, which "tight" would keep."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [
        artist.get_tightbbox(renderer)
        for axes in figure.axes
        for artist in ([*axes.patches, *axes.texts] if not axes.axison else [axes])
    ]
    box = Bbox.union([box for box in boxes if box is not None and box.width > 0])
    return box.transformed(figure.dpi_scale_trans.inverted()).padded(PAD)


def _adopt(element: ElementTree.Element, name: str, themed: bool) -> None:
    """Rename, and unless it lies on a member's fill, recolour this element and what it holds."""
    element.tag = element.tag.rpartition("}")[2]
    own = element.get("id", "")
    themed = themed and not FILLED.fullmatch(own)
    if own and not OWN.fullmatch(own):
        element.set("id", f"{name}-{own}")
    if LINK in element.attrib:
        element.set("href", element.attrib.pop(LINK))
    for key, value in element.attrib.items():
        made = value.replace("url(#", f"url(#{name}-")
        made = made.replace("#", f"#{name}-", 1) if key == "href" else made
        element.set(key, _themed(made) if themed and key == "style" else made)
    for child in element:
        _adopt(child, name, themed)


def _themed(style: str) -> str:
    def variable(found: re.Match[str]) -> str:
        name = COLOURS.get(found[0])
        return f"var(--{name}, {found[0]})" if name else found[0]

    return re.sub(r"#[0-9a-f]{6}", variable, style)
