"""Run folders of strangers are data: what they name is not run, imported, opened or obeyed, and
what they write neither controls a terminal nor passes for a page or a formula."""

import csv
import hashlib
import io
import json
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from circuitfind.circuits.storage import table_text
from circuitfind.cli.printing import LegibleConsole, print_json
from circuitfind.legible import cell, legible, legible_json
from circuitfind.report.text.table import print_report
from circuitfind.runs import compare, revalidate
from circuitfind.runs.consent import Named, is_folder, permitted
from circuitfind.runs.folder import CIRCUIT, CONFIG, PAGE, REPORT, read_run
from circuitfind.runs.pictures import page_of, write_page
from circuitfind.runs.settings import Settings

from ..pages import HOSTILE, a_page
from .test_cli import call  # noqa: F401

TASK = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
from tasks.planted import claim
"""


@pytest.fixture
def run(call, planted_run, tmp_path):  # noqa: F811
    return shutil.copytree(planted_run, tmp_path / "run")


def forged(run, **changes):
    """A run folder whose files agree with each other about these settings."""
    config = json.loads((run / CONFIG).read_text()) | changes
    (run / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    circuit = json.loads((run / CIRCUIT).read_text())
    circuit["provenance"]["config"] = config
    (run / CIRCUIT).write_text(json.dumps(circuit))
    report = json.loads((run / REPORT).read_text())
    report["config"] = hashlib.sha256((run / CONFIG).read_bytes()).hexdigest()
    (run / REPORT).write_text(json.dumps(report))
    read_run(run)
    return run


@pytest.fixture
def own(run, tmp_path):
    """A run of a Python file, which leaves a mark where it is run."""
    path, mark = tmp_path / "mine.py", tmp_path / "RAN"
    path.write_text(TASK.format(mark=str(mark)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return forged(run, task=f"{path}:claim", task_digest=digest), path, mark


OPENING = [
    ("validate", "run", "--checks", "pairs"),
    ("check", "run"),
    ("paths", "run"),
    ("compare", "run", "run"),
    ("review", "run", "--search"),
]


@pytest.mark.parametrize("words", OPENING, ids=lambda words: words[0])
def test_a_python_file_that_a_run_names_is_not_run(call, own, words):  # noqa: F811
    run, path, mark = own
    if words[0] == "review":
        member = json.loads((run / CIRCUIT).read_text())["sites"][0]["site"]
        assert call("review", "run", "--pin", member, "--by", "Ada", "--reason", "x")[0] == 0
    if words[0] == "compare":
        shutil.copytree(run, "again")
        words = ("compare", "run", "again")
    code, _, err = call(*words)
    assert code == 2 and "a Python file that would be run" in err
    command = err[err.index("If you trust them: ") :].partition(": ")[2].strip()
    assert command.startswith(f"circuitfind {words[0]} run") and "\n" not in command
    assert command.endswith(f"--task {path}:claim")
    assert not mark.exists()


def test_looking_takes_no_consent_and_runs_nothing_either(call, own):  # noqa: F811
    _, _, mark = own
    for looking in (("show", "run", "--no-open"), ("diagram", "run"), ("gallery", "run")):
        assert call(*looking)[0] == 0
    assert not mark.exists()


def test_the_file_is_run_where_the_user_names_it(call, own):  # noqa: F811
    _, path, mark = own
    code, out, err = call("validate", "run", "--checks", "pairs", "--task", f"{path}:claim")
    assert code == 0, out + err
    assert mark.exists()


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("{path}:other", "the run is about the claim 'claim', not 'other'"),
        ("planted", "not planted"),
        ("{changed}:claim", "is not the file of the run, or has changed since"),
        ("gone.py:claim", "no file gone.py"),
        ("{path}", None),
    ],
)
def test_another_file_than_the_runs_is_refused(call, own, tmp_path, task, says):  # noqa: F811
    _, path, mark = own
    changed = tmp_path / "changed.py"
    changed.write_text(path.read_text() + "# changed\n")
    named = task.format(path=path, changed=changed)
    code, out, err = call("validate", "run", "--checks", "pairs", "--task", named)
    if says is None:
        assert code == 0 and mark.exists(), out + err
        return
    assert code == 2 and says in err and not mark.exists()


def test_code_device_and_folders_of_a_run_are_not_followed(run, tmp_path, monkeypatch):
    forged(run, trust_remote_code=True, device="cuda:7", device_map="auto")
    asked = []

    def load_model(name, **options):
        asked.append((name, options))
        raise LookupError("enough")

    monkeypatch.setattr("circuitfind.models.loading.load_model", load_model)
    for named in (None, Named(device="cpu", trust_remote_code=True)):
        with pytest.raises(LookupError, match="enough"):
            revalidate.revalidate(run, named=named)
        with pytest.raises(LookupError, match="enough"):
            revalidate.add_paths(run, named=named)
        other = shutil.copytree(run, tmp_path / f"other{len(asked)}")
        with pytest.raises(LookupError, match="enough"):
            compare.open_sides([run, other], named=named)
    got = [(o["device"], o["device_map"], o["trust_remote_code"]) for _, o in asked]
    assert got == [(None, None, False)] * 3 + [("cpu", None, True)] * 3


def test_the_folder_of_a_model_is_named_by_the_user(call, run, tmp_path):  # noqa: F811
    from circuitfind.models.catalogue import native_folder

    folder = shutil.copytree(native_folder("tracr-half"), tmp_path / "model")
    done = call(
        "discover",
        "suffices",
        "--model",
        folder,
        "--n-random",
        "5",
        "--method",
        "greedy",
        "--out",
        "native",
    )
    assert done[0] in (0, 1), done
    code, _, err = call("validate", "native", "--checks", "pairs")
    assert code == 2 and f"--model {folder}" in err
    code, _, err = call("validate", "native", "--checks", "pairs,groups", "--model", folder)
    assert code in (0, 1), err
    assert Path("native/validated.json").is_file()  # it is the run's own model


@pytest.mark.parametrize(
    ("name", "folder"),
    [("gpt2", False), ("org/name", False), ("binder", False), ("planted:parts=1", False),
     ("./here", True), ("/etc", True), ("~/models/x", True), ("..", True), ("C:\\models", True),
     ("a" * 5000, True), ("a\0b", True)],
)  # fmt: skip
def test_what_a_folder_is(name, folder):
    assert is_folder(name) is folder


def test_a_table_is_opened_where_its_digest_is_the_runs(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("base,source,expected,base_answer\n")
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    made = Settings(task=str(table), task_digest=digest)
    assert permitted(made, "run") == made
    for wrong, says in (
        (replace(made, task_digest=None), "does not say by a digest"),
        (replace(made, task_digest="0" * 64), "has changed since"),
        (replace(made, task=str(tmp_path / "gone.csv")), "is not here"),
        (replace(made, held_out=str(table)), "--held-out"),
    ):
        with pytest.raises(ValueError, match=says) as raised:
            permitted(wrong, "run", Named(command=("check", "run")))
        assert "circuitfind check run --" in str(raised.value)
    changed = replace(made, task_digest="0" * 64)
    assert permitted(changed, "run", Named(task=str(table))).task == str(table)
    with pytest.raises(ValueError, match="the run holds out no table"):
        permitted(made, "run", Named(held_out=str(table)))


def test_files_of_different_runs_are_refused(run, tmp_path):
    config = json.loads((run / CONFIG).read_text())
    (run / CONFIG).write_text(json.dumps(config | {"seed": 5}))
    with pytest.raises(ValueError, match=r"files of different runs: .*seed was 0 and is 5"):
        read_run(run)
    circuit = json.loads((run / CIRCUIT).read_text())
    del circuit["provenance"]["config"]
    (run / CIRCUIT).write_text(json.dumps(circuit))
    with pytest.raises(ValueError, match=r"report\.json is of another config\.json"):
        read_run(run)


def test_an_installed_task_that_changed_is_told(call, run, monkeypatch):  # noqa: F811
    forged(run, task_digest="0" * 64)
    code, out, err = call("validate", "run", "--checks", "pairs", "--json")
    assert code == 0, err
    assert any("has changed since the run" in note for note in json.loads(out)["report"]["notes"])
    assert call("validate", "run", "--checks", "pairs", "--task", "planted")[0] == 0


def test_a_page_that_is_not_ours_is_made_anew(run):
    ours = (run / PAGE).read_text()
    for strange in ("<script>alert(1)</script>", ours + " "):
        (run / PAGE).write_text(strange)
        assert page_of(run).read_text() == ours
    (run / PAGE).unlink()
    target = run.parent / "elsewhere.html"
    target.write_text("mine")
    (run / PAGE).symlink_to(target)
    assert not page_of(run).is_symlink() and target.read_text() == "mine"


EVIL = "\x1b]0;title\x07 \x1b[2J \x9b31m a\u202eb\u2066c\u200fd\ud800e\rf\u2028g"


def raw(text):
    """What is left of letters that control a terminal or the direction of text."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in kinds} - set("\n\t\u200c\u200d")


def test_no_letter_that_controls_others_is_left():
    assert raw(EVIL) and not raw(legible(EVIL)) and len(legible(EVIL)) == len(EVIL)
    assert legible("a\x1b[0m\x7f\n\té 名 👩\u200d🔬\xa0") == "a␛[0m␡\n\té 名 👩\u200d🔬\xa0"
    told = legible_json(json.dumps({"x": EVIL + "\U000e0001"}, ensure_ascii=False))
    assert not raw(told) and json.loads(told) == {"x": EVIL + "\U000e0001"}


@pytest.mark.parametrize("command", ["validate", "show", "diagram", "review", "check"])
def test_text_of_a_run_reaches_no_terminal_raw(call, run, command):  # noqa: F811
    report = json.loads((run / REPORT).read_text())
    report["message"] += EVIL.replace("\ud800", "")
    report["notes"] += [EVIL.replace("\ud800", "")]
    (run / REPORT).write_text(json.dumps(report))
    circuit = json.loads((run / CIRCUIT).read_text())
    circuit["claim"] += EVIL.replace("\ud800", "")
    circuit["provenance"]["x" + EVIL.replace("\ud800", "")] = EVIL.replace("\ud800", "")
    (run / CIRCUIT).write_text(json.dumps(circuit))
    words = {
        "validate": ("--checks", "pairs"),
        "show": ("--no-open",),
        "diagram": ("--kind", "dot"),
        "review": ("--veto", "m0@last\x1b[2J\x9b", "--by", "A", "--reason", "x"),
    }.get(command, ())
    _, out, err = call(command, "run", *words)
    assert out + err and not raw(out + err)
    if command == "validate":
        _, out, err = call("validate", "run", "--checks", "pairs", "--json")
        assert not raw(out)
    write_page(run)
    assert not raw((run / PAGE).read_text())


def test_a_report_reaches_no_console_of_anybodys_raw(run):
    _, circuit, report = read_run(run)
    told = circuit.as_json() | {"claim": EVIL}
    out = io.StringIO()
    print_report(Console(file=out), told, report | {"message": EVIL, "problems": [EVIL]})
    assert "title" in out.getvalue() and not raw(out.getvalue())


def test_what_a_command_prints_is_styled_and_legible(capsys):
    out = io.StringIO()
    console = LegibleConsole(file=out, force_terminal=True, color_system="standard")
    console.print(f"[red]{EVIL}[/]")
    assert "\x1b[31m" in out.getvalue()  # rich's own
    assert "]0;title\x07" not in out.getvalue() and "\u202e" not in out.getvalue()
    print_json({"x": EVIL})
    assert not raw(capsys.readouterr().out)


def test_pages_show_no_letter_that_controls_others():
    from circuitfind.report.page.page import render_page

    texts = [*HOSTILE, EVIL.replace("\ud800", "")]
    circuit, report, examples = a_page(*texts)
    page = render_page(circuit, report, examples=examples, command=EVIL)
    assert not raw(page)


def test_no_cell_of_a_table_is_a_formula():
    rows = [{"=HYPERLINK(1)": "@x", "b": -0.5}, {"=HYPERLINK(1)": "+1", "b": "-2"}]
    read = list(csv.reader(io.StringIO(table_text(list(rows[0]), rows))))
    assert read == [["'=HYPERLINK(1)", "b"], ["'@x", "-0.5"], ["'+1", "'-2"]]
    assert (cell("\t=1"), cell("a=1"), cell(None), cell(-1)) == ("'\t=1", "a=1", None, -1)
