"""Models by name: built in, from a folder, wired by hand, or from the hub."""

import copy
import sys
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from desiderata import Donor, Saved

from ..engines.boot import hugging_face_bridge, native_bridge, native_shapes
from ..engines.bridge import BridgeEngine
from ..engines.engine import Engine
from ..engines.hooks import HooksEngine
from ..registry import Registry
from .adapter import apply_adapter
from .catalogue import ADAPTED, FOLDERS, built_in, locate, native_folder, native_models
from .doctor import examine
from .grafted import PREFIX as GRAFTED
from .grafted import parse_grafted
from .grafted_weights import grafted_native
from .model import Model, wrap
from .native import Native, full_config, is_native, read_native, word_tokenizer
from .native_schema import INPUTS, shape_problems
from .planted import PREFIX, parse_planted
from .planted_weights import planted_native

EngineName = Literal["hooks", "bridge"]


@runtime_checkable
class Loader(Protocol):
    """An engine of somebody else, by name: it makes models that run in it."""

    name: str

    def load(self, name: str, *, device: str | None, dtype: str) -> Model:
        """The model of this name."""
        ...


ENGINES: Registry[Loader] = Registry("circuitfind.engines", (), "engine", kind=Loader)
DTYPES = ("float32", "bfloat16", "float16")


def load_model(
    name: str,
    *,
    engine: str | Loader | None = None,
    device: str | None = None,
    dtype: str = "float32",
    device_map: str | None = None,
    revision: str | None = None,
    prepend_bos: bool | None = None,
    trust_remote_code: bool = False,
) -> Model:
    """The model of this name: a built-in one, a local folder, or a name on the hub.

    Args:
        engine: `hooks` for plain forward hooks on a Hugging Face model, `bridge` for
            TransformerLens, or somebody else's (entry point `circuitfind.engines`). By default
            hooks, and the bridge for native models and where the laws do not hold on hooks.
        dtype: float32, bfloat16 or float16. Masks are float32 whatever it is.
        device_map: as in transformers, for models over several devices.
        prepend_bos: put the BOS token first; by default what the model's tokenizer does.

    Raises:
        ValueError: an unknown dtype or engine, a folder that holds no model or only pickled
            weights, an engine that the model does not run in.
        LookupError: neither a built-in name nor a folder, and the hub does not have it or
            cannot be reached.
        RuntimeError: SmolLM2's weights could not be fetched or converted.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}; got {dtype!r}")
    own = _own_engine(engine)
    if engine is not None and own is None:
        return _loader(engine).load(name, device=device, dtype=dtype)
    native = _native(name)
    if native is not None:
        if engine == "hooks":
            raise ValueError(f"{name} is a native model, which runs in the engine bridge only")
        return build_native(native, name, device=device, dtype=dtype)
    source = str(locate(name))
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        return _from_hugging_face(
            name, source, own, device, getattr(torch, dtype), device_map, prepend_bos, options
        )
    except (OSError, ValueError) as error:
        if Path(source).is_dir():
            raise ValueError(f"the folder {source} could not be loaded: {error}") from error
        raise LookupError(
            f"no model {name!r}: it is not built in ({', '.join(built_in())}), not a folder here, "
            f"and the hub did not give it: {str(error).splitlines()[0]}"
        ) from error


def _own_engine(engine: str | Loader | None) -> EngineName | None:
    """The engine where it is one of this package's."""
    return "hooks" if engine == "hooks" else "bridge" if engine == "bridge" else None


def _loader(engine: str | Loader) -> Loader:
    """Somebody else's engine."""
    if isinstance(engine, str) and engine not in ENGINES.names():
        known = ", ".join(("hooks", "bridge", *ENGINES.names()))
        raise ValueError(f"the engine must be one of {known}; got {engine!r}")
    return ENGINES.named(engine)


def _native(name: str) -> Native | None:
    """The native model of this name, None where the name is another kind of model's."""
    if name.partition(":")[0] == PREFIX:
        return planted_native(parse_planted(name))
    if name.partition(":")[0] == GRAFTED:
        return grafted_native(parse_grafted(name))
    folder = native_folder(name)
    return read_native(folder, native_shapes) if is_native(folder) else None


def _from_hugging_face(
    name: str,
    source: str,
    engine: EngineName | None,
    device: str | None,
    dtype: torch.dtype,
    device_map: str | None,
    prepend_bos: bool | None,
    options: dict[str, Any],
) -> Model:
    """The model in a folder or on the hub, in the engine asked for or the one whose laws hold."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    # Eager attention, whose weights can be read, and which gives what the bridge gives.
    module: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, device_map=device_map, attn_implementation="eager", **options
    )
    if name in ADAPTED:
        apply_adapter(module, FOLDERS / name / "adapter.safetensors", ADAPTED[name])
    if device_map is None:
        module.to(device or _best_device())
    made, checked = _engine_for(module, source, engine, tokenizer, options)
    return wrap(made, name, tokenizer=tokenizer, prepend_bos=prepend_bos, checked=checked)


def _engine_for(
    module: Any, source: str, engine: EngineName | None, tokenizer: Any, options: dict[str, Any]
) -> tuple[Engine, dict[str, Any]]:
    """The engine around a module, with what its laws gave: hooks where they hold."""
    problem = ""
    if engine != "bridge":
        try:
            hooks = HooksEngine(module)
            found = examine(hooks)
            if engine == "hooks" or found.sound:
                return hooks, found.as_json()
            problem = found.message
        except ValueError as error:
            if engine == "hooks":
                raise
            problem = str(error)
    bridge = hugging_face_bridge(
        source,
        hf_model=module,
        tokenizer=copy.deepcopy(tokenizer),
        dtype=module.dtype,
        device=None if getattr(module, "hf_device_map", None) else str(module.device),
        **options,
    )
    made = BridgeEngine(bridge)
    return made, examine(made).as_json() | ({"not hooks": problem} if problem else {})


def load_saved(name: str) -> tuple[Saved, ...]:
    """The inputs saved beside a native model, built in or in a folder.

    Raises:
        LookupError: no native model of this name, or one without inputs.
        ValueError: a folder that is no sound native model.
    """
    folder = native_folder(name)
    saved = read_native(folder, native_shapes).inputs if is_native(folder) else ()
    if not saved:
        known = ", ".join(native_models()) or "none"
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
    config = full_config(native.config, native.words)
    if problems := list(shape_problems(native.weights, native_shapes(config))):
        raise ValueError(f"{name}: {'; '.join(problems)}")
    tokenizer = word_tokenizer(native.words, native.pad, native.unk)
    bridge = native_bridge(
        config,
        native.weights,
        tokenizer=tokenizer,
        device=device or _best_device(),
        dtype=getattr(torch, dtype),
    )
    return wrap(BridgeEngine(bridge), name, tokenizer=tokenizer)


def load_truth(name: str) -> dict[Donor, tuple[tuple[str, ...], ...]]:
    """Every smallest circuit of a native model by ablation, as component names; empty where no
    truth is saved beside it.

    Raises:
        ValueError: a folder that is no sound native model.
    """
    truth = read_native(native_folder(name), native_shapes).truth or {"ablations": {}}
    return {
        donor: tuple(tuple(circuit) for circuit in circuits)
        for donor, circuits in truth["ablations"].items()
    }


def wrap_bridge(
    bridge: Any, name: str, *, tokenizer: Any = None, prepend_bos: bool | None = None
) -> Model:
    """A model around a TransformerBridge that is already there; its weights get frozen.

    Raises:
        ValueError: the tokenizer cannot say which characters a token covers.
    """
    engine = BridgeEngine(bridge)
    return wrap(engine, name, tokenizer=tokenizer or bridge.tokenizer, prepend_bos=prepend_bos)


def wrap_module(
    module: Any, name: str, *, tokenizer: Any, prepend_bos: bool | None = None
) -> Model:
    """A model around a Hugging Face causal language model that is already there, on plain hooks;
    its weights get frozen.

    Raises:
        ValueError: no layers are found in it; the tokenizer cannot say which characters a token
            covers.
    """
    return wrap(HooksEngine(module), name, tokenizer=tokenizer, prepend_bos=prepend_bos)


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
