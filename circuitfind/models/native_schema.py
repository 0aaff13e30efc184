"""The files of a native model folder: what they hold, and what is wrong with them (the folder is
described in native.py)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from desiderata import Donor

from ..mediators.space import USUAL, Decoder, has_component
from ..records import CLOSED, Format, shown, site_named

FORMAT = "circuitfind-native/1"
CONFIG, WEIGHTS, INPUTS, TRUTH = "config.json", "model.safetensors", "inputs.json", "truth.json"
MOST_BYTES = {CONFIG: 2**22, WEIGHTS: 2**28, INPUTS: 2**24, TRUTH: 2**22}
MOST_INPUTS = 10_000
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
NAMED = 6  # names that a problem lists before it counts the rest

Shapes = Mapping[str, tuple[int, ...]]
UNSET: Any = None  # of a key that may be left out, where null would be no value


@dataclass(frozen=True, kw_only=True)
class NativeConfig:
    """The keys of a native model's `config`, arguments of TransformerLens' config; the greatest
    sizes are those of what still is a small model."""

    __pydantic_config__ = CLOSED

    d_model: Annotated[int, Field(ge=1, le=4096)]
    d_head: Annotated[int, Field(ge=1, le=1024)]
    n_layers: Annotated[int, Field(ge=1, le=64)]
    n_heads: Annotated[int, Field(ge=1, le=128)]
    n_ctx: Annotated[int, Field(ge=1, le=2048)]
    d_mlp: Annotated[int, Field(ge=1, le=16384)]
    attention_dir: Literal["causal", "bidirectional"] = UNSET
    normalization_type: Literal["LN", "LNPre", "RMS", "RMSPre"] | None = None
    positional_embedding_type: Literal["standard", "rotary"] = UNSET
    act_fn: Literal["relu", "gelu", "gelu_new", "silu", "solu"] = UNSET
    gated_mlp: bool = UNSET
    final_rms: bool = UNSET
    use_attn_scale: bool = UNSET
    eps: float = UNSET
    attn_scale: float = UNSET
    attn_scores_soft_cap: float = UNSET
    output_logits_soft_cap: float = UNSET
    n_key_value_heads: float = UNSET
    rotary_dim: float = UNSET
    rotary_base: float = UNSET
    d_vocab: float = UNSET
    seed: float = UNSET


def _check_about(text: str) -> str:
    if not text.strip():
        raise ValueError("must say in a line what the model is")
    return text


def _check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    problems = []
    if twice := sorted(word for word, count in Counter(words).items() if count > 1):
        problems.append(f"word(s) listed twice: {_shortened(twice)}")
    if bad := [word for word in words if word.split() != [word]]:
        problems.append(f"a word must be text without white space; got {_shortened(bad)}")
    if problems:
        raise ValueError("; ".join(problems))
    return words


@dataclass(frozen=True, kw_only=True)
class NativeRecord:
    """A native model's config.json: `about` says in a line what the model is, `words` are the
    vocabulary in the order of the ids, `pad` and `unk` two of them.

    Raises:
        ValueError: another number of words than the config's; pad or unk not among them.
    """

    __pydantic_config__ = CLOSED

    about: Annotated[str, AfterValidator(_check_about)]
    config: NativeConfig
    words: Annotated[tuple[str, ...], AfterValidator(_check_words)]
    pad: str
    unk: str

    def __post_init__(self) -> None:
        words, specials, problems = self.words, (self.pad, self.unk), []
        if self.config.d_vocab is not UNSET and self.config.d_vocab != len(words):
            problems += [f"d_vocab is {self.config.d_vocab:g} but there are {len(words)} words"]
        if lost := [special for special in specials if special not in words]:
            problems += [f"pad and unk must be among the words; not there: {_shortened(lost)}"]
        elif self.pad == self.unk:
            problems += [f"pad and unk must be two words; both are {shown(self.pad)}"]
        elif bad := [word for word in words for one in specials if word != one and one in word]:
            problems += [f"no word may contain pad or unk; got {_shortened(bad)}"]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class InputRecord:
    """An input and the words that come out there, by index of the token."""

    __pydantic_config__ = CLOSED

    text: str
    outputs: Annotated[Mapping[str, str], Field(min_length=1)]


@dataclass(frozen=True)
class InputsRecord:
    """What inputs.json holds."""

    __pydantic_config__ = CLOSED

    inputs: Annotated[tuple[InputRecord, ...], Field(min_length=2, max_length=MOST_INPUTS)]


@dataclass(frozen=True, kw_only=True)
class TruthRecord:
    """What truth.json holds: every smallest set of components that keeps the outputs when the
    others are ablated so, and how that is known."""

    __pydantic_config__ = CLOSED

    claim: Literal["suffices"]
    ablations: Mapping[Donor, tuple[tuple[str, ...], ...]]
    how: str = ""


CONFIG_FILE: Format[NativeRecord] = Format("a native model's config", {FORMAT: NativeRecord})
INPUTS_FILE: Format[InputsRecord] = Format("saved inputs", {FORMAT: InputsRecord}, FORMAT)
TRUTH_FILE: Format[TruthRecord] = Format("a known circuit", {FORMAT: TruthRecord}, FORMAT)
FILES = {CONFIG: CONFIG_FILE, INPUTS: INPUTS_FILE, TRUTH: TRUTH_FILE}


def file_problems(contents: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the JSON files, by their names."""
    made: dict[str, Any] = {}
    for name, content in contents.items():
        made[name], problems = FILES[name].check(content)
        yield from (f"{name}: {problem}" for problem in problems)
    if (config := made.get(CONFIG)) is None:
        return  # what the other files say is measured by it
    if inputs := made.get(INPUTS):
        yield from (f"{INPUTS}: {problem}" for problem in _input_problems(inputs, config))
    if truth := made.get(TRUTH):
        yield from (f"{TRUTH}: {problem}" for problem in _truth_problems(truth, config.config))


def _input_problems(inputs: InputsRecord, config: NativeRecord) -> Iterator[str]:
    known, seen, shapes = frozenset(config.words), set(), {}
    for number, row in enumerate(inputs.inputs):
        wrong = list(_row_problems(row, known, config.config.n_ctx))
        yield from (f"inputs.{number}: {problem}" for problem in wrong)
        if wrong:
            continue
        if row.text in seen:
            yield f"inputs.{number}: {shown(row.text)} is there twice"
        seen.add(row.text)
        shapes.setdefault((len(row.text.split()), tuple(sorted(row.outputs))), number)
    if len(shapes) > 1:
        listed = "; ".join(
            f"inputs.{number} has {length} words and outputs at {', '.join(at)}"
            for (length, at), number in shapes.items()
        )
        yield f"all inputs must have one length and outputs at the same indices: {listed}"


def _row_problems(row: InputRecord, known: frozenset[str], n_ctx: int) -> Iterator[str]:
    words = row.text.split()
    if not 1 <= len(words) <= n_ctx:
        yield f"text must have 1 to n_ctx = {n_ctx} words; got {len(words)}"
    if lost := sorted(set(words) - known):
        yield f"text has words that are not in the vocabulary: {_shortened(lost)}"
    if bad := [at for at in row.outputs if at not in map(str, range(len(words)))]:
        yield f"outputs are at indices from 0 to {len(words) - 1}; got {_shortened(bad)}"
    if bad := [word for word in row.outputs.values() if word not in known]:
        yield f"outputs that are no words of the vocabulary: {_shortened(bad)}"


def _truth_problems(truth: TruthRecord, config: NativeConfig) -> Iterator[str]:
    for donor, circuits in truth.ablations.items():
        for name in dict.fromkeys(name for circuit in circuits for name in circuit):
            if not _is_component(name, config):
                yield f"{donor}: {shown(name)} is no component of this model"


def _is_component(name: str, config: NativeConfig) -> bool:
    try:
        component = site_named(f"{name}@all").component
    except ValueError:
        return False
    decoder = Decoder(config.n_layers, config.n_heads)
    usual = component.mediator in USUAL and has_component(decoder, component)
    return usual and str(component) == name


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


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(shown, names[:NAMED])) + more
