"""The drawings of the page: matplotlib's SVG put inside HTML, in the page's own colours."""

import io
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..circuit import Circuit
from ..validate.card import DesideratumScore
from .figure import FAINT, GAINS, INK, LOSSES, _clean, _style, draw
from .sitegraph import shortened

LINK = "{http://www.w3.org/1999/xlink}href"
GREYS = {INK: "ink", "#444444": "muted", "#7a7a7a": "muted", FAINT: "line", "#ffffff": "paper"}
LINES = (  # a colour, a dash and a marker each: none is told by its colour alone
    (GAINS[4], "-", "o"), (LOSSES[3], "--", "s"), ("#7a7a7a", "-.", "^"), (GAINS[2], ":", "D"),
    (INK, "-", "v"), (LOSSES[2], "--", "P"),
)  # fmt: skip
OWN = re.compile(r"(node|edge)-\d+")  # the ids that the page's script looks for


def member_map(circuit: Circuit) -> Figure:
    """The layers x heads map without its headings; the cell of circuit.sites[n] has the gid
    node-n.

    Raises:
        ValueError: as in `draw`.
    """
    figure = draw(circuit)
    numbers = {_clean(str(site)): number for number, site in enumerate(circuit.sites)}
    for artist in figure.findobj(lambda one: bool(one.get_gid())):
        kind, _, name = str(artist.get_gid()).partition(":")
        if kind in ("title", "subtitle"):
            artist.remove()
        elif kind in ("member", "score") and name in numbers:
            artist.set_gid(f"{'node' if kind == 'member' else 'label'}-{numbers[name]}")
    return figure


def draw_frontier(
    points: Sequence[dict[str, Any]], scores: Sequence[DesideratumScore], size: int
) -> Figure:
    """Size against satisfaction on the selection pairs, a line per desideratum; the circuit's own
    size is marked, and the highest bound."""
    with _style():
        figure = Figure((5.4, 2.7))
        axes = figure.add_axes((0.09, 0.17, 0.89, 0.6))
        axes.axvline(size, color=FAINT, linewidth=7, zorder=0)
        for score, (colour, dash, marker) in zip(scores, LINES * len(scores), strict=False):
            known = [p for p in points if score.name in p["satisfaction"]]
            x = [point["size"] for point in known]
            y = [point["satisfaction"][score.name] for point in known]
            look = {"color": colour, "marker": marker, "clip_on": False}
            axes.plot(x, y, dash, label=_clean(shortened(score.name)), linewidth=1.3,
                      markersize=3.4, **look)  # fmt: skip
            mine = [level for n, level in zip(x, y, strict=True) if n == size]
            axes.plot([size] * len(mine), mine, linestyle="", markersize=7,
                      markeredgecolor=INK, **look)  # fmt: skip
        axes.set(ylim=(0, 1.02), xlim=(0, None), ylabel="share of selection pairs")
        axes.set_xlabel(f"sites in the circuit (the grey band: {size}, the circuit here)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=FAINT, linewidth=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="upper left", bbox_to_anchor=(0.07, 1.0), ncols=2, frameon=False)
    return figure


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page: cropped, its ids begun with `name` except the
    nodes' and edges', its greys the page's own, which are others in the dark."""
    file = io.BytesIO()
    with _style():
        figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.04, transparent=True,
                       metadata={"Date": None, "Creator": None})  # fmt: skip
    root = ElementTree.fromstring(file.getvalue())
    for child in [one for one in root if one.tag.endswith("metadata")]:
        root.remove(child)
    _adopt(root, name, themed=True)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("id", name)
    return ElementTree.tostring(root, encoding="unicode")


def _adopt(element: ElementTree.Element, name: str, themed: bool) -> None:
    """Rename, and unless it lies in a node, recolour this element and what it holds."""
    element.tag = element.tag.rpartition("}")[2]
    own = element.get("id", "")
    themed = themed and not re.fullmatch(r"(node|label)-\d+", own)
    if own and not OWN.fullmatch(own):
        element.set("id", f"{name}-{own}")
    if LINK in element.attrib:
        element.set("href", element.attrib.pop(LINK))
    for key, value in element.attrib.items():
        if key == "href":
            element.set(key, value.replace("#", f"#{name}-"))
        else:
            made = value.replace("url(#", f"url(#{name}-")
            element.set(key, _themed(made) if themed and key == "style" else made)
    for child in element:
        _adopt(child, name, themed)


def _themed(style: str) -> str:
    return re.sub(
        r"#[0-9a-f]{6}",
        lambda found: f"var(--{GREYS[found[0]]}, {found[0]})" if found[0] in GREYS else found[0],
        style,
    )
