"""A real Chromium for tests of pages: how it is started, and visits in which nothing goes wrong."""

import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
]
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}, "has_touch": True},
    "print": {"viewport": {"width": 700, "height": 900}},
}
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter((one) => {
    if (one.closest(".wide, .skip, svg, script, datalist") || !one.checkVisibility()) return false;
    const box = one.getBoundingClientRect();
    const wide = box.right > document.documentElement.clientWidth + 1 || box.left < -1;
    const cut = one.clientWidth && one.scrollWidth > one.clientWidth + 1
        && getComputedStyle(one).overflowX !== "visible";
    return box.width && (wide || cut);
}).map((one) => one.outerHTML.slice(0, 120))"""


@contextmanager
def chromium():
    """The browser that is installed; where there is none, the test is skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield made
        made.close()


@contextmanager
def visiting(browser, address, **look):
    """A visit to a page, in which nothing may go wrong and nothing be asked of a network."""
    context = browser.new_context(**(look or LOOKS["light"]), reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page, wrong = context.new_page(), []
    page.on("console", lambda it: wrong.append(it.text) if it.type != "log" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda it: wrong.append(it.url) if not _local(it.url) else None)
    page.goto(address)
    yield page
    context.close()
    assert not wrong


def printed(page, path):
    """How many sheets of A4 the page is on paper, and its words where poppler can read them."""
    page.pdf(path=path, format="A4")
    sheets = len(re.findall(rb"/Type\s*/Page\b", Path(path).read_bytes()))
    if shutil.which("pdftotext") is None:
        return sheets, None
    told = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True)
    return sheets, " ".join(told.stdout.split())


def _local(url):
    return url.startswith(("file:", "data:", "blob:"))
