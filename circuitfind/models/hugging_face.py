"""Hugging Face models: loaded or refused in words, and put into the engine whose laws hold."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..engines.bridge import BridgeEngine
from ..engines.digest import digest_of
from ..engines.engine import Engine
from ..engines.hooks import HooksEngine
from .cache import remember, remembered
from .catalogue import built_in
from .doctor import Untouched, examine, untouched
from .findings import Findings, Law

EngineName = Literal["hooks", "bridge"]
ROOM, RECIPE = "doctor", 1  # the recipe is raised when the laws change
SHOWN = 4  # names of weights in a message before the rest are counted
# Tensors of old files that hold no weights: masks and tables that a model makes by itself.
MADE = re.compile(
    r"(^|\.)(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$|(^|\.)position_ids$"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a model is wanted; see `load_model`. `options` are transformers' own."""

    engine: EngineName | None = None
    device: str | None = None
    dtype: torch.dtype = torch.float32
    device_map: str | None = None
    force: bool = False
    fresh: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def check_device(device: str | None) -> None:
    """Refuse a device that is not here.

    Raises:
        ValueError: no device of this name, or this machine or this torch does not have it.
    """
    if device is None:
        return
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise ValueError("it holds no numbers")
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the device {device!r} cannot be used here: {why}. Leave --device out, or name cpu"
        ) from error


@contextmanager
def worded(name: str, source: str) -> Iterator[None]:
    """Whatever transformers raises over a model becomes one sentence.

    Raises:
        ValueError: a folder that could not be loaded.
        LookupError: a name that the hub did not give a model for.
    """
    try:
        yield
    except Exception as error:  # other people's code, and files of any content
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = " ".join(lines[:3]) or type(error).__name__
        if not isinstance(error, OSError | ValueError | ImportError):
            why = f"{type(error).__name__}: {why}"
        if type(error).__name__ == "SafetensorError":
            why += ". A weight file is damaged or cut short; fetch it again"
        if Path(source).is_dir():
            raise ValueError(f"the folder {source} could not be loaded: {why}") from error
        raise LookupError(
            f"no model {name!r}: it is not built in ({', '.join(built_in())}), not a folder here, "
            f"and the hub did not give it: {why}"
        ) from error


def load_tokenizer(name: str, source: str, options: dict[str, Any]) -> Any:
    """The tokenizer of a model."""
    from transformers import AutoTokenizer

    with worded(name, source):
        return AutoTokenizer.from_pretrained(source, **options)


def load_module(name: str, source: str, asked: Asked) -> tuple[nn.Module, Law]:
    """The module with its weights, and whether its file holds just these.

    Raises:
        ValueError, LookupError: it is no causal language model, or could not be loaded.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    config = _config(name, source, asked)
    spread = asked.device_map
    if spread is None and getattr(config, "quantization_config", None) is not None:
        spread = asked.device or best_device()  # quantised weights cannot be moved later
    with worded(name, source), _without_reports():
        # Eager attention, whose weights can be read, and which gives what the bridge gives.
        made: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=asked.dtype,
            device_map=spread,
            attn_implementation="eager",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # the doctor refuses them, with their names
            output_loading_info=True,
            **asked.options,
        )
        module, info = made
        if spread is None:
            module.to(asked.device or best_device())
    return module, _weights(info)


@contextmanager
def _without_reports() -> Iterator[None]:
    """Transformers' table of weights that are missing stays out: the doctor says so itself."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _config(name: str, source: str, asked: Asked) -> Any:
    """The config of a causal language model."""
    from transformers import AutoConfig

    with worded(name, source):
        config = AutoConfig.from_pretrained(source, **asked.options)
    own = getattr(config, "auto_map", None) or {}
    if not (asked.options.get("trust_remote_code") and "AutoModelForCausalLM" in own):
        check_config(name, config)
    return config


def check_config(name: str, config: Any) -> None:
    """Refuse what transformers has no causal language model for.

    Raises:
        ValueError: an encoder-decoder, or another kind of model.
    """
    from transformers import AutoModelForCausalLM

    known: Any = AutoModelForCausalLM._model_mapping  # pyright: ignore[reportAttributeAccessIssue]
    kind = getattr(config, "model_type", None)
    expected = f"{name}: expected a causal language model (a decoder that continues its prompt)"
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{expected}; got an encoder-decoder of the type {kind!r}")
    if type(config) not in known:
        raise ValueError(f"{expected}; transformers has none of the type {kind!r}")


def _weights(info: dict[str, Any]) -> Law:
    missing = sorted(info.get("missing_keys", ()))
    surplus = sorted(key for key in info.get("unexpected_keys", ()) if not MADE.search(key))
    misfits = sorted(str(key[0]) for key in info.get("mismatched_keys", ()))
    told = [
        f"{len(names)} {what} ({_some(names)})"
        for names, what in (
            (missing, "are missing from its file and random here"),
            (misfits, "have another shape in its file and are random here"),
            (surplus, "are in its file and have no place in it"),
        )
        if names
    ]
    if told:
        return Law("weights", False, f"of the model's weights {', and '.join(told)}")
    return Law("weights", True, "its file holds every weight and no other")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def fitted(
    name: str, load: Callable[[], tuple[nn.Module, Law]], asked: Asked, bridged: Callable[..., Any]
) -> tuple[Engine, Findings]:
    """The engine around a model, with what the doctor found: hooks where all laws hold on them,
    and the bridge otherwise. What was found sound before is remembered.

    Args:
        load: gives the module and what its file held, each time a fresh one.
        bridged: gives the bridge around a module.

    Raises:
        ValueError: weights are missing, or no engine keeps every law, and it is not forced.
    """
    module, weights = load()
    if not weights.holds and not asked.force:
        raise ValueError(refusal(name, [weights.says]))
    hooks = _hooks(module) if asked.engine != "bridge" else None
    ready = isinstance(hooks, Engine)
    key = _key(
        module, hooks.plain_digest if ready else digest_of(module.state_dict(keep_vars=True)), asked
    )
    known = None if asked.fresh else Findings.from_json(remembered(ROOM, key))
    if known and known.sound and (ready or known.engine == "bridge"):
        engine = hooks if ready and known.engine == "hooks" else BridgeEngine(bridged(module))
        return engine, _with(known, weights)
    before = untouched(module)
    tried: list[tuple[Engine | None, Findings]] = []
    if hooks is not None:
        tried.append((hooks, examine(hooks, before)) if ready else (None, _cannot("hooks", hooks)))
    if asked.engine != "hooks" and not any(found.sound for _, found in tried):
        tried.append(_on_bridge(module, before, bridged))
        # The bridge has changed the module that the hooks were on.
        tried = [(None if one is hooks else one, found) for one, found in tried]
    for engine, found in tried:
        if engine is not None and found.sound:
            found = replace(found, instead="; ".join(o.message for _, o in tried if o is not found))
            remember(ROOM, key, found.as_json())
            return engine, _with(found, weights)
    if not asked.force:
        raise ValueError(refusal(name, [found.message for _, found in tried]))
    for engine, found in tried:
        engine = engine or (HooksEngine(load()[0]) if found.engine == "hooks" and ready else None)
        if engine is not None:
            return engine, _with(found, weights)
    raise ValueError(refusal(name, [found.message for _, found in tried], may_force=False))


def _hooks(module: nn.Module) -> HooksEngine | str:
    """The engine hooks around a module, or why there is none."""
    try:
        return HooksEngine(module)
    except Exception as error:  # the module's own code, on three tokens
        words = (str(error).strip().splitlines() or [""])[0]
        return words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}"


def _on_bridge(
    module: nn.Module, before: Untouched | None, bridged: Callable[..., Any]
) -> tuple[Engine | None, Findings]:
    """The engine bridge around a module, as far as it can be made, and what the doctor found."""
    try:
        engine = BridgeEngine(bridged(module))
        return engine, examine(engine, before)
    except Exception as error:  # TransformerLens' code, over a model that it may not know
        words = (str(error).strip().splitlines() or [""])[0]
        says = f"TransformerLens cannot run it ({type(error).__name__}: {words})"
        return None, _cannot("bridge", says)


def _cannot(engine: str, why: Any) -> Findings:
    return Findings(engine=engine, laws=(Law("engine", False, str(why)),))


def _with(found: Findings, weights: Law) -> Findings:
    """The findings with what its file held."""
    return replace(found, laws=(weights, *found.laws))


def refusal(name: str, why: list[str], *, may_force: bool = True) -> str:
    hint = ". --force loads it all the same, and tells it in the run" if may_force else ""
    return f"{name} is refused: {'; '.join(why)}{hint}"


def _key(module: Any, digest: str, asked: Asked) -> str:
    """What findings are remembered by: the weights, and all that decides how they run."""
    config = module.config.to_dict()
    decides = [
        RECIPE,
        digest,
        f"{type(module).__module__}.{type(module).__qualname__}",
        f"{HooksEngine.__module__}.{HooksEngine.__qualname__}",
        {name: value for name, value in config.items() if name != "_name_or_path"},
        [asked.engine, str(asked.dtype), str(module.device)],
        [version(name) for name in ("circuitfind", "torch", "transformers", "transformer-lens")],
    ]
    return sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def best_device() -> str:
    """Where models run unless asked otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"
