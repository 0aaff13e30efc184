"""The arrows between packages, and who may touch what (DESIGN, section 2)."""

import ast
import json
import pickle
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from circuitfind.registry import Later
from circuitfind.search import METHODS
from circuitfind.validate import CHECKS

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "desiderata": {"circuitfind", "tasks", "scripts", "torch", "transformer_lens", "transformers"},
    "circuitfind": {"tasks", "scripts"},
    "tasks": {"circuitfind", "scripts", "torch", "transformer_lens"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path): both for path in files if (both := imports_of(path) & FORBIDDEN[package])}
    assert not wrong


# Rooms from the ground up: each imports only from those before it.
ROOMS = (
    "problems",
    "legible",
    "lazy",
    "registry",
    "progress",
    "engines",
    "mediators",
    "records",
    "models",
    "answers",
    "donors",
    "task_files",
    "claims",
    "objective",
    "circuits",
    "search",
    "validate",
    "edges",
    "report",
    "runs",
    "sweeps",
    "bench",
    "testing",
    "notebook",
    "cli",
    "__init__",
    "__main__",
)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in (ROOT / "circuitfind").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)] = path
    return found


@cache
def arrows() -> set[tuple[str, str]]:
    """Pairs of a module and one that it imports, also inside functions."""
    known, found = modules(), set()
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package.removesuffix(".__init__").split(".")
                base = base[: len(base) - node.level + 1]
                target = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    full = f"{target}.{alias.name}"
                    found.add((name, full if full in known else target))
    return {(one, other) for one, other in found if other in known and one != other}


def room_of(module: str) -> int:
    return ROOMS.index(module.split(".")[1])


def test_every_room_has_its_place():
    assert {name.split(".")[1] for name in modules()} <= set(ROOMS)


def test_imports_point_down():
    up = [pair for pair in arrows() if room_of(pair[0]) < room_of(pair[1])]
    assert [pair for pair in up if pair[0] != "circuitfind.__init__"] == []


def test_no_modules_import_each_other_in_a_circle():
    left = {name: {other for one, other in arrows() if one == name} for name in modules()}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_importing_the_package_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, circuitfind; print({'torch', 'matplotlib', 'transformers'} & {*sys.modules})"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"


SLOW = ("torch", "transformers", "transformer_lens", "scipy.stats", "scipy.interpolate")
NOT_DRAWN = (*SLOW, "matplotlib")
PLAIN = (
    "--help",
    *(
        f"{command} --help"
        for command in (
            "discover validate compare review diagram show gallery paths lint tasks models doctor "
            "methods check checks try bench"
        ).split()
    ),
    "bench truth --help",
    "tasks",
    "methods",
    "checks",
    "lint ioi",
    "lint {pairs}",
    *(f"diagram {{run}} --kind {kind}" for kind in "dot mermaid tikz graphml json mib".split()),
)
DRAWN = ("diagram {run}", "diagram {run} --kind circuit", "show {run} --no-open", "gallery {run}")


# A process that has imported the command line, and what is not ours and not slow, and forks for
# each line, whose commands so find no slow library there but those that they load themselves.
SERVER = """
import json, os, sys
import numpy, rich.console, rich.table, typer
import circuitfind.cli.app as app
looked_for = sys.argv[1:]
print(*({*looked_for} & {*sys.modules}), flush=True)
for line in sys.stdin:
    commands, folder = json.loads(line)
    come, goes = os.pipe()
    if not os.fork():
        os.chdir(folder)
        os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT), 1), os.dup2(1, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")
        found = []
        for words in commands:
            sys.argv = ["circuitfind", *words]
            try:
                app.main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException as error:
                code = repr(error)
            found.append([code, [*({*looked_for} & {*sys.modules})]])
        os.write(goes, json.dumps(found).encode())
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)
    os.close(goes)
    print(open(come).read(), flush=True)
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded_by(tmp_path_factory):
    """The slow modules that are loaded after each of the commands, which run one after another on
    a copy of a stored run."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SERVER, *NOT_DRAWN]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as server:
        assert server.stdin and server.stdout
        given, made = server.stdin, server.stdout
        assert made.readline() == "\n"

        def loaded(*commands: str) -> list[set[str]]:
            folder = tmp_path_factory.mktemp("loaded")
            run = shutil.copytree(ROOT / "figures" / "runs" / "ioi", folder / "run")
            rows = "".join(f"b{n},s{n},{n},no\n" for n in range(8))
            (folder / "pairs.csv").write_text("base,source,expected,base_answer\n" + rows)
            names = {"run": run, "pairs": folder / "pairs.csv"}
            words = [command.format(**names).split() for command in commands]
            print(json.dumps([words, str(folder)]), file=given, flush=True)
            found = json.loads(made.readline())
            told = (folder / "log.txt").read_text()
            assert [code for code, _ in found if code not in (0, 1)] == [], told
            return [{*modules} for _, modules in found]

        yield loaded
        given.close()


def test_commands_without_a_model_or_a_drawing_load_no_slow_library(loaded_by):
    """All in one process: none of them does, if there is none after the last."""
    found = zip(PLAIN, loaded_by(*PLAIN), strict=True)
    assert {command: modules for command, modules in found if modules} == {}


@pytest.mark.parametrize("command", DRAWN)
def test_drawings_of_a_run_load_matplotlib_and_no_other_slow_library(loaded_by, command):
    assert loaded_by(command) == [{"matplotlib"}]


def test_a_command_with_a_model_is_seen_to_load_torch(loaded_by):
    assert "torch" in loaded_by("try planted --model planted --n 4")[0]


@pytest.mark.parametrize("registry", [METHODS, CHECKS], ids=["methods", "checks"])
def test_what_rows_of_a_table_import_later_is_there(registry):
    rows = [row for row in registry if registry.package(row.name) is None]
    assert all(isinstance(row.run, Later) for row in rows) and len(rows) > 10
    for row in rows:
        function = getattr(import_module(row.run.module), row.run.name)
        assert function.__doc__ and pickle.loads(pickle.dumps(row)) == row


# Forks for each package, so that none finds what another one has imported.
NAMES = """
import importlib, os, pkgutil, sys
import torch, transformers, transformer_lens
assert not [name for name in sys.modules if name.startswith("circuitfind")]
for package in sys.argv[1:]:
    if child := os.fork():
        print(package, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    here = importlib.import_module(package)
    for one in pkgutil.iter_modules(here.__path__, here.__name__ + "."):
        if not one.name.endswith("__main__"):
            importlib.import_module(one.name)
    modules = [name for name in here.__all__ if type(getattr(here, name)) is type(pkgutil)]
    assert here.__all__ and not modules, modules
    try:
        here.nonsense
    except AttributeError as error:
        assert "nonsense" in str(error)
    else:
        raise AssertionError("a name that is not there")
    sys.exit()
"""


def test_every_public_name_of_a_lazy_package_is_there():
    """Also after a submodule of the same name has been imported, such as `search.finish`."""
    rooms = ("", ".engines", ".search", ".validate", ".report")
    packages = [f"circuitfind{room}" for room in rooms]
    command = [sys.executable, "-c", NAMES, *packages]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert made.stdout.splitlines() == [f"{package} 0" for package in packages], made.stderr


def files_with(words: tuple[str, ...]) -> set[str]:
    """The rooms of the files of the package in which any of these words stands."""
    files = (ROOT / "circuitfind").rglob("*.py")
    return {
        path.relative_to(ROOT / "circuitfind").parts[0]
        for path in files
        if any(word in path.read_text() for word in words)
    }


def test_only_engines_import_transformer_lens_and_nnsight():
    files = (ROOT / "circuitfind").rglob("*.py")
    found = {
        path.parent.name for path in files if imports_of(path) & {"transformer_lens", "nnsight"}
    }
    assert found == {"engines"}


def test_one_file_imports_ray():
    files = (ROOT / "circuitfind").rglob("*.py")
    assert [path.name for path in files if "ray" in imports_of(path)] == ["on_ray.py"]


def test_only_engines_add_hooks():
    words = ("add_hook", ".hooks(", "run_with_hooks", "register_forward", "register_full_backward")
    assert files_with(words) == {"engines"}
