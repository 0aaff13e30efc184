"""LoRA adapters in the folders that the library PEFT writes, applied without it.

Such a folder holds adapter_config.json and adapter_model.safetensors, and names the model that it
changes. The weight `W` of a changed layer becomes `W + scale * B @ A`. Source: Hu et al. 2021
(arXiv 2106.09685), scale alpha / r; rank-stabilised, Kalajdzievski 2023 (arXiv 2312.03732), scale
alpha / sqrt(r). Layers that were trained whole stand in place of the model's own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
FACTORS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_embedding_A": "A",
    "lora_embedding_B": "B",
}
# Settings by which an adapter is more than a product of two matrices.
MORE = ("use_dora", "layer_replication", "lora_bias", "use_qalora", "alora_invocation_tokens")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What adapter_config.json says that decides what the adapter does."""

    folder: Path
    base: str
    rank: int
    alpha: float
    stabilised: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    def scale(self, module: str) -> float:
        """By what the product of a layer's two matrices is multiplied."""
        rank, alpha = _of(self.ranks, module, self.rank), _of(self.alphas, module, self.alpha)
        return alpha / (sqrt(rank) if self.stabilised else rank)


def is_peft(folder: Path) -> bool:
    """Whether this is a folder of an adapter."""
    return (folder / CONFIG).is_file()


def read_peft(folder: Path) -> LoraConfig:
    """What the adapter in a folder is.

    Raises:
        ValueError: no LoRA adapter that can be applied; every problem at once.
    """
    where = folder / CONFIG
    try:
        config = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{where}: expected a JSON object; got {type(config).__name__}")
    problems = list(_problems(config))
    if not (folder / WEIGHTS).is_file():
        problems.append(f"{WEIGHTS} is missing (pickled weights are not loaded)")
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}")
    return LoraConfig(
        folder=folder,
        base=config["base_model_name_or_path"],
        rank=config["r"],
        alpha=float(config["lora_alpha"]),
        stabilised=bool(config.get("use_rslora")),
        ranks=config.get("rank_pattern") or {},
        alphas={name: float(one) for name, one in (config.get("alpha_pattern") or {}).items()},
    )


def _problems(config: Mapping[str, Any]) -> list[str]:
    problems = []
    if str(config.get("peft_type")).upper() != "LORA":
        problems.append(f"expected peft_type LORA; got {config.get('peft_type')!r}")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        problems.append(f"expected base_model_name_or_path, the model it changes; got {base!r}")
    for name, kind in (("r", int), ("lora_alpha", int | float)):
        if not _is_positive(config.get(name), kind):
            problems.append(f"expected a number above 0 as {name}; got {config.get(name)!r}")
    for name, kind in (("rank_pattern", int), ("alpha_pattern", int | float)):
        found = config.get(name) or {}
        if not isinstance(found, dict) or not all(_is_positive(v, kind) for v in found.values()):
            problems.append(f"expected numbers above 0 by layer as {name}; got {found!r}")
    problems += [f"{name} is not supported" for name in MORE if config.get(name)]
    return problems


def _is_positive(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 < value < 2**31


def _of(pattern: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first name in a pattern that a layer's name ends in, as PEFT reads it.

    A name that ends at a dot is meant; no expression in a file is evaluated.
    """
    for name, value in pattern.items():
        if module == name or module.endswith(f".{name}"):
            return value
    return default


@torch.no_grad()
def apply_peft(model: nn.Module, config: LoraConfig) -> None:
    """Change the model's weights, in place, as the adapter says.

    Raises:
        ValueError: a file that is no safetensors, tensors of no known meaning, or ones that do not
            fit; every problem at once, and the model is left as it was.
    """
    path = config.folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"the adapter {path} cannot be read: {error}") from error
    factors, whole, problems = _sorted(tensors)
    if odd := [name for name in (*config.ranks, *config.alphas) if not _is_plain(name)]:
        problems.append(f"patterns are names of layers, not expressions; got {', '.join(odd)}")
    weights: dict[str, Tensor] = dict(model.named_parameters())
    changes: dict[str, Tensor] = {}
    for module, pair in factors.items():
        made = _product(model, module, pair, config)
        if isinstance(made, str):
            problems.append(made)
        else:
            changes[f"{module}.weight"] = made
    tied = _tied(model)
    problems += [
        f"{name} is one with another weight of the model, which the adapter does not change"
        for name in (*changes, *whole)
        if name in tied
    ]
    for name, value in whole.items():
        if name not in weights:
            problems.append(f"the model has no weight {name}")
        elif weights[name].shape != value.shape:
            problems.append(f"{name}: expected {_shape(weights[name])}; got {_shape(value)}")
    if not tensors:
        problems.append("it holds no tensor")
    if problems:
        raise ValueError(f"{path} does not fit {config.base}: {'; '.join(problems)}")
    for name, value in whole.items():
        weights[name].copy_(value)
    for name, change in changes.items():
        weights[name] += change.to(weights[name].device, weights[name].dtype)


def _sorted(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], list[str]]:
    """The factors of each changed layer, the weights given whole, and what is neither."""
    factors: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    problems = []
    for key, value in sorted(tensors.items()):
        name = key.removeprefix(PREFIX)
        end = next((end for end in FACTORS if name.endswith(f".{end}")), None)
        if not key.startswith(PREFIX) or (end is None and "lora_" in name):
            problems.append(f"the tensor {key} is of no known meaning")
        elif end is not None:
            factors.setdefault(name.removesuffix(f".{end}"), {})[FACTORS[end]] = value.float()
        else:
            # A bias that was trained lies inside of the layer that PEFT puts around the model's.
            whole[name.replace(".base_layer.", ".")] = value
    return factors, whole, problems


def _product(
    model: nn.Module, module: str, pair: Mapping[str, Tensor], config: LoraConfig
) -> Tensor | str:
    """What is added to a layer's weight, or what is wrong in words."""
    try:
        layer = model.get_submodule(module)
    except AttributeError:
        return f"the model has no layer {module}"
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        return f"{module} has no weight of plain numbers that could be changed"
    if pair.keys() != {"A", "B"}:
        return f"{module} needs both matrices, A and B"
    low, high = pair["A"], pair["B"]
    rank = _of(config.ranks, module, config.rank)
    if low.ndim != 2 or high.ndim != 2 or low.shape[0] != rank or high.shape[1] != rank:
        return f"{module}: expected matrices of rank {rank}; got {_shape(low)} and {_shape(high)}"
    made = config.scale(module) * (high @ low)
    # Embeddings, and GPT-2's layers, keep their weight the other way round.
    made = made.T if isinstance(layer, nn.Embedding) or type(layer).__name__ == "Conv1D" else made
    if made.shape != weight.shape:
        return f"{module}: expected a change of {_shape(weight)}; got one of {_shape(made)}"
    return made


def _tied(model: nn.Module) -> set[str]:
    """The names of weights that have several, as embeddings tied to the unembedding have."""
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    return {name for same in names.values() if len(same) > 1 for name in same}


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[\w.]+", name) is not None


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape))
