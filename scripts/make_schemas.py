"""`python -m scripts.make_schemas`: write the JSON Schema of every file into docs/schemas."""

import json
from pathlib import Path

from circuitfind.circuits.circuit import CIRCUIT_FILE
from circuitfind.circuits.decisions_file import DECISIONS_FILE
from circuitfind.circuits.examples import EXAMPLES_FILE
from circuitfind.models.native_schema import CONFIG_FILE
from circuitfind.records import Format
from circuitfind.runs.reports import REPORT_FILE
from circuitfind.runs.settings import SETTINGS_FILE
from circuitfind.validate.comparison import COMPARISON_FILE

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
FORMATS: dict[str, Format] = {
    "circuit": CIRCUIT_FILE,
    "comparison": COMPARISON_FILE,
    "decisions": DECISIONS_FILE,
    "examples": EXAMPLES_FILE,
    "native-config": CONFIG_FILE,
    "report": REPORT_FILE,
    "settings": SETTINGS_FILE,
}


def schemas() -> dict[str, str]:
    """The text of each schema file, by its name."""
    return {
        f"{name}.json": json.dumps(one.schema(), indent=1, ensure_ascii=False) + "\n"
        for name, one in FORMATS.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
