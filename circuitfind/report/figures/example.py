"""A prompt below a diagram: its tokens in a line, those at the positions joined to their lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from .lettering import clean, cut, inches
from .pen import Pen

TOKEN, SPACE, MOST = 6.0, 0.05, 0.8  # points, inches between tokens, greatest width of one
HEIGHT, JOIN = 0.17, 0.26  # of the line of tokens, and of the lines that lead to it


@dataclass(frozen=True, kw_only=True)
class Example:
    """A prompt to stand below a diagram: its tokens, and the index of the one at each position."""

    tokens: tuple[str, ...]
    columns: Mapping[str, int]


def problems_of_example(example: Example | None) -> list[str]:
    """Positions whose token is not there."""
    if example is None:
        return []
    n = len(example.tokens)
    return [
        f"the example has {n} tokens, and none at {column} for position {position!r}"
        for position, column in example.columns.items()
        if not 0 <= column < n
    ]


def put_example(
    pen: Pen,
    example: Example,
    lanes: Sequence[tuple[str, float, float]],
    left: float,
    room: float,
    top: float,
) -> None:
    """The tokens below `top`, as many around those at the lanes' positions as there is room for."""
    here = [(lane, example.columns[lane[0]]) for lane in lanes if lane[0] in example.columns]
    named = {column for _, column in here}
    words = _words(example, named, room)
    total = sum(width for _, _, width in words) + SPACE * (len(words) - 1)
    x, y, middles = left + max(0.0, room - total) / 2, top - JOIN - HEIGHT / 2, {}
    for column, word, width in words:
        if column in named:
            middles[column] = x + width / 2
            box = FancyBboxPatch(
                (x, y - HEIGHT / 2), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.03"
            )
            pen.add(box, facecolor=pen.theme.fill, edgecolor=pen.theme.muted, linewidth=0.6)
        look = {"ha": "center", "va": "center_baseline", "zorder": 5}
        look |= {} if column in named else {"color": pen.theme.muted}
        pen.write(x + width / 2, y, word, TOKEN, gid=f"token-{column}", **look)
        x += width + SPACE
    for (_, start, end), column in here:
        x0, x1, y1 = (start + end) / 2, middles[column], top - JOIN
        way = [(x0, top), (x0, (top + y1) / 2), (x1, (top + y1) / 2), (x1, y1)]
        join = Path(way, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        pen.add(PathPatch(join, fill=False), edgecolor=pen.theme.muted, linewidth=0.6)


def _words(example: Example, named: set[int], room: float) -> list[tuple[int | None, str, float]]:
    """Index, word and width of what is shown; an ellipsis (None) where tokens are left out."""
    most = min(MOST, 0.6 * room / max(len(named), 1))
    shown = sorted(named) if named else [len(example.tokens) - 1]
    near = sorted(range(len(example.tokens)), key=lambda n: (min(abs(n - m) for m in shown), -n))
    best: list[tuple[int | None, str, float]] = []
    for count in range(len(shown), len(near) + 1):
        tried = _line(example, sorted({*shown, *near[:count]}), named, most)
        if best and sum(w + SPACE for *_, w in tried) > room:
            break
        best = tried
    return best


def _line(
    example: Example, kept: Sequence[int], named: set[int], most: float
) -> list[tuple[int | None, str, float]]:
    line, before = [], -1
    for column in [*kept, len(example.tokens)]:
        if column > before + 1:
            line.append((None, "…", inches("…", TOKEN)))
        if column < len(example.tokens):
            told = example.tokens[column].replace("\n", "↵")
            word = cut(clean(told) or "␣", most, TOKEN)
            line.append((column, word, inches(word, TOKEN) + (0.1 if column in named else 0)))
        before = column
    return line
