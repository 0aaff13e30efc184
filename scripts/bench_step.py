"""What a step costs, beside the loops that a person would write: CPU time, tokens, FLOPs.

    python -m scripts.bench_step                          # binder and SmolLM2, a table
    python -m scripts.bench_step --model binder --pairs 64 --tokens 50 --repeats 15

A step is forward and backward to the gates of every head and MLP, with the hinge on the lead of the
expected token; the prompts are random tokens. All loops take turns, so that a busy machine is busy
for each of them alike, and what is printed are medians, and medians of the ratios to the second.

    ours        `Objective.backward`
    hooks       twenty lines of hooks over a Hugging Face model and its DynamicCache
    released    as the code of Davies et al. 2023 (arXiv 2307.03637) has it: sources recorded once,
                every step over the whole prompt, heads one by one, all logits
    products    the matrix products of one token a pair, forward and back, and nothing else
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from circuitfind.answers.answer import Target
from circuitfind.answers.spelling import Spelling
from circuitfind.answers.top import Top
from circuitfind.donors.source import Source
from circuitfind.models.catalogue import locate
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.models.prompts import Prompts
from circuitfind.objective.encoding import Batch
from circuitfind.objective.objective import Objective, hinge
from circuitfind.search import candidate_sites
from desiderata import Desideratum, Pair, Prompt

ROWS = (
    ("binder", 15, 16, "last"),
    ("binder", 50, 64, "last"),
    ("binder", 15, 16, "all"),
    ("smollm2-135m", 15, 16, "last"),
    ("smollm2-135m", 50, 32, "last"),
    ("smollm2-135m", 15, 16, "all"),
)
Step = Callable[[Tensor], None]


def random_batch(model: Model, n: int, width: int, at: str, seed: int = 0) -> Batch:
    """Pairs of random tokens that ask for a random token."""
    generator = torch.Generator().manual_seed(seed)
    most = min(model.engine.sizes.d_vocab, 40_000)
    base, source = (torch.randint(5, most, (n, width), generator=generator) for _ in range(2))
    if at == "all":  # a step then begins at the first token
        source[:, 0] = base[:, 0] % (most - 5) + 5
    ids = torch.randint(5, most, (n, 1, 1), generator=generator)
    columns = {"last": torch.full((n,), width - 1)} if at == "last" else {}
    attends = torch.ones_like(base)
    target = Target((), torch.ones(n, dtype=torch.bool), Spelling(ids, torch.zeros_like(ids)))
    pair = Pair(Prompt("a", ()), Prompt("b", ()), "x", "y")
    sources = Prompts(source, attends, columns)
    return Batch(
        desideratum=Desideratum("follows", "inside", "follows", (pair,) * n, at=(at,)),
        base=Prompts(base, attends, columns),
        source=sources,
        expected=target,
        base_answer=target,
        source_answer=target,
        answer=Top(),
        donor=Source(),
        donated=sources,
    )


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Loops:
    """The loops over one model and batch. `plain` is the model's own module, without an engine."""

    def __init__(self, model: Model, plain: Any, batch: Batch) -> None:
        self.plain, self.batch, self.n_heads = plain, batch, model.n_heads
        self.width = batch.base.tokens.shape[1]
        layers = model.n_layers
        sites = candidate_sites(model, [batch.desideratum])
        self.objective = Objective(model, [batch], sites)
        place = {str(site): number for number, site in enumerate(sites)}
        at = batch.desideratum.at[0]
        self.whole = at == "all"
        self.heads = [
            torch.tensor([place[f"a{n}.h{h}@{at}"] for h in range(self.n_heads)])
            for n in range(layers)
        ]
        self.mlps = [place[f"m{n}@{at}"] for n in range(layers)]
        gpt2 = hasattr(plain, "transformer")
        self.blocks = plain.transformer.h if gpt2 else plain.model.layers
        self.projections = [b.attn.c_proj if gpt2 else b.self_attn.o_proj for b in self.blocks]
        self.donors = self._record()
        with torch.no_grad():
            start = batch.base.tokens[:, :-1]
            self.cache = plain(start, use_cache=True, logits_to_keep=1).past_key_values

    def _record(self) -> list[tuple[Tensor, Tensor]]:
        heads: list[Tensor] = []
        mlps: list[Tensor] = []
        handles = [
            p.register_forward_pre_hook(lambda m, a: heads.append(a[0])) for p in self.projections
        ] + [b.mlp.register_forward_hook(lambda m, a, o: mlps.append(o)) for b in self.blocks]
        with hooked(handles), torch.no_grad():
            self.plain(self.batch.source.tokens, use_cache=False, logits_to_keep=1)
        return list(zip(heads, mlps, strict=True))

    def loss(self, logits: Tensor) -> Tensor:
        return hinge(Top(), logits[None, :, -1], self.batch.expected).sum() / len(self.batch)

    def ours(self, gates: Tensor) -> None:
        self.objective.backward({0: 1.0}, gates)

    def hooks(self, gates: Tensor) -> None:
        """Twenty lines, as a careful user would write them."""

        def at_heads(layer: int, donor: Tensor) -> Callable[..., Any]:
            def mix(module: nn.Module, args: Any) -> Any:
                gate = gates[self.heads[layer]].repeat_interleave(args[0].shape[-1] // self.n_heads)
                return (torch.lerp(args[0], donor, gate),)

            return mix

        def at_mlp(layer: int, donor: Tensor) -> Callable[..., Any]:
            return lambda module, args, out: torch.lerp(out, donor, gates[self.mlps[layer]])

        handles = []
        for layer, (heads, mlps) in enumerate(self.donors):
            taken = (heads, mlps) if self.whole else (heads[:, -1:], mlps[:, -1:])
            mix = at_heads(layer, taken[0])
            handles.append(self.projections[layer].register_forward_pre_hook(mix))
            handles.append(self.blocks[layer].mlp.register_forward_hook(at_mlp(layer, taken[1])))
        with hooked(handles):
            if self.whole:
                logits = self.plain(self.batch.base.tokens, use_cache=False, logits_to_keep=1)
            else:
                cache = copy.copy(self.cache)
                cache.layers = [copy.copy(layer) for layer in self.cache.layers]
                last = self.batch.base.tokens[:, -1:]
                logits = self.plain(last, past_key_values=cache, logits_to_keep=1)
        self.loss(logits.logits).backward()

    def released(self, gates: Tensor) -> None:
        """The loop of the released code: the whole prompt, heads one by one, all logits."""

        def patched(own: Tensor, donor: Tensor, gate: Tensor) -> Tensor:
            if self.whole:
                return (1 - gate) * own + gate * donor
            last = (1 - gate) * own[:, -1] + gate * donor[:, -1]
            return torch.cat([own[:, :-1], last.unsqueeze(1)], 1)

        def at_heads(layer: int) -> Callable[..., Any]:
            def mix(module: Any, args: Any, out: Any) -> Any:
                own, donor = args[0], self.donors[layer][0]
                size, made = own.shape[-1] // self.n_heads, []
                for head in range(self.n_heads):
                    part = slice(head * size, (head + 1) * size)
                    gate = gates[self.heads[layer][head]]
                    made.append(patched(own[..., part], donor[..., part], gate))
                # The projection runs a second time, in the hook.
                return torch.einsum("bsh,oh->bso", torch.cat(made, -1), module.weight)

            return mix

        def at_mlp(layer: int) -> Callable[..., Any]:
            gate, donor = gates[self.mlps[layer]], self.donors[layer][1]
            return lambda module, args, out: patched(out, donor, gate)

        handles = [p.register_forward_hook(at_heads(n)) for n, p in enumerate(self.projections)]
        handles += [b.mlp.register_forward_hook(at_mlp(n)) for n, b in enumerate(self.blocks)]
        with hooked(handles):
            logits = self.plain(self.batch.base.tokens, use_cache=False).logits
        self.loss(logits).backward()

    def products(self, gates: Tensor) -> None:
        """The matrix products alone of the tokens that a step runs."""
        rows = len(self.batch) * (self.width if self.whole else 1)
        matrices = [w for block in self.blocks for w in block.parameters() if w.ndim == 2]
        with torch.no_grad():
            for weight in matrices:
                torch.matmul(torch.ones(rows, weight.shape[1]) @ weight.T, weight)
            head = self.plain.get_output_embeddings().weight
            torch.matmul(torch.ones(len(self.batch), head.shape[1]) @ head.T, head)


LOOPS = ("ours", "hooks", "released", "products")


def measure(model: Model, plain: Any, row: tuple[str, int, int, str], repeats: int) -> dict:
    """CPU milliseconds of each loop, how far gradients are apart, and what ours is counted as."""
    name, width, n, at = row
    batch = random_batch(model, n, width, at)
    loops = Loops(model, plain, batch)
    start = torch.rand(len(loops.objective.sites), generator=torch.Generator().manual_seed(1))
    spent: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    slopes: dict[str, Tensor] = {}
    cost = loops.objective.cost
    before_steps = cost.flops
    for turn in range(repeats + 1):
        for loop in LOOPS:
            gates = start.clone().requires_grad_()
            before = time.process_time()
            getattr(loops, loop)(gates)
            if turn:  # the first warms up
                spent[loop].append(1000 * (time.process_time() - before))
            elif gates.grad is not None:
                slopes[loop] = gates.grad
    most = slopes["hooks"].abs().max()
    made: dict[str, Any] = {"model": name, "tokens": width, "pairs": n, "at": at}
    for loop, own in spent.items():
        made[loop] = round(statistics.median(own), 2)
        ratios = [mine / its for mine, its in zip(own, spent["hooks"], strict=True)]
        made[f"{loop}/hooks"] = round(statistics.median(ratios), 3)
    for loop in ("ours", "released"):
        made[f"{loop} off by"] = float((slopes[loop] - slopes["hooks"]).abs().max() / most)
    return made | {"gflop": (cost.flops - before_steps) / (repeats + 1) / 1e9}


def plain_of(name: str) -> Any:
    """The Hugging Face module by itself, loaded as most people load it."""
    return AutoModelForCausalLM.from_pretrained(str(locate(name)), dtype=torch.float32).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of a step beside other loops.")
    parser.add_argument("--model")
    parser.add_argument("--tokens", type=int, default=15)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--at", default="last", choices=("last", "all"))
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    own = (arguments.model, arguments.tokens, arguments.pairs, arguments.at)
    for row in [own] if arguments.model else ROWS:
        model = load_model(row[0])
        print(
            json.dumps(
                measure(model, plain_of(row[0]).requires_grad_(False), row, arguments.repeats)
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
