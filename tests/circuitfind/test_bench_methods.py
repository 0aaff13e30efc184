"""Methods at equal FLOPs: budgets that are met, rows as known, what is kept, and the page."""

import json
from dataclasses import asdict, replace

import pytest

from circuitfind.bench.cases import read_rows, row_line
from circuitfind.bench.methods import (
    NEAR,
    TASKS,
    TRIES,
    Entry,
    Meter,
    MethodRow,
    compare_methods,
    interchange_accuracy,
    measure,
    next_steps,
    tasks_named,
)
from circuitfind.bench.methods_page import methods_page, summarise_methods
from circuitfind.claims import installed_claims
from circuitfind.models.catalogue import built_in
from circuitfind.runs.run import discover
from circuitfind.search import METHODS
from circuitfind.sweeps import points as sweeping
from circuitfind.sweeps.work import Ended
from circuitfind.validate.card import card_from_json

from .test_cli import call  # noqa: F401

ENTRY = Entry(task="planted", model="planted", method="constrained", polish=True, seed=0, n=24)
ROW = MethodRow(
    task="planted",
    model="planted",
    method="m",
    polish=True,
    seed=0,
    n=24,
    budget=100,
    flops=110,
    seconds=1.0,
    steps=3,
    tries=2,
    success=True,
    holds=True,
    size=2,
    of=10,
    satisfaction=0.5,
    worst="follows",
    interchange=0.75,
    message="",
    sites="",
)


@pytest.fixture(autouse=True)
def forget():
    sweeping._models.clear()
    sweeping._evidences.clear()


def test_the_tasks_and_their_models_are_there():
    assert {*TASKS} <= {*installed_claims()} and {*TASKS.values()} <= {*built_in()}
    assert tasks_named((), "main") == TASKS
    assert tasks_named(["ioi", "planted@planted:parts=1"], "quick") == {
        "ioi": "smollm2-135m",
        "planted": "planted:parts=1",
    }
    with pytest.raises(
        LookupError, match="name a model for 'copying': copying@MODEL; name a model"
    ):
        tasks_named(["copying", "siit"], "main")


BUDGET = 3 * 10**9


@pytest.mark.parametrize(
    "method",
    [
        *("dcm-2023", "budget"),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("sigmoid", "hard-concrete")),
    ],
)
def test_a_method_that_learns_spends_its_budget(method):
    row = measure(replace(ENTRY, method=method, polish=False, budget=BUDGET))
    assert abs(row.flops - BUDGET) <= NEAR * BUDGET, (row.flops, row.steps)
    assert row.steps is not None and row.steps > 1 and row.tries <= TRIES


def test_which_methods_have_steps(monkeypatch):
    """Found out by their searches, so that it is known of a package's methods, too."""
    monkeypatch.setattr("circuitfind.bench.methods.FIRST", 2)
    with_steps = {"constrained", "dcm-2023", "dcm-2024", "sigmoid", "hard-concrete", "budget"}
    rows = [
        measure(replace(ENTRY, method=name, polish=False, budget=1, n=12))
        for name in METHODS.names()
    ]
    assert {row.method for row in rows if row.steps is not None} == with_steps
    assert all(row.tries == 1 for row in rows if row.steps is None)


def test_steps_are_chosen_by_their_price():
    meter = Meter()
    meter.spent = {1: 150, 11: 250}  # 10 a step, and 140 before the first
    assert meter.price(400) == 10
    assert next_steps(1000, [(400, 11)], meter) == 71
    assert next_steps(395, [(400, 11)], meter) is None  # near enough
    assert next_steps(None, [(400, None)], meter) is None
    assert next_steps(1, [(400, 11)], meter) == 1
    assert next_steps(1000, [(400, 20)], meter) is None  # stopped by itself
    assert next_steps(1000, [(400, 71), (400, 11)], meter) is None  # tried
    meter.spent = {20: 300}
    assert meter.price(400) == 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What `discover` makes of the same."""
    folder = tmp_path_factory.mktemp("made") / "run"
    return discover(replace(ENTRY.settings, n_random=5), folder)


def test_a_row_is_what_discover_finds_and_the_card_says(made):
    """The default method, without a budget: the row that sets the others'."""
    row = measure(ENTRY)
    assert row.sites.split() == [str(site) for site in made.circuit.sites]
    assert row.budget == row.flops == made.report["cost"]["stages"]["search"]["flops"]
    scores = {one["name"]: one["satisfaction"] for one in made.report["desiderata"]}
    assert row.satisfaction == min(scores.values()) == scores[row.worst]
    assert (row.size, row.of, row.tries, row.steps) == (2, 10, 1, None)


def test_interchange_accuracy_counts_pairs_that_come_out_wrong(made):
    (score, *_) = [one for one in card_from_json(made.report).desiderata if one.part == "inside"]
    first = replace(score, n=20, wrong=(1, 2, 3, 4, 5))
    second = replace(score, n=10, wrong=())
    outside = replace(score, n=10, wrong=tuple(range(10)), part="outside")
    assert interchange_accuracy([first, second, outside]) == (0.75 + 1.0) / 2
    assert interchange_accuracy([outside]) == 0.0


def test_kept_rows_are_not_made_again(call, tmp_path):  # noqa: F811
    words = ["bench", "methods", "--tasks", "planted@planted:parts=1", "--methods", "random"]
    words += ["--methods", "attribution", "--n", "12", "--out", tmp_path / "out", "--json"]
    code, out, _ = call(*words)
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [(row["method"], row["polish"]) for row in rows] == [
        ("constrained", True),
        ("random", False),
        ("random", True),
        ("attribution", False),
        ("attribution", True),
    ]
    assert {row["budget"] for row in rows} == {rows[0]["flops"]}
    file = tmp_path / "out" / "rows.jsonl"
    kept = file.read_text()
    assert [asdict(row) for row in read_rows(file, MethodRow)] == rows
    with file.open("a") as other:
        other.write('{"task": "pl')
    code, out, _ = call(*words)
    assert code == 0 and json.loads(out)["rows"] == rows and file.read_text() == kept
    page = (tmp_path / "out" / "methods.md").read_text()
    assert page.count("| random |") == 2 and "10 sites, 12 pairs" in page


def test_what_cannot_be_measured_is_named_and_the_rest_is_there(call, tmp_path):  # noqa: F811
    words = ["bench", "methods", "--tasks", "planted@planted:parts=1", "--tasks", "ioi@planted"]
    words += ["--methods", "attribution", "--n", "12", "--out", tmp_path / "out"]
    code, out, err = call(*words)
    assert code == 2 and "planted in planted:parts=1" in out
    assert "ioi in planted: constrained with local search, seed 0: " in err
    assert len(read_rows(tmp_path / "out" / "rows.jsonl", MethodRow)) == 3
    assert "## Not measured" in (tmp_path / "out" / "methods.md").read_text()
    assert call("bench", "methods", "--methods", "attribtion", "--out", tmp_path / "o")[0] == 2
    assert call("bench", "methods", "--tasks", "copying", "--out", tmp_path / "o")[0] == 2


def test_the_page_sums_seeds_up_and_its_cells_are_text():
    rows = [ROW, replace(ROW, seed=1, size=4, holds=False, satisfaction=1.0, flops=50)]
    (row,) = summarise_methods(rows)
    assert (row["size"], row["holds"], row["seeds"], row["held out"]) == (3, 1, 2, 0.75)
    assert row["flops"] == 80 and row["of the budget"] == pytest.approx(0.8)
    page = methods_page(rows, {"a|b": Ended(None, "<b>\x1b no\nline")}, "circuitfind bench methods")
    assert "| m | with | 1 of 2 | 3 | 0.750 | 0.750 | 8.00e+01 | 0.80 | 1.0 | 3 |" in page
    assert "- a\\|b: &lt;b>␛ no line" in page
    # The same task in another model is another table.
    both = methods_page([*rows, replace(ROW, model="other")], {}, "")
    assert "## planted in planted\n" in both and "## planted in other\n" in both


def test_a_budget_of_ones_own_is_that_of_every_method():
    rows, failed = compare_methods(
        {"planted": "planted:parts=1"}, ["constrained"], n=12, seeds=1, flops=2 * 10**9
    )
    assert not failed and {row.budget for row in rows} == {2 * 10**9}
    assert [row.polish for row in rows] == [False, True]
    assert row_line(rows[0]) != row_line(rows[1])
