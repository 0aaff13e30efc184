"""Which families of models circuits can be found in: the doctor over a tiny random model of each.

    python -m scripts.model_families            all causal families -> docs/families.md
    python -m scripts.model_families llama t5   these alone, printed

Each model is made from the family's own default config, with every size made small, and random
weights. What the doctor says of it is what it says of a real model of that family, as far as that
depends on how its layers are built. A real model can be refused for other reasons, such as weights
that are missing from its file.
"""

import copy
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from circuitfind.engines.boot import hugging_face_bridge
from circuitfind.models.findings import Findings, Law
from circuitfind.models.hugging_face import Asked, check_config, fitted
from circuitfind.models.native import word_tokenizer

OUT = Path(__file__).parent.parent / "docs" / "families.md"
WORDS = tuple(f"w{n}" for n in range(62))
N_LAYERS = 3
LOUD = 0.3  # standard deviation of the weights, so that every head matters

# Sizes by the names that configs have for them.
WIDTH = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size", "emb_dim")
INNER = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff", "dff", "dim_ff")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
SIZES: dict[str, int] = {
    "vocab_size": len(WORDS) + 2,
    **dict.fromkeys(WIDTH, 32),
    **dict.fromkeys(INNER, 48),
    **dict.fromkeys(LAYERS, N_LAYERS),
    **dict.fromkeys(HEADS, 4),
    **dict.fromkeys(EXPERTS, 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("head_dim", "kv_channels", "attention_head_dim", "d_kv"), 8),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "num_key_value_heads"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("sliding_window", "attention_window", "rotary_dim", "qk_rope_head_dim"), 4),
    **dict.fromkeys(("qk_nope_head_dim", "v_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("index_n_heads", "index_topk"), 4),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 8),
    "linear_num_heads": 4,
    "qk_head_dim": 12,
    "num_experts_per_token": 2,
    **dict.fromkeys(("hidden_size_per_layer_input", "laurel_rank", "adapter_rank"), 8),
    "vocab_size_per_layer_input": len(WORDS) + 2,
    "global_head_dim": 8,
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups"), 1),
    **dict.fromkeys(("mamba_expand", "expand", "n_mamba_heads"), 2),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 8),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    "mamba_d_ssm": 64,
    "lru_width": 32,
    "attention_hidden_size": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Sizes that are None by default and then follow from others.
FOLLOW = ("head_dim", "num_key_value_heads", "intermediate_size", "pad_token_id", "bos_token_id")
LATENT = {"num_key_value_heads": 4}  # latent attention has no groups of heads
ROTARY = LATENT | {"head_dim": 4}  # as wide as the rotated part
CONV = {"layer_types": ["conv", "full_attention", "conv"]}
HEAD_DIM = {"per_layer_config": {"1": {"head_dim": 8}}}
# What a family needs beside.
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk2", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "minicpm3"), LATENT),
    **dict.fromkeys(("axk1", "deepseek_v3", "youtu", "longcat_flash"), ROTARY),
    **dict.fromkeys(("gemma4_text", "gemma4_unified_text"), HEAD_DIM),
    "deepseek_v2": LATENT | {"num_experts_per_tok": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "bamba": {"attn_layer_indices": [1]},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 4},
    "xlnet": {"d_head": 8},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "zaya": {"num_experts_per_tok": 1},
    "kimi_linear": ROTARY | {"q_lora_rank": None},
    "bailing_hybrid": ROTARY | {"num_expert_group": 1},
    "lfm2": CONV,
    "lfm2_moe": CONV | {"num_dense_layers": 1},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "llama4_text": {"num_experts_per_tok": 1, "moe_layers": [0, 1, 2], "intermediate_size_mlp": 48},
    "zamba2": {"hybrid_layer_ids": [1]},
    "laguna": {"num_attention_heads_per_layer": [4, 4, 4]},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the doctor says of one family."""

    family: str
    verdict: str
    says: str


def tiny_config(family: str) -> PretrainedConfig:
    """The default config of a family with every size made small, and layers of two kinds where it
    has several."""
    settings = _shrunk(AutoConfig.for_model(family).to_dict(), family)
    return AutoConfig.for_model(family, **settings)


def _shrunk(settings: dict[str, Any], family: str) -> dict[str, Any]:
    n_layers = next((settings[name] for name in LAYERS if settings.get(name)), None)
    made = {}
    for name, value in settings.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in SIZES and (is_number or (value is None and name in FOLLOW)):
            made[name] = SIZES[name]
        elif isinstance(value, dict) and name.endswith("_config") and "model_type" in value:
            made[name] = _shrunk(value, value["model_type"])
        elif isinstance(value, list) and len(value) == n_layers:
            made[name] = _three(name, value)
        elif name not in ("model_type", "per_layer_config", "layers_block_type"):
            made[name] = value
    return made | MORE.get(family, {})


def _three(name: str, by_layer: list[Any]) -> list[Any]:
    """Items of three layers, the second of another kind where there is one."""
    own = [SIZES[name]] * len(by_layer) if name in SIZES else by_layer
    other = next((one for one in own if one != own[0]), own[0])
    return [own[0], other, own[0]]


def tiny_module(config: PretrainedConfig) -> torch.nn.Module:
    """A random model of this config, loud enough for heads to matter."""
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager")
    with torch.no_grad():
        for weight in module.parameters():
            noise = torch.randn_like(weight)
            weight.copy_(LOUD * noise if weight.ndim > 1 else weight + 0.1 * noise)
    return module.eval()


def row(family: str) -> Row:
    """What the doctor says of a tiny random model of this family."""
    with _quiet():
        try:
            config = tiny_config(family)
            check_config(family, config)
        except ValueError as error:
            if "expected a causal language model" in str(error):
                return Row(family=family, verdict="refused", says=_told(str(error), family))
            return Row(family=family, verdict="not tried", says=_no_model(error))
        except Exception as error:  # transformers' own code, on sizes that it does not expect
            return Row(family=family, verdict="not tried", says=_no_model(error))
        try:
            tiny_module(config)(torch.tensor([[1, 2, 3]]))
        except Exception as error:  # the same
            return Row(family=family, verdict="not tried", says=_no_model(error))
        return _examined(family, config)


def _no_model(error: Exception) -> str:
    words = textwrap.shorten(str(error).replace("|", "/"), 90)
    return f"no tiny model could be made ({type(error).__name__}: {words})"


def _examined(family: str, config: PretrainedConfig) -> Row:
    def bridged(module: Any) -> Any:
        module.config.architectures = [type(module).__name__]
        tokenizer = word_tokenizer((*WORDS, "<pad>", "<unk>"), "<pad>", "<unk>")
        return hugging_face_bridge(
            family, hf_model=module, tokenizer=tokenizer, device="cpu", dtype=torch.float32
        )

    def load() -> tuple[torch.nn.Module, Law]:
        return tiny_module(config), Law("weights", True, "random")

    try:
        _, found = fitted(family, load, Asked(device="cpu", fresh=True), bridged)
    except ValueError as error:
        return Row(family=family, verdict="refused", says=_told(str(error), family))
    return Row(family=family, verdict=found.engine, says=_notes(found))


def _notes(found: Findings) -> str:
    return "; ".join(note.partition(", so that")[0] for note in found.notes)


def _told(words: str, family: str) -> str:
    """A refusal without what every row of the table would say."""
    words = words.removeprefix(f"{family} is refused: ").removeprefix(f"{family}: ")
    words = words.partition(". --force")[0].replace("|", "/")
    if "additive gap" in words and "its logits" not in words and "cut wrongly" not in words:
        return "heads and MLPs do not write all that its layers write"
    return words.partition("; bridge: ")[0].removeprefix("hooks: ")


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def table(rows: Sequence[Row]) -> str:
    """The document of all families."""
    from transformers import __version__

    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}
    told = ", ".join(f"{counts[verdict]} {words}" for verdict, words in VERDICTS.items())
    lines = [HEAD.format(version=__version__, n=len(rows), counts=told)]
    lines += ["| family | | what is no site, or why |", "|---|---|---|"]
    lines += [f"| {row.family} | {row.verdict} | {row.says} |" for row in rows]
    return "\n".join(lines) + "\n"


VERDICTS = {
    "hooks": "run on hooks",
    "bridge": "run in the bridge",
    "refused": "are refused in words",
    "not tried": "could not be tried",
}
HEAD = """\
# Families of models

Made by `python -m scripts.model_families` with transformers {version}: what `circuitfind doctor`
says of a tiny random model of each of its {n} causal families.
{counts}.

`hooks` and `bridge` are the engine in which every law holds. Where a third column names modules,
these write to the residual stream beside heads and MLPs and are no sites: circuits are found among
heads and MLPs, and the share of the rest is in the notes of every run. A real model is examined by
itself when it is first loaded.
"""


def main() -> None:
    """Write the table, or print the rows of the families named."""
    families = sys.argv[1:] or list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    rows = []
    for family in families:
        rows.append(row(family))
        print(f"{family}: {rows[-1].verdict} {rows[-1].says}", flush=True)
    if not sys.argv[1:]:
        OUT.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
