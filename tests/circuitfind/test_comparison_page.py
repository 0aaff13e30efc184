"""The page of a comparison: what it tells, that a stranger's names stay names, and in a browser."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitfind.cli.app import app
from circuitfind.report.page.comparison import render_comparison
from circuitfind.runs.pictures import page_of, write_comparison_page

from ..browser import LOOKS, OUTSIDE, printed, visiting
from ..pages import HOSTILE, Elements, a_comparison

REAL = Path(__file__).parents[2] / "figures/dcm"
OVERLAP = {"first": "one", "second": "two", "shared": 1, "jaccard": 0.5, "chance": 0.0, "p": 0.1}
NAMES = ("arithmetic_seed0", "boxes_seed0", "retrieval_seed0", HOSTILE[3])


def words_of(page):
    return " ".join("".join(Elements(page).text).split())


def test_hostile_names_stay_names():
    made = a_comparison(*HOSTILE)
    page, plain = render_comparison(made, {}), render_comparison(a_comparison("one", "two"), {})
    read, known = Elements(page), Elements(plain)
    tags, others = ({tag for tag, _ in one.found} - {"wbr"} for one in (read, known))
    assert tags == others
    for tag in ("script", "style", "meta", "svg", "title", "h1"):
        mine, its = ([t for t, _ in one.found].count(tag) for one in (read, known))
        assert mine == its, f"a stranger's name made a <{tag}>"
    assert not [name for _, facts in read.found for name in facts if name.startswith("on")]
    assert read.scripts[1] == known.scripts[1]
    assert json.loads(read.scripts[0]) == json.loads(json.dumps(made))
    assert len(page.encode()) < 1e7


def test_the_page_asks_nothing_of_a_network_and_refers_to_what_is_there():
    page = render_comparison(a_comparison("one", "two"), {})
    assert "default-src 'none'" in page
    read = Elements(page)
    for _, facts in read.found:
        assert not {"src", "srcset", "action", "poster", "background"} & set(facts)
        assert all(facts.get(name, "#").startswith("#") for name in ("href", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import|https?://", page)
    ids = [facts["id"] for _, facts in read.found if "id" in facts]
    named = re.findall(r"""(?:url\(#|href="#|aria-labelledby=")([^)"]+)""", page)
    assert len(set(ids)) == len(ids) and named and set(named) <= set(ids)


def test_cells_tell_the_verdict_the_lead_and_the_loss():
    made = a_comparison("one", "two")
    told = words_of(render_comparison(made, {}))
    assert "✓ holds 0.80 to 0.95 mean lead \N{MINUS SIGN}0.25 one" in told
    assert "✕ fails 0.80 to 0.95 mean lead \N{MINUS SIGN}0.25 oneloses 0.62 (0.51" in told
    made["matrix"]["two"]["one"][0]["loss"]["verdict"] = "inconclusive"
    assert "? inconclusive 0.80 to 0.95" in words_of(render_comparison(made, {}))


def test_the_page_of_the_published_comparison(tmp_path):
    """Numbers as they stand in the file; no model is run."""
    made = json.loads((REAL / "compare.json").read_text())
    (tmp_path / "compare.json").write_text(json.dumps(made))
    told = words_of(write_comparison_page(tmp_path).read_text())
    sites = [{row["site"] for row in one["sites"]} for one in made["circuits"].values()]
    assert f"{len(set.intersection(*sites))} of {len(set.union(*sites))} sites is in all 4" in told
    for name, circuit in made["circuits"].items():
        assert name in told and circuit["claim"] in told
        for scores in made["matrix"][name].values():
            for score in scores:
                near = score["high"] >= score["need"]
                verdict = "✓ holds" if score["holds"] else "? inconclusive" if near else "✕ fails"
                assert f"{score['satisfaction']:.3f} {verdict}" in told
    for row in made["overlaps"]:
        assert f"{row['jaccard']:.2f} {row['chance']:.3f}" in told
    assert "circuitfind discover word-problems --model smollm2-135m-binding" in told
    assert "The claim of retrieval_constrained_seed0 holds for boxes_constrained_seed0" in told


def test_sites_stand_under_how_many_circuits_have_them():
    made = a_comparison("one", "two", "three", shared=False)
    site = [row["site"] for row in made["circuits"]["one"]["sites"]]
    told = words_of(render_comparison(made, {}))
    # one has sites 0 and 1, two site 1 and three site 2: only site 1 is in several
    rows = told[told.index("Which sites are in which") :]
    some, alone = (
        re.search(rf"{title} (\d) sites?", rows) for title in ("in some", "in one alone")
    )
    assert some and alone and (some[1], alone[1]) == ("1", "2")
    assert some.end() < rows.index(site[1]) < alone.start() < rows.index(site[0])
    assert "--shared" in told


def test_a_shared_circuit_is_told_but_counts_for_no_claim():
    told = words_of(render_comparison(a_comparison("one", "two"), {}))
    assert "One circuit, searched for all claims at once" in told
    assert "No circuit satisfies the claim of another" in told
    assert re.search(r"claims that hold\s*2 of 2", told)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"circuits": {}}, "circuits must not be empty"),
        ({"circuits": []}, "circuits must be an object"),
        ({"overlaps": []}, "overlaps must have a row"),
        ({"overlaps": [{"first": "one", "second": "x"}]}, "overlaps.0: missing: shared"),
        ({"overlaps": [OVERLAP | {"second": "x"}]}, "overlaps.0 is about 'x', which is no circuit"),
        ({"matrix": {}}, "matrix must have a row for each circuit"),
        ({"shared": "yes"}, "shared must be an object"),
        ({"command": 1}, "command must be text; got 1"),
    ],
)
def test_what_is_no_comparison_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        render_comparison(a_comparison("one", "two") | change, {})


@pytest.mark.parametrize("value", ["0; background: red", float("inf")])
def test_a_score_that_is_no_number_is_refused(value):
    made = a_comparison("one", "two")
    scores = made["matrix"]["one"]["one"]
    made["matrix"]["one"]["one"] = [row | {"satisfaction": value} for row in scores]
    with pytest.raises(
        ValueError, match=r"matrix\.one\.one\.0\.satisfaction must be a (finite )?number"
    ):
        render_comparison(made, {})


def test_show_finds_the_page_of_a_comparison_and_makes_it_anew(tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps(a_comparison("one", "two")))
    done = CliRunner().invoke(app, ["show", str(tmp_path), "--no-open"])
    assert done.exit_code == 0 and done.stdout.strip().endswith("compare.html")
    page = tmp_path / "compare.html"
    ours = page.read_text()
    page.write_text("somebody's")
    assert page_of(tmp_path).read_text() == ours
    (tmp_path / "compare.json").write_text(json.dumps(a_comparison("three", "four")))
    assert "three" in page_of(tmp_path).read_text()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(render_comparison(a_comparison(*NAMES), {"boxes_seed0": "circuitfind it"}))
    return path.as_uri()


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_overflows_or_is_cut(browser, address, look):
    with visiting(browser, address, **LOOKS[look]) as page:
        if look == "print":
            page.emulate_media(media="print")
            assert not page.locator(".screen:visible").count()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.evaluate("document.documentElement.clientWidth")
        assert page.evaluate(OUTSIDE) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(21, 24, 28)") == (look == "dark")


def test_by_keyboard_tables_scroll_and_files_are_saved(browser, address, tmp_path):
    with visiting(browser, address, **LOOKS["phone"]) as page:
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.className"))
            if "matrix" in reached[-1]:
                break
        assert "matrix" in reached[-1]
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.activeElement.scrollLeft > 0")
        for button, name in (("#save-comparison", "compare.json"), ("#save-figure", "overlap.svg")):
            page.locator(button).focus()
            with page.expect_download() as download:
                page.keyboard.press("Enter")
            assert download.value.suggested_filename == name
            download.value.save_as(tmp_path / name)
    assert json.loads((tmp_path / "compare.json").read_text()) == json.loads(
        json.dumps(a_comparison(*NAMES))
    )
    assert "var(" not in (tmp_path / "overlap.svg").read_text()


def test_on_paper(browser, address, tmp_path):
    with visiting(browser, address) as page:
        sheets, told = printed(page, tmp_path / "page.pdf")
    assert 1 < sheets < 12
    if told is not None:
        assert "4 circuits side by side" in told and "Download" not in told
        assert told.count("✓ holds") + told.count("✕ fails") >= 16
