"""Native model folders: small models that anyone can make, with inputs saved beside them.

A folder holds

- `config.json`: `format` ("circuitfind-native/1"), `about` (a line: what it is, where from),
  `config` (the keys in `KEYS`, arguments of TransformerLens' TransformerBridgeConfig), `words`
  (the vocabulary in the order of the ids; no white space in a word), `pad` and `unk` (two of them);
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from desiderata.desideratum import DONORS
from desiderata.saved import Saved

from .component import parse_site

FORMAT = "circuitfind-native/1"
CONFIG, WEIGHTS, INPUTS, TRUTH = "config.json", "model.safetensors", "inputs.json", "truth.json"
MOST_BYTES = {CONFIG: 2**22, WEIGHTS: 2**28, INPUTS: 2**24, TRUTH: 2**22}
MOST_INPUTS = 10_000
SHOWN = 12  # problems spelled out before the rest are counted

# Whole numbers that a config must give, and the most that still is a small model.
SIZES = {
    "d_model": 4096, "d_head": 1024, "n_layers": 64, "n_heads": 128, "n_ctx": 2048, "d_mlp": 16384,
}  # fmt: skip
CHOICES: dict[str, tuple[Any, ...]] = {
    "attention_dir": ("causal", "bidirectional"),
    "normalization_type": (None, "LN", "LNPre", "RMS", "RMSPre"),
    "positional_embedding_type": ("standard", "rotary"),
    "act_fn": ("relu", "gelu", "gelu_new", "silu", "solu"),
    "gated_mlp": (False, True),
    "final_rms": (False, True),
    "use_attn_scale": (False, True),
}
NUMBERS = (
    "eps", "attn_scale", "attn_scores_soft_cap", "output_logits_soft_cap", "n_key_value_heads",
    "rotary_dim", "rotary_base", "d_vocab", "seed",
)  # fmt: skip
KEYS = (*SIZES, *CHOICES, *NUMBERS)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
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
            "format": FORMAT, "about": native.about, "config": dict(native.config),
            "words": list(native.words), "pad": native.pad, "unk": native.unk,
        },
    }  # fmt: skip
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
    problems = [*_file_problems(contents), *_weight_problems(weights)]
    if problems:
        raise ValueError(f"this is no native model: {_listed(problems)}")
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
        name: _json(folder / name, problems)
        for name in (CONFIG, INPUTS, TRUTH)
        if name == CONFIG or (folder / name).exists()
    }
    found = list(_file_problems({k: v for k, v in contents.items() if v is not None}))
    config_is_sound = contents[CONFIG] is not None and not any(CONFIG in each for each in found)
    problems += found
    weights = _weights(folder / WEIGHTS, problems)
    if config_is_sound and weights is not None:
        try:
            wanted = shapes_of(full_config(contents[CONFIG]["config"], contents[CONFIG]["words"]))
            problems += shape_problems(weights, wanted)
        except (ValueError, TypeError, NotImplementedError) as error:
            problems.append(f"{CONFIG}: TransformerLens cannot build it: {error}")
    if problems or weights is None:
        raise ValueError(f"{folder} is no native model: {_listed(problems)}")
    made = contents[CONFIG]
    return Native(
        made["about"], made["config"], tuple(made["words"]), weights,
        tuple(
            Saved(each["text"], {int(index): word for index, word in each["outputs"].items()})
            for each in contents.get(INPUTS, {"inputs": []})["inputs"]
        ),
        contents.get(TRUTH), made["pad"], made["unk"],
    )  # fmt: skip


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


def _json(path: Path, problems: list[str]) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES[path.name]:
            problems.append(f"{path.name} has more than {MOST_BYTES[path.name]} bytes")
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        problems.append(f"{path.name} is not JSON in UTF-8: {error}")
    return None


def _file_problems(contents: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the JSON files, told in their names."""
    for name, content in contents.items():
        if not isinstance(content, dict):
            yield f"{name}: expected an object; got {type(content).__name__}"
    made = contents.get(CONFIG)
    words: tuple[str, ...] = ()
    config: Mapping[str, Any] = {}
    if isinstance(made, dict):
        told = [*_config_problems(made), *_word_problems(made)]
        yield from (f"{CONFIG}: {problem}" for problem in told)
        if told:
            return  # what the other files say is measured by it
        words, config = tuple(made["words"]), made["config"]
        if isinstance(inputs := contents.get(INPUTS), dict):
            for problem in _input_problems(inputs, words, config["n_ctx"]):
                yield f"{INPUTS}: {problem}"
        if isinstance(truth := contents.get(TRUTH), dict):
            for problem in _truth_problems(truth, config):
                yield f"{TRUTH}: {problem}"


def _config_problems(made: Mapping[str, Any]) -> Iterator[str]:
    yield from _key_problems(made, ("format", "about", "config", "words", "pad", "unk"))
    if made.get("format") != FORMAT:
        yield f"format must be {FORMAT!r}; got {made.get('format')!r}"
    if not isinstance(made.get("about"), str) or not made["about"].strip():
        yield "about must say in a line what the model is"
    config = made.get("config")
    if not isinstance(config, dict):
        yield f"config must be an object; got {type(config).__name__}"
        return
    if strangers := sorted(set(config) - set(KEYS)):
        yield f"unknown key(s) in config: {', '.join(strangers)}; known: {', '.join(KEYS)}"
    for name, most in SIZES.items():
        value = config.get(name)
        if type(value) is not int or not 1 <= value <= most:
            yield f"{name} must be a whole number from 1 to {most}; got {value!r}"
    for name, choices in CHOICES.items():
        if name in config and not any(
            config[name] is one or (isinstance(one, str) and config[name] == one) for one in choices
        ):
            yield f"{name} must be one of {', '.join(map(str, choices))}; got {config[name]!r}"
    for name in NUMBERS:
        if name in config and (
            isinstance(config[name], bool) or not isinstance(config[name], int | float)
        ):
            yield f"{name} must be a number; got {config[name]!r}"
    words = made.get("words")
    if "d_vocab" in config and isinstance(words, list) and config["d_vocab"] != len(words):
        yield f"d_vocab is {config['d_vocab']!r} but there are {len(words)} words"


def _word_problems(made: Mapping[str, Any]) -> Iterator[str]:
    words, specials = made.get("words"), [made.get("pad"), made.get("unk")]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        yield "words must be a list of text"
        return
    if twice := sorted({word for word in words if words.count(word) > 1}):
        yield f"word(s) listed twice: {_shortened(twice)}"
    if bad := [word for word in words if word.split() != [word] or not _is_text(word)]:
        yield f"a word must be text without white space; got {_shortened(bad)}"
    if lost := [special for special in specials if special not in words]:
        yield f"pad and unk must be among the words; not there: {_shortened(lost)}"
    elif specials[0] == specials[1]:
        yield f"pad and unk must be two words; both are {specials[0]!r}"
    elif bad := [word for word in words for one in specials if word != one and one in word]:
        yield f"no word may contain pad or unk; got {_shortened(bad)}"


def _input_problems(made: Mapping[str, Any], words: tuple[str, ...], n_ctx: int) -> Iterator[str]:
    yield from _key_problems(made, ("inputs",))
    inputs = made.get("inputs")
    if not isinstance(inputs, list) or not 2 <= len(inputs) <= MOST_INPUTS:
        got = f"{len(inputs)}" if isinstance(inputs, list) else type(inputs).__name__
        yield f"inputs must be a list of 2 to {MOST_INPUTS} inputs; got {got}"
        return
    known, seen, shapes = frozenset(words), set(), {}
    for number, each in enumerate(inputs):
        wrong = list(_saved_problems(each, known, n_ctx))
        yield from (f"input {number}: {problem}" for problem in wrong)
        if wrong:
            continue
        if each["text"] in seen:
            yield f"input {number}: {each['text']!r} is there twice"
        seen.add(each["text"])
        shapes.setdefault((len(each["text"].split()), tuple(sorted(each["outputs"]))), number)
    if len(shapes) > 1:
        told = "; ".join(
            f"input {number} has {length} words and outputs at {', '.join(at)}"
            for (length, at), number in shapes.items()
        )
        yield f"all inputs must have one length and outputs at the same indices: {told}"


def _saved_problems(each: Any, known: frozenset[str], n_ctx: int) -> Iterator[str]:
    if not isinstance(each, dict) or not isinstance(each.get("text"), str):
        yield f"expected an object with text and outputs; got {each!r:.60}"
        return
    yield from _key_problems(each, ("text", "outputs"))
    found = each["text"].split()
    if not 1 <= len(found) <= n_ctx:
        yield f"text must have 1 to n_ctx = {n_ctx} words; got {len(found)}"
    if lost := sorted(set(found) - known):
        yield f"text has words that are not in the vocabulary: {_shortened(lost)}"
    outputs = each.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        yield "outputs must be an object of words by index, and not be empty"
        return
    if bad := [at for at in outputs if at not in map(str, range(len(found)))]:
        yield f"outputs are at indices from 0 to {len(found) - 1}; got {_shortened(bad)}"
    if bad := [word for word in outputs.values() if not isinstance(word, str) or word not in known]:
        yield f"outputs that are no words of the vocabulary: {_shortened(bad)}"


def _truth_problems(made: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    yield from _key_problems(made, ("claim", "ablations"), ("how",))
    if made.get("claim") != "suffices":
        yield f"claim must be 'suffices'; got {made.get('claim')!r}"
    ablations = made.get("ablations")
    if not isinstance(ablations, dict):
        yield f"ablations must be an object; got {type(ablations).__name__}"
        return
    if strangers := sorted(set(ablations) - set(DONORS)):
        yield f"unknown ablation(s) {', '.join(strangers)}; known: {', '.join(DONORS)}"
    for donor, circuits in ablations.items():
        if not isinstance(circuits, list) or not all(isinstance(each, list) for each in circuits):
            yield f"{donor}: expected a list of lists of components"
            continue
        for name in dict.fromkeys(str(name) for circuit in circuits for name in circuit):
            if not _is_component(name, config):
                yield f"{donor}: {name!r} is no component of this model"


def _is_component(name: str, config: Mapping[str, Any]) -> bool:
    try:
        component = parse_site(f"{name}@all").component
    except ValueError:
        return False
    return (
        component.kind != "embed"
        and component.layer < config["n_layers"]
        and (component.head or 0) < config["n_heads"]
        and str(component) == name
    )


def _key_problems(
    made: Mapping[str, Any], wanted: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[str]:
    if missing := [key for key in wanted if key not in made]:
        yield f"missing: {', '.join(missing)}"
    if strangers := sorted(set(made) - {*wanted, *optional}):
        yield f"unknown: {_shortened(strangers)}"


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
    problems += _weight_problems(weights)
    return weights


def _weight_problems(weights: Mapping[str, Tensor]) -> Iterator[str]:
    for name, weight in weights.items():
        if not weight.is_floating_point():
            yield f"{WEIGHTS}: {name} must be of floating point; got {weight.dtype}"
        elif not bool(torch.isfinite(weight).all()):
            yield f"{WEIGHTS}: {name} has values that are no finite numbers"


def shape_problems(weights: Mapping[str, Tensor], wanted: Shapes) -> Iterator[str]:
    if missing := sorted(set(wanted) - set(weights)):
        yield f"{WEIGHTS}: missing tensor(s) {_shortened(missing)}"
    if surplus := sorted(set(weights) - set(wanted)):
        yield f"{WEIGHTS}: tensor(s) that the config has no place for: {_shortened(surplus)}"
    for name in sorted(set(wanted) & set(weights)):
        if tuple(weights[name].shape) != tuple(wanted[name]):
            got = list(weights[name].shape)
            yield f"{WEIGHTS}: {name} must have shape {list(wanted[name])}; got {got}"


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False
    return True


def _shortened(names: Sequence[Any]) -> str:
    shown = ", ".join(f"{name!r:.40}" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _listed(problems: Iterable[str]) -> str:
    problems = list(dict.fromkeys(problems))
    more = len(problems) - SHOWN
    return "; ".join(problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
