"""The run folder: what a run writes, whole or not at all, and what a killed run goes on from."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import torch

from ..circuits.circuit import Circuit, load_circuit
from ..circuits.decisions import DECISIONS
from ..circuits.decisions_file import read_decisions
from ..circuits.storage import write_atomically, write_text
from ..records import load_json
from .reports import load_report
from .settings import Settings

CONFIG, REPORT, CIRCUIT, HISTORY = "config.json", "report.json", "circuit.json", "history.csv"
FIGURE, EXAMPLES, PAGE = "grid.svg", "examples.json", "report.html"
OLD_FIGURE = "circuit.svg"  # the grid of a run of version 0.1; today the diagram's file
COMPARISON, COMPARISON_PAGE = "compare.json", "compare.html"  # in a folder of its own
VALIDATED = "validated.json"
ASIDE = "decisions.before-{}.json"  # decisions about a circuit that another run replaced
CHECKPOINT, BEFORE = "checkpoint.pt", "checkpoint.previous.pt"


class RunFolder:
    """A folder that holds one run. Nothing is written before `begin`."""

    def __init__(self, path: str | Path, settings: Settings) -> None:
        self.path = Path(path)
        self.settings = settings

    def check(self, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that holds something else.

        Raises:
            ValueError: the folder is not empty and neither option allows for what is in it.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; name a folder for the run")
        if overwrite or not any(self.path.iterdir()):
            return
        if not (self.path / CONFIG).is_file():
            raise ValueError(f"{self.path} is not empty and holds no run; name another folder")
        if not resume:
            raise ValueError(
                f"{self.path} holds a run already; go on with it by --resume, replace it by "
                "--overwrite, or name another folder with --out"
            )
        before, now = asdict(load_settings(self.path)), asdict(self.settings)
        changed = [
            f"{key} was {before[key]!r} and is {now[key]!r}"
            for key in sorted(now)
            if before[key] != now[key]
        ]
        if changed:
            raise ValueError(
                f"{self.path} holds a run with other settings ({'; '.join(changed)}); give the "
                "same ones, or --overwrite"
            )

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end: the report is written last."""
        return (self.path / REPORT).is_file()

    def begin(self, resume: bool) -> None:
        """Make the folder; without `resume`, remove what an earlier run left in it, but for what
        a person decided about its circuit: that is set aside. With it, config.json stays as it
        is: it may be of an older version, which the run's checkpoints are of, too."""
        if resume and (self.path / CONFIG).is_file():
            return
        if not resume and (self.path / CONFIG).is_file():
            if (self.path / DECISIONS).is_file():
                (self.path / DECISIONS).rename(self._unused_name())
            for name in (
                CONFIG,
                REPORT,
                CIRCUIT,
                HISTORY,
                FIGURE,
                OLD_FIGURE,
                EXAMPLES,
                PAGE,
                VALIDATED,
                CHECKPOINT,
                BEFORE,
            ):
                (self.path / name).unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / CONFIG, _json(self.settings.as_json()))

    def _unused_name(self) -> Path:
        """Where decisions about a circuit that is replaced go; they never replace others."""
        names = (self.path / ASIDE.format(number) for number in count(1))
        return next(name for name in names if not name.exists())

    def put_back(self, circuit: Circuit) -> list[str]:
        """Put decisions that were set aside back where they are about this circuit, found again;
        unless it was searched with decisions of its own, which then count. In words, what became
        of all that is set aside."""
        aside = sorted(self.path.glob(ASIDE.format("*")), key=lambda file: file.stat().st_mtime)
        own = "decisions" in circuit.provenance or (self.path / DECISIONS).exists()
        notes = []
        for file in reversed(aside):  # the latest ones first
            if not own and _is_about(file, circuit):
                file.rename(self.path / DECISIONS)
                notes.append(f"the run found the circuit that {DECISIONS} was about: it was kept")
                own = True
            else:
                notes.append(f"decisions about a circuit that was here before are in {file.name}")
        return notes

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep a search's state, and the one before it in case this one is damaged."""
        path = self.path / CHECKPOINT
        if path.is_file():
            shutil.copyfile(path, self.path / BEFORE)
        content = {"fingerprint": _digest(self.settings.as_json()), "state": dict(state)}
        write_atomically(path, lambda file: torch.save(content, file))

    def load_checkpoint(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest state that can be read, and in words what could not."""
        notes, known = [], self._fingerprints()
        for name in (CHECKPOINT, BEFORE):
            path = self.path / name
            if not path.is_file():
                continue
            try:
                content = torch.load(path, weights_only=True)
                if content["fingerprint"] in known:
                    return content["state"], notes
                notes.append(f"{name} belongs to other settings and is left aside")
            except Exception as error:  # a damaged archive raises a dozen different types
                notes.append(f"{name} is damaged ({type(error).__name__}) and is left aside")
        notes.append("no usable checkpoint: the search starts from the beginning")
        return None, notes

    def _fingerprints(self) -> set[str]:
        """Digests of the settings, as this version writes them and as the folder's own, perhaps
        older config.json has them. Only a checkpoint with one of these is resumed."""
        known = {_digest(self.settings.as_json())}
        if (self.path / CONFIG).is_file() and load_settings(self.path) == self.settings:
            known.add(_digest(load_json(self.path / CONFIG)))
        return known

    def finish(
        self, circuit: Circuit, report: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the results, the report last, and remove the checkpoints."""
        circuit.save(self.path / CIRCUIT)
        write_text(self.path / HISTORY, _table(history))
        write_text(self.path / REPORT, _json(report))
        for name in (CHECKPOINT, BEFORE):
            (self.path / name).unlink(missing_ok=True)


def _is_about(file: Path, circuit: Circuit) -> bool:
    """Whether this file holds decisions about this circuit."""
    try:
        return read_decisions(file).circuit == circuit.digest
    except ValueError:
        return False


def load_settings(path: str | Path) -> Settings:
    """The settings in a run's folder.

    Raises:
        FileNotFoundError: no config.json there.
        ValueError: one that is not what a run writes; every problem at once.
    """
    return Settings.from_json(load_json(Path(path) / CONFIG), Path(path) / CONFIG)


def read_run(path: str | Path) -> tuple[Settings, Circuit, dict[str, Any]]:
    """The settings, the circuit and the report of a finished run; tables of pairs that its
    settings name are found from wherever this is called.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes.
    """
    path = Path(path)
    if missing := [name for name in (CONFIG, CIRCUIT, REPORT) if not (path / name).is_file()]:
        raise LookupError(f"{path} holds no finished run: {', '.join(missing)} missing")
    settings = load_settings(path).finding_tables(path)
    return settings, load_circuit(path / CIRCUIT), load_report(path / REPORT)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(content).encode()).hexdigest()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
