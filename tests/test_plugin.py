"""A stranger's plug-in of every kind: built as a wheel, installed, found by name, and right."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

HERE = Path(__file__).parent
SOURCE = HERE / "plugin"

CONFORMS = """
import sys
from circuitfind import load_model, search, validate
from circuitfind.answers.known import ANSWERS
from circuitfind.claims import load_claim
from circuitfind.cli.app import app, main
from circuitfind.donors.known import DONORS
from circuitfind.mediators.known import MEDIATORS, parse_site
from circuitfind.search import METHODS, SearchConfig
from circuitfind.testing import *
from circuitfind.validate import CHECKS

model = load_model("toy", engine="conveyor")
claim = load_claim({claim!r})
train, held_out = claim.sample(24)

check_engine(model.engine)
check_method(METHODS.named("alphabet"))
check_check(CHECKS.named("majority"))
check_mediator(MEDIATORS.named("coordinate"), model)
check_answer(ANSWERS.named("top-two"), model, train[0])
check_donor(DONORS.named("neighbour"), model, train[0])
assert str(parse_site("m1.c7@last").component) == "m1.c7"

# The toy has three layers and no head; the first carries, whatever the method.
for method in ("alphabet", "constrained"):
    result = search(model, train, method, config=SearchConfig(steps=20, rounds=2))
    assert result.success, result.message
    assert [str(site) for site in result.circuit.sites] == ["m0@last"], result.circuit.sites
card = validate(model, result.circuit, held_out, n_random=2, checks=["satisfaction", "majority"])
assert card.holds and card.findings[1].verdict == "holds"

# A circuit of the stranger's mediator: of the second layer's coordinates none carries anything.
faint = search(model, train, "exhaustive", sites=["coordinates"], config=SearchConfig(rounds=1))
assert not faint.success and all(".c" in str(site) for site in faint.mask.sites)

# What the command line lists.
for command in ("methods", "checks"):
    app([command, "--json"], standalone_mode=False)
    print("---")
print("conforms")

# What it runs, as its last act.
print("---")
out = ["--out", {out!r}, "--n-random", "2", "--json"]
run = ["--model", "toy", "--engine", "conveyor", "--method", "alphabet", "--n", "24"]
sys.argv = ["circuitfind", "discover", {claim!r}, *run, *out]
main()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the plug-in's wheel is installed into."""
    folder = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    made = folder / "wheel"
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(made), str(SOURCE)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = made.glob("*.whl")
    with ZipFile(wheel) as files:  # it has only Python and its metadata, which pip would unpack too
        files.extractall(folder / "installed")
    return folder / "installed"


def test_a_strangers_plug_in_conforms_and_works_without_touching_ours(installed, tmp_path):
    """Also from the command line, in the same process: to import everything takes long."""
    claim = f"{installed / 'stranger' / 'claim.py'}:claim"
    made = subprocess.run(
        [sys.executable, "-c", CONFORMS.format(claim=claim, out=str(tmp_path / "run"))],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=HERE.parent,
    )
    assert made.returncode == 0, made.stderr
    methods, checks, said, run = made.stdout.split("---\n")
    for listed, name in ((methods, "alphabet"), (checks, "majority")):
        (row,) = (row for row in json.loads(listed) if row["package"] == "stranger")
        assert name in row.values()
    assert said == "conforms\n"
    assert json.loads(run)["circuit"]["method"] == "alphabet"
    assert (tmp_path / "run" / "report.html").is_file()
