"""What `validate` finds about a finished run later: kept, shown, bound to what it is about."""

import json
import shutil

import pytest

from circuitfind.runs.folder import PAGE, REPORT, VALIDATED

from .test_cli import call  # noqa: F401

QUICK = ["--model", "planted", "--n", "24", "--steps", "30", "--n-random", "5"]


@pytest.fixture
def run(call, planted_run, tmp_path):  # noqa: F811
    return shutil.copytree(planted_run, tmp_path / "run")


def told(run):
    return json.loads((run / VALIDATED).read_text())


def edited(run, change):
    """What the file holds, changed in place."""
    content = told(run)
    change(content)
    (run / VALIDATED).write_text(json.dumps(content))


def test_later_findings_are_kept_shown_and_drawn(call, run, tmp_path):  # noqa: F811
    report = (run / REPORT).read_bytes()
    assert call("validate", run, "--checks", "curve")[0] in (0, 1)
    assert call("validate", run, "--checks", "pairs")[0] == 0
    assert [row["name"] for row in told(run)["checks"]] == ["curve", "pairs"]
    assert (run / REPORT).read_bytes() == report  # which `check` compares with
    (run / PAGE).unlink()
    assert call("show", run, "--no-open")[0] == 0
    page = (run / PAGE).read_text()
    assert all(f">{name}<" in page for name in ("curve", "pairs", "leave one out"))

    code, _, err = call("diagram", run, "--kind", "stability")
    assert code == 2 and "--checks stability" in err
    # The check itself takes long: it searches again and again.
    rows = [{"site": "a1.h0@last", "member": True, "share": 1.0}]
    edited(
        run,
        lambda content: content["checks"].append(
            {**content["checks"][0], "name": "stability", "details": rows}
        ),
    )
    assert call("show", run, "--no-open")[0] == 0
    assert ">stability<" in (run / PAGE).read_text()  # it was older than the findings
    assert call("diagram", run, "--kind", "stability")[0] == 0
    assert call("gallery", run, "--out", "drawn")[0] == 0
    drawn = json.loads((tmp_path / "drawn" / "run.json").read_text())
    assert {"stability", "curve", "groups"} <= {row["name"] for row in drawn["checks"]}
    assert "stability" not in drawn["left_out"]
    assert (tmp_path / "drawn" / "run-stability.svg").is_file()
    assert call("discover", "planted", *QUICK, "--out", run, "--overwrite")[0] == 0
    assert not (run / VALIDATED).exists()


def test_the_later_finding_of_a_check_counts(call, run):  # noqa: F811
    assert call("validate", run, "--checks", "pairs,groups")[0] == 0
    old = {"says": "as found before"}
    edited(run, lambda content: [row.update(old) for row in content["checks"]])
    assert call("validate", run, "--checks", "groups")[0] == 0
    page = (run / PAGE).read_text()
    assert page.count("as found before") == 1
    # By other settings, as for other pairs, nothing is kept.
    before = told(run)
    assert call("validate", run, "--checks", "satisfaction", "--seed", "5")[0] == 0
    assert told(run) == before


def test_findings_about_something_else_are_refused_or_stand_alone(call, run):  # noqa: F811
    assert call("validate", run, "--checks", "pairs")[0] == 0
    edited(run, lambda content: content["binds"].update(model="0" * 64))
    assert call("show", run, "--no-open")[0] == 0
    page = (run / PAGE).read_text()
    assert "validated on another model than the run" in page
    assert ">pairs<" in page and ">leave one out<" not in page
    edited(run, lambda content: content["binds"].update(circuit="0" * 64))
    (run / PAGE).unlink()
    for command in (["show", run, "--no-open"], ["diagram", run], ["gallery", run]):
        code, _, err = call(*command)
        assert code == 2 and VALIDATED in err and "about another circuit" in err, command
    for damaged in ("", "[]", '{"checks": []}', json.dumps({**told(run), "binds": {}})):
        (run / VALIDATED).write_text(damaged)
        code, _, err = call("diagram", run)
        assert code == 2 and VALIDATED in err and "validate again" in " ".join(err.split())
    assert call("validate", run, "--checks", "pairs")[0] == 0  # which makes it good
    assert call("diagram", run)[0] == 0
