"""What is wrong with a native model folder, in words (the format is told in native.py)."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from desiderata.choices import DONORS

from ..mediators.known import parse_site
from ..mediators.space import USUAL, Decoder, has_component

FORMAT = "circuitfind-native/1"
CONFIG, WEIGHTS, INPUTS, TRUTH = "config.json", "model.safetensors", "inputs.json", "truth.json"
MOST_BYTES = {CONFIG: 2**22, WEIGHTS: 2**28, INPUTS: 2**24, TRUTH: 2**22}
MOST_INPUTS = 10_000
SHOWN = 12  # problems spelled out before the rest are counted

# Whole numbers that a config must give, and the most that still is a small model.
SIZES = {
    "d_model": 4096,
    "d_head": 1024,
    "n_layers": 64,
    "n_heads": 128,
    "n_ctx": 2048,
    "d_mlp": 16384,
}
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
    "eps",
    "attn_scale",
    "attn_scores_soft_cap",
    "output_logits_soft_cap",
    "n_key_value_heads",
    "rotary_dim",
    "rotary_base",
    "d_vocab",
    "seed",
)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
KEYS = (*SIZES, *CHOICES, *NUMBERS)

Shapes = Mapping[str, tuple[int, ...]]


def file_problems(contents: Mapping[str, Any]) -> Iterator[str]:
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
            isinstance(config[name], bool)
            or not isinstance(config[name], int | float)
            or not math.isfinite(config[name])
        ):
            yield f"{name} must be a finite number; got {config[name]!r:.40}"
    words = made.get("words")
    if "d_vocab" in config and isinstance(words, list) and config["d_vocab"] != len(words):
        yield f"d_vocab is {config['d_vocab']!r} but there are {len(words)} words"


def _word_problems(made: Mapping[str, Any]) -> Iterator[str]:
    words, specials = made.get("words"), [made.get("pad"), made.get("unk")]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        yield "words must be a list of text"
        return
    if twice := sorted(word for word, count in Counter(words).items() if count > 1):
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
    decoder = Decoder(config["n_layers"], config["n_heads"])
    usual = component.mediator in USUAL and has_component(decoder, component)
    return usual and str(component) == name


def _key_problems(
    made: Mapping[str, Any], wanted: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[str]:
    if missing := [key for key in wanted if key not in made]:
        yield f"missing: {', '.join(missing)}"
    if strangers := sorted(set(made) - {*wanted, *optional}):
        yield f"unknown: {_shortened(strangers)}"


def weight_problems(weights: Mapping[str, Tensor]) -> Iterator[str]:
    for name, weight in weights.items():
        if weight.dtype not in DTYPES:
            kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            yield f"{WEIGHTS}: {name} must be one of {kinds}; got {weight.dtype}"
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
