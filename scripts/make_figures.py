"""Remake the gallery: the figures in `figures/`, each run's beside a JSON (circuitfind gallery).

    python -m scripts.make_figures [NAME ...]

Runs that are already in runs/figures are drawn again, not searched again. What is in `figures/dcm`
is made by `scripts/reproduce_dcm.py`.
"""

import sys
from pathlib import Path

from circuitfind.runs.pictures import gallery
from circuitfind.runs.revalidate import add_paths
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
GALLERY, KEPT = ROOT / "figures", ROOT / "runs" / "figures"
RUNS = {
    "variable_binding": Settings(task="variable_binding", model="binder"),
    "ioi": Settings(task="ioi", model="smollm2-135m"),
    "arithmetic": Settings(task="arithmetic", model="smollm2-135m-binding"),
    "arithmetic-value": Settings(task="arithmetic-value", model="smollm2-135m-binding"),
}


def main() -> None:
    """Run what each figure shows, measure the paths between its members, and keep its figures."""
    for name in sys.argv[1:] or RUNS:
        run = discover(RUNS[name], KEPT / name, resume=True)
        if not run.circuit.edges:
            add_paths(run.path)
        gallery([run.path], GALLERY)


if __name__ == "__main__":
    main()
