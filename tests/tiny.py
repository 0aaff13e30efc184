"""Tiny random models of several architectures, made from config, and pairs to run through them."""

import copy
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from circuitfind.engines.boot import native_shapes
from circuitfind.engines.bridge import BridgeEngine
from circuitfind.models.loading import build_native, wrap_bridge, wrap_module
from circuitfind.models.model import Model
from circuitfind.models.native import Native, full_config
from desiderata import Desideratum, Pair, Part, Prompt, fill
from desiderata.choices import DonorChoice

from .planted import word_tokenizer

WORDS = [f"w{n}" for n in range(30)]
N_LAYERS, N_HEADS = 3, 4

_ENDS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_SHAPE: dict[str, Any] = {
    **_ENDS,
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
}
_WIDE: dict[str, Any] = {**_SHAPE, "intermediate_size": 48}
_GROUPED: dict[str, Any] = {**_WIDE, "num_key_value_heads": 2}
_OLD: dict[str, Any] = {**_ENDS, "vocab_size": 32, "n_layer": N_LAYERS, "n_head": N_HEADS}

CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(**_OLD, n_embd=32, n_positions=64),
    "llama": LlamaConfig(**_GROUPED),
    "neox": GPTNeoXConfig(**_WIDE),
    "qwen2": Qwen2Config(**_GROUPED),
    "gemma": GemmaConfig(**_WIDE, num_key_value_heads=1, head_dim=8),
    "qwen3": Qwen3Config(**_GROUPED, head_dim=8),
    "gemma2": Gemma2Config(**_GROUPED, head_dim=8, sliding_window=4),
    "gemma3": Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=4),
    "mistral": MistralConfig(**_GROUPED, sliding_window=4),
    "phi": PhiConfig(**_WIDE),
    "olmo2": Olmo2Config(**_GROUPED),
    "mixtral": MixtralConfig(**_GROUPED, num_local_experts=4),
    "bloom": BloomConfig(**_OLD, hidden_size=32),
    "falcon": FalconConfig(**_SHAPE),
    "opt": OPTConfig(**_SHAPE, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64),
}

NATIVE: dict[str, dict[str, Any]] = {
    "native": {"attention_dir": "causal", "normalization_type": "LN"},
    "native, bidirectional": {"attention_dir": "bidirectional"},
}


def tiny_native(name: str, scale: float = 1.0) -> Native:
    """A tiny random native model, loud enough for heads to matter; without normalisation numbers
    grow from layer to layer, and rounding with them."""
    loud = 0.3 if NATIVE[name].get("normalization_type") else 0.15
    config = {
        "d_model": 32,
        "d_head": 8,
        "n_layers": N_LAYERS,
        "n_heads": N_HEADS,
        "n_ctx": 64,
        "d_mlp": 48,
        **NATIVE[name],
    }
    words = (*WORDS, "<pad>", "<unk>")
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: scale * loud * torch.randn(shape, generator=generator)
        for name, shape in native_shapes(full_config(config, words)).items()
    }
    return Native(about="random", config=config, words=words, weights=weights)


def save_tiny_model(architecture: str, folder: Path, scale: float = 1.0) -> Path:
    """A folder with a tiny random model of this architecture, loud enough for heads to matter."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[architecture]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3 * scale)
    model.save_pretrained(folder)
    word_tokenizer(WORDS).save_pretrained(folder)
    return folder


def tiny_model(name: str, folder: Path, scale: float = 1.0) -> Model:
    """A tiny random model: of an architecture on hooks, or in the bridge as `llama on bridge`. Its
    tokenizer is handed over: transformers would make Qwen2 another.

    Args:
        scale: of the weights, beside those of other tests.
    """
    architecture, _, engine = name.partition(" on ")
    if architecture in NATIVE:
        return build_native(tiny_native(architecture, scale), architecture, device="cpu")
    saved = str(save_tiny_model(architecture, folder, scale))
    tokenizer = word_tokenizer(WORDS)
    module: Any = AutoModelForCausalLM.from_pretrained(
        saved, dtype=torch.float32, attn_implementation="eager"
    )
    if engine != "bridge":
        return wrap_module(module, name, tokenizer=tokenizer)
    bridge = TransformerBridge.boot_transformers(
        saved, hf_model=module, tokenizer=tokenizer, device="cpu", dtype=torch.float32
    )
    return wrap_bridge(bridge, name, tokenizer=tokenizer)


def bridge_of(model: Model) -> Any:
    """The TransformerBridge that a model runs in."""
    assert isinstance(model.engine, BridgeEngine), f"{model.name} runs in {model.engine.name}"
    return model.engine.bridge


def traces(model: Model) -> dict[str, Any]:
    """All that an engine could leave behind in a model: hooks, attributes, settings, and the table
    that transformers attends by."""
    engine: Any = model.engine
    module = engine.bridge if isinstance(engine, BridgeEngine) else engine.model
    left: dict[str, Any] = {"attention": dict(AttentionInterface._global_mapping)}
    for name, part in module.named_modules():
        hooks = [len(part._forward_hooks), len(part._forward_pre_hooks)]
        hooks += [len(getattr(part, "fwd_hooks", ())), len(getattr(part, "bwd_hooks", ()))]
        config = getattr(part, "config", None)
        left[name] = (hooks, set(vars(part)), getattr(config, "_attn_implementation", None))
    return left


def random_pairs(n: int, seed: int, *, even: bool = False) -> tuple[Pair, ...]:
    """Pairs of random words with a named span `x`; base and source differ in length unless even."""
    generator = torch.Generator().manual_seed(seed)

    def words(count: int) -> list[str]:
        return [WORDS[i] for i in torch.randint(30, (count,), generator=generator)]

    def prompt(before: int, after: int) -> Prompt:
        return fill(" ".join([*words(before), "{x}", *words(after)]), x=words(1)[0])

    pairs = []
    for index in range(n):
        before, after = 1 + index % 3, 1 + index % 2
        base = prompt(before, after)
        source = prompt(before, after) if even else prompt(after + 2, before)
        expected, own = f" {words(1)[0]}", f" {words(1)[0]}"
        pairs.append(
            Pair(base=base, source=source, expected=expected, base_answer=own, source_answer=own)
        )
    return tuple(pairs)


def random_desideratum(
    at: tuple[str, ...],
    n: int = 5,
    seed: int = 0,
    part: Part = "inside",
    donor: DonorChoice = "source",
    read: str = "last",
) -> Desideratum:
    """A desideratum of random pairs; its lengths are even where `all` needs them to be."""
    pairs = random_pairs(n, seed, even="all" in at)
    return Desideratum(
        name="random", part=part, sense="follows", pairs=pairs, at=at, donor=donor, read=read
    )
