"""Remake the gallery: each figure in `figures/` beside a JSON with the command, versions and seed.

python -m scripts.make_figures
"""

import json
import shutil
import tempfile
from pathlib import Path

from circuitfind.run import Settings, discover

GALLERY = Path(__file__).resolve().parent.parent / "figures"
RUNS = {"variable_binding": Settings("variable_binding", "binder")}


def main() -> None:
    """Run what each figure shows and keep its figure."""
    GALLERY.mkdir(exist_ok=True)
    for name, settings in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            run = discover(settings, Path(folder) / "run")
            shutil.copyfile(run.path / "circuit.svg", GALLERY / f"{name}.svg")
            record = {
                "command": f"circuitfind discover {settings.task} --model {settings.model}",
                "seed": settings.seed,
                "versions": run.circuit.provenance["versions"],
                "message": run.report["message"],
            }
            (GALLERY / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
