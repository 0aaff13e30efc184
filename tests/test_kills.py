"""Commands that are killed at any time: what is there is whole, and the next call ends as one that
was never killed, without a file or a process left behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from circuitfind.runs.folder import read_run

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
KILLS = 12  # of each command
QUICK = ["--n", "24", "--steps", "60", "--n-random", "10"]
CASE = ["--case", "one carrier", "--method", "random", "--method", "greedy"]


# A process that has imported everything and forks for each command, so that a random time falls
# into the work rather than into imports.
SERVER = """
import importlib, json, os, sys
import circuitfind.cli.app as app
for name in ("runs.run", "runs.revalidate", "runs.compare", "bench.report", "report.text.table"):
    importlib.import_module(f"circuitfind.{name}")
print("ready", flush=True)
for line in sys.stdin:
    words, folder, log = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0), os.dup2(handle, 1), os.dup2(handle, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        sys.argv = ["circuitfind", *words]
        code = 70
        try:
            app.main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Calls:
    """Calls of the command line, each in a process of its own."""

    def __init__(self):
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command, pipe = [sys.executable, "-c", SERVER], subprocess.PIPE
        self.log = Path()
        self.server: Any = subprocess.Popen(command, env=env, text=True, stdin=pipe, stdout=pipe)
        assert self.server.stdout.readline() == "ready\n"

    def begin(self, folder, *words):
        """The number of a process that runs a command."""
        self.log = folder / "log.txt"
        line = json.dumps([[*map(str, words)], str(folder), str(self.log)])
        print(line, file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def end(self):
        """The exit code of the command that was begun, and what it printed."""
        code = int(self.server.stdout.readline())
        return code, self.log.read_text()

    def done(self, folder, *words):
        """How long a command takes that nobody kills."""
        started = time.monotonic()
        self.begin(folder, *words)
        code, out = self.end()
        assert code in (0, 1), (words, out)
        return time.monotonic() - started

    def killed(self, folder, after, how, *words):
        """Whether a command that is killed after so many seconds was before its end."""
        process = self.begin(folder, *words)
        time.sleep(after)
        try:
            os.kill(process, how)
        except ProcessLookupError:
            pass
        code, out = self.end()
        assert "Traceback" not in out, out
        assert is_gone(process), "processes are left behind"
        return code not in (0, 1)


@pytest.fixture(scope="module")
def calls():
    made = Calls()
    yield made
    made.server.communicate()


def is_gone(group):
    """Whether no process of a group is left, within a few seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def files(folder):
    return {path.name for path in folder.iterdir()}


def whole(folder):
    """Every JSON of a folder can be read at any time."""
    for path in folder.glob("*.json"):
        json.loads(path.read_text())


def result(folder):
    """What a run found, without times and what it says of checkpoints."""
    report = json.loads((folder / "report.json").read_text())
    for key in ("cost", "created"):
        del report[key]
    report["notes"] = [note for note in report["notes"] if "checkpoint" not in note]
    rest = ((folder / name).read_bytes() for name in ("circuit.json", "examples.json", "grid.svg"))
    return report, *rest, (folder / "history.csv").read_text()


@pytest.fixture(scope="module")
def run(calls, tmp_path_factory):
    """A finished run, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    words = ["discover", "planted", "--model", "planted", *QUICK, "--out", "run"]
    seconds = calls.done(folder, *words)
    return folder / "run", seconds, words


def times(seconds, seed):
    """When to kill and how."""
    rng = random.Random(seed)
    return [(rng.uniform(0.05, 1.0) * seconds, SIGNALS[n % 3]) for n in range(KILLS)]


@pytest.mark.slow
def test_discover_is_resumed_to_the_same_result(calls, run, tmp_path):
    made, seconds, words = run
    counted = 0
    for number, (after, how) in enumerate(times(seconds, "discover")):
        out = tmp_path / f"run{number // 2}"  # each is killed twice
        again = [*words[:-1], str(out), *(["--resume"] if (out / "config.json").exists() else [])]
        counted += calls.killed(tmp_path, after, how, *again)
        if out.exists():
            whole(out)
    assert counted >= KILLS // 2
    for out in sorted(tmp_path.glob("run*")):
        resume = ["--resume"] if (out / "config.json").exists() else []
        calls.done(tmp_path, *words[:-1], str(out), *resume)
        assert result(out) == result(made)
        assert files(out) == files(made)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "paths"])
def test_what_works_on_a_run_is_done_again(calls, run, tmp_path, command):
    made = run[0]
    words = [command, "RUN", *(["--checks", "pairs,groups,curve"] if command == "validate" else [])]

    def told(folder):
        content = json.loads((folder / "circuit.json").read_text())
        if command == "validate":
            found = json.loads((folder / "validated.json").read_text())
            content["found"] = {key: value for key, value in found.items() if key != "cost"}
        return content

    calm = shutil.copytree(made, tmp_path / "calm")
    seconds = calls.done(tmp_path, words[0], calm, *words[2:])
    counted = 0
    for number, (after, how) in enumerate(times(seconds, command)):
        copy = shutil.copytree(made, tmp_path / f"run{number}")
        counted += calls.killed(tmp_path, after, how, words[0], copy, *words[2:])
        whole(copy)
        read_run(copy)
        calls.done(tmp_path, words[0], copy, *words[2:])
        assert told(copy) == told(calm)
        assert files(copy) == files(calm)
    assert counted >= KILLS // 2


@pytest.mark.slow
def test_compare_is_done_again(calls, run, tmp_path):
    made = run[0]
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name)
    words = ["compare", "one", "two", "--n", "24", "--shared", "--out"]
    seconds = calls.done(tmp_path, *words, "calm")

    def told(folder):
        content = json.loads((folder / "compare.json").read_text())
        rest = [(folder / name).read_bytes() for name in ("compare.svg", "overlap.svg")]
        for circuit in content["circuits"].values():
            circuit.pop("cost", None)
        return content | {"command": ""}, *rest, (folder / "shared.json").read_bytes()

    counted = 0
    for number, (after, how) in enumerate(times(seconds, "compare")):
        out = tmp_path / f"out{number}"
        counted += calls.killed(tmp_path, after, how, *words, out)
        if out.exists():
            whole(out)
        calls.done(tmp_path, *words, out)
        assert told(out) == told(tmp_path / "calm")
        assert files(out) == files(tmp_path / "calm")
    assert counted >= KILLS // 2


@pytest.mark.slow
def test_bench_goes_on_with_its_rows(calls, tmp_path):
    words = ["bench", "truth", *CASE, "--seeds", "3", "--out"]
    seconds = calls.done(tmp_path, *words, "calm", "--workers", "1")

    def told(folder):
        rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        for row in rows:
            del row["seconds"]
        return sorted(rows, key=lambda row: (row["case"], row["method"], row["seed"]))

    counted = 0
    for number, (after, how) in enumerate(times(seconds, "bench")):
        out, workers = tmp_path / f"out{number}", ["--workers", str(1 + number % 2)]
        counted += calls.killed(tmp_path, after, how, *words, out, *workers)
        if (out / "rows.jsonl").exists() and number % 4 == 3:  # as where a write is cut off
            with (out / "rows.jsonl").open("a") as file:
                file.write('{"case": "one car')
        calls.done(tmp_path, *words, out, *workers)
        assert told(out) == told(tmp_path / "calm")
        assert files(out) == files(tmp_path / "calm")
    assert counted >= KILLS // 2
