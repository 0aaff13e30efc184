"""Sweeps in this process: rows whatever becomes of a point, going on, and the table."""

import csv
import json
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from circuitfind.runs import run as running
from circuitfind.runs.folder import CHECKPOINT
from circuitfind.runs.lock import locked
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings
from circuitfind.search import METHODS, MethodSpec
from circuitfind.sweeps import points as sweeping
from circuitfind.sweeps.plan import CLAIM, read_plan
from circuitfind.sweeps.points import Row, run_sweep
from circuitfind.sweeps.running import run_points
from circuitfind.sweeps.table import COLUMNS, SHOWN, Sweep, axis_text, render_sweep, save_sweep
from circuitfind.sweeps.work import Crash, Where, attempt

from ..sweeping import SMALL, by_point, toml
from .test_cli import call  # noqa: F401
from .test_runs_survive import Interrupted, Stop


@pytest.fixture(autouse=True)
def forget():
    sweeping._models.clear()
    sweeping._evidences.clear()


@pytest.fixture
def searches(monkeypatch):
    """The seeds and methods of the searches that are made, and how often pairs are gathered and
    models loaded."""
    made, search, gather, load = [], running.search, sweeping.gather, sweeping.Settings.load_model

    def searched(model, pairs, method, **options):
        made.append((method.name, options["config"].seed))
        return search(model, pairs, method, **options)

    def gathered(*words, **options):
        made.append("pairs")
        return gather(*words, **options)

    def loaded(settings):
        made.append("model")
        return load(settings)

    monkeypatch.setattr(running, "search", searched)
    monkeypatch.setattr(sweeping, "gather", gathered)
    monkeypatch.setattr(sweeping.Settings, "load_model", loaded)
    return made


def write(folder, **settings):
    file = folder / "sweep.toml"
    file.write_text(toml(**settings))
    return file


def break_method(monkeypatch):
    def run_breaks(problem, config, progress):
        raise TypeError("a fault of the method's")

    entry = {"breaks": (MethodSpec(name="breaks", run=run_breaks), "a stranger")}
    monkeypatch.setattr(METHODS, "_found", METHODS._objects() | entry)


def test_a_sweep_has_a_row_for_each_point_whatever_becomes_of_it(
    call,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    """Some hold, of one the claim fails, some are refused, some crash: all have their row."""
    break_method(monkeypatch)
    axes = {"method": ["attribution", "breaks"], "vetoes": [[], ["a1.h0@last"]], "size": [1, 500]}
    file = write(tmp_path, **SMALL, **axes)
    code, out, err = call("sweep", file, "--out", "out", "--json")
    table = json.loads(out)
    assert table == json.loads(Path("out/sweep.json").read_text())
    assert code == 3 and table["axes"] == ["method", "vetoes", "size"]
    told = {
        (row["values"]["method"], bool(row["values"]["vetoes"]), row["values"]["size"]): row
        for row in table["rows"]
    }
    assert len(told) == 8 == err.count("/8 ")
    assert told["attribution", False, 1]["status"] == "holds"
    assert told["attribution", True, 1]["status"] == "fails"
    for key, row in told.items():
        if key[2] == 500:
            assert row["status"] == "refused" and "size must be between 1 and" in row["message"]
        elif key[0] == "breaks":
            assert row["status"] == "crashed"
            assert row["message"] == "TypeError: a fault of the method's"
        assert (Path("out") / row["folder"] / "report.json").exists() == (row["size"] is not None)


ROW = Row(point="p", values={"seed": 0}, status="holds", message="m", folder="p", size=2)


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        (["holds", "holds"], 0),
        (["holds", "fails"], 1),
        (["refused", "fails", "holds"], 2),
        (["holds", "crashed", "refused", "fails"], 3),
    ],
)
def test_the_exit_code_is_that_of_the_gravest_row(endings, expected):
    rows = tuple(replace(ROW, status=status) for status in endings)
    made = Sweep(file="f", command="c", axes=("seed",), rows=rows)
    assert made.code == expected
    assert sum(made.counts.values()) == len(rows) and next(iter(made.counts)) == min(
        endings, key=["crashed", "refused", "fails", "holds"].index
    )


def test_bad_input_in_the_file_runs_nothing(call, tmp_path):  # noqa: F811
    code, out, err = call("sweep", write(tmp_path, **SMALL, methods=["greedy"]), "--out", "out")
    assert (code, out) == (2, "") and "line 5: no setting 'methods'; did you mean method?" in err
    assert not Path("out").exists()
    file = write(tmp_path, **SMALL)
    assert call("sweep", file, "--workers", "2")[0] == 2
    assert "no file nothing.toml" in call("sweep", "nothing.toml")[2]


def test_a_point_is_the_run_that_discover_makes(tmp_path):
    plan = read_plan(write(tmp_path, **SMALL, method=["random", "constrained"]))
    rows = run_sweep(plan, tmp_path / "out")
    for point, row in zip(plan.points, rows, strict=True):
        alone = discover(point.settings, tmp_path / "alone" / point.name)
        made = json.loads((tmp_path / "out" / point.name / "report.json").read_text())
        circuit = (tmp_path / "out" / point.name / "circuit.json").read_bytes()
        assert circuit == (alone.path / "circuit.json").read_bytes()
        for key in ("desiderata", "checks", "solved", "message"):
            assert json.loads(json.dumps(alone.report[key])) == made[key]
        assert row.satisfaction == min(one["satisfaction"] for one in made["desiderata"])
        assert (row.size, row.of) == (len(alone.circuit), made["size"]["of"])
        assert (row.flops, row.message) == (made["cost"]["flops"], made["message"])


def test_models_and_pairs_are_shared_and_finished_points_are_read(tmp_path, searches):
    plan = read_plan(write(tmp_path, **SMALL, seed=[0, 1], method="random", polish=[True, False]))
    rows = run_sweep(plan, tmp_path / "out")
    expected = ["model", "pairs", ("random", 0), ("random", 0), "pairs", ("random", 1)]
    assert searches == [*expected, ("random", 1)]
    # Seed 1, with local search and without.
    fine, rough = (row.size for row in rows[2:])
    assert fine is not None and rough is not None and fine < rough
    for one in (searches, sweeping._models, sweeping._evidences):  # as in a new process
        one.clear()
    assert run_sweep(plan, tmp_path / "out") == rows
    assert searches == []
    (tmp_path / "out" / rows[3].folder / "report.json").unlink()
    again = run_sweep(plan, tmp_path / "out")
    assert searches == ["model", "pairs", ("random", 1)]
    assert [row.size for row in again] == [row.size for row in rows]


def test_a_half_done_point_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    settings = {**SMALL, "method": "budget", "steps": 20}
    plan = read_plan(write(tmp_path, **settings, seed=[0]))
    (point,) = plan.points
    with pytest.raises(Interrupted):
        discover(point.settings, tmp_path / "out" / point.name, shown=Stop())
    assert (tmp_path / "out" / point.name / CHECKPOINT).is_file()
    steps, save = [], running.FolderProgress.save
    monkeypatch.setattr(
        running.FolderProgress,
        "save",
        lambda self, state: (steps.append(state["step"]), save(self, state)),
    )
    (row,) = run_sweep(plan, tmp_path / "out")
    assert row.status == "holds" and steps[0] == 10 and steps[-1] == 20


def test_a_folder_of_other_settings_is_refused(tmp_path):
    run_sweep(read_plan(write(tmp_path, **SMALL, method=["random"])), tmp_path / "out")
    plan = read_plan(write(tmp_path, **{**SMALL, "n": 28}, method=["random", "attribution"]))
    first, second = run_sweep(plan, tmp_path / "out")
    assert first.status == "refused" and "n was 24 and is 28" in first.message
    assert second.status == "holds"


def test_a_folder_in_use_is_waited_for(tmp_path, monkeypatch):
    plan = read_plan(write(tmp_path, **SMALL, method=["random"]))
    (tmp_path / "out" / "method=random").mkdir(parents=True)
    held = threading.Event()

    def hold(seconds):
        with locked(tmp_path / "out" / "method=random"):
            held.set()
            time.sleep(seconds)

    other = threading.Thread(target=hold, args=(1.5,))
    other.start()
    assert held.wait(10)
    (row,) = run_sweep(plan, tmp_path / "out")
    other.join()
    assert row.status == "holds"
    monkeypatch.setattr(sweeping, "PATIENCE", 0.0)
    held.clear()
    other = threading.Thread(target=hold, args=(1.5,))
    other.start()
    assert held.wait(10)
    (row,) = run_sweep(plan, tmp_path / "out")
    other.join()
    assert row.status == "refused" and "is written into by another process" in row.message


def test_a_circuit_with_a_twin_is_read_back(tmp_path):
    """The sites that answers go with have no effect of their own in the report."""
    plan = read_plan(write(tmp_path, **SMALL, method="random", size=1))
    (row,) = run_sweep(plan, tmp_path / "out")
    details = json.loads((tmp_path / "out/point/report.json").read_text())["checks"]
    assert any(one.get("of") == "twin" for check in details for one in check["details"])
    assert run_sweep(plan, tmp_path / "out") == (row,)


def test_ctrl_c_leaves_what_is_finished(call, tmp_path, monkeypatch):  # noqa: F811
    file, made = write(tmp_path, **SMALL, method="random", seed=[0, 1]), sweeping.discover

    def stopped(settings, *words, **options):
        if settings.seed == 1:
            raise KeyboardInterrupt
        return made(settings, *words, **options)

    monkeypatch.setattr(sweeping, "discover", stopped)
    code, _, err = call("sweep", file, "--out", "out")
    assert code == 130 and "stopped after 1 of 2 points" in err
    assert Path("out/seed=0/report.json").is_file() and not Path("out/seed=1").exists()
    monkeypatch.setattr(sweeping, "discover", made)
    assert call("sweep", file, "--out", "out")[0] == 0


def test_the_table_is_kept_as_json_as_csv_and_as_a_page(tmp_path):
    """What strangers wrote is text in all of them: no formula, no markup, no control letter."""
    evil = "=1+1<script>alert(1)</script>\x1b[31m\u202e"
    row = Row(
        point="method=a_x-1",
        values={"method": "a", "sites": ["heads", "!m0@last"]},
        status="refused",
        message=evil,
        folder="method=a_x-1",
    )
    held = Row(
        point="b", values={"method": "b", "sites": []}, status="holds", message="m", folder="b 1",
        size=3, of=10, satisfaction=0.75, worst="follows", flops=10**12, seconds=1.5,
    )  # fmt: skip
    (tmp_path / "b 1").mkdir()
    (tmp_path / "b 1" / "report.html").touch()
    sweep = Sweep(
        file=evil, command="circuitfind sweep", axes=("method", "sites"), rows=(row, held)
    )
    save_sweep(sweep, tmp_path)
    assert by_point(json.loads((tmp_path / "sweep.json").read_text()))["b"]["size"] == 3
    with (tmp_path / "sweep.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["message"].startswith("'=1+1") and first["sites"] == "heads, !m0@last"
    assert (second["verdict"], second["members"], second["satisfaction"]) == ("holds", "3", "0.75")
    page = render_sweep(sweep, tmp_path)
    assert page == (tmp_path / "sweep.html").read_text()
    assert (
        "&lt;script&gt;alert(1)" in page
        and "<script>alert" not in page
        and "\x1b" not in page
        and "\u202e" not in page
    )
    assert '<a href="./b%201/report.html">b</a>' in page and "<td>3 <" in page
    assert "method=a_x-1</a>" not in page
    assert sweep.code == 2 and axis_text([]) == "none"


def test_no_column_is_called_as_an_axis_may_be():
    names = {*COLUMNS, *SHOWN, "point", "folder"}
    assert not names & {CLAIM, *(field.name for field in fields(Settings))}


def test_work_that_crashes_is_no_bad_input():
    def work(point):
        raise {0: ValueError("no"), 1: KeyError("none"), 2: TypeError("ours"), 3: SystemExit(1)}[
            point
        ]

    ended = [attempt(work, point) for point in range(4)]
    assert [(one.problem, one.crash) for one in ended] == [
        ("no", False),
        ("none", False),
        ("TypeError: ours", True),
        ("SystemExit: 1", True),
    ]
    with pytest.raises(ValueError, match="no"):
        ended[0].value()
    with pytest.raises(Crash, match="ours"):
        ended[2].value()
    assert attempt(str, 1).value() == "1"


def test_without_ray_a_cluster_of_this_machine_is_this_process(call, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("circuitfind.sweeps.on_ray.find_spec", lambda name: None)
    file = write(tmp_path, **SMALL, method=["random"])
    code, out, err = call("sweep", file, "--out", "out", "--ray", "local", "--workers", "2")
    assert code == 0 and "pip install 'circuitfind[ray]'" in err and "random" in out
    code, _, err = call("sweep", file, "--out", "out", "--ray", "somewhere:6379")
    assert code == 2 and "Ray is not installed" in err
    with pytest.raises(LookupError, match="Ray is not installed"):
        next(run_points([1], str, Where(ray="local")))
