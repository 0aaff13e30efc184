"""The command line as a user runs it, on the embedded model."""

import json
import os
import re
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest

from circuitfind.cli import app as cli
from circuitfind.runs import pairs as evidence
from circuitfind.runs.folder import CHECKPOINT
from circuitfind.search import METHODS

README = Path(__file__).parents[2] / "README.md"
QUICK = ["--model", "binder", "--n", "48", "--steps", "60", "--n-random", "20"]

FALSE = """
from desiderata import CausalModel, choice, distinct, fill, item_of

def position(letters, query):
    return letters.index(query)

def answer(digits, position):
    return digits[position]

def prompt(letters, digits, query):
    text = "{a} = {d} , {b} = {e} ; {query}"
    return fill(text, a=letters[0], b=letters[1], d=digits[0], e=digits[1], query=query)

binding = CausalModel(
    inputs={"letters": distinct("bcefgjklnop", 2), "digits": distinct("0123456789", 2),
            "query": item_of("letters")},
    mechanisms=[position, answer], prompt=prompt, completion=" {answer}",
)
# At the first value nothing of the query can have arrived yet.
early = binding.carries("query", at="d", keeps=[], crossed=False)
# What is carried at the last token is the answer, not the values independently of the query.
confused = binding.carries("digits", at="last")
nowhere = binding.carries("answer", at="sofa")
words = CausalModel(inputs=dict(binding.inputs), mechanisms=[position, answer], prompt=prompt,
                    completion="{answer}").carries("answer")
not_a_claim = 3
"""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command line in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["circuitfind", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture(scope="session")
def own_task(tmp_path_factory):
    """The task of one's own that the README shows."""
    blocks = re.findall(r"```python\n(# my_task\.py.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    path = tmp_path_factory.mktemp("own") / "my_task.py"
    path.write_text(blocks[0])
    return path


PLANTED = ["planted", "--model", "planted", "--n", "32", "--n-random", "20", "--steps", "40"]


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """The folder of `circuitfind discover planted`, made once."""
    folder = tmp_path_factory.mktemp("called")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["circuitfind", "discover", *PLANTED, "--out", "run"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 0
    return folder / "run"


@pytest.fixture
def run(called, tmp_path):
    """A copy of that run as `run` in this test's folder."""
    return shutil.copytree(called, tmp_path / "run")


@pytest.fixture
def false_task(tmp_path):
    path = tmp_path / "false.py"
    path.write_text(FALSE)
    return path


def test_a_task_of_ones_own_from_claim_to_run_folder(call, own_task, tmp_path):
    code, out, _ = call("discover", f"{own_task}:claim", *QUICK, "--out", "run")
    assert code == 0, out
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        "circuit.json",
        "report.json",
        "history.csv",
        "grid.svg",
        "config.json",
        "examples.json",
        "report.html",
    }
    circuit = json.loads((folder / "circuit.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    assert circuit["format"] == "circuitfind/2"
    assert set(circuit) == {
        "format",
        "model",
        "task",
        "claim",
        "method",
        "seed",
        "sites",
        "provenance",
        "space",
        "donor",
    }
    assert circuit["donor"] == "source"
    assert (circuit["space"]["positions"], circuit["space"]["selectors"]) == (["last"], [])
    assert all(set(row) == {"site", "score"} for row in circuit["sites"])
    assert report["success"] is True
    assert report["size"]["sites"] == len(circuit["sites"]) <= report["size"]["of"] // 4
    assert report["size"]["of"] == 36
    for row in report["desiderata"]:
        assert set(row) >= {
            "name",
            "part",
            "sense",
            "n",
            "null",
            "ceiling",
            "satisfaction",
            "low",
            "high",
            "at_least",
            "holds",
        }
        assert row["low"] <= row["satisfaction"] <= row["high"]
    for row in report["checks"]:
        assert set(row) >= {
            "name",
            "verdict",
            "value",
            "low",
            "high",
            "n",
            "ablation",
            "split",
            "says",
        }
    cost = report["cost"]
    assert cost["flops"] > 0 and cost["seconds"] > 0
    search = cost["stages"]["search"]
    assert search["plain_flops"] > 5 * search["flops"]
    sizes = [point["size"] for point in report["frontier"]]
    assert sizes == sorted(sizes) and len(circuit["sites"]) in sizes
    for words in ("follows answer", "needs", "random circuits", "cost:"):
        assert words in out

    # A second call does not overwrite; --resume of a finished run shows it again.
    code, _, err = call("discover", f"{own_task}:claim", *QUICK, "--out", "run")
    assert code == 2 and "--overwrite" in err
    before = (folder / "report.json").read_bytes()
    code, out, _ = call(
        "discover", f"{own_task}:claim", *QUICK, "--out", "run", "--resume", "--json"
    )
    assert code == 0
    assert json.loads(out)["report"] == report
    assert (folder / "report.json").read_bytes() == before

    # Validated on other pairs, and drawn again; its file is run where it is named.
    assert call("validate", "run", "--seed", "5")[0] == 2
    named = ["--task", f"{own_task}:claim"]
    code, out, _ = call("validate", "run", *named, "--seed", "5", "--n-random", "5", "--json")
    assert code in (0, 1)
    assert "seed 5" in json.loads(out)["report"]["message"]
    assert (folder / "report.json").read_bytes() == before
    for name in ("figure.pdf", "figure.png"):
        assert call("diagram", "run", "--out", name)[0] == 0
        assert (tmp_path / name).stat().st_size > 5000
    code, _, err = call("diagram", "run", "--out", "figure.docx")
    assert code == 2 and "figure.docx" in err

    # The page is as the run left it until a check by the run's own settings; `show` makes it anew.
    page, examples = folder / "report.html", folder / "examples.json"
    old = page.read_text()
    assert call("show", "run", "--no-open")[:2] == (0, f"{page}\n")
    examples.unlink()
    page.unlink()
    assert call("show", "run", "--no-open")[0] == 0
    assert "holds no example pairs" in page.read_text()
    assert call("validate", "run", *named, "--checks", "satisfaction")[0] == 0
    assert "holds no example pairs" not in page.read_text()
    assert page.read_text().count("finding") == old.count("finding")  # other checks are still told
    assert (folder / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "desideratum"), [("early", "'follows query' reaches 0."), ("confused", "'")]
)
def test_a_false_claim_ends_with_1_and_names_what_cannot_hold(call, false_task, name, desideratum):
    few = [*QUICK, "--n", "24", "--steps", "10"]
    code, out, _ = call("discover", f"{false_task}:{name}", *few, "--out", "run", "--json")
    assert code == 1
    report = json.loads(out)["report"]
    assert report["success"] is False
    assert "no circuit of the" in report["message"]
    assert desideratum in report["message"]
    assert not all(row["holds"] for row in report["desiderata"])


GOOD_ROW = "b = 1 , c = 2 ; b,b = 3 , c = 2 ; b, 3, 1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["no task 'nothing'", "variable_binding", "path/to/task.py:claim"]),
        (["variable_binding", "--model", "none/such"], ["no model 'none/such'", "binder"]),
        (["variable_binding", "--model", "./nowhere"], ["no model folder ./nowhere"]),
        (["variable_binding", "--method", "magic"], ["no method 'magic'", "constrained"]),
        (["variable_binding", "--at", "sofa"], ["no span 'sofa'", "query"]),
        (["variable_binding", "--n", "1"], ["n must be at least 4; got 1"]),
        (["variable_binding", "--steps", "0"], ["steps must be at least 1; got 0"]),
        (["variable_binding", "--dtype", "int4"], ["dtype must be float32", "int4"]),
        (["missing.py:claim"], ["no file missing.py"]),
        (["false.py:nothing"], ["has no 'nothing'", "early, confused"]),
        (["false.py:not_a_claim"], ["is a int, not a claim"]),
        (["false.py:words"], ["merge with the end of their prompt", "and 6 more"]),
        (["false.py:nowhere"], ["no span 'sofa'", "a, d, b, e, query"]),
        (["broken.py:claim"], ["broken.py fails: NameError"]),
        (["columns.csv"], ["missing column(s) expected, base_answer"]),
        (["cells.csv"], ["line 2: source must be text", "line 3: expected must be text"]),
        (["latin.csv"], ["expected UTF-8", "line 2"]),
        (["strange.csv"], ["does not know the word(s)", "'zebra'", "'xylophone'"]),
        (["gone.csv"], ["no file gone.csv"]),
    ],
)
def test_bad_input_ends_with_2_one_message_and_nothing_written(
    call, false_task, tmp_path, arguments, words
):
    header = "base,source,expected,base_answer\n"
    (tmp_path / "broken.py").write_text("claim = undefined\n")
    (tmp_path / "columns.csv").write_text("base,source\nb = 1 ; b,b = 2 ; b\n")
    (tmp_path / "cells.csv").write_text(header + "b = 1 ; b,, 3, 1\nb = 1 ; b,b = 3 ; b,, 1\n")
    (tmp_path / "latin.csv").write_bytes(header.encode() + b"caf\x81,x,y,z\n")
    rows = [f"zebra = {n} ; zebra,xylophone = {n} ; zebra, {n + 1}, {n}" for n in range(9)]
    (tmp_path / "strange.csv").write_text(header + "\n".join(rows) + "\n")
    before = set(tmp_path.iterdir())
    code, out, err = call("discover", *arguments, "--out", "run")
    assert code == 2
    assert "Traceback" not in out + err
    assert err.count("error:") <= 1
    for word in words:
        assert word in err.replace("\n", " "), err
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before


def test_typing_errors_end_with_2(call):
    assert call("discover")[0] == 2
    assert call("discover", "variable_binding", "--n", "many")[0] == 2
    assert call("frobnicate")[0] == 2
    code, _, err = call("validate", "nowhere")
    assert code == 2 and "holds no finished run" in err


def test_pairs_from_a_table_run(call, tmp_path):
    lines = ["base,source,expected,base_answer,source_answer"]
    for n in range(120):
        letters = "bcefgjklnop"
        a, b, d, e, f = (
            letters[n % 11],
            letters[(n * 3 + 5) % 11],
            n % 10,
            (n + 3) % 10,
            (n * 7 + 1) % 10,
        )
        if a == b or len({d, e, f}) < 3:
            continue
        base, source = f"{a} = {d} , {b} = {e} ; {a}", f"{a} = {f} , {b} = {e} ; {a}"
        lines.append(f'"{base}","{source}", {f}, {d}, {f}')
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    code, out, err = call("discover", "pairs.csv", *QUICK, "--out", "run", "--json")
    assert code in (0, 1), err
    report = json.loads(out)["report"]
    assert [row["name"] for row in report["desiderata"]] == ["follows"]
    assert report["desiderata"][0]["ceiling"] > 0.9


def written(path, digits):
    """A table of pairs about these digits, in the words of the embedded model."""
    rows = ["base,source,expected,base_answer,source_answer"]
    for d in digits:
        for e in digits:
            if d == e:
                continue
            base, source = f"b = {d} , c = {e} ; b", f"b = {e} , c = {d} ; b"
            rows.append(f'"{base}","{source}", {e}, {d}, {e}')
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def two_tables(tmp_path):
    written(tmp_path / "train.csv", "01234")
    written(tmp_path / "test.csv", "56789")
    return ["--train", "train.csv", "--held-out", "test.csv"]


def test_pairs_that_are_held_out_as_given_are_found_again_by_check(
    call, two_tables, tmp_path, monkeypatch
):
    code, out, err = call("discover", *two_tables, *QUICK, "--out", "run", "--json")
    assert code in (0, 1), err
    made = json.loads(out)
    config = made["circuit"]["provenance"]["config"]
    assert (config["task"], config["held_out"]) == ("train.csv", "test.csv")
    report = made["report"]
    assert [(row["n"], row["split"]) for row in report["desiderata"]] == [(20, "held-out")]
    assert any("held out as given" in note for note in report["notes"])
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert settings["held_out"] == "test.csv"
    monkeypatch.chdir(tmp_path / "run")  # somewhere else
    code, out, err = call("validate", ".", "--checks", "satisfaction", "--json")
    again = json.loads(out)["report"]
    assert again["binds"]["pairs"] == report["binds"]["pairs"], err
    assert not any("changed since" in note for note in again["notes"])
    written(tmp_path / "test.csv", "5678")
    code, _, err = call("validate", ".", "--checks", "satisfaction")
    assert code == 2 and "test.csv, which has changed since" in err
    named = ["--task", "../train.csv", "--held-out", "../test.csv", "--json"]
    again = json.loads(call("validate", ".", "--checks", "satisfaction", *named)[1])["report"]
    assert any("not the pairs of the run" in note for note in again["notes"])


def test_where_nothing_is_held_out_the_report_says_so(call, tmp_path):
    rows = [f"b = {k} ; b,b = {(k + 1) % 10} ; b, {(k + 1) % 10}, {k}" for k in range(10)]
    (tmp_path / "ring.csv").write_text("base,source,expected,base_answer\n" + "\n".join(rows))
    code, out, err = call("lint", "ring.csv")
    assert code == 0 and "note: nothing held out: every pair shares prompts" in out
    code, out, err = call("discover", "ring.csv", *QUICK, "--out", "run", "--json")
    assert code in (0, 1), err
    report = json.loads(out)["report"]
    assert {row["split"] for row in report["desiderata"]} == {"same pairs as search"}
    assert {row["split"] for row in report["checks"]} <= {"same pairs as search", "search"}
    assert any(note.startswith("nothing held out") for note in report["notes"])
    assert "held-out" not in report["message"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "pairs that search saw (nothing held out)" in page
    assert "held-out pairs" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_one_pair_has_a_circuit(call, tmp_path):
    row = "base,source,expected,base_answer\nb = 1 ; b,b = 3 ; b, 3, 1\n"
    (tmp_path / "one.csv").write_text(row)
    code, out, err = call("discover", "one.csv", *QUICK, "--out", "run", "--json")
    assert code in (0, 1), err
    made = json.loads(out)
    assert made["report"]["desiderata"][0]["n"] == 1
    assert any("there is one pair" in note for note in made["report"]["notes"])


def test_rows_that_may_be_left_out(call, two_tables, tmp_path):
    with (tmp_path / "test.csv").open("a") as file:
        file.write("b = 1 ; b,,,\n")
    code, out, _ = call("lint", *two_tables, "--json")
    assert code == 0
    notes = json.loads(out)["notes"]
    assert any("test.csv: left out 1 of 21 rows" in note and "line 22" in note for note in notes)
    code, _, err = call("lint", *two_tables, "--max-bad", "0")
    assert code == 2
    assert err.count("error:") == 1 and "test.csv: line 22: source must be text" in err


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--train", "train.csv", "other.csv"], "name one"),
        (["--train", "task.py"], "--train is a table of pairs"),
        (["variable_binding", "--held-out", "test.csv"], "--held-out goes with a table"),
        (["train.csv", "--held-out", "gone.csv"], "no file gone.csv"),
        (["train.csv", "--max-bad", "1"], "--max-bad is a share"),
        (["train.csv", "--held-out", "bad.csv"], "bad.csv: missing column"),
        (["train.csv", "--held-out", "train.csv"], "both in search and held out"),
    ],
)
def test_tables_that_do_not_go_together(call, two_tables, tmp_path, arguments, says):
    (tmp_path / "bad.csv").write_text("question\nwhy\n")
    before = set(tmp_path.iterdir())
    code, out, err = call("discover", *arguments, *QUICK, "--out", "run")
    assert code == 2 and says in err.replace("\n", " "), err
    assert "Traceback" not in out + err
    assert set(tmp_path.iterdir()) == before


def test_a_size_is_kept_and_a_rival_is_told(call):
    model = "planted:heads=6,backups=1,inhibitors=1"
    quick = ["--model", model, "--n", "32", "--n-random", "20", "--steps", "40", "--json"]
    code, out, err = call("discover", "planted", *quick, "--rival", "--out", "both")
    assert code == 0, err
    report = json.loads(out)["report"]
    rival = next(row for row in report["checks"] if row["name"] == "rival")
    assert (rival["verdict"], rival["value"]) == ("fails", 0.0)
    assert not any(row["shared"] for row in rival["details"])
    assert "not unique: another circuit of 2 sites, 0 of them shared, does it" in report["message"]
    assert report["cost"]["tokens_forward"] == sum(
        stage["tokens_forward"] for stage in report["cost"]["stages"].values()
    )
    code, out, _ = call(
        "discover", "planted", *quick, "--method", "random", "--size", "1", "--out", "one"
    )
    made = json.loads(out)
    assert (code, len(made["circuit"]["sites"]), made["report"]["size"]["sites"]) == (1, 1, 1)
    assert made["circuit"]["provenance"]["config"]["size"] == 1
    code, _, err = call("discover", "planted", *quick, "--size", "99", "--out", "none")
    assert code == 2
    assert "size must be between 1 and the 14 sites that can be patched; got 99" in err
    assert not Path("none").exists()


@pytest.mark.usefixtures("run")
def test_check_names_what_drifted_on_another_model(call, tmp_path):
    code, out, _ = call("check", "run")
    assert (code, out) == (0, "nothing drifted\n")
    code, out, err = call("check", "run", "--model", "planted:backups=1", "--json")
    assert code == 1, err
    assert any("'follows answer': of " in words for words in json.loads(out)["drifted"])
    code, out, _ = call("validate", "run", "--checks", "pairs,groups", "--json")
    assert [row["name"] for row in json.loads(out)["report"]["checks"]] == ["pairs", "groups"]
    code, _, err = call("validate", "run", "--checks", "luck")
    assert code == 2
    assert "no check luck; the checks are: satisfaction" in err
    circuit = json.loads((tmp_path / "run" / "circuit.json").read_text())
    circuit["sites"] = circuit["sites"][:1]
    (tmp_path / "run" / "circuit.json").write_text(json.dumps(circuit))
    code, _, err = call("diagram", "run")
    assert code == 2
    assert "this card is about another circuit" in err


@pytest.mark.usefixtures("run")
def test_solved_pairs_are_known_as_long_as_weights_and_pairs_are_the_same(call, monkeypatch):
    looked, looking = [], evidence.keep_solved
    monkeypatch.setattr(
        evidence, "keep_solved", lambda *given: looked.append(given) or looking(*given)
    )
    before = json.loads(Path("run/report.json").read_text())
    after = json.loads(call("validate", "run", "--json")[1])["report"]
    assert not looked
    assert after["checks"] == before["checks"]
    assert after["solved"] == [row for row in before["solved"] if row["split"] == "held-out"]
    again = json.loads(call("validate", "run", "--checks", "rival", "--json")[1])["report"]
    assert not looked  # nor are the pairs that search may see
    assert again["solved"] == before["solved"] and again["checks"][0]["n"] == 32
    few = ["validate", "run", "--checks", "satisfaction"]
    assert call(*few, "--seed", "5")[0] == 0
    assert len(looked) == 1
    before["binds"]["pairs"] = "0" * 64  # as if they had been drawn by another version
    Path("run/report.json").write_text(json.dumps(before))
    assert call(*few)[0] == 0
    assert len(looked) == 2
    before["binds"]["model"] = "0" * 64
    Path("run/report.json").write_text(json.dumps(before))
    assert call(*few)[0] == 0
    assert len(looked) == 3


@pytest.mark.usefixtures("run")
def test_paths_are_kept_and_drawn_as_text(call):
    code, out, err = call("paths", "run", "--json")
    assert code == 0, err
    answers = [row for row in json.loads(out) if row["channel"] == "answer"]
    assert {row["sender"] for row in answers} == {"a1.h0@last", "a1.h1@last"}
    assert min(row["low"] for row in answers) > 1
    assert "channel" in call("paths", "run")[1]
    code, out, _ = call("diagram", "run", "--kind", "dot")
    assert code == 0
    assert out.startswith("digraph") and out.count("answer") >= 1
    assert call("diagram", "run", "--kind", "graphml", "--out", "run.graphml")[0] == 0
    assert Path("run.graphml").read_text().startswith("<?xml")
    code, _, err = call("diagram", "run", "--kind", "crayon")
    assert code == 2
    assert "crayon" in err


@pytest.mark.usefixtures("run")
def test_a_gallery_has_every_figure_and_how_it_was_made(call, tmp_path):
    code, out, err = call("gallery", "run", "--out", "shown", "--json")
    assert code == 0, err
    names = {
        "run.svg",
        "run.json",
        *(f"run-{kind}.svg" for kind in ("circuit", "frontier", "bars", "effects", "attention")),
    }
    assert {Path(path).name for path in json.loads(out)} == names
    assert {path.name for path in Path("shown").iterdir()} == names
    told = json.loads(Path("shown/run.json").read_text())
    assert told["command"].startswith("circuitfind discover planted --model planted")
    assert "--n 32" in told["command"] and told["seed"] == 0 and told["versions"]["torch"]
    assert set(told["left_out"]) == {"stability"}
    assert "--checks stability" in told["left_out"]["stability"]
    (tmp_path / "other").mkdir()
    assert call("gallery", "run", "other/run", "--out", "twice")[0] == 2
    assert not Path("twice").exists()


def test_anyones_circuit_is_validated(call, tmp_path):
    """Heads as [layer, head], as others publish them; without a run."""
    (tmp_path / "heads.json").write_text("[[1, 0], [1, 1]]")
    named = ["--task", "planted", "--model", "planted", "--n", "60", "--n-random", "40"]
    code, out, err = call("validate", "heads.json", *named, "--json")
    assert code == 0, err
    made = json.loads(out)
    assert [row["site"] for row in made["circuit"]["sites"]] == ["a1.h0@last", "a1.h1@last"]
    assert made["circuit"]["provenance"]["imported"]["sha256"]
    assert made["report"]["notes"][0].startswith("read as a list of 2 sites")
    assert not [row for row in made["report"]["checks"] if row["verdict"] == "fails"]
    (tmp_path / "half.json").write_text("[[1, 0]]")
    code, out, _ = call("validate", "half.json", *named)
    assert code == 1
    assert "not satisfied: " in " ".join(out.split())
    code, out, err = call("validate", "heads.json", *named, "--donor", "zero", "--json")
    rows = json.loads(out)["report"]["desiderata"]
    assert all(row["ablation"].endswith("takes: zero") for row in rows)
    code, _, err = call("validate", "heads.json")
    assert code == 2
    assert "name a --task and a --model" in err


def test_lists_are_tables_and_json(call):
    code, out, _ = call("methods", "--json")
    assert code == 0
    assert [row["method"] for row in json.loads(out)] == [entry.name for entry in METHODS]
    names = [row["task"] for row in json.loads(call("tasks", "--json")[1])]
    assert {"variable_binding", "arithmetic", "arithmetic-values", "arithmetic-x", "ioi"} <= {
        *names
    }
    assert "binder" in call("models")[1]
    assert "leave one out" in [row["check"] for row in json.loads(call("checks", "--json")[1])]


def test_lint_tells_errors_by_its_exit_code(call, tmp_path):
    code, out, _ = call("lint", "variable_binding", "--json")
    assert code == 0
    assert not [row for row in json.loads(out)["problems"] if row["level"] == "error"]
    (tmp_path / "still.py").write_text(
        "from desiderata import CausalModel, choice\n"
        "def answer(x): return x\n"
        "task = CausalModel({'x': choice('ab'), 'y': choice('cd')}, [answer], '{x} {y}')\n"
        "claim = task.carries('y')\n"
    )
    code, out, _ = call("lint", "still.py:claim")
    assert code == 1
    assert "the answer did not move" in out


def start(arguments, cwd):
    """The number of a process that runs `discover`: a fork, which has imported everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which stay behind
        process = os.fork()
    if process:
        return process
    try:
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null, stream)
        sys.argv = ["circuitfind", "discover", *map(str, arguments)]
        cli.main()
    finally:
        os._exit(0)


# Each learns for so long after its first checkpoint that it is killed before its end.
PLANTED_FILE = ["mine.py:claim", "--model", "planted", "--method", "budget", "--n", "12"]
KILLED = {
    "whole": ([*PLANTED_FILE, "--n-random", "5", "--steps", "80"], False),
    "of the README": (["{own_task}:claim", *QUICK, "--steps", "150"], False),
    "of the README, damaged": (["{own_task}:claim", *QUICK, "--steps", "150"], True),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes of this kind")
@pytest.mark.parametrize(
    ("arguments", "damage"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if "README" in name else ())
        for name, case in KILLED.items()
    ],
)
def test_a_killed_run_goes_on_to_the_same_circuit(call, own_task, tmp_path, arguments, damage):
    (tmp_path / "mine.py").write_text("from tasks.planted import claim\n")
    arguments = [one.replace("{own_task}", str(own_task)) for one in arguments]
    assert call("discover", *arguments, "--out", "whole")[0] == 0
    process = start([*arguments, "--out", "killed"], tmp_path)
    checkpoint = tmp_path / "killed" / CHECKPOINT
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
        assert os.waitpid(process, os.WNOHANG) == (0, 0), "it ended before it was killed"
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert checkpoint.exists()
    assert not (tmp_path / "killed" / "circuit.json").exists()
    if damage:
        checkpoint.write_bytes(checkpoint.read_bytes()[:50])
    code, out, _ = call("discover", *arguments, "--out", "killed", "--resume", "--json")
    assert code == 0
    whole = json.loads((tmp_path / "whole" / "circuit.json").read_text())
    gone_on = json.loads((tmp_path / "killed" / "circuit.json").read_text())
    for circuit in (gone_on, whole):  # the commit may move on while this test runs
        circuit["provenance"].pop("git_commit")
    assert gone_on == whole
    notes = " ".join(json.loads(out)["report"]["notes"])
    assert ("checkpoint.pt is damaged" in notes) == damage
