"""What is in a figure, and that its words can be read."""

from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text


def artists(figure: Figure, start: str) -> dict[str, Any]:
    return {g: a for a in figure.findobj() if (g := a.get_gid() or "").startswith(start)}


def words_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def check_labels(figure: Figure) -> None:
    """No two labels touch, and none leaves the figure."""
    figure.draw_without_rendering()
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for word, box in boxes:
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, f"{word!r} is cut off"
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, f"{word!r} is cut off"
    for (one, a), (other, b) in combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 0.5 or high <= 1.0, f"{one!r} and {other!r} overlap"
    assert not any(text.get_parse_math() for text in shown)
