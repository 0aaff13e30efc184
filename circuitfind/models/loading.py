"""Models by name: built in, from a folder, wired by hand, or from the hub."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from desiderata import Donor, Saved

from ..engines.boot import hugging_face_bridge, native_bridge, native_shapes
from ..engines.bridge import BridgeEngine
from ..engines.hooks import HooksEngine
from ..registry import Registry
from .adapter import apply_adapter
from .catalogue import ADAPTED, FOLDERS, locate, native_folder, native_models
from .doctor import begins, examine
from .findings import Findings, Law
from .grafted import PREFIX as GRAFTED
from .grafted import parse_grafted
from .grafted_weights import grafted_native
from .hugging_face import (
    Asked,
    EngineName,
    best_device,
    check_device,
    fitted,
    load_module,
    load_tokenizer,
    refusal,
)
from .model import Model, wrap
from .native import Native, full_config, is_native, read_native, word_tokenizer
from .native_schema import INPUTS, shape_problems
from .peft import LoraConfig, apply_peft, is_peft, read_peft
from .planted import PREFIX, parse_planted
from .planted_weights import planted_native


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
    force: bool = False,
    fresh: bool = False,
) -> Model:
    """The model of this name: a built-in one, a local folder, or a name on the hub.

    Args:
        engine: `hooks` for plain forward hooks on a Hugging Face model, `bridge` for
            TransformerLens, or somebody else's (entry point `circuitfind.engines`). By default
            hooks, and the bridge for native models and where the laws do not hold on hooks.
        dtype: float32, bfloat16 or float16. Masks are float32 whatever it is.
        device_map: as in transformers, for models over several devices.
        prepend_bos: put the BOS token first, or not; by default what the model's tokenizer does.
            A text that has its own gets no second one.
        force: load what the doctor would refuse; `notes` of the model then say what is broken.
        fresh: examine the model also where the doctor has found it sound before.

    Raises:
        ValueError: an unknown dtype, engine or device, a folder that holds no causal language model
            or only pickled weights, weights that are missing or left over, a model in which a law
            does not hold.
        LookupError: neither a built-in name nor a folder, and the hub does not have it or
            cannot be reached.
        RuntimeError: SmolLM2's weights could not be fetched or converted.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}; got {dtype!r}")
    check_device(device)
    own = _own_engine(engine)
    if engine is not None and own is None:
        return _loader(engine).load(name, device=device, dtype=dtype)
    native = _native(name)
    if native is not None:
        if engine == "hooks":
            raise ValueError(f"{name} is a native model, which runs in the engine bridge only")
        return build_native(native, name, device=device, dtype=dtype, prepend_bos=prepend_bos)
    asked = Asked(
        engine=own,
        device=device,
        dtype=getattr(torch, dtype),
        device_map=device_map,
        force=force,
        fresh=fresh,
        options={"revision": revision, "trust_remote_code": trust_remote_code},
    )
    return _from_hugging_face(name, str(locate(name)), asked, prepend_bos)


def examined(name: str, *, engine: str | None = None, **options: Any) -> Findings:
    """What the doctor finds in a model, whether or not it was examined before.

    Args:
        options: as in `load_model`.

    Raises:
        ValueError, LookupError: it cannot be loaded at all.
    """
    model = load_model(name, engine=engine, force=True, fresh=True, **options)
    if model.found is not None:
        return model.found
    # A native model, or somebody else's engine: wired by hand, heads may be idle on purpose.
    found = examine(model.engine, idle=True)
    return replace(found, laws=(*found.laws, begins(model)))


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


def _from_hugging_face(name: str, source: str, asked: Asked, prepend_bos: bool | None) -> Model:
    """The model in a folder or on the hub, in the engine asked for or the one whose laws hold."""
    adapter = read_peft(Path(source)) if is_peft(Path(source)) else None
    home, options = source, asked.options
    if adapter is not None:
        home = _base_of(adapter)
        # A file names this model: nobody has said that its code may run, or which revision.
        asked = replace(asked, options={})
    own = adapter is None or (Path(source) / "tokenizer_config.json").is_file()
    tokenizer = load_tokenizer(
        name if adapter is None else adapter.base,
        source if own else home,
        options if own else asked.options,
    )

    def load() -> tuple[Any, Law]:
        module, weights = load_module(name if adapter is None else adapter.base, home, asked)
        if name in ADAPTED:
            apply_adapter(module, FOLDERS / name / "adapter.safetensors", ADAPTED[name])
        if adapter is not None:
            apply_peft(module, adapter)
        return module, weights

    def bridged(module: Any) -> Any:
        return hugging_face_bridge(
            home,
            hf_model=module,
            tokenizer=copy.deepcopy(tokenizer),
            dtype=module.dtype,
            device=None if getattr(module, "hf_device_map", None) else str(module.device),
            **asked.options,
        )

    made, found = fitted(name, load, asked, bridged)
    model = wrap(made, name, tokenizer=tokenizer, prepend_bos=prepend_bos)
    found = replace(found, laws=(*found.laws, bos := begins(model)))
    if bos.holds is False and not asked.force:
        raise ValueError(refusal(name, [bos.says]))
    return replace(model, found=found)


def _base_of(adapter: LoraConfig) -> str:
    """Where the model is that an adapter changes: built in, a folder, or a name on the hub."""
    beside = adapter.folder / adapter.base
    source = str(beside if beside.is_dir() and not Path(adapter.base).is_dir() else adapter.base)
    wired = source.partition(":")[0] == PREFIX
    found = source if wired else locate(source)
    if wired or is_native(Path(found)) or is_peft(Path(found)) or source in ADAPTED:
        raise ValueError(
            f"{adapter.folder}: expected the base to be a whole Hugging Face model; got "
            f"{adapter.base!r}, which is native or an adapter itself"
        )
    return str(found)


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
    native: Native,
    name: str,
    *,
    device: str | None = None,
    dtype: str = "float32",
    prepend_bos: bool | None = None,
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
        device=device or best_device(),
        dtype=getattr(torch, dtype),
    )
    return wrap(BridgeEngine(bridge), name, tokenizer=tokenizer, prepend_bos=prepend_bos)


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
