"""Bridges made: native models, and Hugging Face models in TransformerLens' own layout."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


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


def native_bridge(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    tokenizer: Any,
    device: str,
    dtype: torch.dtype,
) -> Any:
    """The bridge around a native model with this config and these weights."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    boot: Any = TransformerBridge
    bridge = boot.boot_native(
        TransformerBridgeConfig(**config, device=device), tokenizer=tokenizer, dtype=dtype
    )
    with torch.no_grad():
        for name, weight in weights.items():
            # Not load_state_dict: a bridge lists every tensor under several names of its own.
            bridge.original_model.get_parameter(name).copy_(weight)
    return bridge


def hugging_face_bridge(source: str, **options: Any) -> Any:
    """The bridge around a Hugging Face model; options are those of `boot_transformers`."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(source, **options)
