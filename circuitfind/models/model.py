"""Models: the one file that knows transformer_lens.

What the engine asks of a model, all of it: `tokenize` (ids with character offsets), its sizes,
`hook_name` of a component, and `forward` over tokens with an optional cached prefix. A second
engine offers these and stands beside this one.
"""

import copy
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from desiderata import Donor, Saved

from ..mediators.site import Component
from .adapter import apply_adapter
from .native import Native, full_config, is_native, read_native, word_tokenizer
from .native_schema import CONFIG, INPUTS, shape_problems
from .planted import PREFIX, parse_planted
from .planted_weights import planted_native

_FOLDERS = Path(__file__).parent


def _shipped_native() -> dict[str, str]:
    """The native models in the package, with what each says of itself."""
    folders = sorted(path for path in _FOLDERS.iterdir() if is_native(path))
    return {
        path.name: str(json.loads((path / CONFIG).read_text(encoding="utf-8")).get("about", ""))
        for path in folders
    }


NATIVE = _shipped_native()
BUILT_IN = {
    "binder": "variable binding, 4 layers, trained here; ships in the package",
    "smollm2-135m": "SmolLM2-135M-Instruct, 30 layers; one 93 MB download, then offline",
    "smollm2-135m-binding": "the same, fine-tuned here on binding; the change ships in the package",
    "planted": "variable binding wired by hand, its circuit known; planted:layers=3,backups=1,...",
    **NATIVE,
}
# Built-in models that are another one with a low-rank change: name -> that other one.
_ADAPTED = {"smollm2-135m-binding": "smollm2-135m"}

PAIRS_AT_ONCE = 256

# Where the residual stream enters a layer.
_ENTRY = "blocks.{}.hook_in"
_HOOKS = {"head": "blocks.{}.attn.hook_z", "mlp": "blocks.{}.hook_mlp_out", "embed": "hook_embed"}


@dataclass(frozen=True)
class Tokens:
    """A text's token ids, and for each the characters it covers (start, end)."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """A transformer behind the few things that the engine asks of it. Weights stay frozen.

    `pairs_at_once` is how many pairs go through it in one pass; fewer take less memory.
    """

    name: str
    bridge: Any
    tokenizer: Any
    prepend_bos: bool
    n_layers: int
    n_heads: int
    d_model: int
    d_vocab: int
    pairs_at_once: int = PAIRS_AT_ONCE

    @property
    def device(self) -> torch.device:
        """Where tokens go in: the device of the first layer."""
        return torch.device(self.bridge.cfg.device or "cpu")

    @cached_property
    def reuses_prefix(self) -> bool:
        """Whether keys and values of a prefix can be kept: causal, and with a cache."""
        causal = getattr(self.bridge.cfg, "attention_dir", "causal") == "causal"
        return causal and "past_key_values" in self._accepts

    @cached_property
    def skips_layers(self) -> bool:
        """Whether a run can begin at a later layer: tried once, on two prompts of three tokens.

        Models whose layers return more than the residual stream cannot, small native ones among
        them.
        """
        tokens, last = torch.zeros(2, 3, dtype=torch.long, device=self.device), self.n_layers - 1
        name = self.entry_name(last)
        try:
            with torch.no_grad():
                full, seen = self.bridge.run_with_cache(tokens, names_filter=[name])
                again, _ = self.forward(tokens, entry=(last, seen[name]))
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            return False
        return torch.allclose(again, full[:, -1], atol=1e-3, rtol=1e-3)

    @cached_property
    def _accepts(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.bridge.original_model.forward).parameters)

    @cached_property
    def n_block_parameters(self) -> int:
        """Weights in the layers, without the embedding and the unembedding."""
        return sum(parameter.numel() for parameter in self.bridge.blocks.parameters())

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and values of the weights."""
        sha = hashlib.sha256()
        for name, weight in sorted(self.bridge.original_model.state_dict().items()):
            sha.update(name.encode())
            sha.update(
                weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
        return sha.hexdigest()

    def tokenize(self, texts: list[str]) -> list[Tokens]:
        """Each text's tokens, as the model's own tokenizer makes them (with its BOS, if any)."""
        if not texts:  # of which tokenizers make an error
            return []
        coded = self.tokenizer(texts, return_offsets_mapping=True)
        bos = self.tokenizer.bos_token_id
        made = []
        for ids, offsets in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            tokens = Tokens(tuple(ids), tuple(map(tuple, offsets)))
            if self.prepend_bos and ids[:1] != [bos]:
                tokens = Tokens((bos, *tokens.ids), ((0, 0), *tokens.offsets))
            made.append(tokens)
        return made

    def hook_name(self, component: Component) -> str:
        """The hook point where a component's output is read and written."""
        return _HOOKS[component.kind].format(component.layer)

    def attention_name(self, head: Component) -> str:
        """The hook point where the attention of a head's layer is read, after the softmax."""
        return f"blocks.{head.layer}.attn.hook_pattern"

    def entry_name(self, layer: int) -> str:
        """The hook point where the residual stream enters a layer."""
        return _ENTRY.format(layer)

    def forward(
        self,
        tokens: Int[Tensor, "pair pos"],
        attends: Int[Tensor, "pair seen"] | None = None,
        prefix: Any = None,
        keep_prefix: bool = False,
        entry: tuple[int, Float[Tensor, "pair pos d_model"]] | None = None,
        reads: Int[Tensor, " pair"] | None = None,
    ) -> tuple[Float[Tensor, "pair d_vocab"], Any]:
        """The logits after the last token, and the key-value cache if it is to be kept.

        Args:
            attends: 1 for real tokens and 0 for padding, over the prefix and these tokens.
            prefix: the cache of an earlier run, which is left as it was.
            entry: a layer to begin at, and the residual stream that enters it; where the model
                `skips_layers`.
            reads: the column of these tokens at which each row's logits are wanted, instead of
                the last one.
        """
        options: dict[str, Any] = {"use_cache": keep_prefix or prefix is not None}
        if attends is not None and not bool(attends.all()):
            options["attention_mask"] = attends
        if prefix is not None:
            options["past_key_values"] = _copy_cache(prefix)
        if "logits_to_keep" in self._accepts and reads is None:
            options["logits_to_keep"] = 1
        layer, given = entry or (0, tokens)
        if entry is not None:
            options["start_at_layer"] = layer
            if "attention_mask" in options and "position_ids" in self._accepts:
                # From tokens the bridge counts positions without padding; from a layer it does not.
                counted = (options["attention_mask"].long().cumsum(-1) - 1).clamp(min=0)
                options["position_ids"] = counted[:, -given.shape[1] :]
        with _skipped(self.bridge.blocks[:layer]):
            made = self.bridge(
                given, return_type="logits_and_cache" if keep_prefix else "logits", **options
            )
        logits, cache = made if keep_prefix else (made, None)
        if reads is None:
            return logits[:, -1], cache
        rows = torch.arange(len(logits), device=logits.device)
        return logits[rows, reads.to(logits.device)], cache


@contextmanager
def _skipped(blocks: Iterable[Any]) -> Iterator[None]:
    """These layers hand on what they are given; `start_at_layer` alone would still run them."""
    blocks = list(blocks)
    for block in blocks:
        # Not by assignment: a bridge would pass that on to the component that it wraps.
        vars(block)["forward"] = _hand_on
    try:
        yield
    finally:
        for block in blocks:
            del vars(block)["forward"]


def _hand_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def _copy_cache(cache: Any) -> Any:
    """A cache that shares its tensors but grows by itself: an update makes new tensors."""
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    return fresh


def repeat_cache(cache: Any, times: int, first: int = 0) -> Any:
    """The same cache for a batch that holds all its pairs `times` times, one after another.

    Args:
        first: the layer that the run begins at; those before it, which are not run, stay short.
    """
    fresh = _copy_cache(cache)
    # Masks and positions are made from the first layer's length alone, never from its batch.
    for layer in fresh.layers[first:]:
        layer.keys = layer.keys.repeat(times, 1, 1, 1)
        layer.values = layer.values.repeat(times, 1, 1, 1)
    return fresh


def load_model(
    name: str,
    *,
    device: str | None = None,
    dtype: str = "float32",
    device_map: str | None = None,
    revision: str | None = None,
    prepend_bos: bool | None = None,
    trust_remote_code: bool = False,
) -> Model:
    """The model of this name: a built-in one, a local folder, or a name on the hub.

    Args:
        dtype: float32, bfloat16 or float16. Masks are float32 whatever it is.
        device_map: as in transformers, for models over several devices.
        prepend_bos: put the BOS token first; by default what the model's tokenizer does.

    Raises:
        ValueError: an unknown dtype, a folder that holds no model or only pickled weights.
        LookupError: neither a built-in name nor a folder, and the hub does not have it or
            cannot be reached.
        RuntimeError: SmolLM2's weights could not be fetched or converted.
    """
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype must be float32, bfloat16 or float16; got {dtype!r}")
    if name.partition(":")[0] == PREFIX:
        return build_native(planted_native(parse_planted(name)), name, device=device, dtype=dtype)
    source = str(_locate(name))
    if Path(source).is_dir() and is_native(source):
        return build_native(read_native(source, native_shapes), name, device=device, dtype=dtype)
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    where = {"device_map": device_map} if device_map else {"device": device or _best_device()}
    try:
        if name in _ADAPTED:
            changed = AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), device_map=device_map
            )
            apply_adapter(changed, _FOLDERS / name / "adapter.safetensors", _ADAPTED[name])
            where = {"hf_model": changed, "device": None if device_map else where["device"]}
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=trust_remote_code
        )
        bridge = TransformerBridge.boot_transformers(
            source,
            tokenizer=copy.deepcopy(tokenizer),
            dtype=getattr(torch, dtype),
            revision=revision,
            trust_remote_code=trust_remote_code,
            **where,  # type: ignore[arg-type]
        )
    except (OSError, ValueError) as error:
        if Path(source).is_dir():
            raise ValueError(f"the folder {source} could not be loaded: {error}") from error
        raise LookupError(
            f"no model {name!r}: it is not built in ({', '.join(BUILT_IN)}), not a folder here, "
            f"and the hub did not give it: {str(error).splitlines()[0]}"
        ) from error
    return wrap(bridge, name, tokenizer=tokenizer, prepend_bos=prepend_bos)


def load_saved(name: str) -> tuple[Saved, ...]:
    """The inputs saved beside a native model, built in or in a folder.

    Raises:
        LookupError: no native model of this name, or one without inputs.
        ValueError: a folder that is no sound native model.
    """
    folder = _native_folder(name)
    saved = read_native(folder, native_shapes).inputs if is_native(folder) else ()
    if not saved:
        known = ", ".join(NATIVE) or "none"
        raise LookupError(
            f"no inputs are saved beside {name!r}: that takes a native model folder with "
            f"{INPUTS}; built in with them: {known}"
        )
    return saved


def build_native(
    native: Native, name: str, *, device: str | None = None, dtype: str = "float32"
) -> Model:
    """The model that these weights and this config make, as TransformerLens builds native ones.

    Raises:
        ValueError: weights that are missing, surplus or of other shapes than the config asks for.
    """
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    made = full_config(native.config, native.words)
    shapes = native_shapes(made)
    if problems := list(shape_problems(native.weights, shapes)):
        raise ValueError(f"{name}: {'; '.join(problems)}")
    tokenizer = word_tokenizer(native.words, native.pad, native.unk)
    config = TransformerBridgeConfig(**made, device=device or _best_device())
    boot: Any = TransformerBridge
    bridge = boot.boot_native(config, tokenizer=tokenizer, dtype=getattr(torch, dtype))
    with torch.no_grad():
        for weight_name, weight in native.weights.items():
            # Not load_state_dict: a bridge lists every tensor under several names of its own.
            bridge.original_model.get_parameter(weight_name).copy_(weight)
    return wrap(bridge, name, tokenizer=tokenizer)


def native_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the weights of a native model with this config.

    Raises:
        ValueError, TypeError, NotImplementedError: TransformerLens cannot build it.
    """
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native import NativeModel

    with torch.device("meta"):  # shapes alone: a config may ask for more than memory holds
        made = NativeModel(TransformerBridgeConfig(**config, device="cpu")).state_dict()
    return {name: tuple(weight.shape) for name, weight in made.items()}


def wrap(
    bridge: Any, name: str, *, tokenizer: Any = None, prepend_bos: bool | None = None
) -> Model:
    """A Model around a TransformerBridge that is already there; its weights get frozen.

    Raises:
        ValueError: the tokenizer cannot tell which characters a token covers.
    """
    tokenizer = tokenizer or bridge.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{name}: a fast tokenizer is needed, which tells the characters of each token; "
            f"got {type(tokenizer).__name__}"
        )
    for parameter in bridge.original_model.parameters():
        parameter.requires_grad_(False)
    bridge.eval()
    cfg = bridge.cfg
    return Model(
        name=name,
        bridge=bridge,
        tokenizer=tokenizer,
        prepend_bos=bool(prepend_bos),
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        d_model=cfg.d_model,
        d_vocab=cfg.d_vocab,
    )


def load_truth(name: str) -> dict[Donor, tuple[tuple[str, ...], ...]]:
    """Every smallest circuit of a native model by ablation, as component names; empty where no
    truth is saved beside it.

    Raises:
        ValueError: a folder that is no sound native model.
    """
    truth = read_native(_native_folder(name), native_shapes).truth or {"ablations": {}}
    return {
        donor: tuple(tuple(circuit) for circuit in circuits)
        for donor, circuits in truth["ablations"].items()
    }


def shuffle_weights(model: Model, seed: int) -> Model:
    """The model with the values of each weight tensor shuffled in place: the same numbers, and
    nothing that training or wiring put there.

    A negative control after Conmy et al. 2023 (arXiv 2304.14997), who reset networks so.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.bridge.original_model.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))
    return replace(model, name=f"{model.name}, weights shuffled")


@contextmanager
def weights_shuffled(model: Model, seed: int) -> Iterator[Model]:
    """The model as `shuffle_weights` makes it, and its own weights again whatever happens."""
    weights = list(model.bridge.original_model.parameters())
    own = [weight.detach().clone() for weight in weights]
    try:
        yield shuffle_weights(model, seed)
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)


def _native_folder(name: str) -> Path:
    return _FOLDERS / name if name in NATIVE else Path(name).expanduser()


def _locate(name: str) -> str | Path:
    """Where a model's files are, or the name itself for the hub."""
    if name == "binder" or name in NATIVE:
        return _FOLDERS / name
    name = _ADAPTED.get(name, name)
    if name == "smollm2-135m":
        from .smollm2 import fetch_smollm2  # also a program, which importing here would shadow

        return fetch_smollm2()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise LookupError(f"no model folder {name}")
        return name
    if is_native(folder):
        return folder
    problems = []
    if not (folder / "config.json").is_file():
        problems.append("config.json is missing")
    if not list(folder.glob("*.safetensors")):
        problems.append("it holds no .safetensors weights (pickled ones are not loaded)")
    if problems:
        raise ValueError(f"{name} is not a model folder: {' and '.join(problems)}")
    return folder


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
