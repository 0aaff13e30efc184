"""The built-in models, and where a model's files are."""

import json
from functools import cache
from pathlib import Path

from .native import is_native
from .native_schema import CONFIG
from .peft import is_peft

FOLDERS = Path(__file__).parent
# Built-in models that are another one with a low-rank change: name -> that other one.
ADAPTED = {"smollm2-135m-binding": "smollm2-135m"}
TRAINED = {
    "binder": "variable binding, 4 layers, trained here; ships in the package",
    "smollm2-135m": "SmolLM2-135M-Instruct, 30 layers; one 93 MB download, then offline",
    "smollm2-135m-binding": "the same, fine-tuned here on binding; the change ships in the package",
    "planted": "variable binding wired by hand, its circuit known; planted:layers=3,backups=1,...",
    "grafted": "two variables, wired by hand into a trained language model; grafted:parts=6,...",
}


@cache  # the package's own files, which do not change while it runs
def native_models() -> dict[str, str]:
    """The native models in the package, with what each says of itself."""
    folders = sorted(path for path in FOLDERS.iterdir() if path.is_dir() and is_native(path))
    return {
        path.name: str(json.loads((path / CONFIG).read_text(encoding="utf-8")).get("about", ""))
        for path in folders
    }


def built_in() -> dict[str, str]:
    """The built-in models, each with a line about it."""
    return {**TRAINED, **native_models()}


def native_folder(name: str) -> Path:
    """The folder of a native model, built in or a user's own."""
    return FOLDERS / name if name in native_models() else Path(name).expanduser()


def locate(name: str) -> str | Path:
    """Where a model's files are, or the name itself for the hub.

    Raises:
        LookupError: a path where no folder is.
        ValueError: a folder that holds no model, or only pickled weights.
    """
    if name == "binder" or name in native_models():
        return FOLDERS / name
    name = ADAPTED.get(name, name)
    if name == "smollm2-135m":
        from .smollm2 import fetch_smollm2  # also a program, which importing here would shadow

        return fetch_smollm2()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise LookupError(f"no model folder {name}")
        return name
    if is_native(folder) or is_peft(folder):
        return folder
    problems = []
    if not (folder / "config.json").is_file():
        problems.append("config.json is missing")
    if not list(folder.glob("*.safetensors")):
        problems.append("it holds no .safetensors weights (pickled ones are not loaded)")
    if problems:
        raise ValueError(f"{name} is not a model folder: {' and '.join(problems)}")
    return folder
