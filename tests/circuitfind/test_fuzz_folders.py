"""Folders with values of other types, of no size and of any depth: whatever is made of a run's
files, or of a comparison's, is made or refused in words."""

import io
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from circuitfind.bench.cases import Row, read_rows, row_line, summarise
from circuitfind.bench.report import save_bench
from circuitfind.records import load_json
from circuitfind.report.figures.kinds import FIGURES
from circuitfind.report.text.table import print_comparison, print_decisions, print_report
from circuitfind.runs.consent import permitted
from circuitfind.runs.folder import CHECKPOINT, RunFolder, load_settings, read_run
from circuitfind.runs.history import latest_run
from circuitfind.runs.pictures import TEXTS, graph_of, page_of, redraw, write_comparison_page
from circuitfind.runs.review import Said, review
from circuitfind.runs.settings import Settings, search_config
from circuitfind.search.states import state_problems

from .test_records import SLOW, a_run, comes_to_something, mutated

SKIPPED = [*SLOW, HealthCheck.function_scoped_fixture]


def shown(print_it, *values):
    print_it(Console(file=io.StringIO(), width=100), *values)


def on_a_terminal(folder):
    _, circuit, report = read_run(folder)
    if report.get("cost"):
        shown(print_report, circuit.as_json(), report)


def decided(folder):
    made = review(folder, Said())
    if made:
        shown(print_decisions, made.as_json())


def followed(folder):
    made = load_settings(folder)
    search_config(made)
    made.command()
    permitted(made, folder)


def compared(folder):
    write_comparison_page(folder)
    shown(print_comparison, load_json(folder / "compare.json"))


MADE = {
    "page": page_of,
    "terminal": on_a_terminal,
    "decisions": decided,
    "later findings": latest_run,
    "settings": followed,
}
FILES = ("circuit.json", "report.json", "validated.json", "config.json", "examples.json")


def a_whole_run(folder):
    """The folder of a run and a comparison, with all of a report that the terminal shows."""
    a_run(folder)
    report = json.loads((folder / "report.json").read_text())
    numbers = ("tokens_forward", "tokens_backward", "plain_tokens_forward")
    cost = dict.fromkeys((*numbers, "plain_tokens_backward"), 9) | {"flops": 1e6}
    cost |= {"plain_flops": 2e6, "seconds": 1.5}
    cost |= {"cached_tokens_forward": 9, "cached_tokens_backward": 9, "cached_flops": 1.5e6}
    report["cost"] = cost | {"stages": {"search": cost}}
    (folder / "report.json").write_text(json.dumps(report))


def fuzz(name, makers, folder, n):
    a_whole_run(folder)
    path = folder / name
    for make in makers.values():
        assert comes_to_something(make, folder)
    valid = json.loads(path.read_text())

    @settings(max_examples=n, deadline=None, suppress_health_check=SKIPPED)
    @given(mutated(valid), st.sampled_from(list(makers)))
    def hold(text, maker):
        path.write_text(text)
        comes_to_something(makers[maker], folder)

    hold()


@pytest.mark.parametrize("name", [*FILES, "decisions.json"])
def test_what_is_made_of_mutated_files_is_made_or_refused(name, tmp_path):
    fuzz(name, MADE, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "decisions.json"])
def test_what_is_made_of_many_mutated_files_is_made_or_refused(name, tmp_path):
    fuzz(name, MADE, tmp_path, 2000)


def drawings(folder):
    """Every figure and every graph in text that a run's files make."""
    figures = {
        kind: lambda folder, kind=kind: redraw(folder, folder / "it.svg", kind) for kind in FIGURES
    }
    graphs = {kind: lambda folder, kind=kind: graph_of(folder, kind) for kind in TEXTS}
    made = {**figures, **graphs}
    return {kind: make for kind, make in made.items() if comes_to_something(make, folder)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["circuit.json", "report.json", "examples.json"])
def test_figures_and_graphs_of_mutated_files_are_made_or_refused(name, tmp_path):
    a_whole_run(tmp_path)
    fuzz(name, drawings(tmp_path), tmp_path, 500)


@pytest.mark.parametrize("name", ["circuit.json", "report.json"])
def test_figures_and_graphs_of_a_few_mutated_files(name, tmp_path):
    a_whole_run(tmp_path)
    fuzz(name, drawings(tmp_path), tmp_path, 20)


def test_mutated_comparisons_are_shown_or_refused(tmp_path):
    fuzz("compare.json", {"comparison": compared}, tmp_path, 60)


@pytest.mark.slow
def test_many_mutated_comparisons_are_shown_or_refused(tmp_path):
    fuzz("compare.json", {"comparison": compared}, tmp_path, 2000)


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
    auroc=0.5,
    inside=2,
    outside=5,
    slack=0.1,
    tokens=10,
    flops=100,
    seconds=0.5,
    problems="",
    sites="m0@last",
)


def benched(folder):
    rows = read_rows(folder / "rows.jsonl")
    if rows:
        summarise(rows)
        for row in rows:
            row_line(row)


def fuzz_rows(folder, n):
    valid = json.loads(row_line(ROW))

    @settings(max_examples=n, deadline=None, suppress_health_check=SKIPPED)
    @given(st.lists(mutated(valid), min_size=1, max_size=3))
    def hold(lines):
        (folder / "rows.jsonl").write_text("\n".join(lines))
        comes_to_something(benched, folder)

    hold()


def test_mutated_rows_of_the_benchmark_are_read_or_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text(row_line(ROW))
    assert read_rows(tmp_path / "rows.jsonl") == (ROW,)
    save_bench([ROW], tmp_path, "circuitfind bench")
    fuzz_rows(tmp_path, 100)
    (tmp_path / "rows.jsonl").write_text(row_line(ROW) + '{"case": 7}\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl: line 2: .*missing"):
        read_rows(tmp_path / "rows.jsonl")


@pytest.mark.slow
def test_many_mutated_rows_of_the_benchmark_are_read_or_refused(tmp_path):
    fuzz_rows(tmp_path, 2000)


STEPS = 5
COST = ("flops", "seconds")
ODD = st.one_of(
    st.sampled_from([None, True, -1, 10**30, float("nan"), "x", (), [], {}, torch.ones(2)]),
    st.floats(),
    st.text(max_size=3),
    st.builds(torch.full, st.tuples(st.integers(0, 4)), st.floats(width=32)),
)


def a_state(gates):
    optimiser = torch.optim.Adam([gates], lr=0.1)
    gates.sum().backward()
    optimiser.step()
    return {
        "step": 3,
        "parameters": {"gates": gates.detach().clone()},
        "memory": {"total": torch.zeros(3)},
        "optimiser": optimiser.state_dict(),
        "history": [{"stage": "relax", "step": 2}],
        "cost": {"flops": 1, "seconds": 0.5},
    }


def places(content, place=()):
    """Every place in a checkpoint's state, from outside in."""
    rows = content.items() if isinstance(content, dict) else ()
    rows = enumerate(content) if isinstance(content, list) else rows
    if place:
        yield place
    for key, value in rows:
        yield from places(value, (*place, key))


def fuzz_states(folder, n):
    """A state with a value replaced or removed is kept, read back, and gone on from or refused."""
    run = RunFolder(folder / "run", Settings(task="t"))
    run.begin(resume=False)

    @settings(max_examples=n, deadline=None, suppress_health_check=SKIPPED)
    @given(st.data())
    def hold(data):
        gates = torch.full((3,), 0.5, requires_grad=True)
        state = a_state(torch.full((3,), 0.5, requires_grad=True))
        optimiser = torch.optim.Adam([gates], lr=0.1)
        *outer, key = data.draw(st.sampled_from(list(places(state))))
        inside = state
        for part in outer:
            inside = inside[part]
        if data.draw(st.booleans()) and isinstance(inside, dict):
            del inside[key]
        else:
            inside[key] = data.draw(ODD)
        run.save_checkpoint(state)
        read, problem = run.read_checkpoint(CHECKPOINT)
        assert read is not None, problem
        tensors = {"parameters": {"gates": gates}, "memory": {"total": torch.zeros(3)}}
        told = state_problems(read, steps=STEPS, tensors=tensors, optimiser=optimiser, cost=COST)
        if not told and "parameters" in read:
            gates.data.copy_(read["parameters"]["gates"])
            torch.zeros(3).copy_(read["memory"]["total"])
            optimiser.load_state_dict(read["optimiser"])
            gates.sum().backward()
            optimiser.step()
            assert all(isinstance(row["step"], int) for row in read["history"])
            assert bool(torch.isfinite(gates).all())

    hold()


def test_mutated_states_are_gone_on_from_or_refused(tmp_path):
    fuzz_states(tmp_path, 100)


@pytest.mark.slow
def test_many_mutated_states_are_gone_on_from_or_refused(tmp_path):
    fuzz_states(tmp_path, 2000)
