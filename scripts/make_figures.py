"""Remake the gallery: each figure in `figures/` beside a JSON with the command, versions and seed.

    python -m scripts.make_figures [NAME ...]

Runs that are already in runs/figures are drawn again, not searched again. What is in `figures/dcm`
is made by `scripts/reproduce_dcm.py`.
"""

import json
import sys
from pathlib import Path

from circuitfind.pictures import redraw
from circuitfind.run import discover
from circuitfind.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
GALLERY, KEPT = ROOT / "figures", ROOT / "runs" / "figures"
RUNS = {
    "variable_binding": Settings("variable_binding", "binder"),
    "ioi": Settings("ioi", "smollm2-135m"),
    "arithmetic": Settings("arithmetic", "smollm2-135m-binding"),
    "arithmetic-value": Settings("arithmetic-value", "smollm2-135m-binding"),
}


def main() -> None:
    """Run what each figure shows and keep its figure."""
    GALLERY.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RUNS:
        settings = RUNS[name]
        run = discover(settings, KEPT / name, resume=True)
        redraw(run.path, GALLERY / f"{name}.svg")
        record = {
            "command": f"circuitfind discover {settings.task} --model {settings.model}",
            "seed": settings.seed,
            "versions": run.circuit.provenance["versions"],
            "message": run.report["message"],
            "desiderata": run.report["desiderata"],
            "checks": [
                {key: check[key] for key in ("name", "verdict", "n", "says")}
                for check in run.report["checks"]
            ],
        }
        (GALLERY / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
