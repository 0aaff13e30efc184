"""Methods and checks of somebody else: as objects, as functions, and from installed packages."""

import json
import sys
from dataclasses import replace
from importlib import metadata
from types import ModuleType

import pytest
import torch

from circuitfind.bench.cases import known_cases, run_cases
from circuitfind.cli.app import app
from circuitfind.mediators.site import Site
from circuitfind.progress import Progress
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings
from circuitfind.search import (
    METHODS,
    MethodSpec,
    SearchConfig,
    SearchProblem,
    method_named,
    search,
    solve,
)
from circuitfind.search.descent import Descent, add_losses, descend
from circuitfind.search.finish import finish
from circuitfind.search.ranks import ranked
from circuitfind.validate import CHECKS, Check, Finding, checks_named, validate

from .. import planted as wired
from ..entries import entry
from .test_search import Interrupted, Kept

CIRCUIT = {Site(component, "last") for component in wired.CIRCUIT}


def by_descent(problem, config, progress):
    """Gates by plain gradient descent: what a stranger would write first."""
    gates = torch.full((len(problem.sites),), 0.5, requires_grad=True)

    def gradients(step):
        (0.02 * gates.sum()).backward()
        return add_losses(problem.fit, gates, problem.live)

    def after(step, row):
        gates.data.clamp_(0, 1)
        return {"size": float(gates.detach().sum()), **row}

    descent = Descent(
        stage="mine",
        objective=problem.fit,
        parameters={"gates": gates},
        optimiser=torch.optim.Adam([gates], lr=0.1),
        steps=config.steps or 40,
        gradients=[gradients],
        after=after,
    )
    history = descend(descent, progress)
    return finish("a name of its own", problem, ranked(gates.detach(), config), history, config)


def count_members(inputs):
    n = len(inputs.members)
    return Finding.undecided("another name", f"there are {n} members", n=n)


COUNT = Check(name="count", run=count_members, about="how many members there are")


@pytest.fixture(scope="module")
def train():
    return wired.claim.sample(24, 0)[0]


@pytest.fixture(scope="module")
def circuit(planted, train):
    return search(planted, train, "greedy").circuit


def install(monkeypatch, group, **objects):
    """A package with these objects and an entry point for each, in one group."""
    module = ModuleType("guest")
    vars(module).update(objects)
    monkeypatch.setitem(sys.modules, "guest", module)
    entries = [entry(name, f"guest:{name}", "guest-kit", group) for name in (*objects, "missing")]
    monkeypatch.setattr(
        metadata, "entry_points", lambda group: [one for one in entries if one.group == group]
    )
    for registry in (METHODS, CHECKS):
        # Undone at the end, so that no other test sees the guests.
        monkeypatch.setattr(registry, "_found", None)
        monkeypatch.setattr(registry, "_problems", [])


def test_a_function_is_a_method_by_its_own_name(planted, train):
    result = search(planted, train, by_descent)
    assert result.success, result.message
    assert set(result.circuit.sites) >= CIRCUIT
    assert result.circuit.method == "by_descent"
    named = MethodSpec(name="mine", run=by_descent)
    again = solve(SearchProblem.open(planted, train), named)
    assert again.circuit == replace(result.circuit, method="mine")


def greedy(problem, config, progress):
    """A function with the name of a method in the table."""


@pytest.mark.parametrize(
    ("method", "error", "words"),
    [
        (lambda problem, config, progress: None, ValueError, "wrap it: MethodSpec"),
        (greedy, ValueError, "'greedy' is another one already"),
        ("magic", LookupError, "no method 'magic'; the methods are: constrained"),
    ],
)
def test_what_is_no_method_is_refused(method, error, words):
    with pytest.raises(error, match=words):
        method_named(method)


def test_a_method_of_ones_own_is_resumed_to_the_same_result(planted, train):
    config = SearchConfig(steps=12)
    whole, broken = search(planted, train, by_descent, config=config), Kept(stop_after=5)
    with pytest.raises(Interrupted):
        search(planted, train, by_descent, config=config, progress=broken)
    resumed = Kept(state=broken.state)
    result = search(planted, train, by_descent, config=config, progress=resumed)
    assert resumed.saves == 7
    assert result.circuit == whole.circuit and torch.equal(result.ranking, whole.ranking)


def test_a_run_folder_keeps_the_name_of_the_method(tmp_path):
    settings = Settings(task="planted", model="planted:parts=1", n=24, n_random=5, steps=20)
    stopped = []

    class Stop(Progress):
        def report(self, stage, done, total, row):
            if stage == "mine" and done == 10 and not stopped:
                stopped.append(done)
                raise Interrupted

    with pytest.raises(Interrupted):
        discover(settings, tmp_path / "run", method=by_descent, shown=Stop())
    run = discover(settings, tmp_path / "run", method=by_descent, resume=True)
    whole = discover(settings, tmp_path / "whole", method=by_descent)
    assert run.circuit.method == "by_descent"
    assert (run.circuit.sites, run.circuit.scores) == (whole.circuit.sites, whole.circuit.scores)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["method"] == run.circuit.provenance["config"]["method"] == "by_descent"
    with pytest.raises(ValueError, match="method was 'by_descent' and is 'constrained'"):
        discover(settings, tmp_path / "run", resume=True)


def test_the_benchmark_takes_methods_as_objects():
    case = next(case for case in known_cases("quick") if case.kind == "planted")
    rows = run_cases([case], [by_descent, "random"], 1, workers=1)
    assert [row.method for row in rows] == ["by_descent", "random"]


def test_a_check_is_taken_as_an_object(planted, circuit):
    held_out = wired.claim.sample(24, 0)[1]
    card = validate(planted, circuit, held_out, checks=["pairs", COUNT])
    assert [finding.name for finding in card.findings] == ["pairs", "count"]
    assert card.findings[1].says == f"there are {len(circuit)} members"
    assert checks_named(also=[COUNT]) == (*checks_named(), COUNT)
    with pytest.raises(ValueError, match="two different checks are called pairs"):
        checks_named(["pairs", replace(COUNT, name="pairs")])


def test_undecided_findings_say_why_and_nothing_else():
    found = Finding.undecided("count", "nothing to count", split="search", details=[{"a": 1}])
    assert (found.verdict, found.value, found.low, found.high, found.n) == (
        "inconclusive",
        0.0,
        0.0,
        1.0,
        0,
    )
    assert (found.says, found.split, found.details) == ("nothing to count", "search", ({"a": 1},))


def test_an_installed_package_adds_a_method(planted, train, monkeypatch, capsys):
    spec = MethodSpec(name="guest", run=by_descent, idea="descends", source="guest et al.")
    install(monkeypatch, "circuitfind.methods", spec=spec, taken=replace(spec, name="greedy"))
    assert search(planted, train, "guest").circuit.method == "guest"
    app(["methods", "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    rows = {row["method"]: row for row in json.loads(out)}
    assert rows["guest"] == {
        "method": "guest",
        "idea": "descends",
        "source": "guest et al.",
        "package": "guest-kit",
    }
    assert rows["greedy"]["package"] == "circuitfind"
    assert err.splitlines() == [
        "the method 'missing' of guest-kit is left out: AttributeError: module 'guest' has no "
        "attribute 'missing'",
        "the method 'taken' of guest-kit is left out: guest:taken is called 'greedy', as is one "
        "of circuitfind",
    ]


def test_an_installed_package_adds_a_check(planted, circuit, monkeypatch, capsys):
    install(monkeypatch, "circuitfind.checks", count=COUNT)
    held_out = wired.claim.sample(24, 0)[1]
    with pytest.warns(UserWarning, match="the check 'missing' of guest-kit is left out"):
        card = validate(planted, circuit, held_out)
    assert card.findings[-1].name == "count"
    app(["checks", "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert json.loads(out)[-1]["package"] == "guest-kit"
    assert err.startswith("the check 'missing' of guest-kit is left out")
