"""What shows itself in a notebook, and the notebook among the examples."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from rich.console import Console

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import mlp
from circuitfind.notebook import register_views
from circuitfind.objective.mask import Mask
from circuitfind.report.figures.plots import draw_search
from circuitfind.report.figures.titled import Shown
from circuitfind.report.text.table import print_report
from circuitfind.search import FrontierPoint, SearchResult
from circuitfind.validate.card import Card
from circuitfind.validate.finding import DesideratumScore, Finding, Loss, decimals

from ..pages import a_page
from ..plugins import mixed_circuit, plug_in
from .test_review import hostile

NOTEBOOK = Path(__file__).parents[2] / "examples/variable_binding.ipynb"
TAGS = {"div", "strong", "table", "tr", "th", "td", "bdi"}


class Reader(HTMLParser):
    """The text of HTML in which every tag is known and closed, and has nothing but a style."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS and {name for name, _ in attributes} <= {"style"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def refuse(self, data: str):
        raise AssertionError(data)

    handle_comment = handle_decl = handle_pi = unknown_decl = refuse  # type: ignore[assignment]

    def handle_data(self, data):
        self.text.append(data)


def html_of(shown):
    """What IPython shows: the view is found by the object's class alone."""
    shell = SimpleNamespace(
        display_formatter=SimpleNamespace(formatters={"text/html": Formatter()})
    )
    register_views(shell)
    return shell.display_formatter.formatters["text/html"].views[
        type(shown).__module__, type(shown).__name__
    ](shown)


class Formatter:
    def __init__(self):
        self.views = {}

    def for_type_by_name(self, module, name, view):
        self.views[module, name] = view


def text_of(shown):
    return " | ".join(Reader(html_of(shown)).text)


def a_circuit(words="words", n=3, **provenance):
    sites = tuple(Site(head(layer, 0), words or "x") for layer in range(n))
    scores = tuple(0.1 * layer for layer in range(n))
    return Circuit(
        model=words,
        task=words,
        claim=words,
        method=words,
        seed=0,
        sites=sites,
        scores=scores,
        provenance=provenance,
    )


def a_card(words="words", **changes):
    row = DesideratumScore(
        name=words,
        part="inside",
        sense="follows",
        n=9,
        null=0.0,
        ceiling=1.0,
        satisfaction=0.5,
        low=0.3,
        high=0.7,
        at_least=0.9,
        need=0.9,
        holds=False,
        vacuous=False,
        ablation="source",
        split="held-out",
    )
    found = Finding(
        name=words,
        verdict="inconclusive",
        value=0.5,
        low=0.3,
        high=0.7,
        n=9,
        ablation=words,
        split="held-out",
        says=words,
    )
    return Card((replace(row, **changes),), (found,))


def a_result(words="words", names=("a", "b"), circuit=None):
    frontier = tuple(
        FrontierPoint(size, (), dict.fromkeys(names, size / 5), 0.0) for size in range(5)
    )
    sites = (Site(mlp(0), "last"),)
    return SearchResult(
        mask=Mask(sites, torch.zeros(1)),
        circuit=circuit or a_circuit(words),
        success=False,
        status="fails",
        message=words,
        history=(),
        frontier=frontier,
        ranking=torch.zeros(1),
        problems=(words,),
        cost={},
        bounds=dict.fromkeys(names, 0.5),
    )


@pytest.mark.parametrize("n", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_hostile_words_show_as_text_and_stay_small(n):
    for words in hostile(n):
        chosen = {f"a1.h0@{words}": {"who": "person", "by": words, "reason": words}}
        circuit = a_circuit(words, chosen=chosen)
        for shown in (circuit, a_card(words), a_result(words, circuit=circuit)):
            text = text_of(shown)
            assert "\u202e" not in text and "\x1b" not in text and "\n" not in text
            assert len(html_of(shown)) < 40_000
        if "<script>" in words[:100]:
            assert "<script>" in text_of(circuit)


def test_a_circuit_says_who_chose_its_sites():
    story = {"a0.h0@words": {"who": "person", "by": "Ada", "reason": "why"}}
    assert "Ada: why" in text_of(a_circuit(chosen=story))
    assert text_of(a_circuit(chosen=story)).count("optimiser") == 2
    assert "chosen by" not in text_of(a_circuit())
    assert "chosen by" not in text_of(a_circuit(chosen=["nonsense"]))
    order = text_of(a_circuit()).index
    assert order("a2.h0@words") < order("a0.h0@words")  # the greatest score first
    assert "and 20 more" in text_of(a_circuit(n=60))


def test_mediators_of_a_plug_in_are_counted_and_listed(monkeypatch):
    plug_in(monkeypatch)
    circuit = mixed_circuit()
    makeup = "2 heads, 1 MLP, 1 embedding, 2 neurons, 1 residual stream"
    text = text_of(circuit)
    assert f"7 sites ({makeup}) by constrained" in text and "m3.n17@last" in text
    console = Console(record=True, width=200, file=io.StringIO())
    _, report, _ = a_page()
    told = dict.fromkeys(("tokens_forward", "tokens_backward", "flops", "seconds"), 1)
    report |= {"size": {"sites": 7, "of": 99}, "cost": told | {"stages": {}}}
    print_report(console, circuit.as_json(), report)
    shown = console.export_text()
    assert f"7 of 99 sites ({makeup})" in shown and "m3.n17@last (0.300)" in shown


def test_cards_and_results_say_their_verdicts():
    text = text_of(a_card())
    assert "on held-out pairs: not satisfied: " in text and "reaches 0.500 of the 0.900" in text
    assert "inconclusive" in text and "0.300 to 0.700" in text
    text = text_of(a_result("it fails since"))
    assert "✗ fails" in text and "it fails since" in text and "0 to 4 sites" in text
    empty = replace(a_circuit(), sites=(), scores=())
    assert "site" not in text_of(replace(a_result(), circuit=empty, frontier=()))


LOSS = Loss(limit="l", mean=0.21, low=0.15, high=0.28, allowed=0.5, unit="nats", verdict="holds")
LED = {"lead": 3.2, "lead_low": 3.05, "lead_high": 3.4, "unit": "nats"}


def table_of(card, width):
    """What the terminal shows of a card, without its lines."""
    console = Console(record=True, width=width, file=io.StringIO())
    circuit = a_circuit()
    cost = dict.fromkeys(("tokens_forward", "tokens_backward", "flops", "seconds"), 1)
    told = {"success": True, "message": "m", "size": {"of": 9}, "notes": [], "problems": []}
    report = told | card.as_json() | {"cost": cost | {"stages": {}}}
    print_report(console, circuit.as_json(), report)
    return " ".join(console.export_text().replace("│", " ").split())


@pytest.mark.parametrize("width", [100, 150])
def test_a_card_tells_leads_and_losses_in_their_unit(width):
    lead, loss = "+3.20 nats (+3.05 to +3.40)", "loses 0.21 (0.15 to 0.28) of the 0.50 nats allowed"
    card = a_card(**LED, loss=LOSS, holds=True)
    assert lead in text_of(card) and f"{loss}: holds" in text_of(card)
    told = table_of(card, width)
    assert lead in told and f"{loss}: holds" in told and "mean lead" in told
    for verdict in ("fails", "inconclusive"):
        other = a_card(**LED, loss=replace(LOSS, verdict=verdict))
        assert f"{loss}: {verdict}" in text_of(other)
        told = table_of(other, width)
        between = f"{lead} " if width == 150 else ""
        assert f"{loss}: {verdict}" in told and f"0.300-0.700 {between}{verdict}" in told
    one_pair = replace(card.desiderata[0], lead_low=None, lead_high=None, loss=None)
    assert "+3.20 nats holds" in table_of(replace(card, desiderata=(one_pair,)), 150)


def test_a_card_of_before_tells_no_lead():
    for told in (text_of(a_card()), table_of(a_card(), 100), table_of(a_card(), 150)):
        assert "0.500" in told and "lead" not in told and "loses" not in told


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (0.214, 0.5, "0.21"),
        (0.0214, 0.011, "0.021"),
        (-0.001, 3.0, "0.00"),
        (1e-9, 1e-9, "0.000000"),
        (2.0, 0.0, "2.00"),
        (3.0, float("inf"), "3.00"),
        (1e300, 1e300, "1e+300"),
    ],
)
def test_numbers_show_two_digits_of_what_they_are_compared_with(value, like, text):
    assert decimals(value, like) == text


def test_a_result_plots_its_frontier_with_bounds_and_choice():
    names = ["$x^2$ <b>", "b"]
    result = a_result(names=names)
    figure = draw_search(result)
    assert len(figure.axes) == len(names) + 1  # and the least margin
    found = {line.get_gid(): line for axes in figure.axes for line in axes.lines}
    reached = [point.satisfaction[names[0]] for point in result.frontier]
    assert np.asarray(found["line-0"].get_ydata()).tolist() == reached
    assert np.asarray(found["bound-1"].get_ydata()).tolist() == [0.5, 0.5]
    assert np.asarray(found["chosen-0"].get_xdata()).tolist() == [len(result.circuit)] * 2
    assert isinstance(figure, Shown)
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no frontier"):
        draw_search(replace(result, frontier=()))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_example_runs_and_was_run(whole):
    """Its last cell searches a second time, which only the slow test does."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count and cell.outputs for cell in cells)
    told = json.dumps(notebook)
    assert "<script" not in told and "site-packages" not in told
    space = {}
    for cell in cells if whole else cells[:-1]:
        exec(compile(cell.source, str(NOTEBOOK), "exec"), space)
    result = space["result"]
    assert result.success and "again = search(" in cells[-1].source
    if whole:
        assert space["again"].success is ("✓ holds" in str(cells[-1].outputs))
    stored = [
        out["data"]["text/html"]
        for cell in cells
        for out in cell.outputs
        if "data" in out and "text/html" in out["data"]
    ]
    assert html_of(result) in map("".join, stored)
