"""Sweeps on Ray, as a user calls them: killed and called again, with points that go wrong and
workers that die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from circuitfind.sweeps.on_ray import EXTRA, has_ray
from circuitfind.sweeps.running import run_points
from circuitfind.sweeps.work import Where

from .sweeping import SMALL, begin_sweep, bring_methods, by_point, deaths, sweep, toml

pytestmark = pytest.mark.skipif(not has_ray(), reason=EXTRA)
QUICK = ("--ray", "local", "--workers", "2")


@pytest.fixture
def short(tmp_path_factory):
    """Where Ray keeps its sockets: a short path, since the system allows for about 100 letters."""
    folder = Path("/tmp") if os.name != "nt" else tmp_path_factory.mktemp("ray")
    return {"RAY_TMPDIR": str(folder / "circuitfind-ray")}


def left_behind(out):
    """The processes of a sweep into this folder that are there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str(out) in words:
            found.append(int(path.parent.name))
    return found


def test_a_crash_on_ray_is_a_row_and_the_others_are_there(tmp_path, short):
    """Of two points, by a single worker: each more imports everything."""
    path = bring_methods(tmp_path / "brought")
    file = tmp_path / "file.toml"
    file.write_text(toml(**SMALL, method=["breaks", "attribution"]))
    words = ("--out", tmp_path / "out", "--ray", "local", "--workers", "1", "--json")
    code, out, err = sweep(file, *words, path=(path,), **short)
    assert code == 3, err
    broken, other = json.loads(out)["rows"]
    assert (broken["status"], other["status"]) == ("crashed", "holds")
    assert broken["message"] == "TypeError: a fault of the method's"


@pytest.mark.slow
def test_points_go_wrong_on_ray_and_the_others_are_there(tmp_path, short):
    """One is as in this process, one is refused, one crashes, one's worker dies once."""
    path = bring_methods(tmp_path / "brought")
    methods = ["attribution", "breaks", "dies"]
    file = tmp_path / "file.toml"
    file.write_text(toml(**SMALL, method=methods, size=[1, 500]))
    env = short | deaths(tmp_path / "deaths", 1)
    code, out, err = sweep(file, "--out", tmp_path / "out", *QUICK, "--json", path=(path,), **env)
    assert code == 3, err
    rows = by_point(json.loads(out))
    assert len(rows) == 6 == err.count("/6 ")
    told = {(row["values"]["method"], row["values"]["size"]): row for row in rows.values()}
    for method in methods:
        assert "size must be between 1 and" in told[method, 500]["message"]
    assert told["breaks", 1]["status"] == "crashed"
    assert told["breaks", 1]["message"] == "TypeError: a fault of the method's"
    assert len([*(tmp_path / "deaths" / "1").iterdir()]) == 1
    assert told["dies", 1]["status"] == told["attribution", 1]["status"] == "holds"
    assert told["dies", 1]["satisfaction"] == told["attribution", 1]["satisfaction"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:1", r"no Ray cluster at 127\.0\.0\.1:1"),
        ("ray://127.0.0.1:1", "no Ray cluster at"),
        ("127.0.0.1:99999999", "no Ray cluster at"),
        ("locl", "HOST:PORT, auto or local; got 'locl'"),
    ],
)
def test_a_cluster_that_is_not_there_is_named(address, says):
    with pytest.raises(LookupError, match=says):
        next(run_points([1], str, Where(ray=address)))


CLUSTER = """
import sys, ray
made = ray.init(
    address="local", num_cpus=2, include_dashboard=False, object_store_memory=100_000_000,
    log_to_driver=False,
)
print(made.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_cluster_that_is_there_is_joined_and_left_as_it_is(tmp_path, short):
    """With a token that its owner made up; without it nobody joins."""
    token = short | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
    pipe = subprocess.PIPE
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=os.environ | token, stdin=pipe, stdout=pipe, text=True
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        file, out = tmp_path / "file.toml", tmp_path / "out"
        for seeds in (1, 2):  # the second sweep finds the cluster as the first one did
            file.write_text(toml(**SMALL, method="attribution", seed=[*range(seeds)]))
            code, _, err = sweep(file, "--out", out, "--ray", address, "--workers", "1", **token)
            assert code == 0 and f"{seeds}/{seeds} " in err, err
        other = token | {"RAY_AUTH_TOKEN": "f" * 32}
        code, _, err = sweep(file, "--out", out, "--ray", address, **other)
        assert code == 2 and "needs its own in RAY_AUTH_TOKEN" in err
    finally:
        cluster.communicate()


@pytest.mark.slow
def test_a_worker_that_dies_each_time_is_a_row(tmp_path, short):
    path = bring_methods(tmp_path / "brought")
    file = tmp_path / "file.toml"
    file.write_text(toml(**SMALL, method=["dies", "attribution"]))
    env = short | deaths(tmp_path / "deaths", 99)
    code, _, err = sweep(file, "--out", tmp_path / "out", *QUICK, path=(path,), **env)
    assert code == 3, err
    dead, other = json.loads((tmp_path / "out" / "sweep.json").read_text())["rows"]
    assert (dead["status"], dead["message"]) == ("crashed", "its process died, 4 times")
    assert other["status"] == "holds"
    assert len([*(tmp_path / "deaths" / "99").iterdir()]) == 4


@pytest.mark.slow
def test_a_sweep_that_is_killed_is_called_again(tmp_path, short):
    """24 points on a cluster of this machine, whose driver is killed twice in the middle."""
    path = bring_methods(tmp_path / "brought")
    env = short | deaths(tmp_path / "deaths", 1)
    file, out = tmp_path / "file.toml", tmp_path / "out"
    methods = ["attribution", "random", "budget", "dies", "constrained", "breaks"]
    file.write_text(toml(**SMALL, method=methods, seed=[0, 1], polish=[True, False], steps=20))
    kept: dict[str, int] = {}
    for least in (3, 9):
        process = begin_sweep(file, "--out", out, *QUICK, path=(path,), **env)
        until = time.monotonic() + 600
        while len(done := [*out.glob("*/report.json")]) < least and time.monotonic() < until:
            time.sleep(0.2)
        assert least <= len(done) < 20
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (out / "sweep.json").exists()
        for report in done:  # those of the call before are as they were
            assert kept.setdefault(report.parent.name, report.stat().st_mtime_ns) == (
                report.stat().st_mtime_ns
            )
    code, _, err = sweep(file, "--out", out, *QUICK, path=(path,), **env)
    rows = json.loads((out / "sweep.json").read_text())["rows"]
    assert code == 3 and len(rows) == 24, err
    by_method = {}
    for row in rows:
        by_method.setdefault(row["values"]["method"], []).append(row["status"])
    assert by_method.pop("breaks") == ["crashed"] * 4
    assert all(status == ["holds"] * 4 for status in by_method.values()), by_method
    for name, written in kept.items():
        assert (out / name / "report.json").stat().st_mtime_ns == written
    assert len([*(tmp_path / "deaths" / "1").iterdir()]) == 1
    # As in this process, where nothing was killed.
    calm = tmp_path / "calm"
    code, _, err = sweep(file, "--out", calm, path=(path,), **env)
    assert code == 3, err
    for row in json.loads((calm / "sweep.json").read_text())["rows"]:
        if row["status"] == "holds":
            made = (out / row["folder"] / "circuit.json").read_text()
            assert made == (calm / row["folder"] / "circuit.json").read_text()
    assert left_behind(out) == []
