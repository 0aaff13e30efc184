"""What is known of a finished run's circuit since its report: validated.json in the run folder.

The report stays as the run wrote it, so that `circuitfind check` has something to compare with.
What `circuitfind validate` finds later, by the run's own settings, is kept beside it, and pages and
figures show both: of findings of one check the later one.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..circuits.circuit import Circuit
from ..circuits.storage import write_text
from ..validate.card import card_from_json
from .folder import VALIDATED, read_run
from .reports import VALIDATED_FILE, load_report
from .settings import Settings

Report = Mapping[str, Any]


def keep_validated(path: str | Path, fresh: Report) -> None:
    """Keep what checks of a run's circuit found just now, with what earlier ones found of the
    same circuit, weights and pairs."""
    checks, earlier = fresh["checks"], None
    with suppress(FileNotFoundError, ValueError):  # a damaged file is replaced
        earlier = load_report(Path(path) / VALIDATED, VALIDATED_FILE)
    if earlier and earlier["binds"] == fresh["binds"]:
        checks = _renewed(earlier["checks"], checks)
    made = {**fresh, "checks": checks}
    write_text(Path(path) / VALIDATED, json.dumps(made, indent=2, ensure_ascii=False) + "\n")


def latest_run(path: str | Path) -> tuple[Settings, Circuit, dict[str, Any]]:
    """The settings, the circuit and the report of a finished run, the report with what was found
    since. Where that is about other weights or pairs than the run's, it stands alone.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes; later findings about another circuit.
    """
    settings, circuit, report = read_run(path)
    file = Path(path) / VALIDATED
    if not file.is_file():
        return settings, circuit, report
    try:
        later = load_report(file, VALIDATED_FILE)
    except ValueError as error:
        raise ValueError(f"{error}; remove the file, or validate again") from error
    try:
        card_from_json(later).require(circuit)
    except ValueError as error:
        raise ValueError(f"{file}: {error}, or remove the file") from error
    binds = later["binds"]
    other = [key for key, digest in binds.items() if report.get("binds", binds).get(key) != digest]
    if not other:
        checks = _renewed(report["checks"], later["checks"])
        return settings, circuit, {**report, "desiderata": later["desiderata"], "checks": checks}
    told = {key: value for key, value in later.items() if key != "cost"}
    note = f"validated on another {' and other '.join(other)} than the run, which report.json tells"
    return settings, circuit, {**report, **told, "notes": [*told["notes"], note]}


def _renewed(before: Sequence[Report], after: Sequence[Report]) -> list[Report]:
    """Findings with those made anew in their place, or after them."""
    return list({row["name"]: row for row in [*before, *after]}.values())
