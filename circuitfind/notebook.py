"""Notebook views of circuits, cards, results and previews, registered with IPython.

`import circuitfind` inside IPython calls `register_views`. The classes themselves know nothing of
HTML, and the view is imported when the first object is shown.
"""

from collections.abc import Callable
from typing import Any

VIEWS = {
    ("circuitfind.circuits.circuit", "Circuit"): "circuit_html",
    ("circuitfind.validate.card", "Card"): "card_html",
    ("circuitfind.search.result", "SearchResult"): "result_html",
    ("circuitfind.runs.preview", "Preview"): "preview_html",
}


def register_views(shell: Any) -> None:
    """Let an IPython shell show circuits, cards, results and previews as HTML."""
    formatter = shell.display_formatter.formatters["text/html"]
    for (module, name), view in VIEWS.items():
        formatter.for_type_by_name(module, name, _view(view))


def _view(name: str) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        from .report.text import notebook

        return getattr(notebook, name)(value)

    return show
