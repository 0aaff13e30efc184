"""Tiny random models of many architectures, each behind both engines, from the same weights."""

import copy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
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

from circuitfind.engines import BridgeEngine, HooksEngine

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

CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(
        vocab_size=32, n_embd=32, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=64, **_ENDS
    ),
    "llama": LlamaConfig(**_GROUPED),
    "neox": GPTNeoXConfig(**_WIDE),
    "qwen2": Qwen2Config(**_GROUPED),
    "qwen3": Qwen3Config(**_GROUPED, head_dim=8),
    "gemma2": Gemma2Config(**_GROUPED, head_dim=8, sliding_window=4),
    "gemma3": Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=4),
    "mistral": MistralConfig(**_GROUPED, sliding_window=4),
    "phi": PhiConfig(**_WIDE),
    "olmo2": Olmo2Config(**_GROUPED),
    "mixtral": MixtralConfig(**_GROUPED, num_local_experts=4),
    "bloom": BloomConfig(vocab_size=32, hidden_size=32, n_layer=N_LAYERS, n_head=N_HEADS, **_ENDS),
    "falcon": FalconConfig(**_SHAPE),
    "opt": OPTConfig(**_SHAPE, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64),
}


def tiny_module(architecture: str, attention: str = "eager") -> torch.nn.Module:
    """A tiny random model of this architecture, loud enough for heads to matter."""
    model = AutoModelForCausalLM.from_config(
        copy.deepcopy(CONFIGS[architecture]), attn_implementation=attention
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def hooks_engine(architecture: str, attention: str = "eager") -> HooksEngine:
    """The hooks engine around a tiny model."""
    return HooksEngine(tiny_module(architecture, attention))


def bridge_engine(architecture: str) -> BridgeEngine:
    """The bridge engine around a tiny model of the same weights."""
    from transformer_lens.model_bridge import TransformerBridge

    from ..planted import word_tokenizer

    model: Any = tiny_module(architecture)
    model.config.architectures = [type(model).__name__]
    bridge = TransformerBridge.boot_transformers(
        architecture,
        hf_model=model,
        tokenizer=word_tokenizer(WORDS),
        device="cpu",
        dtype=torch.float32,
    )
    return BridgeEngine(bridge)
