"""Circuits side by side: overlap against known chance, the matrix, a shared one, the command."""

import json
from dataclasses import replace
from itertools import combinations
from statistics import mean

import pytest
from typer.testing import CliRunner

from circuitfind.circuits.circuit import Circuit
from circuitfind.cli.app import app
from circuitfind.mediators.space import all_sites
from circuitfind.runs.compare import compare, open_sides, overlap, save_comparison
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings

SITES = all_sites(2, 2, ["last"])  # 4 heads and 2 MLPs


def circuit_of(*sites):
    return Circuit(
        model="m",
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=tuple(sites),
        scores=(0.0,) * len(sites),
    )


def test_chance_is_the_mean_over_all_circuits_of_these_sizes():
    first, names = circuit_of(*SITES[:3]), ("a", "b")
    every = [circuit_of(*sites) for sites in combinations(SITES, 2)]
    found = [overlap(first, second, len(SITES), names) for second in every]
    assert found[0].chance == pytest.approx(mean(one.jaccard for one in found))
    both = overlap(first, circuit_of(*SITES[:2]), len(SITES), names)
    assert (both.shared, both.jaccard) == (2, 2 / 3)
    assert both.p == pytest.approx(mean(one.shared >= 2 for one in found))
    none = overlap(first, circuit_of(*SITES[3:5]), len(SITES), names)
    assert (none.shared, none.jaccard, none.p) == (0, 0.0, pytest.approx(1.0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small runs on `binder`: retrieval by name, and sums of bound values."""
    folder = tmp_path_factory.mktemp("runs")
    for task in ("variable_binding", "arithmetic-value"):
        discover(Settings(task=task, n=24, steps=25, n_random=5), folder / task)
    return [folder / "variable_binding", folder / "arithmetic-value"]


def test_the_matrix_agrees_with_each_runs_own_report(runs):
    model, sides = open_sides(runs)
    made = compare(model, sides)
    assert list(made.matrix) == ["variable_binding", "arithmetic-value"]
    for run in runs:
        report = json.loads((run / "report.json").read_text())
        own = made.matrix[run.name][run.name]
        assert [one.satisfaction for one in own] == pytest.approx(
            [row["satisfaction"] for row in report["desiderata"]]
        )
    assert made.shared is None


def test_a_shared_circuit_is_searched_under_all_claims(runs, tmp_path):
    model, sides = open_sides(runs)
    made = compare(model, sides, shared=True)
    assert made.shared is not None
    assert {"variable_binding: follows answer", "arithmetic-value: follows x"} <= set(
        made.shared.frontier[0].satisfaction
    )
    assert set(made.matrix["shared"]) == {"variable_binding", "arithmetic-value"}
    save_comparison(made, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert len(written["overlaps"]) == 3
    assert (tmp_path / "out" / "compare.svg").stat().st_size > 1000
    assert (tmp_path / "out" / "shared.json").is_file()
    assert "searched for all claims" in (tmp_path / "out" / "compare.html").read_text()
    with pytest.raises(ValueError, match="called shared"):
        compare(model, [replace(sides[0], name="shared"), sides[1]], shared=True)


def test_the_command_tells_bad_input_apart(runs):
    one = CliRunner().invoke(app, ["compare", str(runs[0])])
    assert isinstance(one.exception, ValueError)
    assert "at least two" in str(one.exception)
    twice = CliRunner().invoke(app, ["compare", str(runs[0]), str(runs[0])])
    assert "different names" in str(twice.exception)
    absent = CliRunner().invoke(app, ["compare", str(runs[0]), "nowhere"])
    assert isinstance(absent.exception, LookupError)


def test_the_command_prints_json(runs):
    done = CliRunner().invoke(app, ["compare", *map(str, runs), "--json"])
    assert done.exit_code == 0
    keys = {"circuits", "overlaps", "matrix", "shared", "n_sites", "command"}
    assert set(json.loads(done.stdout)) == keys


def test_the_command_writes_a_page_with_itself(runs, tmp_path):
    done = CliRunner().invoke(app, ["compare", *map(str, runs), "--out", str(tmp_path / "it")])
    # The terminal breaks long paths.
    assert done.exit_code == 0 and "compare.html" in done.stdout.replace("\n", "")
    command = json.loads((tmp_path / "it" / "compare.json").read_text())["command"]
    assert command == f"circuitfind compare {runs[0]} {runs[1]} --out {tmp_path / 'it'}"
    page = (tmp_path / "it" / "compare.html").read_text()
    assert command in page and "circuitfind discover variable_binding" in page
