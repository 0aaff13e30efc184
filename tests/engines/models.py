"""Tiny random models of many architectures, each behind both engines, from the same weights."""

import copy
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from circuitfind.engines import BridgeEngine, HooksEngine

from ..tiny import CONFIGS, N_HEADS, N_LAYERS, WORDS

__all__ = ["CONFIGS", "N_HEADS", "N_LAYERS", "bridge_engine", "hooks_engine", "tiny_module"]


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
