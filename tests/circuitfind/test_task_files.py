"""A user's own Python file: what it may import, and what is said when it fails."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import typer
from rich.console import Console

from circuitfind.claims import load_claim
from circuitfind.cli import lists
from desiderata import Claim, pool_of

TASK = """
from desiderata import CausalModel, choice
{imports}
def answer(a): return a
claim = CausalModel(inputs={{"a": choice({names})}}, mechanisms=[answer], prompt="{{a}} and",
                    completion=" {{answer}}").carries("answer")
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files under a folder that is not the working directory."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def task(imports="", names='["x", "y"]'):
    return TASK.format(imports=imports, names=names)


def items(path):
    claim = load_claim(f"{path}:claim")
    assert isinstance(claim, Claim)
    pool = pool_of(claim.model.inputs["a"])
    assert pool is not None
    return pool.items


def state():
    return list(sys.path), list(sys.meta_path), set(sys.modules)


def test_a_task_file_imports_what_stands_beside_it(write):
    write("words.py", 'NAMES = ["Ann", "Bob"]')
    write("pack/__init__.py", "")
    write("pack/more.py", 'from words import NAMES\nMORE = [*NAMES, "Cat"]')
    path = write("mine.py", task("from pack.more import MORE", "MORE"))
    before = state()
    assert items(path) == ("Ann", "Bob", "Cat")
    after = state()
    assert after[:2] == before[:2]
    assert not {name for name in after[2] - before[2] if not name.startswith("_task_")}


def test_each_of_two_task_files_gets_its_own_neighbour(write):
    for folder in ("one", "two"):
        write(f"{folder}/words.py", f'NAMES = ["{folder}", "b"]')
    paths = [
        write(f"{folder}/mine.py", task("import words", "words.NAMES")) for folder in ("one", "two")
    ]
    assert [items(path)[0] for path in (*paths, paths[0])] == ["one", "two", "one"]
    write("one/words.py", 'NAMES = ["another", "b"]')
    assert items(paths[0])[0] == "another"


def test_a_neighbour_goes_before_the_working_directory_and_what_was_imported_from_there(
    write, monkeypatch
):
    write("elsewhere/words.py", 'NAMES = ["elsewhere", "b"]')
    write("words.py", 'NAMES = ["beside", "b"]')
    path = write("mine.py", task("import words", "words.NAMES"))
    monkeypatch.syspath_prepend(".")
    monkeypatch.delitem(sys.modules, "words", raising=False)
    import words  # type: ignore[import-not-found]

    assert words.NAMES[0] == "elsewhere"
    assert items(path)[0] == "beside"
    assert sys.modules["words"] is words


@pytest.mark.parametrize("name", ["random", "json", "numpy", "desiderata", "tasks", "rich"])
def test_no_neighbour_hides_a_module_of_python_of_ours_or_of_a_package(write, name):
    write(f"{name}.py", "raise RuntimeError('hidden')")
    path = write("mine.py", task(f"import {name}, tasks.words, sys\nfile = {name}.__file__"))
    before = sys.modules.get(name)
    items(path)
    assert before is None or sys.modules[name] is before


def test_neighbours_of_a_file_that_fails_are_forgotten_too(write):
    write("words.py", "NAMES = 1")
    path = write("mine.py", task("import words\nraise OSError('disk')"))
    before = state()
    with pytest.raises(ValueError, match="OSError: disk"):
        load_claim(str(path))
    assert state() == before


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "x = 1\nTABLE = {}\n\nfirst = TABLE['Spain']\n",
            "KeyError: 'Spain' (mine.py, line 4: first = TABLE['Spain'])",
        ),
        (
            "def f():\n    return {}['Spain']\n\nf()\n",
            "KeyError: 'Spain' (mine.py, line 2: return {}['Spain'])",
        ),
        ("import nothing_like_it\n", "No module named 'nothing_like_it' (mine.py, line 1: import"),
        ("x = 1\nif x\n    y\n", "SyntaxError: expected ':' (mine.py, line 2: if x)"),
        ("x = 1\n  y = 2\n", "IndentationError: unexpected indent (mine.py, line 2: y = 2)"),
        ("import sys\nsys.exit(3)\n", "it ends Python (sys.exit) while it loads (mine.py, line 2"),
        ("import broken\n", "(broken.py, line 2: 1 = 2)"),
        ("import failing\n", "ZeroDivisionError: division by zero (failing.py, line 1: 1 / 0)"),
        (
            "from desiderata import CausalModel, choice\n\n"
            "m = CausalModel({'x': choice('ab')}, [], 'say {y}', answer='x')\n",
            "reads unknown variable(s) y; known: x (mine.py, line 3: m = CausalModel(",
        ),
    ],
)
def test_a_file_that_fails_says_its_line(write, text, says):
    write("broken.py", "x = 1\n1 = 2\n")
    write("failing.py", "1 / 0\n")
    path = write("mine.py", text)
    before = state()
    with pytest.raises(ValueError) as caught:
        load_claim(f"{path}:claim")
    assert str(caught.value).startswith(f"{path} fails: ")
    assert says in str(caught.value)
    assert state() == before


def test_a_name_that_is_not_there_lists_the_claims(write):
    path = write("mine.py", task())
    with pytest.raises(LookupError, match="has no 'other'; the claims in it are: claim"):
        load_claim(f"{path}:other")
    with pytest.raises(ValueError, match=r"is a type, not a claim|is a ABCMeta, not a claim"):
        load_claim(f"{path}:CausalModel")


def test_lint_loads_no_torch(write):
    path = write("mine.py", task(names="list('abcdefghijkl')"))
    program = (
        "import sys\nfrom circuitfind.cli.app import main\n"
        f"sys.argv = ['circuitfind', 'lint', {str(path)!r}, '--n', '6']\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert made.stdout.endswith("False\n"), made.stderr
    assert "carries answer at last" in made.stdout


def test_lint_prints_a_table_on_a_terminal_and_a_line_for_each_problem_elsewhere(
    write, monkeypatch, capsys
):
    path = str(
        write("mine.py", task(names="list('abcdefghijkl')").replace('answer")', 'answer", at="b")'))
    )
    with pytest.raises(typer.Exit):
        lists.lint(path, n=192)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: follows answer and crossed answer: the prompts have no span")
    assert lines[-1] == "carries answer at b: 2 problem(s)" and len(lines) == 3
    monkeypatch.setattr(lists, "console", partial(Console, force_terminal=True, width=80))
    with pytest.raises(typer.Exit):
        lists.lint(path, n=192)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("level", "desideratum", "problem", "no span 'b'", "│"))
