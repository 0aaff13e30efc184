"""The page of a run, read as text: what strangers wrote into it stays text."""

import json
import re
from dataclasses import replace

import pytest

from circuitfind.circuits.circuit import load_circuit
from circuitfind.circuits.decisions import Decision, Decisions
from circuitfind.circuits.examples import Attention, Examples, load_examples
from circuitfind.mediators.known import parse_site
from circuitfind.report.figures.kinds import FIGURES, draw_kind
from circuitfind.report.page.page import render_page
from circuitfind.report.page.template import visible
from circuitfind.runs.folder import PAGE
from circuitfind.runs.pictures import write_page
from circuitfind.runs.settings import Settings

from ..figures import words_of
from ..pages import HOSTILE, Elements, a_page
from ..plugins import mixed_circuit, plug_in


@pytest.fixture(scope="module")
def page():
    circuit, report, examples = a_page()
    return render_page(circuit, report, command="circuitfind discover plain", examples=examples)


def test_hostile_text_stays_text(page):
    circuit, report, examples = a_page(*HOSTILE)
    made = render_page(circuit, report, command=" ".join(HOSTILE), examples=examples)
    read, known = Elements(made), Elements(page)
    assert {tag for tag, _ in read.found} == {tag for tag, _ in known.found}
    for tag in ("script", "style", "meta", "svg", "form", "title", "h1"):
        mine, its = ([t for t, _ in one.found].count(tag) for one in (read, known))
        assert mine == its, f"a stranger's text made a <{tag}>"
    assert not [name for _, facts in read.found for name in facts if name.startswith("on")]
    assert read.scripts[1] == known.scripts[1]
    assert json.loads(read.scripts[0])["circuit"] == json.loads(json.dumps(circuit.as_json()))
    for text in HOSTILE[:7]:
        assert "".join(read.text).count(text) > 5, "the text is not told as it is"


def test_what_cannot_be_seen_is_made_visible():
    shown = re.sub(r"</?i[^>]*>", "", visible(" two\nlines\u202e "))
    assert shown == "␣two↵\nlinesU+202E␣"
    assert visible("<b>") == "&lt;b&gt;"
    assert re.sub(r"</?i[^>]*>", "", visible("  ")) == "␣␣"
    assert visible(" a ", False) == " a "


def test_the_page_asks_nothing_of_a_network(page):
    assert "default-src 'none'" in page
    for _, facts in Elements(page).found:
        assert not {"src", "srcset", "action", "poster", "background"} & set(facts)
        assert all(facts.get(name, "#").startswith("#") for name in ("href", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import|https?://", page)


def test_ids_are_unique_and_what_is_referred_to_is_there(page):
    ids = [facts["id"] for _, facts in Elements(page).found if "id" in facts]
    assert len(set(ids)) == len(ids)
    named = re.findall(r"""(?:url\(#|href="#|aria-controls="|aria-labelledby=")([^)"]+)""", page)
    assert named and set(named) <= set(ids)


def test_the_drawings_leave_headings_of_any_length_to_the_page(page):
    circuit, report, examples = a_page("a claim of words without end " * 8)
    made = render_page(circuit, report, command="c", examples=examples)
    for text in (page, made):
        drawn = [facts["id"] for _, facts in Elements(text).found if "id" in facts]
        assert any(name.startswith("node-") for name in drawn)
        assert not [name for name in drawn if "title-line" in name or "subtitle" in name]


def test_members_and_effects_can_be_found_by_the_script(page):
    ids = [facts.get("id") for _, facts in Elements(page).found]
    assert {"node-0", "node-1", "edge-1", "site-0", "site-1", "tab-0", "panel-0"} <= set(ids)
    assert "--with: 0.9; --without: 0.65; --need: 0.95" in page
    assert "\N{MINUS SIGN}1.50" in page  # the edge from m1 to the answer


def test_mediators_of_a_plug_in_have_a_node_a_panel_and_a_figure_of_every_kind(monkeypatch):
    plug_in(monkeypatch)
    circuit, (_, report, _) = mixed_circuit(), a_page()
    report["binds"] = {}
    names = list(map(str, circuit.sites))
    row = report["checks"][0]["details"][0]
    for check in report["checks"]:
        check["details"] = [row | {"site": name} for name in names]
    report["checks"].append(report["checks"][0] | {"name": "stability", "n": 10})
    report["checks"][-1]["details"] = [{"site": name, "share": 0.5} for name in names]
    page = render_page(circuit, report, known=["m0@last", *names])
    read = Elements(page)
    ids = [facts.get("id") for _, facts in read.found]
    for number in range(len(names)):
        assert {f"node-{number}", f"site-{number}"} <= set(ids)
    told = " ".join(" ".join(read.text).split())
    assert "neuron 17 of layer 3" in told and "residual stream of layer 4" in told
    assert "2 heads, 1 MLP, 1 embedding, 2 neurons, 1 residual stream" in told
    assert json.loads(read.scripts[0])["sites"] == [*names, "m0@last"]
    for kind in set(FIGURES) - {"attention"}:  # where only heads look
        shown = words_of(draw_kind(circuit, report, kind))
        assert kind in ("frontier", "bars") or ("m3.n17" in shown or "neuron" in shown), kind


def test_without_examples_frontier_or_stored_effects():
    circuit, report, _ = a_page(frontier=[])
    report["checks"][0]["details"] = [
        {key: value for key, value in row.items() if key != "effects"}
        for row in report["checks"][0]["details"]
    ]
    page = render_page(circuit, report)
    assert "holds no example pairs" in page
    assert "How small can it be?" not in page
    assert "--without: 0.65" in page


def told_by(page):
    return " ".join("".join(Elements(page).text).split())


def test_leads_and_losses_stand_with_their_unit(page):
    circuit, report, _ = a_page()
    told = told_by(page)
    assert "mean lead\N{MINUS SIGN}0.25 plain \N{MINUS SIGN}0.50 to +0.12" in told
    assert "✕ fails It loses 0.62 (0.51 to 0.75) of the 0.50 plain allowed" in told
    assert "Edges out, in plain" in told and "logits" not in told
    for verdict, mark in (("holds", "✓"), ("fails", "✕"), ("inconclusive", "?")):
        row = report["desiderata"][0]
        row["loss"]["verdict"], row["holds"] = verdict, verdict == "holds"
        told = told_by(render_page(circuit, report))
        assert f"{mark} plain" in told and f"{mark} {verdict} It loses" in told


def test_reports_before_leads_and_units_are_told_as_ever():
    circuit, report, _ = a_page("nats")
    for key in ("lead", "lead_low", "lead_high", "unit", "loss"):
        del report["desiderata"][0][key]
    plain = replace(circuit, edges=tuple(replace(edge, unit="logits") for edge in circuit.edges))
    assert all("unit" not in edge for edge in plain.as_json()["edges"])
    told = told_by(render_page(plain, report))
    assert "reaches0.900 0.800 to 0.950" in told and "? nats" in told
    assert "mean lead" not in told and "loses" not in told
    assert "Edges out, in logits" in told


def test_a_card_or_examples_of_another_circuit_are_refused():
    circuit, report, examples = a_page()
    other = replace(circuit, model="other")
    with pytest.raises(ValueError, match="card is about another circuit"):
        render_page(other, report)
    report["binds"]["circuit"] = other.digest
    with pytest.raises(ValueError, match="examples are of another circuit"):
        render_page(other, report, examples=examples)


def test_what_a_person_decided_is_told_and_drawn():
    circuit, report, examples = a_page("one", "two")
    site, when = str(circuit.sites[0]), "2026-01-02T00:00:00+00:00"
    made = (
        Decision(site=site, action="name", value="<b>mover</b>", reason="why", by="Ada", when=when),
        Decision(
            site=site, action="group", value="<i>movers</i>", reason="why", by="Ada", when=when
        ),
    )
    decisions = Decisions(
        circuit=circuit.digest, verdict="accept", decisions=made, by="Ada", when=when
    )
    page = render_page(circuit, report, examples=examples, decisions=decisions)
    told = "".join(Elements(page).text)
    assert "accepted by Ada, 2026-01-02" in told
    assert told.count("<b>mover</b>") == 2 and "“<i>movers</i>”" in told
    with pytest.raises(ValueError, match="decisions are about another circuit"):
        render_page(circuit, report, decisions=replace(decisions, circuit="0" * 64))


def test_sixty_members_and_long_prompts_stay_small():
    long = "word " * 400
    circuit, report, examples = a_page(long)
    sites = tuple(parse_site(f"a{n // 12}.h{n % 12}@last") for n in range(60))
    size = {"n_layers": 5, "n_heads": 12}
    circuit = replace(circuit, sites=sites, scores=(0.01,) * 60, edges=(), provenance=size)
    report["binds"] = {}
    weights = {str(site): (0.0025,) * 400 for site in sites}
    many = replace(examples.sets[0], examples=examples.sets[0].examples * 12)
    looks = Attention(("word ",) * 400, {}, weights)
    examples = Examples(circuit.digest, (many,), looks)
    page = render_page(circuit, report, examples=examples)
    assert len(page.encode()) < 6e6


def test_examples_come_back_and_others_are_refused(tmp_path):
    path, (_, _, examples) = tmp_path / "examples.json", a_page(HOSTILE[7])
    examples.save(path)
    assert load_examples(path) == examples
    read = json.loads(path.read_text())
    read["sets"][0]["examples"][0]["right"] = "yes"
    read["attention"]["weights"]["a0.h1@last"] = [1.0]
    path.write_text(json.dumps(read | {"format": "other"}))
    with pytest.raises(
        ValueError,
        match=r"format must be.*sets\.0\.examples\.0\.right must.*attention of 'a0.h1@last'",
    ):
        load_examples(path)


def test_an_old_run_folder_gets_a_page(tmp_path):
    circuit, report, _ = a_page()
    circuit.save(tmp_path / "circuit.json")
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "config.json").write_text(json.dumps({"task": "ioi", "model": "it's", "at": ["x"]}))
    assert write_page(tmp_path) == tmp_path / PAGE
    told = "".join(Elements((tmp_path / PAGE).read_text()).text)
    assert "circuitfind discover ioi --model 'it'\"'\"'s' --method constrained --at x" in told
    assert load_circuit(tmp_path / "circuit.json") == circuit


def test_the_command_makes_the_same_settings():
    made = Settings(
        task="ioi", model="binder", at=("last", "x"), n=50, prepend_bos=False, pins=("m0@last",)
    )
    assert made.command() == (
        "circuitfind discover ioi --model binder --method constrained --at last --at x --n 50 "
        "--seed 0 --no-prepend-bos --pin m0@last"
    )
