"""Train `host`, a small language model with layer norm that circuits are grafted into.

    python -m scripts.train_host                      # remakes circuitfind/models/host
    python -m scripts.train_host --steps 50 --out /tmp/host

It predicts the next word of the text that comes with Python as `pydoc_data.topics`, over its most
frequent words. Nothing of it has to do with the tasks of `grafted` models
(circuitfind/models/grafted.py): its heads and MLPs are what else there is in the residual stream.
"""

import argparse
import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pydoc_data import topics
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).resolve().parent.parent / "circuitfind" / "models" / "host"
UNK = 0  # the id of every word that is not among the most frequent


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the weights."""

    seed: int = 0
    steps: int = 2500
    batch: int = 48
    learning_rate: float = 3e-3
    held_out: float = 0.05
    n_words: int = 512
    n_layers: int = 8
    n_heads: int = 12
    d_model: int = 64
    d_head: int = 8
    d_mlp: int = 128
    n_ctx: int = 16


class Block(nn.Module):
    """A layer of TransformerLens's native model, weight for weight."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        inner, stream = recipe.n_heads * recipe.d_head, recipe.d_model
        self.heads = (recipe.n_heads, recipe.d_head)
        self.ln1, self.ln2 = nn.LayerNorm(stream), nn.LayerNorm(stream)
        self.attn = nn.ModuleDict({name: nn.Linear(stream, inner) for name in "qkv"})
        self.attn["o"] = nn.Linear(inner, stream)
        self.mlp = nn.ModuleDict(
            {"fc_in": nn.Linear(stream, recipe.d_mlp), "fc_out": nn.Linear(recipe.d_mlp, stream)}
        )

    def forward(self, stream: Tensor) -> Tensor:
        normed = self.ln1(stream)
        q, k, v = (
            self.attn[name](normed).unflatten(2, self.heads).transpose(1, 2) for name in "qkv"
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        stream = stream + self.attn["o"](mixed.transpose(1, 2).flatten(2))
        return stream + self.mlp["fc_out"](functional.relu(self.mlp["fc_in"](self.ln2(stream))))


class Host(nn.Module):
    """The language model: ids of words to logits of the next word at every position."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.tok_embed = nn.Embedding(recipe.n_words, recipe.d_model)
        self.pos = nn.Embedding(recipe.n_ctx, recipe.d_model)
        self.layers = nn.ModuleList(Block(recipe) for _ in range(recipe.n_layers))
        self.ln_out = nn.LayerNorm(recipe.d_model)
        self.head = nn.Linear(recipe.d_model, recipe.n_words, bias=False)
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.8 * recipe.d_model**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.tok_embed(tokens) + self.pos.weight[: tokens.shape[1]]
        for block in self.layers:
            stream = block(stream)
        return self.head(self.ln_out(stream))


def text() -> list[str]:
    """The words and signs of the text, in lower case."""
    whole = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    return re.findall(r"[a-z_]+|[^\sa-z_]", whole.lower())


def numbered(words: Sequence[str], n_words: int) -> Tensor:
    """The words as ids by frequency; UNK for the rare ones."""
    counts = Counter(words)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: n_words - 1]
    ids = {word: number + 1 for number, word in enumerate(common)}
    return torch.tensor([ids.get(word, UNK) for word in words])


def train(recipe: Recipe) -> tuple[Host, dict[str, Any]]:
    """The trained model, with what it reaches on text that it has not seen."""
    torch.manual_seed(recipe.seed)
    ids = numbered(text(), recipe.n_words)
    cut = round(len(ids) * (1 - recipe.held_out))
    seen, unseen = ids[:cut], ids[cut:]
    host, losses = Host(recipe), []
    optimizer = torch.optim.AdamW(host.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=0.05
    )
    for step in range(recipe.steps):
        starts = torch.randint(len(seen) - recipe.n_ctx - 1, (recipe.batch,))
        rows = seen[starts[:, None] + torch.arange(recipe.n_ctx + 1)]
        loss = functional.cross_entropy(host(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(host.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == recipe.steps - 1:
            losses.append({"step": step, "loss": round(loss.item(), 4)})
            print(losses[-1], file=sys.stderr, flush=True)
    return host, {"n_words": len(ids), "losses": losses, **measure(host, unseen, recipe)}


@torch.no_grad()
def measure(host: Host, ids: Tensor, recipe: Recipe) -> dict[str, float]:
    """Held-out loss in nats a word, beside that of guessing by how frequent words are."""
    rows = ids[: len(ids) // (recipe.n_ctx + 1) * (recipe.n_ctx + 1)].view(-1, recipe.n_ctx + 1)
    loss = functional.cross_entropy(host(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    shares = torch.bincount(ids, minlength=recipe.n_words) / len(ids)
    by_frequency = -(shares * shares.clamp(min=1e-9).log()).sum()
    return {"held_out": round(loss.item(), 4), "by_frequency": round(by_frequency.item(), 4)}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    args = parser.parse_args()
    recipe, start = replace(Recipe(), steps=args.steps), time.time()
    host, log = train(recipe)
    args.out.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half().contiguous() for name, weight in host.state_dict().items()}
    save_file(weights, args.out / "host.safetensors")
    log = {
        "command": " ".join(["python -m scripts.train_host", *sys.argv[1:]]),
        "text": "pydoc_data.topics",
        "recipe": asdict(recipe),
        **log,
        "seconds": round(time.time() - start),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (args.out / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
