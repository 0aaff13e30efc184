"""The look of every figure: colours for light and dark paper, fonts, and how it is saved."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import matplotlib.style
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from ...circuits.storage import write_atomically
from .colours import FAINT, GAINS, INK, LOSSES

ThemeName = Literal["light", "dark"]
Width = Literal["one", "two"]

FORMATS = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
WIDTHS: dict[str, float] = {"one": 3.3, "two": 6.9}  # inches of one column of a page, and of two
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 6.5,
    "axes.labelsize": 6.5,
    "axes.labelpad": 3.5,
    "text.parse_math": False,
    "axes.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "xtick.major.size": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "svg.hashsalt": "circuitfind",
    "savefig.dpi": 300,
}
SCALE = LinearSegmentedColormap.from_list(
    "score",
    [
        *zip(np.linspace(0, 0.5, len(LOSSES)), reversed(LOSSES), strict=True),
        *zip(np.linspace(0.5, 1, len(GAINS)), GAINS, strict=True),
    ],
    N=512,
)
LOSS_HATCH = "//////"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of a figure: `gain` and `loss` for lines, `fill` for what is neither."""

    paper: str
    ink: str
    muted: str
    faint: str
    fill: str
    gain: str
    loss: str

    @property
    def rc(self) -> dict[str, str]:
        """The settings that these colours are to matplotlib."""
        inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        papers = ("figure.facecolor", "axes.facecolor")
        return (
            dict.fromkeys(inks, self.ink)
            | dict.fromkeys(papers, self.paper)
            | {"grid.color": self.faint}
        )


THEMES = {
    "light": Theme(
        paper="white",
        ink=INK,
        muted="#555555",
        faint=FAINT,
        fill="#f4f4f4",
        gain=GAINS[4],
        loss="#c4610f",
    ),
    "dark": Theme(
        paper="#15181d",
        ink="#e8e8e8",
        muted="#a4a9b2",
        faint="#3a404a",
        fill="#22262d",
        gain=GAINS[2],
        loss=LOSSES[2],
    ),
}


def score_colours(scores: Sequence[float]) -> ScalarMappable:
    """The colours of scores, even on both sides of 0."""
    peak = max((abs(score) for score in scores if isfinite(score)), default=0.0) or 1.0
    return ScalarMappable(Normalize(-peak, peak), SCALE)


def score_fill(colours: ScalarMappable, score: float | None) -> tuple[float, ...]:
    """The colour of a score; one that is no number looks like 0."""
    known = score if score is not None and isfinite(score) else 0.0
    return tuple(map(float, colours.to_rgba(np.array(known))))


def theme_named(name: str) -> Theme:
    """The theme of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in THEMES:
        raise ValueError(f"a theme is one of {', '.join(THEMES)}; got {name!r}")
    return THEMES[name]


def width_named(name: str) -> float:
    """The inches of one column of a page or of two.

    Raises:
        ValueError: neither was named.
    """
    if name not in WIDTHS:
        raise ValueError(f"a width is one of {', '.join(WIDTHS)} (columns); got {name!r}")
    return WIDTHS[name]


@contextmanager
def styled(theme: Theme | None = None) -> Iterator[None]:
    """The look, whatever the user's settings; letters that the font lacks become boxes, quietly."""
    sheets = ["default", STYLE, theme.rc if theme else {}]
    with matplotlib.style.context(sheets), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG, PDF or PNG by its suffix: whole or not at all, equal bytes each time.

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(f"a figure is saved as one of {known}; got {str(path)!r}")
    kind, notes = suffix[1:], FORMATS[suffix]
    with styled():
        write_atomically(path, lambda file: figure.savefig(file, format=kind, metadata=notes))
