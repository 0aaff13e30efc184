"""The page as a person uses it, in a real Chromium: pointing, clicking, keys, files, paper."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from circuitfind.report.page.page import render_page

from ..browser import LOOKS, OUTSIDE, printed, visiting
from ..pages import HOSTILE, a_page

NAMES = ("follows answer", "keeps order", HOSTILE[3])
OTHERS = ("m0@follows answer", "m3.n17@keeps order")  # a plug-in's neuron among them


@pytest.fixture(scope="module")
def subject():
    return a_page(*NAMES)


@pytest.fixture(scope="module")
def address(subject, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    circuit, report, examples = subject
    path.write_text(
        render_page(
            circuit, report, command="circuitfind discover it", examples=examples, known=OTHERS
        )
    )
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    return lambda **look: visiting(browser, address, **look)


def test_pointing_shows_a_member_and_clicking_what_leaving_it_out_changes(visit):
    with visit() as page:
        assert page.locator("#overview").is_visible()
        page.locator("#node-0").hover()
        assert page.locator("#site-0").is_visible()
        assert not page.locator("#site-0 .without").is_visible()
        assert page.locator("#edge-0.shown").count() == 1
        page.mouse.move(2, 2)
        assert page.locator("#overview").is_visible()
        page.locator("#node-0").click()
        page.mouse.move(2, 2)
        bars = page.locator("#site-0 .without .bar")
        assert bars.count() == len(NAMES)
        assert bars.first.is_visible()
        track, left = (bars.first.locator(one).bounding_box() for one in (".track", ".is"))
        assert left["width"] == pytest.approx(0.65 * track["width"], abs=1)
        assert page.locator("#node-0").get_attribute("aria-pressed") == "true"
        page.locator("#site-0 [data-back]").click()
        assert page.locator("#overview").is_visible()


def test_members_by_keyboard(visit):
    with visit() as page:
        page.locator("#node-0").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "node-1"
        assert page.locator("#site-1").is_visible()
        page.keyboard.press("Enter")
        assert page.locator("#site-1 .without").is_visible()
        page.keyboard.press("Escape")
        assert page.locator("#node-1").get_attribute("aria-pressed") == "false"
        assert page.locator('#diagram [tabindex="0"]').count() == 1
        page.locator('[data-pick="2"]').focus()
        page.keyboard.press("Enter")
        assert page.locator("#site-2 .without").is_visible()
        assert page.evaluate("document.activeElement.dataset.back") == ""


def test_tabs_by_mouse_and_keyboard(visit):
    with visit() as page:
        shown = page.locator("[role=tabpanel]:visible")
        assert shown.count() == 1
        page.locator("#tab-1").click()
        assert shown.get_attribute("id") == "panel-1"
        for key, place in (("ArrowRight", 2), ("ArrowRight", 0), ("ArrowLeft", 2), ("Home", 0)):
            page.keyboard.press(key)
            assert shown.get_attribute("id") == f"panel-{place}"
            assert page.evaluate("document.activeElement.id") == f"tab-{place}"
        assert page.locator('[role=tab][tabindex="0"]').count() == 1


def test_a_decisions_file(visit, subject, tmp_path):
    site = str(subject[0].sites[0])
    with visit() as page:
        page.locator("#node-0").click()
        page.locator("#site-0 [data-decide]").click()
        field = page.locator("#decide").locator
        assert field("[name=site]").input_value() == site

        def decide(site, action, reason, value=None):
            field("[name=site]").fill(site)
            field("[name=action]").select_option(action)
            if value:
                field("[name=value]").fill(value)
            field("[name=reason]").fill(reason)
            field("[type=submit]").click()

        decide(site, "pin", HOSTILE[0])
        decide(site, "veto", "no")
        assert "is under pin already" in page.locator("#decide .problem").text_content()
        decide("a9", "veto", "no position")
        assert "is no site" in page.locator("#decide .problem").text_content()
        decide("m3@last", "veto", "a layer that the model does not have")
        assert "“m3@last” is no site" in page.locator("#decide .problem").text_content()
        decide(OTHERS[0], "veto", "mistaken")
        decide(OTHERS[1], "name", "it moves names", "mover")
        page.locator("#decisions li", has_text=OTHERS[0]).locator("button").click()
        page.locator("#save-decisions").click()
        assert "your name" in page.locator("#save-problem").text_content()
        page.locator("#by").fill("Ada")
        page.locator("[name=verdict][value=accept]").check()
        with page.expect_download() as download:
            page.locator("#save-decisions").click()
        assert download.value.suggested_filename == "decisions.json"
        download.value.save_as(tmp_path / "decisions.json")
    made = json.loads((tmp_path / "decisions.json").read_text())
    assert made.pop("when").endswith("Z")
    assert made == {
        "format": "circuitfind-decisions/1",
        "circuit": subject[0].digest,
        "verdict": "accept",
        "by": "Ada",
        "decisions": [
            {"site": site, "action": "pin", "value": None, "reason": HOSTILE[0]},
            {"site": OTHERS[1], "action": "name", "value": "mover", "reason": "it moves names"},
        ],
    }


def test_files_and_copies(visit, subject, tmp_path):
    with visit() as page:
        for button, name in (("#save-circuit", "circuit.json"), ("#save-figure", "circuit.svg")):
            with page.expect_download() as download:
                page.locator(button).click()
            download.value.save_as(tmp_path / name)
        page.locator("[data-copy=citation]").click()
        page.wait_for_function("/cop/.test(document.getElementById('said').textContent)")
    made = json.loads((tmp_path / "circuit.json").read_text())
    assert made == json.loads(json.dumps(subject[0].as_json()))
    drawing = ElementTree.parse(tmp_path / "circuit.svg").getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in (tmp_path / "circuit.svg").read_text()


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_overflows_or_is_cut(visit, look, tmp_path):
    with visit(**LOOKS[look]) as page:
        if look == "print":
            page.emulate_media(media="print")
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            assert page.locator("[role=tabpanel]:visible").count() == len(NAMES)
            assert page.locator(".without:visible").count() == 4
            assert page.locator("details.finding:not([open])").count() == 0
        else:
            page.locator('[data-pick="0"]').click()
            page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.evaluate("document.documentElement.clientWidth")
        assert page.evaluate(OUTSIDE) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(21, 24, 28)") == (look == "dark")


def test_on_paper(visit, tmp_path):
    """All desiderata stand there, unfolded, without what paper cannot do."""
    with visit() as page:
        sheets, told = printed(page, tmp_path / "page.pdf")
        height = page.evaluate("document.documentElement.scrollHeight")
    assert 1 < sheets <= height / 400
    if told is not None:
        assert all(told.count(name) > 5 for name in NAMES[:2])
        assert "Is it the circuit?" in told and "Save decisions" not in told


def test_what_a_stranger_would_run_does_not_run(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.bad = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src='' onerror='window.bad = true'>");
    }""")
    page.wait_for_timeout(50)
    assert page.evaluate("window.bad") is None
    page.close()


def test_without_scripts_all_can_be_read(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("[role=tabpanel]:visible").count() == len(NAMES)
    assert page.locator("article.site .without:visible").count() == 4
    context.close()


def test_many_members_stand_below_a_wide_diagram(browser, tmp_path):
    circuit, report, _ = a_page(*(f"p{n}" for n in range(12)))
    (tmp_path / "many.html").write_text(render_page(replace(circuit, edges=()), report))
    page = browser.new_page()
    page.goto((tmp_path / "many.html").as_uri())
    drawing, told = (page.locator(one).bounding_box() for one in ("#diagram", "#inspector"))
    assert told["y"] >= drawing["y"] + drawing["height"]
    page.close()
