"""The run folder: what a run writes, whole or not at all, and what a killed run goes on from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from ..circuits.circuit import Circuit, load_circuit
from ..circuits.decisions import DECISIONS
from ..circuits.decisions_file import read_decisions
from ..circuits.storage import table_text, write_atomically, write_text
from ..records import SHOWN, load_json
from .code import code_digest
from .lock import LOCK, locked, require_free
from .reports import load_report
from .settings import Settings

CONFIG, REPORT, CIRCUIT, HISTORY = "config.json", "report.json", "circuit.json", "history.csv"
FIGURE, EXAMPLES, PAGE = "grid.svg", "examples.json", "report.html"
OLD_FIGURE = "circuit.svg"  # the grid of a run of version 0.1; today the diagram's file
COMPARISON, COMPARISON_PAGE = "compare.json", "compare.html"  # in a folder of its own
VALIDATED = "validated.json"
ASIDE = "decisions.before-{}.json"  # decisions about a circuit that another run replaced
CHECKPOINT, BEFORE = "checkpoint.pt", "checkpoint.previous.pt"
NOTHING_LEFT = "no usable checkpoint: the search starts from the beginning"


class RunFolder:
    """A folder that holds one run. Nothing is written before `begin`."""

    def __init__(self, path: str | Path, settings: Settings) -> None:
        self.path = Path(path)
        self.settings = settings

    def check(self, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that holds something else, or that another process writes into.

        Raises:
            ValueError: the folder is not empty and neither option allows for what is in it; it is
                locked.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; name a folder for the run")
        require_free(self.path)
        self._check_content(resume, overwrite)

    def _check_content(self, resume: bool, overwrite: bool) -> None:
        if overwrite or all(entry.name == LOCK for entry in self.path.iterdir()):
            return
        if not (self.path / CONFIG).is_file():
            raise ValueError(f"{self.path} is not empty and holds no run; name another folder")
        if not resume:
            raise ValueError(
                f"{self.path} holds a run already; go on with it by --resume, replace it by "
                "--overwrite, or name another folder with --out"
            )
        changed = load_settings(self.path).changes_to(self.settings)
        if changed:
            raise ValueError(
                f"{self.path} holds a run with other settings ({'; '.join(changed)}); give the "
                "same ones, or --overwrite"
            )

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end: the report is written last."""
        return (self.path / REPORT).is_file()

    @contextmanager
    def open(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Makes the folder and begins the run in it; no other process writes into it meanwhile.

        Raises:
            ValueError: another process began to, since `check`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            self._check_content(resume, overwrite)
            self.begin(resume)
            yield

    def begin(self, resume: bool) -> None:
        """Make the folder; without `resume`, remove what an earlier run left in it, but for what
        a person decided about its circuit: that is set aside. With it, config.json stays as it
        is: it may be of an older version, which the run's checkpoints are of, too."""
        if resume and (self.path / CONFIG).is_file():
            return
        if not resume and (self.path / CONFIG).is_file():
            if (self.path / DECISIONS).is_file():
                (self.path / DECISIONS).rename(self._unused_name())
            # The report first, so that the rest is no finished run. config.json is replaced, so
            # that the folder is known as that of a run all the time.
            for name in (
                REPORT,
                CHECKPOINT,
                BEFORE,
                VALIDATED,
                CIRCUIT,
                HISTORY,
                FIGURE,
                OLD_FIGURE,
                EXAMPLES,
                PAGE,
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
        kept = f"the run found the circuit that {DECISIONS} was about: it was kept"
        own, notes = "decisions" in circuit.provenance, []
        if (self.path / DECISIONS).exists():  # put back by this run before it was killed
            notes += [kept] if not own and _is_about(self.path / DECISIONS, circuit) else []
            own = True
        for file in reversed(aside):  # the latest ones first
            if not own and _is_about(file, circuit):
                file.rename(self.path / DECISIONS)
                notes.append(kept)
                own = True
            else:
                notes.append(f"decisions about a circuit that was here before are in {file.name}")
        return notes

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep a search's state, and the one before it in case this one is damaged."""
        import torch  # which reading a finished run does not need

        path = self.path / CHECKPOINT
        if path.is_file():
            path.replace(self.path / BEFORE)
        content = {**self._fingerprint(), "state": dict(state)}
        write_atomically(path, lambda file: torch.save(content, file))

    def load_checkpoint(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest state that can be read, and in words what could not."""
        notes = []
        for name in (CHECKPOINT, BEFORE):
            state, problem = self.read_checkpoint(name)
            if state is not None:
                return state, notes
            notes += [problem] if problem else []
        return None, [*notes, NOTHING_LEFT]

    def read_checkpoint(self, name: str) -> tuple[dict[str, Any] | None, str]:
        """The state in this file, or None and why it cannot be used, in words; "" where there is no
        such file.

        A checkpoint is of these settings and of this version of the code: another version could
        come to another result from it.
        """
        import torch

        path, mine = self.path / name, self._fingerprint()
        if not path.is_file():
            return None, ""
        try:
            content = torch.load(path, weights_only=True)
        except Exception as error:  # a damaged archive raises a dozen different types
            return None, f"{name} is damaged ({type(error).__name__}) and is left aside"
        content = content if isinstance(content, dict) else {}
        if not isinstance(content.get("state"), dict):
            why = "is damaged (it holds no state)"
        elif content.get("code") != mine["code"]:
            why = "is of another version of the code"
        elif content.get("fingerprint") != mine["fingerprint"]:
            why = "belongs to other settings"
        else:
            return content["state"], ""
        return None, f"{name} {why} and is left aside"

    def _fingerprint(self) -> dict[str, str]:
        """What a checkpoint belongs to: digests of the settings and of the code."""
        settings = {key: value for key, value in self.settings.as_json().items() if key != "format"}
        return {"fingerprint": _digest(settings), "code": code_digest()}

    def finish(
        self,
        circuit: Circuit,
        report: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]],
        page: str,
    ) -> dict[str, Any]:
        """Write the results, the report last of all, and remove the checkpoints. The report, as it
        is bound to its settings."""
        columns = list(dict.fromkeys(key for row in history for key in row))
        circuit.save(self.path / CIRCUIT)
        write_text(self.path / HISTORY, table_text(columns, history))
        write_text(self.path / PAGE, page)
        bound = {**report, "config": _digest(load_json(self.path / CONFIG))}
        write_text(self.path / REPORT, _json(bound))
        self.tidy()
        return bound

    def tidy(self) -> None:
        """Remove what only an unfinished run needs."""
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
        ValueError: files that are not what a run writes, or not all of one run.
    """
    path = Path(path)
    if missing := [name for name in (CONFIG, CIRCUIT, REPORT) if not (path / name).is_file()]:
        raise LookupError(f"{path} holds no finished run: {', '.join(missing)} missing")
    settings, circuit = load_settings(path), load_circuit(path / CIRCUIT)
    report = load_report(path / REPORT)
    if problems := list(_mixed(path, settings, circuit, report)):
        raise ValueError(f"{path} holds files of different runs: {'; '.join(problems)}")
    return settings.finding_tables(path), circuit, report


def require_same(path: str | Path, circuit: Circuit) -> None:
    """Refuse to go on with a run whose circuit is not this one any more.

    Raises:
        ValueError: another process replaced the run meanwhile.
    """
    file = Path(path) / CIRCUIT
    if not file.is_file() or load_circuit(file).digest != circuit.digest:
        raise ValueError(f"{path} was replaced by another run meanwhile; nothing was written")


def _mixed(
    path: Path, settings: Settings, circuit: Circuit, report: Mapping[str, Any]
) -> Iterator[str]:
    """What tells that files are not of the same run. Those of earlier versions say less."""
    made_by = circuit.provenance.get("config")
    if made_by is not None:
        before = Settings.from_json(made_by, f"{path / CIRCUIT}, provenance.config")
        if changed := before.changes_to(settings):
            yield f"{CIRCUIT} is of other settings than {CONFIG}: {'; '.join(changed[:SHOWN])}"
    digest = report.get("config")
    if digest is not None and digest != _digest(load_json(path / CONFIG)):
        yield f"{REPORT} is of another {CONFIG}"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(content).encode()).hexdigest()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
