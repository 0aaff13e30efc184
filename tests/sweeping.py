"""Sweeps for tests: their files, and a package that brings methods which go wrong."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SMALL = {"task": "planted", "model": "planted:parts=1", "n": 24, "n_random": 5}

# Two methods of a package that is not ours. `dies` ends its process as often as its folder of
# marks, which the environment names, allows for; `breaks` has a fault.
METHODS = """
import os
from pathlib import Path
from circuitfind.search import METHODS, MethodSpec

def run_dies(problem, config, progress):
    marks = Path(os.environ["DEATHS"])
    if len(list(marks.iterdir())) < int(marks.name):
        (marks / str(os.getpid())).touch()
        os._exit(9)
    return METHODS.named("attribution").run(problem, config, progress)

def run_breaks(problem, config, progress):
    raise TypeError("a fault of the method's")

dies = MethodSpec(name="dies", run=run_dies)
breaks = MethodSpec(name="breaks", run=run_breaks)
"""
ENTRIES = "[circuitfind.methods]\ndies = mortal:dies\nbreaks = mortal:breaks\n"


def bring_methods(folder: Path) -> str:
    """Put the package into a folder, and return that as it belongs on PYTHONPATH."""
    about = folder / "mortal-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (folder / "mortal.py").write_text(METHODS)
    return str(folder)


def deaths(folder: Path, most: int) -> dict[str, str]:
    """The environment in which `dies` ends so many processes, and then works."""
    (folder / str(most)).mkdir(parents=True)
    return {"DEATHS": str(folder / str(most))}


def toml(**settings: Any) -> str:
    """The text of a sweep's file."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else repr(value)


def begin_sweep(
    *words: str | Path, path: tuple[str, ...] = (), **environment: str
) -> "subprocess.Popen[str]":
    """A sweep in a process of its own."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *path])
    command = [sys.executable, "-m", "circuitfind", "sweep", *map(str, words)]
    return subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def sweep(
    *words: str | Path, path: tuple[str, ...] = (), **environment: str
) -> tuple[int, str, str]:
    """The exit code of a sweep, and what it printed."""
    process = begin_sweep(*words, path=path, **environment)
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def by_point(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of a sweep.json by the name of their point."""
    return {row["point"]: row for row in table["rows"]}
