"""Native model folders: small models that anyone can make, with inputs saved beside them.

A folder holds

- `config.json`: `format` ("circuitfind-native/1"), `about` (a line: what it is, where from),
  `config` (the keys of `NativeConfig`, arguments of TransformerLens' TransformerBridgeConfig),
  `words` (the vocabulary in the order of the ids; no white space in a word), `pad` and `unk` (two
  of them);
- `model.safetensors`: the weights, named as in TransformerLens' native model (`tok_embed.weight`,
  `layers.0.attn.q.weight`, ..., `head.weight`);
- `inputs.json` (for the claim `suffices`): `{"inputs": [{"text": "BOS a b", "outputs":
  {"1": "b", "2": "a"}}]}`, outputs by index of the token, from 0;
- `truth.json` (optional): `{"claim": "suffices", "ablations": {"zero": [["a0.h0", "m0"]]},
  "how": "..."}`, every smallest set of components that keeps the outputs when the others are
  ablated so.

Nothing is pickled, nothing in it is run, and all that is wrong with a folder is said at once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from desiderata.saved import Saved

from ..records import parse_json, together
from .native_schema import (
    CONFIG,
    FORMAT,
    INPUTS,
    MOST_BYTES,
    TRUTH,
    WEIGHTS,
    Shapes,
    file_problems,
    shape_problems,
    weight_problems,
)


@dataclass(frozen=True, kw_only=True)
class Native:
    """All that a native folder holds."""

    about: str
    config: Mapping[str, Any]
    words: tuple[str, ...]
    weights: Mapping[str, Tensor]
    inputs: tuple[Saved, ...] = ()
    truth: Mapping[str, Any] | None = None
    pad: str = "<pad>"
    unk: str = "<unk>"


def is_native(folder: str | Path) -> bool:
    """Whether a folder says of itself that it is a native one, whatever else is wrong with it."""
    made = _json(Path(folder) / CONFIG, [])
    return isinstance(made, dict) and "format" in made


def save_native(folder: str | Path, native: Native) -> Path:
    """Write a native folder and give its path; files of the same names are replaced.

    Args:
        native: `weights` may be named as a bridge's `original_model.state_dict()` names them,
            with each tensor under several names.

    Raises:
        ValueError: every problem with what is to be saved, at once, but for the weights' shapes,
            which loading checks.
    """
    contents: dict[str, Any] = {
        CONFIG: {
            "format": FORMAT,
            "about": native.about,
            "config": dict(native.config),
            "words": list(native.words),
            "pad": native.pad,
            "unk": native.unk,
        },
    }
    if native.inputs:
        contents[INPUTS] = {
            "inputs": [
                {
                    "text": saved.text,
                    "outputs": {str(index): word for index, word in saved.outputs.items()},
                }
                for saved in native.inputs
            ]
        }
    if native.truth is not None:
        contents[TRUTH] = dict(native.truth)
    weights = plain_names(native.weights)
    problems = [*file_problems(contents), *weight_problems(weights)]
    if problems:
        raise ValueError(together("this is no native model", problems))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, indent=None if name == INPUTS else 1)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / WEIGHTS)
    return folder


def read_native(folder: str | Path, shapes_of: Callable[[Mapping[str, Any]], Shapes]) -> Native:
    """What a native folder holds.

    Args:
        shapes_of: the weights' names and shapes that a config asks for.

    Raises:
        ValueError: every problem with the folder at once.
    """
    folder, problems = Path(folder), []
    contents = {
        name: content
        for name in (CONFIG, INPUTS, TRUTH)
        if name == CONFIG or (folder / name).exists()
        if (content := _json(folder / name, problems)) is not _UNREAD
    }
    found = list(file_problems(contents))
    config_is_sound = CONFIG in contents and not any(each.startswith(CONFIG) for each in found)
    problems += found
    weights = _weights(folder / WEIGHTS, problems)
    if config_is_sound and weights is not None:
        try:
            wanted = shapes_of(full_config(contents[CONFIG]["config"], contents[CONFIG]["words"]))
            problems += shape_problems(weights, wanted)
        except Exception as error:  # whatever TransformerLens or torch make of such a config
            problems.append(f"{CONFIG}: TransformerLens cannot build it: {error}")
    if problems or weights is None:
        raise ValueError(together(f"{folder} is no native model", problems))
    made = contents[CONFIG]
    return Native(
        about=made["about"],
        config=made["config"],
        words=tuple(made["words"]),
        weights=weights,
        inputs=tuple(
            Saved(each["text"], {int(index): word for index, word in each["outputs"].items()})
            for each in contents.get(INPUTS, {"inputs": []})["inputs"]
        ),
        truth=contents.get(TRUTH),
        pad=made["pad"],
        unk=made["unk"],
    )


def full_config(config: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The config with what a native model has by default here: no normalisation, relu, a seed."""
    return {"normalization_type": None, "act_fn": "relu", "seed": 0, **config} | {
        "d_vocab": len(words)
    }


def word_tokenizer(words: Sequence[str], pad: str = "<pad>", unk: str = "<unk>") -> Any:
    """A tokenizer with one token for each of these words, split at white space.

    Args:
        words: the vocabulary in the order of the ids, `pad` and `unk` among them.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, unk_token=unk, eos_token=pad
    )


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A bridge's weights under the native model's own names, each once.

    A bridge lists a tensor under several names and adds an unembedding bias of zeros.
    """
    made = {name.replace("_original_component.", ""): weight for name, weight in weights.items()}
    for name in list(made):
        twin = name.replace(".mlp.in.", ".mlp.fc_in.").replace(".mlp.out.", ".mlp.fc_out.")
        if twin != name and twin in made:
            del made[name]
    if "head.bias" in made and not made["head.bias"].any():
        del made["head.bias"]
    return {name: weight.detach().cpu() for name, weight in made.items()}


_UNREAD = object()


def _json(path: Path, problems: list[str]) -> Any:
    """The plain values in a file; _UNREAD where there are none, with the reason added."""
    try:
        if path.stat().st_size > MOST_BYTES[path.name]:
            problems.append(f"{path.name} has more than {MOST_BYTES[path.name]} bytes")
            return _UNREAD
        return parse_json(path.read_bytes(), path.name)
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}")
    except ValueError as error:
        problems.append(str(error))
    return _UNREAD


def _weights(path: Path, problems: list[str]) -> dict[str, Tensor] | None:
    try:
        if path.stat().st_size > MOST_BYTES[WEIGHTS]:
            problems.append(f"{WEIGHTS} has more than {MOST_BYTES[WEIGHTS]} bytes")
            return None
        weights = load_file(path)
    except OSError as error:
        problems.append(f"{WEIGHTS} cannot be read: {error.strerror or error}")
        return None
    except (SafetensorError, ValueError) as error:
        problems.append(f"{WEIGHTS} is no safetensors file: {error}")
        return None
    problems += weight_problems(weights)
    return weights
