"""The benchmark: cases with a truth, rows scored against it, controls, and what is kept."""

import csv
import io
from dataclasses import replace

import pytest
import torch

from circuitfind.bench.cases import (
    Row,
    known_cases,
    method_row,
    read_rows,
    row_line,
    row_name,
    run_case,
    run_cases,
    summarise,
)
from circuitfind.bench.report import bench_table, draw_bench
from circuitfind.models.loading import load_model
from circuitfind.models.model import shuffle_weights
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import Objective
from circuitfind.search import METHODS, candidate_sites

CASES = {case.name: case for case in known_cases("all")}
ROW = Row(
    case="a",
    kind="planted",
    ablation="source",
    method="m",
    seed=0,
    success=True,
    size=2,
    exact=True,
    f1=1.0,
    auroc=1.0,
    inside=2,
    outside=8,
    slack=0.05,
    tokens=10,
    flops=100,
    seconds=0.1,
    problems="",
    sites="",
)


def test_every_case_but_a_control_has_a_truth():
    kinds = {case.kind for case in CASES.values()}
    assert kinds == {"planted", "compiled", "trained", "control"}
    for case in CASES.values():
        assert bool(case.truth) == (case.kind != "control"), case.name
    assert len(CASES) == len(known_cases("all"))
    assert any(len(case.truth) > 1 for case in CASES.values())
    assert {case.donor for case in CASES.values()} >= {"zero", "mean", "resample", "source"}


@pytest.mark.parametrize(
    "name", [case.name for case in known_cases("all") if case.kind == "planted"]
)
def test_what_is_right_by_construction_holds_on_pairs(name):
    """Every circuit that is right satisfies the claim, and without any one member none does."""
    case = CASES[name]
    model, claim = case.load()
    held_out = claim.sample(24, 0)[1]
    sites = candidate_sites(model, held_out)
    objective = Objective(model, encode(model, held_out), sites)
    for right in case.truth[:3]:
        rows = [membership_of(sites, right)]
        rows += [membership_of(sites, right - {site}) for site in right]
        whole, *without = objective.scores(torch.stack(rows)).amin(dim=1).tolist()
        assert whole == 1.0
        assert max(without) < 0.9


def test_parts_leave_out_what_is_right_in_the_same_way():
    quick, main, every = [*map(known_cases, ("quick", "main", "all"))]
    assert {*quick} < {*main} < {*every}
    assert {case.kind for case in quick} >= {"planted", "compiled", "control"}
    assert {(one.model, one.truth) for one in main} == {
        (one.model, one.truth) for one in every if one.name != "siit-arithmetic: zero"
    }


def test_large_cases_are_of_both_kinds_and_have_near_misses():
    large = known_cases("large")
    known = [case for case in large if case.kind == "grafted"]
    near = [case for case in large if case.kind == "control"]
    assert len(known) + len(near) == len(large) == len({case.name for case in large})
    complete = [case for case in known if case.task.endswith("complete")]
    assert len(known) == 2 * len(complete) >= 8
    assert all(case.truth and not case.missing for case in known)
    assert len(near) == 2
    for case in near:
        (twin,) = [one for one in known if (one.model, one.task) == (case.model, case.task)]
        assert all(site in map(str, right) for site in case.missing for right in twin.truth)
    assert all(case.published for case in known_cases("published"))


def test_rows_are_named_by_how_their_method_ends():
    assert row_name("random", True) == "random + local search"
    assert row_name("random", False) == row_name("random") == "random"
    assert row_name("constrained", True) == row_name("constrained") == "constrained"
    assert row_name("constrained", False) == "constrained - local search"
    for name in ("random + local search", "constrained - local search", "greedy"):
        spec, polish = method_row(name)
        assert row_name(spec.name, polish) == row_name(name) == name
    with pytest.raises(LookupError):
        row_name("nothing + local search")


def test_a_row_with_local_search_is_another_than_one_without():
    case = CASES["two carriers: planted"]
    rough, fine = (run_case(case, name, 1) for name in ("random", "random + local search"))
    assert (rough.method, fine.method) == ("random", "random + local search")
    assert fine.exact and not rough.exact
    assert fine.size < rough.size


@pytest.mark.slow
@pytest.mark.parametrize("case", known_cases("large"), ids=lambda case: case.name)
def test_constrained_is_right_on_large_models(case):
    row = run_case(case, "constrained", 0)
    assert row.success == (case.kind != "control")
    assert row.exact is not False


@pytest.mark.parametrize(
    "name",
    [
        "one carrier: planted",
        "backups, inhibitor: planted",
        "tracr-reverse: resample",
        "tracr-half: zero",
    ],
)
def test_constrained_recovers_the_truth(name):
    row = run_case(CASES[name], "constrained", 0)
    assert row.success
    assert row.exact, row.sites
    assert row.auroc == 1.0
    assert row.slack >= 0
    assert row.flops > 0


def test_a_random_order_does_not_rank():
    rows = [run_case(CASES["tracr-sort-unique: zero"], "random", seed) for seed in range(3)]
    areas = [row.auroc for row in rows if row.auroc is not None]
    assert sum(areas) / len(areas) < 0.9
    assert len(set(areas)) > 1


LONG = {"hard-concrete", "sigmoid", "dcm-2024"}  # which learn for seconds; `budget` stands for them


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(entry.name, marks=pytest.mark.slow if entry.name in LONG else ())
        for entry in METHODS
        if entry.name != "dcm-2023"
    ],
)
def test_no_method_claims_a_circuit_where_weights_are_shuffled(method):
    row = run_case(CASES["one carrier: shuffled weights"], method, 0)
    assert not row.success
    assert row.exact is None
    assert row.auroc is None


def test_shuffled_weights_are_the_same_numbers_elsewhere():
    before = load_model("planted").engine.weights()
    model = shuffle_weights(load_model("planted"), seed=1)
    after = model.engine.weights()
    assert before.keys() == after.keys()
    moved = 0
    for one, other in zip(before.values(), after.values(), strict=True):
        assert one.flatten().sort().values.equal(other.flatten().sort().values)
        moved += not one.equal(other)
    assert moved
    assert "shuffled" in model.name


def test_a_method_that_is_wrong_is_not_summed_up_as_right():
    rows = [
        ROW,
        replace(ROW, seed=1, exact=False, f1=0.5, auroc=0.75),
        replace(ROW, case="b", kind="control", exact=None, f1=None, auroc=None, success=True),
        replace(ROW, method="other", exact=False, f1=0.0, auroc=0.25, flops=300),
    ]
    first, second = summarise(rows)
    assert (first["method"], first["n"], first["exact"]) == ("m", 2, 0.5)
    assert first["interval"][0] < 0.05 < 0.9 < first["interval"][1]
    assert first["mean f1"] == 0.75
    assert first["median auroc"] == 0.875
    assert (first["controls"], first["successes on controls"]) == (1, 1)
    assert (second["exact"], second["controls"], second["their interval"]) == (0.0, 0, None)


def test_the_frontier_is_what_nothing_beats_in_both():
    """Exact and cheap, exact and dear, wrong and cheapest, wrong and dear."""
    made = [("a", True, 100), ("b", True, 200), ("c", False, 50), ("d", False, 150)]
    rows = [replace(ROW, method=name, exact=hit, flops=flops) for name, hit, flops in made]
    assert [row["frontier"] for row in summarise(rows)] == [True, False, True, False]


def test_an_auroc_of_0_counts():
    rows = [replace(ROW, seed=seed, auroc=area) for seed, area in enumerate((0.0, 0.0, 1.0))]
    assert summarise(rows)[0]["median auroc"] == 0.0


def test_kept_rows_are_not_made_again_and_a_cut_line_is_left_out(tmp_path):
    case = CASES["one carrier: planted"]
    (tmp_path / "rows.jsonl").write_text(row_line(replace(ROW, case=case.name)) + '{"case": "a')
    kept = read_rows(tmp_path / "rows.jsonl")
    assert len(kept) == 1
    seen = []
    rows = run_cases(
        [case],
        ["m", "activation-norm"],
        1,
        kept=kept,
        workers=1,
        done=lambda row, count, total: seen.append((row.method, count, total)),
    )
    assert [row.method for row in rows] == ["m", "activation-norm"]
    assert rows[0] == kept[0]
    assert seen == [("activation-norm", 2, 2)]


def test_the_table_and_the_figure_show_every_row():
    rows = [ROW, replace(ROW, seed=1, exact=False), replace(ROW, method="other", exact=False)]
    read = list(csv.DictReader(io.StringIO(bench_table(rows))))
    assert [row["exact"] for row in read] == ["True", "False", "False"]
    figure = draw_bench(rows, summarise(rows))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"0.5", "0"} <= set(words)
    assert any("AUROC 1.00" in word for word in words)
