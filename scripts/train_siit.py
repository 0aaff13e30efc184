"""Train `siit-arithmetic`, a small model whose circuit is given beforehand, and write its folder.

    python -m scripts.train_siit                      # remakes circuitfind/models/siit-arithmetic
    python -m scripts.train_siit --steps 200 --out /tmp/siit

Strict interchange training, as InterpBench does it (Gupta et al. 2024, arXiv 2407.14494), which
adds strictness to Geiger et al. 2021 (arXiv 2112.00826). The causal model is `tasks/siit.py`;
its ALIGNED gives each variable a component. Three losses are cross-entropies of the answer:

    behaviour    nothing is interchanged: the answer
    interchange  aligned components take another prompt's outputs, at all positions: the answer
                 that the causal model gives when their variables take that prompt's values
    strict       other components take another prompt's outputs, one, some or all of them: the
                 answer stays

Unlike InterpBench's code, which draws one set of components for a batch and steps on one loss
after another, every row draws its own, variables and other components often together, and a step
is on the sum. A fourth loss keeps the others loud: what they write has to vary with the prompt,
more than what some of the aligned ones write does. So nothing listens to them, rather than that
they are silent. Truth is derived afterwards, by trying every set of components with the engine.

To begin with, a linear read-out of each aligned head tells its variable. Without it the losses
stay where they are for thousands of steps: no variable can be interchanged before it is there.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from circuitfind import Site, load_model
from circuitfind.bench.truth import exhaustive_truth
from circuitfind.mediators.known import parse_site
from circuitfind.models.native import Native, save_native
from circuitfind.objective.encoding import encode
from desiderata import Saved, SavedInputs
from desiderata.choices import DONORS
from scripts.siit_net import (
    LENGTH,
    PAD,
    UNK,
    WORDS,
    Net,
    ReadOut,
    Settings,
    Shape,
    all_settings,
    interchanged,
    members_of,
    others_of,
    spread,
)
from tasks.siit import ALIGNED, DIGITS

FOLDER = Path(__file__).resolve().parent.parent / "circuitfind" / "models" / "siit-arithmetic"
LOUD = 3.0  # how much the others' outputs should vary; see `spread`


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the weights."""

    seed: int = 0
    steps: int = 1600
    batch: int = 256
    learning_rate: float = 3e-3
    warmup: float = 0.03
    read_out_until: float = 0.4
    held_out: float = 0.1
    saved: int = 150
    shape: Shape = field(default_factory=Shape)


@dataclass(frozen=True)
class Trained:
    """What training gives: the model, the prompts that it never saw, its losses on the way."""

    net: Net
    held_out: Settings
    history: list[dict[str, float]]


def draw_gates(n: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """Gates of all components, and which variables they force: 30 % of rows variables alone,
    40 % others alone, 30 % both."""
    members, others = members_of(shape), others_of(shape)

    def some(count: int) -> Tensor:
        one = functional.one_hot(torch.randint(count, (n,)), count).bool()
        many = torch.rand(n, count) < torch.rand(n, 1)
        return torch.where(torch.rand(n, 1) < 0.5, one, many)

    kind = torch.rand(n, 1)
    forced = some(len(members)) & (kind < 0.6)
    gates = torch.zeros(n, len(shape.components), dtype=torch.bool)
    gates[:, members] = forced
    gates[:, others] = (some(len(others)) | (torch.rand(n, 1) < 0.25)) & (kind > 0.3)
    return gates, forced


def losses_of(net: Net, read_out: ReadOut, base: Settings) -> dict[str, Tensor]:
    """The losses on a batch, each prompt also the donor of another."""
    n = len(base)
    logits, outputs = net(base.tokens)
    gates, forced = draw_gates(n, net.shape)
    rows = torch.arange(n).roll(1)
    others = torch.where(torch.rand(n) < 0.5, rows, torch.arange(n).roll(2))
    moved = interchanged(net, base, outputs, gates, rows, others)
    each = functional.cross_entropy(
        moved, base.interchange(base.take(rows), forced), reduction="none"
    )
    strict = ~forced.any(dim=1)
    return {
        "behaviour": functional.cross_entropy(logits, base.answer),
        "interchange": each[~strict].mean(),
        "strict": each[strict].mean(),
        "idle": idleness(net, outputs),
        "read_out": read_out(base, outputs),
    }


def idleness(net: Net, outputs: Sequence[Tensor]) -> Tensor:
    """By how much the components that are not aligned vary less than LOUD, a share of it."""
    varies = spread(net, outputs)
    quiet = [1 - varies[name] / LOUD for name in varies if name not in ALIGNED.values()]
    return torch.stack(quiet).clamp(min=0).mean()


def train(recipe: Recipe) -> Trained:
    """The trained model, the prompts that it never saw, and its losses on the way."""
    torch.manual_seed(recipe.seed)
    everything = all_settings()
    cut = round(recipe.held_out * len(everything))
    held_out, seen = torch.randperm(len(everything)).split([cut, len(everything) - cut])
    net, read_out = Net(recipe.shape), ReadOut(recipe.shape)
    weights = [*net.parameters(), *read_out.parameters()]
    optimizer = torch.optim.Adam(weights, lr=recipe.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warmup
    )
    history = []
    for step in range(recipe.steps):
        base = everything.take(seen[torch.randint(len(seen), (recipe.batch,))])
        losses = losses_of(net, read_out, base)
        help_left = max(0.0, 1 - step / (recipe.read_out_until * recipe.steps))
        total = sum(losses[name] for name in ("behaviour", "interchange", "strict", "idle"))
        optimizer.zero_grad()
        (total + help_left * losses["read_out"]).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == recipe.steps - 1:
            history.append({"step": step} | {k: round(v.item(), 5) for k, v in losses.items()})
            print(history[-1], file=sys.stderr, flush=True)
    return Trained(net, everything.take(held_out), history)


@torch.no_grad()
def measure(net: Net, data: Settings, n: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Accuracy on these prompts, and shares of the first `n`, each with another as its source:
    interchange accuracy of each variable, alone and with all other components interchanged too;
    how often the answer moves when others are (node effect), singly, all, and 20 random sets."""
    shape, right = net.shape, net(data.tokens)[0].argmax(1) == data.answer
    data = data.take(torch.arange(n))
    members, others = members_of(shape), others_of(shape)
    logits, outputs = net(data.tokens)
    rows = torch.arange(n).roll(1)
    source = data.take(rows)

    def answers(columns: Tensor) -> Tensor:
        gates = torch.zeros(n, len(shape.components), dtype=torch.bool)
        gates[:, columns] = True
        return interchanged(net, data, outputs, gates, rows, rows).argmax(1)

    def share(hits: Tensor) -> float:
        return round(hits.float().mean().item(), 5)

    def accuracy(variable: int, also: Tensor) -> float:
        forced = torch.zeros(n, len(ALIGNED), dtype=torch.bool)
        forced[:, variable] = True
        made = answers(torch.cat([members[[variable]], also]))
        return share(made == data.interchange(source, forced))

    own = logits.argmax(1)
    generator = torch.Generator().manual_seed(seed)
    sets = [others[torch.rand(len(others), generator=generator) < 0.5] for _ in range(20)]
    return {
        "accuracy": {"n": len(right), "share": share(right)},
        "n": n,
        "interchange": {v: accuracy(j, others[:0]) for j, v in enumerate(ALIGNED)},
        "interchange_with_others": {v: accuracy(j, others) for j, v in enumerate(ALIGNED)},
        "effect_of_aligned": {
            name: share(answers(members[[j]]) != own) for j, name in enumerate(ALIGNED.values())
        },
        "effect_of_others": {shape.components[c]: share(answers(c[None]) != own) for c in others},
        "effect_of_all_others": share(answers(others) != own),
        "effect_of_random_others": max(share(answers(each) != own) for each in sets),
        "spread": {k: round(v.item(), 3) for k, v in spread(net, outputs).items()},
    }


def write(folder: Path, recipe: Recipe, trained: Trained, command: str, seconds: float) -> None:
    """The native folder, with inputs that the model is right on and a log of its training."""
    shape = recipe.shape
    native = Native(
        about="arithmetic on bound digits mod 10, trained so that its circuit is the causal model "
        "of tasks/siit.py (strict interchange training); made by scripts/train_siit.py",
        config=asdict(shape) | {"n_ctx": LENGTH, "act_fn": "relu"},
        words=WORDS,
        weights=trained.net.state_dict(),
        inputs=saved_inputs(trained.net, trained.held_out, recipe.saved),
        pad=PAD,
        unk=UNK,
    )
    save_native(folder, native)
    save_native(folder, replace(native, truth=derive_truth(folder, native.inputs, shape)))
    log = {
        "command": command,
        "recipe": asdict(recipe),
        "aligned": ALIGNED,
        "held_out": measure(trained.net, trained.held_out),
        "losses": trained.history,
        "seconds": round(seconds),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (folder / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


def derive_truth(folder: Path, inputs: Sequence[Saved], shape: Shape) -> dict[str, Any]:
    """Every minimal circuit on the saved inputs under each ablation, by trying every set."""
    model = load_model(str(folder), device="cpu")
    sites = [Site(parse_site(f"{name}@all").component, "all") for name in shape.components]
    ablations = {}
    for donor in DONORS:
        (batch,) = encode(model, SavedInputs(tuple(inputs), donor).everything())
        # In pieces, since most sets fail on the first few inputs already.
        pieces = [batch.take(range(8)), batch.take(range(8, 32)), batch.take(range(32, len(batch)))]
        truth = exhaustive_truth(model, pieces, sites)
        ablations[donor] = [sorted(str(site.component) for site in each) for each in truth.circuits]
        print(donor, ablations[donor], file=sys.stderr)
    return {
        "claim": "suffices",
        "ablations": ablations,
        "how": "circuitfind.bench.truth.exhaustive_truth over all sets of "
        f"{len(sites)} components, on "
        f"{len(inputs)} saved inputs; `source` is that of seed 0",
    }


@torch.no_grad()
def saved_inputs(net: Net, data: Settings, n: int) -> tuple[Saved, ...]:
    """The first `n` of these prompts that the model is right on, with its answers."""
    made = net(data.tokens)[0].argmax(1)
    rows = (made == data.answer).nonzero().flatten()[:n]
    return tuple(
        Saved(" ".join(WORDS[i] for i in tokens), {LENGTH - 1: DIGITS[answer]})
        for tokens, answer in zip(data.tokens[rows].tolist(), made[rows].tolist(), strict=True)
    )


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    args = parser.parse_args()
    recipe, start = replace(Recipe(), steps=args.steps, seed=args.seed), time.time()
    trained = train(recipe)
    command = "python -m scripts.train_siit " + " ".join(sys.argv[1:])
    write(args.out, recipe, trained, command.strip(), time.time() - start)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
