"""Where the heads of a circuit look in one prompt, as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...circuits.circuit import Circuit
from ...circuits.examples import Attention, Examples
from ...mediators.site import Site
from .colourbar import ROOM, put_colour_bar
from .lettering import LINE, SMALL, clean, cut, inches, number, put_axes, put_text, wrap
from .style import INK, Theme, score_fill, styled, theme_named, width_named
from .titled import MARGIN, titled_figure

ROW, NARROW, BROAD, TOKEN = 0.17, 0.11, 0.3, 0.75  # inches: a row, columns, the longest token
HEAD, MOST_ROWS = 0.24, 40  # inches above the tokens, and how many heads have a row
MOST = 0.22  # of the page's width: for the token that a head looks most at
NO_EXAMPLES = (
    "this run folder holds no attention (examples.json): `circuitfind validate RUN` records it"
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The rows and columns that have room: members, and tokens by their number in the prompt
    (None: some are left out there); in inches, the width of a column, the room for the heads'
    names, and the height of the tokens, which lie on their side where they are too wide."""

    heads: tuple[Site, ...]
    columns: tuple[int | None, ...]
    pitch: float
    names: float
    labels: float
    upright: bool


def draw_attention(
    circuit: Circuit, examples: Examples | None, *, theme: str = "light", width: str = "two"
) -> Figure:
    """A row for each head, the strongest first where not all have room, and a column for each token
    of one unpatched prompt; the darker, the more the head looks there.

    Tokens that no head looks at make room for others where a prompt is long, and are counted.

    Raises:
        ValueError: there is no attention of a member, or it is of another circuit; no such theme
            or width.
    """
    colours, page = theme_named(theme), width_named(width)
    if examples is None:
        raise ValueError(NO_EXAMPLES)
    examples.require(circuit)
    seen = examples.attention
    heads = [site for site in circuit.sites if str(site) in seen.weights]
    if not heads:
        raise ValueError("no head of this circuit tells where it looks: there is nothing to draw")
    answer = _answer(examples)
    with styled(colours):
        grid = _grid(circuit, heads, seen, page)
        notes = wrap(_notes(seen, grid, len(heads), answer), 0.92 * page, 4)
        body = HEAD + grid.labels + ROW * len(grid.heads)
        high = body + 0.1 + ROOM + LINE * SMALL * len(notes)
        figure, top = titled_figure(page, circuit, "attention in one prompt", colours, high)
        title = cut("where each head looks", page / 2, weight="bold")
        put_text(figure, MARGIN, top, [title], weight="bold", color=colours.ink)
        shades = _shades(colours)
        axes = _put_tokens(figure, seen, grid, top + HEAD, answer, colours)
        for row, site in enumerate(grid.heads):
            _put_row(axes, row, seen.weights[str(site)], grid, shades)
            if (own := seen.columns.get(site.position)) in grid.columns:
                _frame(axes, grid.columns.index(own), row, colours)
            _put_words(figure, site, seen, top + HEAD + grid.labels + ROW * row, grid, colours)
        below = top + body + 0.1
        words = "share of a head's attention"
        put_colour_bar(figure, (MARGIN + 0.05, below), 1.5, shades, [0.0, 0.5, 1.0], words, colours)
        put_text(figure, MARGIN, below + ROOM, notes, color=colours.muted, gid="notes")
    return figure


def _grid(circuit: Circuit, heads: Sequence[Site], seen: Attention, page: float) -> Grid:
    scores = dict(zip(circuit.sites, circuit.scores, strict=True))
    strongest = sorted(heads, key=lambda site: -scores[site])[:MOST_ROWS]
    kept = tuple(site for site in heads if site in strongest)
    names = min(max(inches(str(site)) for site in kept), 0.3 * page) + 0.06
    most = min(max(inches(_most(seen, site, page)) for site in kept), MOST * page)
    room = page - 2 * MARGIN - names - most - 0.08
    columns = _columns(seen, kept, int(room / NARROW))
    pitch = min(BROAD, room / len(columns))
    labels = max(inches(_token(seen, column)) for column in columns)
    upright = labels + 0.02 <= pitch
    return Grid(
        heads=kept,
        columns=columns,
        pitch=pitch,
        names=names,
        labels=(0.12 if upright else labels) + 0.06,
        upright=upright,
    )


def _columns(seen: Attention, heads: Sequence[Site], room: int) -> tuple[int | None, ...]:
    """As many tokens as there is room for: those of positions, then those most looked at."""
    n, named = len(seen.tokens), {seen.columns.get(site.position) for site in heads}
    peak = [max(seen.weights[str(site)][column] for site in heads) for column in range(n)]
    order = sorted(range(n), key=lambda column: (column not in named, -peak[column], -column))
    for count in range(n, 0, -1):
        kept, line = sorted(order[:count]), list[int | None]()
        for before, column in zip([-1, *kept], kept, strict=False):
            line += [None, column] if column > before + 1 else [column]
        line += [] if kept[-1] == n - 1 else [None]
        if len(line) <= room or count == 1:
            return tuple(line)
    raise ValueError("a prompt without tokens has nothing to look at")


def _token(seen: Attention, column: int | None) -> str:
    if column is None:
        return "…"
    return cut(clean(seen.tokens[column].replace("\n", "↵")) or "␣", TOKEN)


def _most(seen: Attention, site: Site, room: float) -> str:
    """The token that a head looks most at, in so many inches, and with what share."""
    weights = seen.weights[str(site)]
    most = max(range(len(weights)), key=weights.__getitem__)
    share = f" {number(weights[most])}"
    return cut(_token(seen, most), room - inches(share)) + share


def _answer(examples: Examples) -> str | None:
    """The answer to the prompt whose attention is known, where it is among the examples."""
    text = "".join(examples.attention.tokens)
    same = (
        one.base_answer
        for told in examples.sets
        for one in told.examples
        if one.base and text.endswith(one.base)
    )
    return next(same, None)


def _is(answer: str | None, token: str) -> bool:
    """Whether a token is the answer, or one of several ("are or were")."""
    texts = [answer, *answer.split(" or ")] if answer is not None else []
    return token.strip() != "" and token.strip() in [text.strip() for text in texts]


def _notes(seen: Attention, grid: Grid, n_heads: int, answer: str | None) -> str:
    """What signs mean, and what is left out."""
    told = ["At the right: the token that a head looks most at."]
    if any(site.position in seen.columns for site in grid.heads):
        told.append("Framed: the position that a head is patched at, from where it looks.")
    shown = [column for column in grid.columns if column is not None]
    if answer is not None:
        found = any(_is(answer, seen.tokens[column]) for column in shown)
        told.append(f"{'Bold: the answer,' if found else 'The answer:'} “{clean(answer)}”.")
    if left := len(seen.tokens) - len(shown):
        hidden = set(range(len(seen.tokens))) - set(shown)
        peak = max(seen.weights[str(site)][one] for site in grid.heads for one in hidden)
        told.append(f"{left} tokens are left out (…): none gets more than {number(peak)}.")
    if n_heads > len(grid.heads):
        told.append(f"The {len(grid.heads)} heads with the greatest scores of {n_heads}.")
    return " ".join(told)


def _shades(theme: Theme) -> ScalarMappable:
    ends = [theme.fill, theme.gain, "#0b3a68" if theme.paper == "white" else "#dcebfa"]
    return ScalarMappable(Normalize(0, 1), LinearSegmentedColormap.from_list("share", ends))


def _put_tokens(
    figure: Figure, seen: Attention, grid: Grid, top: float, answer: str | None, theme: Theme
) -> Axes:
    """Axes of a row for each head and a column for each token, its words above."""
    n, rows = len(grid.columns), len(grid.heads)
    size = grid.pitch * n, ROW * rows
    axes = put_axes(figure, MARGIN + grid.names, top + grid.labels, *size)
    axes.set(xlim=(0, n), ylim=(rows, 0))
    axes.axis("off")
    own = {seen.columns.get(site.position) for site in grid.heads} - {None}
    for place, column in enumerate(grid.columns):
        right = column is not None and _is(answer, seen.tokens[column])
        look: dict[str, Any] = {"weight": "bold" if right else "normal", "color": theme.ink}
        look |= {} if right or column in own else {"color": theme.muted}
        axes.text(
            place + 0.5,
            -0.06 / ROW,
            _token(seen, column),
            ha="center",
            va="bottom",
            rotation=0 if grid.upright else 90,
            gid=f"token-{place}",
            **look,
        )
    return axes


def _put_row(
    axes: Axes, row: int, weights: Sequence[float], grid: Grid, shades: ScalarMappable
) -> None:
    for place, column in enumerate(grid.columns):
        if column is None:
            continue
        weight = weights[column]
        fill = score_fill(shades, weight)
        axes.add_patch(
            Rectangle(
                (place, row + 0.06), 1, 0.88, facecolor=fill, linewidth=0, gid=f"cell-{row}-{place}"
            )
        )
        if grid.pitch >= 0.22 and weight >= 0.05:
            ink = "white" if sum(fill[:3]) < 1.5 else INK
            axes.text(
                place + 0.5,
                row + 0.5,
                number(weight),
                ha="center",
                va="center_baseline",
                color=ink,
                size=5,
            )


def _frame(axes: Axes, place: int, row: int, theme: Theme) -> None:
    """A frame around a cell: that of the head's own position."""
    box = Rectangle((place, row + 0.06), 1, 0.88, fill=False, gid=f"frame-{row}", clip_on=False)
    box.set(edgecolor=theme.ink, linewidth=0.9, zorder=4)
    axes.add_patch(box)


def _put_words(
    figure: Figure, site: Site, seen: Attention, top: float, grid: Grid, theme: Theme
) -> None:
    """The head's name at the left, and at the right the token that it looks most at."""
    y, right = top + ROW / 2 - LINE * SMALL / 2, figure.get_figwidth() - MARGIN
    left = MARGIN + grid.names
    name = cut(str(site), grid.names - 0.06)
    put_text(figure, left - 0.06, y, [name], ha="right", color=theme.ink)
    left += grid.pitch * len(grid.columns) + 0.08
    words = [_most(seen, site, right - left)]
    put_text(figure, left, y, words, color=theme.ink, gid=f"most-{site}")
