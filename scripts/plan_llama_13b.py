"""What a search on LLaMA-13B needs, measured on one of its layers and counted up to forty.

    python -m scripts.plan_llama_13b --n 64

The recipe itself, on a machine with the memory that this prints:

    circuitfind discover arithmetic --model huggyllama/llama-13b --dtype bfloat16 \\
        --device-map auto --n 64

Here one layer of that width, with random weights, goes down the whole road: loading, the pairs of
the arithmetic task, donors, prefix, a step with gradients, trials. The tensors that live are
counted (`circuitfind.objective.memory`), in float32 and on few pairs, since many processors are
slow at bfloat16; what is printed is scaled to bfloat16, forty layers and LLaMA's vocabulary.

Bytes are measured so. FLOPs are counted from the shape, for so many steps and as many trials as
runs take (`circuitfind.runs.estimate`). The speed of the GPU is assumed and was not measured.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.models.smollm2 import fetch_smollm2
from circuitfind.objective.encoding import Batch, encode
from circuitfind.objective.memory import PairBytes, measure_pairs
from circuitfind.objective.patching import TOKENS_PER_PASS
from circuitfind.runs.estimate import CHECKED, TRIED
from circuitfind.runs.memory import Plan, plan_memory, size_words
from circuitfind.search.methods.constrained import PAIRS as PAIRS_A_STEP
from tasks import arithmetic

LAYERS = 40
PAIRS = 4  # that are drawn
GPU = 80 * 10**9  # bytes of an H100
SPEED, USED, BANDWIDTH = 4e14, 0.5, 2.7e12  # of an H100 in bfloat16; assumed
PYTHON = 0.0029  # seconds a layer and pass; measured on a CPU
PER_LAYER = ("prefix", "donors", "entries", "step")
IN_A_LAYER = ("prepare", "trial")
LOGITS = ("untouched", "prepare_logits", "step_logits", "trial_logits")
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


def at_full_size(one: PairBytes, own_vocabulary: int) -> PairBytes:
    """What a pair takes in the whole model, in bfloat16, of what it takes in one float32 layer.

    What each layer keeps grows with the layers. What lives while a layer runs does not.
    """
    half, vocabulary = 0.5, 0.5 * VOCABULARY / own_vocabulary
    changes = {name: LAYERS * half * getattr(one, name) for name in PER_LAYER}
    changes |= {name: half * getattr(one, name) for name in IN_A_LAYER}
    changes |= {name: vocabulary * getattr(one, name) for name in LOGITS}
    return replace(one, **changes)


def count_weights() -> tuple[int, int]:
    """The weights of all layers, and those of embedding and unembedding."""
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    return LAYERS * (4 * width**2 + 3 * width * inner + 2 * width), 2 * VOCABULARY * width


def count_work(batches: Sequence[Batch], n: int, steps: int) -> dict[str, tuple[float, int]]:
    """FLOPs and passes of each stage: getting ready, steps, trials, validation."""
    layers, ends = count_weights()
    fit, found = ceil(n / 3), {}
    rows = {
        "steps": 2 * steps * PAIRS_A_STEP,  # back counts as much as forward
        "trials": TRIED * (n - fit),
        "validation": CHECKED * n,
    }
    passes = {"steps": 2 * steps}
    width = max(batch.base.tokens.shape[1] for batch in batches)
    attention = 4 * SHAPE["hidden_size"] * width * LAYERS
    per_token = 2 * layers + attention
    per_row = per_token + ends  # an answer is read at each: two FLOPs a weight of one of the ends
    whole = 2 * (2 * width - 1) * per_token  # both prompts, by search and by validation
    found["getting ready"] = (float(len(batches) * n * whole), 4 * len(batches) * ceil(n / 256))
    for name, count in rows.items():
        of_all = len(batches) * count
        found[name] = (
            float(of_all * per_row),
            passes.get(name, ceil(of_all / TOKENS_PER_PASS[0])),
        )
    return found


def print_plan(plan: Plan) -> None:
    rows = {
        "keys and values of prefixes": plan.prefix,
        "donors": plan.donors,
        "streams that enter layers": plan.entries,
        "copies of both for steps": plan.joined,
        "widest pass of getting ready": plan.prepare,
        "a step": plan.step,
        "trials, logits included": plan.trial,
    }
    for name, size in {"weights": plan.weights, **rows}.items():
        print(f"{name:<32}{size_words(size):>12}")
    print(plan)
    print("it fits" if plan.fits else "it does not fit", f"a GPU of {GPU / 1e9:.0f} GB")


def print_work(work: dict[str, tuple[float, int]], weights: int) -> None:
    """FLOPs as counted, and seconds at the assumed speed of an H100: the longer of computing and of
    reading all weights once a pass, and what Python takes."""
    whole = 0.0
    for name, (flops, passes) in work.items():
        busy = max(flops / (SPEED * USED), passes * weights / BANDWIDTH)
        python = passes * LAYERS * PYTHON
        whole += busy + python
        print(
            f"{name:<16}{flops:>10.1e} FLOPs {passes:>6} passes {busy:>7.1f} s on the GPU "
            f"{python:>6.1f} s of Python"
        )
    print(
        f"about {whole:.0f} s without loading. Counted: FLOPs, passes. Measured: "
        f"{1000 * PYTHON} ms of Python a layer and pass, on a CPU. Assumed: "
        f"{SPEED:.0e} FLOPs a second, {USED:.0%} of it used, {BANDWIDTH:.1e} bytes a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and time of a search on LLaMA-13B.")
    parser.add_argument("--n", type=int, default=64, help="pairs of each desideratum")
    parser.add_argument("--steps", type=int, default=120)
    arguments = parser.parse_args()
    layers, ends = count_weights()
    weights = 2 * (layers + ends)
    with tempfile.TemporaryDirectory() as folder:
        model = build_layer(folder)
        batches = encode(model, arithmetic.dcm.sample(PAIRS, 0)[0])
        sites = all_sites(1, model.n_heads, ["last"])
        vocabulary = model.engine.sizes.d_vocab
        needs = [at_full_size(one, vocabulary) for one in measure_pairs(model, batches, sites)]
        plan = plan_memory(
            model,
            needs,
            [arguments.n] * len(batches),
            n_sites=LAYERS * len(sites),
            free={"cuda:0": (GPU - weights, 1.0)},
        )
    n_sites = LAYERS * (SHAPE["num_attention_heads"] + 1)
    print(f"{n_sites} sites, {arguments.n} pairs of {len(batches)} desiderata")
    print_plan(replace(plan, weights=weights))
    print_work(count_work(batches, arguments.n, arguments.steps), weights)


if __name__ == "__main__":
    main()
