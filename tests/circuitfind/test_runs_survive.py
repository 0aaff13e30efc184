"""Folders that two processes write into, halves of files, permissions, and checkpoints that load
but are not sound."""

import copy
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from circuitfind.circuits.storage import clear_halves, write_text
from circuitfind.progress import Progress
from circuitfind.runs.folder import BEFORE, CHECKPOINT, CONFIG, PAGE, REPORT, RunFolder
from circuitfind.runs.lock import LOCK, FolderInUse, locked
from circuitfind.runs.run import discover
from circuitfind.runs.settings import LIMITS, Settings
from circuitfind.search.states import state_problems

from .test_cli import call  # noqa: F401

ROOT = Path(__file__).parents[2]
# A method that learns for all of its steps, so that a run can be stopped in one of them.
LEARNS = {"model": "planted:parts=1", "method": "budget", "n": 24, "n_random": 5, "steps": 20}
SMALL = Settings(task="planted", **LEARNS)


class Interrupted(Exception):
    """What stops a run here."""


class Stop(Progress):
    """Stops a run after a step, and does something first."""

    def __init__(self, do=lambda: None, step=10):
        self.do, self.step = do, step

    def report(self, stage, done, total, row):
        if stage == "batches" and done == self.step:
            self.do()
            raise Interrupted


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        discover(SMALL, folder, shown=Stop())
    return folder


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A run that nothing stopped."""
    return discover(SMALL, tmp_path_factory.mktemp("calm") / "run")


@pytest.fixture
def finished(calm, tmp_path):
    """A copy of its folder."""
    return shutil.copytree(calm.path, tmp_path / "run")


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of the folder of a run that was stopped after ten steps."""
    return shutil.copytree(stopped_once, tmp_path / "run")


HOLDS = """
import sys, time
from circuitfind.runs.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes into a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_written_into_by_one_process(holder, tmp_path):
    says = rf"written into by another process \({holder.pid} on "
    with pytest.raises(FolderInUse, match=says), locked(tmp_path):
        pass
    for resume, overwrite in ((False, False), (False, True), (True, False)):
        with pytest.raises(ValueError, match=says):
            discover(SMALL, tmp_path, resume=resume, overwrite=overwrite)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()  # nobody took it away, and it holds nobody up
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_process_wait_for_each_other(tmp_path):
    inside, most = [], []

    def work():
        with locked(tmp_path, wait=30.0):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1] * 8 and list(tmp_path.iterdir()) == []


def test_the_second_run_into_one_folder_is_refused(tmp_path):
    """While the first one works; the second began when the folder was still empty."""
    late = RunFolder(tmp_path / "run", SMALL)
    late.check(resume=False, overwrite=False)
    refused = []

    def second():
        for start in (lambda: discover(SMALL, tmp_path / "run"), late.open(False, False).__enter__):
            with pytest.raises(ValueError) as raised:
                start()
            refused.append(str(raised.value))

    with pytest.raises(Interrupted):
        discover(SMALL, tmp_path / "run", shown=Stop(second))
    assert len(refused) == 2 and all("another process" in words for words in refused)
    # Where the first one is through, the second does not write over it.
    with pytest.raises(ValueError, match="holds a run already"), late.open(False, False):
        pass
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_run_that_is_replaced_keeps_nothing_of_its_validation(finished):
    from circuitfind.circuits.circuit import load_circuit
    from circuitfind.runs.folder import require_same

    circuit = load_circuit(finished / "circuit.json")
    require_same(finished, circuit)
    content = json.loads((finished / "circuit.json").read_text())
    content["sites"] = []
    (finished / "circuit.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="was replaced by another run meanwhile"):
        require_same(finished, circuit)


def test_halves_of_files_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    write_text(tmp_path / "it [1].json", "x")
    from circuitfind.circuits import storage

    begins = f".it [1].json.{storage._machine()}"
    dead = tmp_path / f"{begins}-{process.pid}-0123abcd.part"
    alive = tmp_path / f"{begins}-{os.getpid()}-0123abcd.part"
    elsewhere = tmp_path / f".it [1].json.0000abcd-{process.pid}-0123abcd.part"
    mine = tmp_path / ".it [1].json.notes.part"
    for path in (dead, alive, elsewhere, mine):
        path.write_text("half")
    write_text(tmp_path / "it [1].json", "y")
    assert not dead.exists() and alive.exists() and elsewhere.exists() and mine.exists()
    clear_halves(tmp_path)  # under a lock nobody else writes
    assert {path.name for path in tmp_path.iterdir()} == {"it [1].json", mine.name}
    name = "é" * 120  # more bytes than letters
    write_text(tmp_path / name, "z")
    assert (tmp_path / name).read_text() == "z"


@pytest.mark.skipif(os.name == "nt", reason="no permissions of this kind")
@pytest.mark.parametrize("mask", [0o077, pytest.param(0o022, marks=pytest.mark.slow), 0o002])
def test_files_have_the_permissions_that_the_user_asks_for(tmp_path, mask):
    before = os.umask(mask)
    try:
        discover(SMALL, tmp_path / "run")
    finally:
        os.umask(before)
    for path in (tmp_path / "run").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path


def test_a_run_without_its_page_is_finished_by_resume(finished):
    page = (finished / PAGE).read_text()
    (finished / PAGE).unlink()
    (finished / BEFORE).write_bytes(b"left behind")
    (finished / LOCK).write_text("1 nowhere\n")
    before = {path.name for path in finished.iterdir()} - {BEFORE, LOCK}
    report = (finished / REPORT).read_bytes()
    discover(SMALL, finished, resume=True)
    assert {path.name for path in finished.iterdir()} == before | {PAGE}
    assert (finished / PAGE).read_text() == page
    assert (finished / REPORT).read_bytes() == report


def test_the_report_is_written_after_all_others(tmp_path, monkeypatch):
    from circuitfind.runs import folder

    written, write = [], folder.write_text
    monkeypatch.setattr(
        folder, "write_text", lambda path, text: (written.append(path.name), write(path, text))
    )
    made = discover(SMALL, tmp_path / "run")
    assert written[-1] == REPORT and PAGE in written
    times = {path.name: path.stat().st_mtime_ns for path in made.path.iterdir()}
    assert max(times, key=lambda name: times[name]) == REPORT


def test_a_changed_task_file_is_another_run(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from tasks.planted import claim\n")
    own = Settings(task=f"{path}:claim", **LEARNS)
    with pytest.raises(Interrupted):
        discover(own, tmp_path / "run", shown=Stop())
    path.write_text("from tasks.planted import claim\n\n")
    with pytest.raises(ValueError, match="task_digest was"):
        discover(own, tmp_path / "run", resume=True)


def shorter(state):
    state["parameters"]["theta"] = state["parameters"]["theta"][:-1]


def not_a_number(state):
    state["parameters"]["theta"][0] = float("nan")


UNSOUND = {
    "shorter gates": (shorter, "theta has the shape"),
    "a step that is text": (lambda state: state.update(step="x"), "its step is 'x'"),
    "a step past the end": (lambda state: state.update(step=21), "its step is 21"),
    "an optimiser that is empty": (lambda s: s.update(optimiser={}), "its optimiser has no state"),
    "an optimiser that forgot": (
        lambda state: state["optimiser"].update(state={}),
        "its optimiser's state is not that of its parameters",
    ),
    "gates that are no numbers": (not_a_number, "theta has values that are no finite numbers"),
    "no memory": (lambda state: state.pop("memory"), "it lacks memory"),
    "no gates": (lambda state: state["parameters"].clear(), "it lacks theta"),
    "history of another kind": (lambda state: state.update(history=[3]), "its history is not"),
    "no cost": (lambda state: state.update(cost={}), "its cost is not"),
}


def test_each_way_to_be_unsound_is_named(stopped):
    state = torch.load(stopped / CHECKPOINT, weights_only=True)["state"]
    tensors = {key: copy.deepcopy(state[key]) for key in ("parameters", "memory")}
    optimiser = torch.optim.Adam([one.requires_grad_() for one in tensors["parameters"].values()])
    for group, kept in zip(optimiser.param_groups, state["optimiser"]["param_groups"], strict=True):
        group.update({key: value for key, value in kept.items() if key != "params"})

    def told(state):
        given = {"steps": LEARNS["steps"], "tensors": tensors, "optimiser": optimiser}
        return "; ".join(state_problems(state, **given, cost=tuple(state.get("cost", ())) or ["s"]))

    assert told(state) == ""
    for damage, says in UNSOUND.values():
        broken = copy.deepcopy(state)
        damage(broken)
        assert says in told(broken)


GONE_ON_FROM = ("shorter gates", "an optimiser that forgot")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(*case, id=name, marks=() if name in GONE_ON_FROM else pytest.mark.slow)
        for name, case in UNSOUND.items()
    ],
)
def test_an_unsound_checkpoint_is_named_and_the_one_before_it_taken(stopped, calm, damage, says):
    content = torch.load(stopped / CHECKPOINT, weights_only=True)
    content = copy.deepcopy(content)
    damage(content["state"])
    torch.save(content, stopped / CHECKPOINT)
    steps = []

    class Watch(Progress):
        def report(self, stage, done, total, row):
            steps.append(done) if stage == "batches" else None

    made = discover(SMALL, stopped, resume=True, shown=Watch())
    note = next(note for note in made.report["notes"] if CHECKPOINT in note)
    assert note.startswith("checkpoint.pt does not fit this search (") and says in note
    assert steps[0] == 9  # from the state before
    assert (made.circuit.sites, made.circuit.scores) == (calm.circuit.sites, calm.circuit.scores)


def test_a_run_that_goes_on_has_the_account_of_one_that_never_stopped(stopped, calm):
    made = discover(SMALL, stopped, resume=True)
    for name, number in calm.report["cost"]["stages"]["search"].items():
        if name != "seconds":
            assert made.report["cost"]["stages"]["search"][name] == number, name


def test_two_unsound_checkpoints_start_the_search_again(stopped, calm):
    for name in (CHECKPOINT, BEFORE):
        content = torch.load(stopped / name, weights_only=True)
        content["state"]["step"] = None
        torch.save(content, stopped / name)
    made = discover(SMALL, stopped, resume=True)
    notes = [note for note in made.report["notes"] if "checkpoint" in note]
    assert len(notes) == 3 and notes[-1].endswith("starts from the beginning")
    assert made.circuit.scores == calm.circuit.scores


def test_a_checkpoint_of_another_version_is_not_gone_on_from(stopped, monkeypatch):
    folder = RunFolder(stopped, SMALL.with_digests())
    assert folder.read_checkpoint(CHECKPOINT)[0] is not None
    monkeypatch.setattr("circuitfind.runs.folder.code_digest", lambda: "0" * 64)
    state, problem = folder.read_checkpoint(CHECKPOINT)
    assert state is None and "is of another version of the code" in problem


NUMBERS = [
    ("--margin", "nan", "--margin must be a number up to 1,000; got nan"),
    ("--margin", "inf", "--margin must be a number up to 1,000; got inf"),
    ("--learning-rate", "inf", "--learning-rate must be above 0 and up to 1000; got inf"),
    ("--learning-rate", "nan", "--learning-rate must be above 0 and up to 1000; got nan"),
    ("--learning-rate", "1e18", "--learning-rate must be above 0 and up to 1000; got 1e+18"),
    ("--seed", "-1", "--seed must be at least 0; got -1"),
    ("--seed", str(10**23), "--seed must be a number up to 4,294,967,295"),
    ("--steps", "0", "--steps must be at least 1; got 0"),
    ("--n-random", "0", "--n-random must be at least 1; got 0"),
    ("--size", "0", "--size must be at least 1; got 0"),
    ("--max-bad", "nan", "--max-bad is a share, from 0 to below 1; got nan"),
]


@pytest.mark.parametrize(("option", "value", "says"), NUMBERS)
def test_one_message_names_the_option(call, option, value, says):  # noqa: F811
    code, out, err = call("discover", "planted", "--model", "planted", f"{option}={value}")
    assert (code, out) == (2, "") and err.strip() == f"error: {err.strip()[7:]}"
    assert says in err and err.count("\n") == 1
    assert not Path("runs").exists()


def test_numbers_of_no_size_are_refused_in_a_file_as_well(tmp_path):
    for name, (_, most) in LIMITS.items():
        for value in (most + 1, 10**18, -1):
            if name == "margin":
                value = float(value)
            with pytest.raises(ValueError, match=rf"--{name.replace('_', '-')} must be"):
                Settings.from_json({"task": "t", name: value})
    with pytest.raises(ValueError, match="--n must be"):
        RunFolder(tmp_path, Settings(task="t", n=10**18))
    assert not (tmp_path / CONFIG).exists()
