"""Text in figures: measured before it is placed, in inches from the top left corner."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from unicodedata import combining

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .style import INK

SMALL, TITLE, LINE = 6.5, 10.0, 1.31 / 72  # points, points, and a line's height per point


def number(value: float) -> str:
    """Two decimals, or a power of ten for what is too great for them."""
    text = f"{value:.2f}" if abs(value) < 99.5 else f"{value:.0e}".replace("e+0", "e")
    return text.replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def signed(words: str) -> str:
    """Words with a real minus before each number that is below 0."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", words)


def clean(text: str) -> str:
    """On one line, and without what neither a page nor XML can hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def wrap(
    text: str, width: float, lines: int, size: float = SMALL, weight: str = "normal"
) -> list[str]:
    """The text in at most so many lines of this width, ended by an ellipsis where it is cut."""
    rest, wrapped = clean(text)[:600], []
    while rest:
        fits = max(1, _fitting(rest, width, size, weight))
        if fits < len(rest) and len(wrapped) == lines - 1:
            fits = _fitting(rest, width - inches("…", size, weight), size, weight)
            return [*wrapped, rest[:fits].rstrip() + "…"]
        if fits < len(rest) and " " in rest[1 : fits + 1]:
            fits = rest.rindex(" ", 1, fits + 1)
        wrapped.append(rest[:fits])
        rest = rest[fits:].lstrip()
    return wrapped


def cut(text: str, width: float, size: float = SMALL, weight: str = "normal") -> str:
    """The text on one line of this width; nothing stays nothing."""
    return "".join(wrap(text, width, 1, size, weight))


def _fitting(text: str, width: float, size: float, weight: str) -> int:
    """How many of the first letters fit."""
    if inches(text, size, weight) <= width:
        return len(text)
    counts = range(1, len(text) + 1)
    return bisect_right(counts, width, key=lambda n: inches(text[:n], size, weight))


@lru_cache(4096)
def inches(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """How wide a line of text is drawn, a little more than less."""
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    slack = 1.06 if any(map(combining, text)) else 1.02  # marks are hinted one by one
    return slack * text_to_path.get_text_width_height_descent(text, font, False)[0] / 72


def put_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place on the figure."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def put_text(figure: Figure, left: float, top: float, lines: Sequence[str], **look: Any) -> None:
    """Lines of text, the first one's top at `top`; the gid of the others has their number."""
    w, h = figure.get_size_inches()
    look = {"color": INK, "size": SMALL} | look
    gid = look.pop("gid", None)
    for n, line in enumerate(lines):
        baseline = top + look["size"] * (LINE * n + 1 / 72)
        name = f"{gid}-line-{n + 1}" if gid and n else gid
        figure.text(left / w, 1 - baseline / h, line, gid=name, **look)
