"""The page of a run, read as text: what strangers wrote into it stays text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from circuitfind.circuit import Circuit, Edge, load_circuit
from circuitfind.component import parse_site
from circuitfind.examples import Attention, Example, Examples, ExampleSet, load_examples
from circuitfind.folder import PAGE
from circuitfind.report.page import render_page, visible
from circuitfind.run import Settings, write_page
from circuitfind.validate.card import Card, DesideratumScore, Finding

HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<!-- <script>",
    '"><img src=x onerror=alert(3)>', "{{ 7 * 7 }} {% raw %}", "' onfocus='alert(4)",
    "&lt;b&gt;", "a\nb\r\tc\x00", "\u202egnp.exe\u2066", "🦊" * 50, "$\\alpha$ ${x}", "]]> --> */",
    "javascript:alert(5)", "x" * 3000,
)  # fmt: skip


def a_page(text="plain", **changes):
    """A circuit, its report and its examples with this text wherever a stranger may write."""
    # On one line and with no @: what a position may be called.
    where = " ".join(text.split()).replace("@", "") or "last"
    sites = tuple(map(parse_site, (f"a0.h1@{where}", f"m1@{where}")))
    circuit = Circuit(
        text, text, text, text, 0, sites, (0.4, -0.1),
        {"n_layers": 2, "n_heads": 3, "positions": [where], text: text},
        (Edge(sites[0], sites[1], "in", 0.5, 0.25, 0.75, 9),
         Edge(sites[1], None, "answer", -1.5, -2.0, -1.0, 9)),
    )  # fmt: skip
    score = DesideratumScore(
        text, "inside", "follows", 96, 0.0, 1.0, 0.9, 0.8, 0.95, 0.95, 0.95, False, False,
        text, "held-out",
    )  # fmt: skip
    row = {"site": str(sites[0]), "desideratum": text, "effect": 0.25, "lost": 24, "won": 0,
           "n": 96, "p": 0.001, "effects": {text: 0.25}, "needed": True}  # fmt: skip
    finding = Finding(
        "leave one out", "fails", 0.5, 0.0, 1.0, 96, text, "held-out", text, (row, {text: text})
    )
    card = Card((score,), (finding,), binds={"circuit": circuit.digest, "pairs": text})
    report = {
        "success": False, "message": text, "size": {"of": 8}, **card.as_json(), "notes": [text],
        "problems": [text], "created": text, "cost": None,
        "frontier": [{"size": n, "satisfaction": {text: 0.3 * n}} for n in range(4)],
    }  # fmt: skip
    example = Example(text, text, text, text, text, text, text, text, False)
    weights = {str(sites[0]): (0.25, 0.75)}
    examples = Examples(
        circuit.digest, (ExampleSet(text, 96, 86, (example,)),), Attention((text, " b"), weights)
    )
    return circuit, report | changes, examples


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        inside = self.found[-1][0] if self.found else ""
        (self.scripts if inside == "script" and self.cdata_elem else self.text).append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text):
    circuit, report, examples = a_page(text)
    page = render_page(circuit, report, command=f"circuitfind discover {text}", examples=examples)
    plain, again, looks = a_page()
    quiet = render_page(plain, again, command="circuitfind discover plain", examples=looks)
    read, known = Elements(page), Elements(quiet)

    def tags(elements):
        return [tag for tag, _ in elements.found if tag not in ("use", "path", "g", "i", "defs")]

    assert tags(read) == tags(known), "a stranger's text made elements"
    assert not [name for _, facts in read.found for name in facts if name.startswith("on")]
    assert json.loads(read.scripts[0])["circuit"] == json.loads(json.dumps(circuit.as_json()))
    assert read.scripts[1] == known.scripts[1]


def test_hostile_text_is_told_as_it_is():
    circuit, report, examples = a_page(HOSTILE[0])
    told = "".join(Elements(render_page(circuit, report, examples=examples)).text)
    assert told.count(HOSTILE[0]) > 20


def test_what_cannot_be_seen_is_made_visible():
    shown = re.sub(r"</?i[^>]*>", "", visible(" two\nlines\u202e "))
    assert shown == "␣two↵\nlinesU+202E␣"
    assert visible("<b>") == "&lt;b&gt;"


def test_the_page_asks_nothing_of_a_network():
    page = render_page(*a_page()[:2], examples=a_page()[2])
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    for _, facts in Elements(page).found:
        assert not {"src", "srcset", "action", "poster", "background"} & set(facts)
        assert all(facts.get(name, "#").startswith("#") for name in ("href", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import|https?://", page)


def test_ids_are_unique():
    ids = [facts["id"] for _, facts in Elements(render_page(*a_page()[:2])).found if "id" in facts]
    assert len(set(ids)) == len(ids)


def test_members_and_effects_can_be_found_by_the_script():
    circuit, report, examples = a_page()
    page = render_page(circuit, report, examples=examples)
    ids = [facts.get("id") for _, facts in Elements(page).found]
    assert {"node-0", "node-1", "site-0", "site-1", "tab-0", "panel-0"} <= set(ids)
    assert "--with: 0.9; --without: 0.65; --need: 0.95" in page
    assert "\N{MINUS SIGN}1.50" in page  # the edge from m1 to the answer


def test_without_examples_frontier_or_stored_effects():
    circuit, report, _ = a_page(frontier=[])
    for row in report["checks"][0]["details"]:
        row.pop("effects", None)
    page = render_page(circuit, report)
    assert "holds no example pairs" in page
    assert "How small can it be?" not in page
    assert "--without: 0.65" in page


def test_a_card_or_examples_of_another_circuit_are_refused():
    circuit, report, examples = a_page()
    other = replace(circuit, model="other")
    with pytest.raises(ValueError, match="card is about another circuit"):
        render_page(other, report)
    report["binds"]["circuit"] = other.digest
    with pytest.raises(ValueError, match="examples are of another circuit"):
        render_page(other, report, examples=examples)


def test_sixty_members_and_long_prompts_stay_small():
    circuit, report, examples = a_page("word " * 400)
    sites = tuple(parse_site(f"a{n // 12}.h{n % 12}@last") for n in range(60))
    size = {"n_layers": 5, "n_heads": 12}
    circuit = replace(circuit, sites=sites, scores=(0.01,) * 60, edges=(), provenance=size)
    report["binds"] = {}
    weights = {str(site): (0.0025,) * 400 for site in sites}
    examples = Examples(
        circuit.digest, examples.sets * 12, Attention(("word ",) * 400, weights)
    )
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
    with pytest.raises(ValueError, match=r"format must be.*set 1.*attention of 'a0.h1@last'"):
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
    made = Settings("ioi", "binder", at=("last", "x"), n=50, prepend_bos=False, rival=True)
    assert made.command() == (
        "circuitfind discover ioi --model binder --method constrained --at last --at x --n 50 "
        "--seed 0 --no-prepend-bos --rival"
    )
