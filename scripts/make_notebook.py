"""`python -m scripts.make_notebook`: run examples/variable_binding.ipynb again, from its own cells.

The cells are edited in the notebook itself; this puts their output in. It needs nbclient and
ipykernel (the extra `notebook`).
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples/variable_binding.ipynb"


def main() -> None:
    """Run every cell in a fresh kernel and write the notebook with what came out."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    for cell in notebook.cells:  # when a cell ran is no part of what it says
        cell.metadata.pop("execution", None)
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
