"""`python -m scripts.make_notebook`: run examples/variable_binding.ipynb again, from its own cells.

The cells are edited in the notebook itself; this puts their output in. It needs nbclient and
ipykernel (the extra `notebook`).
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient  # pyright: ignore[reportMissingImports] (an extra)

NOTEBOOK = Path(__file__).parent.parent / "examples/variable_binding.ipynb"


def main() -> None:
    """Run every cell in a fresh kernel and write the notebook with what came out."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran is no part of what it says
        # Nor are warnings of this machine's packages, and what has HTML needs no second form.
        kept = [out for out in cell.get("outputs", []) if out.get("name") != "stderr"]
        for out in kept:
            if "text/html" in out.get("data", {}):
                out.data.pop("text/plain", None)
        if cell.cell_type == "code":
            cell.outputs = kept
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
