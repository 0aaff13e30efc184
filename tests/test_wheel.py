"""What is installed from a wheel: every file that is not Python is in it, and pages can be made."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("circuitfind", "desiderata", "tasks")

pytest.importorskip("hatchling", reason="the build backend, hatchling, is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built offline."""
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(out),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("circuitfind-*.whl")
    return made


def test_every_tracked_file_is_in_it(wheel):
    command = ["git", "-C", str(ROOT), "ls-files", *FOLDERS]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout: git does not tell which files belong to it")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert not set(listed.stdout.split("\n")) - {""} - inside
    for name in ("circuitfind/py.typed", "circuitfind/report/page/base.html", "tasks/ioi.py"):
        assert name in inside
    assert {Path(name).suffix for name in inside} >= {".html", ".css", ".js", ".safetensors"}
    assert not [name for name in inside if name.startswith(("tests/", "scripts/", "runs/"))]


def test_pages_are_made_from_its_files_alone(wheel, tmp_path):
    site, run = tmp_path / "site", tmp_path / "run"
    zipfile.ZipFile(wheel).extractall(site)
    shutil.copytree(ROOT / "figures/dcm/runs/arithmetic_constrained_seed0", run)
    shutil.copy(ROOT / "figures/dcm/compare.json", tmp_path)
    code = (
        "import circuitfind, desiderata, tasks; from circuitfind.pictures import page_of; "
        f"print(circuitfind.__file__); page_of({str(run)!r}); page_of({str(tmp_path)!r})"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(site)
    for page in (run / "report.html", tmp_path / "compare.html"):
        assert "<style>/* What every page looks like. */" in page.read_text()
