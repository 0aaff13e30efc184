"""What a search on LLaMA-13B needs, measured on one of its layers and counted up to forty.

    python -m scripts.plan_llama_13b --n 64

The recipe itself, on a machine with the memory that this prints:

    circuitfind discover arithmetic --model huggyllama/llama-13b --dtype bfloat16 \\
        --device-map auto --n 64 --batch 32

where `--batch` is how many pairs go through the model at once; what a step keeps shrinks with it.

Here one layer of that width, with random weights, goes down the whole road: loading, the pairs of
the arithmetic task, donors, prefix, a step with gradients. The tensors that stay are counted, in
float32 and on few pairs, since many processors are slow at bfloat16; what is printed is scaled.
"""

import argparse
import tempfile
from collections.abc import Iterable
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.models.smollm2 import fetch_smollm2
from circuitfind.objective.encoding import Batch, encode
from circuitfind.objective.passes import Prepared
from circuitfind.objective.patching import prepare, run
from tasks import arithmetic

LAYERS, GIB = 40, 2**30
PAIRS = 8  # that are run
SHAPE: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
VOCABULARY = 32000


def build_layer(folder: str) -> Model:
    """One layer of LLaMA-13B with random weights, loaded as any model folder is."""
    # Digits are one token each for SmolLM2 as they are for LLaMA; the vocabulary is cut to size.
    tokenizer = AutoTokenizer.from_pretrained(fetch_smollm2())
    config = LlamaConfig(**SHAPE, num_hidden_layers=1, vocab_size=len(tokenizer))
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    # Drawing normal numbers for so many weights would take minutes; any will do.
    model.to_empty(device="cpu").requires_grad_(False)
    for weight in model.parameters():
        weight.uniform_(-0.02, 0.02)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(folder, device="cpu")


def count_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure_step(prepared: Prepared, batch: Batch) -> int:
    """The bytes that autograd keeps for one step with gradients; the gates' gradient is checked.

    Raises:
        RuntimeError: a gate without a gradient.
    """
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    own = prepared.model.engine.weights().values()
    weights = {weight.untyped_storage().data_ptr() for weight in own}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        batch.answer.lead(run(prepared, gates), batch.expected).mean().backward()
    if gates.grad is None or not bool((gates.grad != 0).any()):
        raise RuntimeError("no gradient reached the gates")
    return sum(size for place, size in kept.items() if place not in weights)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a search on LLaMA-13B.")
    parser.add_argument("--n", type=int, default=64, help="pairs of each desideratum")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = build_layer(folder)
        desiderata = arithmetic.dcm.sample(PAIRS, 0)[0]
        batches = encode(model, desiderata)
        sites = all_sites(1, model.n_heads, ["last"])
        # Two bytes a number, half of float32's.
        rows = {"weights of a layer": 2.0 * model.engine.sizes.n_block_parameters}
        kept, step = 0, 0
        for batch in batches:
            prepared = prepare(model, batch, sites)
            layers = prepared.prefix.layers
            kept += count_bytes(t for layer in layers for t in (layer.keys, layer.values))
            kept += count_bytes(one.donor for made in prepared.patches.values() for one in made)
            step = max(step, measure_step(prepared, batch))
        share = arguments.n / PAIRS / 2
        rows |= {"prefix and donors": share * kept, "kept for a backward pass": share * step}
    for name, size in rows.items():
        print(f"{name:<28}{size / GIB:>9.3f} GiB a layer{LAYERS * size / GIB:>9.1f} GiB in all")
    ends = 2 * 2 * VOCABULARY * SHAPE["hidden_size"]
    print(f"{'embedding, unembedding':<28}{'':>21}{ends / GIB:>9.1f} GiB in all")
    total = (ends + LAYERS * sum(rows.values())) / GIB
    n_sites = LAYERS * (SHAPE["num_attention_heads"] + 1)
    print(f"{n_sites} sites, {arguments.n} pairs of {len(batches)} desiderata: {total:.1f} GiB")


if __name__ == "__main__":
    main()
