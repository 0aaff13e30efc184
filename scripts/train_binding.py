"""Fine-tune SmolLM2-135M on binding: the low-rank adapter behind `smollm2-135m-binding`.

    python -m scripts.train_binding        # remakes circuitfind/models/smollm2-135m-binding
    python -m scripts.train_binding --steps 5 --n 20 --out /tmp/binding

Rows come from the causal models of `tasks/binding.py`, the trained side of each, with loss on the
answer alone. Between them ordinary text keeps the model what it was: the divergence of its
next-token distribution from the untouched model's. The text is Python's own reference manual
(`pydoc_data.topics`, in every Python), a third of it kept for measuring, and in the second phase,
by turns, little stories about two people, without which IOI fell from 0.93 to 0.75.
"""

import argparse
import json
import math
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from pydoc_data import topics
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitfind.models.adapter import FORMAT, apply_adapter
from circuitfind.models.smollm2 import fetch_smollm2
from desiderata import CausalModel, texts_of
from desiderata.sampling import split_content
from tasks import binding, ioi, words

BASE = "smollm2-135m"
FOLDER = Path(__file__).resolve().parent.parent / "circuitfind" / "models" / "smollm2-135m-binding"
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj")
# Families of like length share a pass, so that little of it is padding.
PASSES = (
    ("arithmetic", "arithmetic", "retrieval 2", "retrieval 3"),
    ("word problems", "word problems", "boxes 2", "boxes 3"),
    ("arithmetic", "retrieval 2", "retrieval 3", "word problems"),
    ("word problems", "word problems", "boxes 3", "boxes 2"),
    ("arithmetic", "arithmetic", "retrieval 3", "boxes 2"),
    ("boxes 3", "boxes 4", "boxes 4", "boxes 5"),
)
PASSAGE = 64  # tokens of ordinary text
STORIES = (
    "{a} and {b} met at the {place} last week. {a} said that the {object} was gone, but {b} "
    "smiled.",
    "Yesterday {a} wrote to {b} about a {object}. {b} wrote back and thanked {a} for it.",
    "{a} asked {b} to bring the {object}, but {b} forgot it, so {a} was angry with {b}.",
    "At the {place}, {a} showed {b} a {object}, and {b} showed {a} another one.",
    "{a} likes {b}, and {b} likes {a}. They often go to the {place} together.",
)
PLACES = ("lake", "hotel", "theater", "bakery", "bridge", "castle", "harbor", "airport", "forest")


@dataclass(frozen=True)
class Phase:
    """A descent of its own: the learning rate rises, stays, and falls to zero."""

    steps: int
    learning_rate: float
    text_every: int  # steps from one text to the next
    stories: bool


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the adapter, apart from the versions of the libraries."""

    seed: int = 0
    phases: tuple[Phase, ...] = (Phase(400, 1e-3, 4, False), Phase(140, 6e-4, 1, True))
    rows: int = 4  # of each family in a pass
    rank: int = 8
    warmup: int = 20
    text_weight: float = 3.0


class LowRank(nn.Module):
    """A frozen linear layer plus a low-rank change that starts at zero."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer, self.scale = layer, 1.0
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / math.sqrt(rank))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.scale * functional.linear(
            functional.linear(x, self.down), self.up
        )


def adapt(model: nn.Module, rank: int) -> dict[str, LowRank]:
    """Put a low-rank change beside every adapted weight; by the weights' names."""
    model.requires_grad_(False)
    made = {}
    for name, layer in list(model.named_modules()):
        if name.endswith(ADAPTED) and isinstance(layer, nn.Linear):
            made[f"{name}.weight"] = LowRank(layer, rank)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, made[f"{name}.weight"])
    return made


@contextmanager
def untouched(adapters: Iterable[LowRank]) -> Iterator[None]:
    """The model as it was before the adapters."""
    adapters = list(adapters)
    for adapter in adapters:
        adapter.scale = 0.0
    try:
        with torch.no_grad():
            yield
    finally:
        for adapter in adapters:
            adapter.scale = 1.0


# ------------------------------------------------------------------------------------ the rows


def split_families() -> tuple[dict[str, CausalModel], dict[str, CausalModel]]:
    """Each family's trained side (without the pairs of numbers kept from it) and held-out side."""
    trained, held_out = {}, {}
    for name, model in binding.FAMILIES.items():
        split = split_content(model, 0)
        trained[name], held_out[name] = narrow_numbers(split.search, True), split.held_out
    return trained, held_out


def narrow_numbers(model: CausalModel, trained: bool) -> CausalModel:
    """The model on those pairs of numbers only that training sees, or on the others."""

    def story(start: int, change: int) -> bool:
        return binding.is_trained_on(start, change) == trained

    def code(x: int, y: int) -> bool:
        return binding.is_trained_on(x, y) == trained

    if "change" in model.inputs:
        return replace(model, where=(*model.where, story))  # type: ignore[misc]
    return replace(model, where=(*model.where, code)) if "x" in model.inputs else model  # type: ignore[misc]


def draw_rows(model: CausalModel, n: int, rng: random.Random) -> list[tuple[str, str]]:
    """`n` prompts, each with its answer as it is written after the prompt."""
    rows: list[tuple[str, str]] = []
    while len(rows) < n:
        if (inputs := model.draw(rng)) is not None:
            values = model.run(inputs)
            (answer,) = texts_of(model.write_answer(values))
            rows.append((model.render(values).text, answer))
    return rows


@dataclass(frozen=True)
class Rows:
    """Prompts with their answers, padded on the right; labels are -100 but at answers."""

    tokens: Tensor  # row pos
    labels: Tensor  # row pos: the token expected next


def encode_rows(tokenizer: Any, rows: Sequence[tuple[str, str]]) -> Rows:
    whole = [tokenizer(prompt + answer)["input_ids"] for prompt, answer in rows]
    starts = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in rows]
    longest = max(map(len, whole))
    tokens = torch.full((len(rows), longest - 1), tokenizer.eos_token_id)
    labels = torch.full_like(tokens, -100)
    for row, (ids, start) in enumerate(zip(whole, starts, strict=True)):
        tokens[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        labels[row, start - 1 : len(ids) - 1] = torch.tensor(ids[start:])
    return Rows(tokens, labels)


def answer_logits(model: Any, rows: Rows) -> tuple[Tensor, Tensor]:
    """Logits and labels at answers only: unembedding the rest would cost a quarter more."""
    asked = rows.labels != -100
    hidden = model.model(input_ids=rows.tokens).last_hidden_state[asked]
    return model.lm_head(hidden), rows.labels[asked]


def read_passages(tokenizer: Any, kept: bool) -> list[list[int]]:
    """Ordinary text in passages of PASSAGE tokens; `kept` are those that training never sees."""
    names = [name for n, name in enumerate(sorted(topics.topics)) if (n % 3 == 0) == kept]
    passages = []
    for name in names:
        ids = tokenizer(" ".join(topics.topics[name].split()))["input_ids"]
        passages += [ids[i : i + PASSAGE] for i in range(0, len(ids) - PASSAGE + 1, PASSAGE)]
    return passages


def make_stories(tokenizer: Any, rng: random.Random) -> list[int]:
    """Three stories of one kind about people who are not held out; their objects may be."""
    names = [name for name in words.NAMES if name not in words.HELD_OUT_NAMES]
    story, made = rng.choice(STORIES), []
    for _ in range(3):
        a, b = rng.sample(names, 2)
        place, thing = rng.choice(PLACES), rng.choice(words.OBJECTS)
        made.append(story.format(a=a, b=b, place=place, object=thing))
    return tokenizer("\n".join(made))["input_ids"]


# ---------------------------------------------------------------------------------- the training


def train(
    recipe: Recipe,
    phase: Phase,
    model: Any,
    tokenizer: Any,
    adapters: dict[str, LowRank],
    save: Callable[[], None],
) -> list[dict[str, Any]]:
    """Train the adapters inside `model` for one phase; the log, a row every 20 steps."""
    rng = random.Random(f"{recipe.seed}/{phase}")
    trained, _ = split_families()
    passages = read_passages(tokenizer, kept=False)
    weights = [weight for a in adapters.values() for weight in (a.down, a.up)]
    optimizer = torch.optim.AdamW(weights, lr=phase.learning_rate, weight_decay=0.0)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / recipe.warmup, 2 * (1 - step / phase.steps))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    log, began, tokens_seen = [], time.monotonic(), 0
    divergence = torch.zeros(())
    for step in range(1, phase.steps + 1):
        families = PASSES[step % len(PASSES)]
        drawn = [row for f in families for row in draw_rows(trained[f], recipe.rows, rng)]
        rows = encode_rows(tokenizer, drawn)
        logits, labels = answer_logits(model, rows)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        tokens_seen += rows.tokens.numel()
        if step % phase.text_every == 0:
            story = phase.stories and step % 2 == 0
            text = make_stories(tokenizer, rng) if story else rng.choice(passages)
            divergence = drift(model, adapters, to_row(text))
            (recipe.text_weight * divergence).backward()
            tokens_seen += 2 * len(text)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step % 20 == 0 or step == phase.steps:
            right = (logits.argmax(-1) == labels).float().mean().item()
            row = {
                "step": step,
                "loss": round(loss.item(), 4),
                "right": round(right, 3),
                "text_drift": round(divergence.item(), 4),
                "tokens": tokens_seen,
                "seconds": round(time.monotonic() - began),
            }
            log.append(row)
            print(json.dumps(row), flush=True)
            save()
    return log


def drift(model: Any, adapters: dict[str, LowRank], passage: Tensor) -> Tensor:
    """How far the next-token distributions moved on a passage: mean divergence, in nats."""
    with untouched(adapters.values()):
        before = model(input_ids=passage).logits.log_softmax(-1)
    after = model(input_ids=passage).logits.log_softmax(-1)
    return functional.kl_div(after, before, log_target=True, reduction="none").sum(-1).mean()


def write_adapter(adapters: dict[str, LowRank], path: Path, record: dict[str, Any]) -> None:
    tensors = {}
    for name, adapter in adapters.items():
        tensors[f"{name}.down"] = adapter.down.detach().half().contiguous()
        tensors[f"{name}.up"] = adapter.up.detach().half().contiguous()
    about = {"format": FORMAT, "base": BASE, "record": json.dumps(record)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=about)


def read_adapter(adapters: dict[str, LowRank], path: Path) -> None:
    """Go on from what `write_adapter` wrote."""
    tensors = load_file(path)
    with torch.no_grad():
        for name, adapter in adapters.items():
            adapter.down.copy_(tensors[f"{name}.down"])
            adapter.up.copy_(tensors[f"{name}.up"])


# -------------------------------------------------------------------------------- the evaluation


@torch.no_grad()
def measure_accuracy(model: Any, tokenizer: Any, rows: Sequence[tuple[str, str]]) -> float:
    """The share of rows whose every answer token is the most likely one."""
    right = 0
    for start in range(0, len(rows), 25):
        part = encode_rows(tokenizer, rows[start : start + 25])
        logits, labels = answer_logits(model, part)
        asked = part.labels != -100
        wrong = torch.zeros_like(asked)
        wrong[asked] = logits.argmax(-1) != labels
        right += int((~wrong.any(1)).sum())
    return right / len(rows)


def evaluate(model: Any, tokenizer: Any, n: int, seed: int) -> list[dict[str, Any]]:
    """Accuracy of each family: as trained, on held-out words and template, on held-out numbers."""
    trained, held_out = split_families()
    table = []
    for name, family in binding.FAMILIES.items():
        sides = {"trained": trained[name], "held-out words and template": held_out[name]}
        if "x" in family.inputs:
            sides["held-out numbers"] = narrow_numbers(split_content(family, 0).search, False)
        for side, model_of_side in sides.items():
            rows = draw_rows(model_of_side, n, random.Random(f"{seed}/{name}/{side}"))
            share = measure_accuracy(model, tokenizer, rows)
            table.append({"family": name, "split": side, "n": n, "accuracy": share})
            print(json.dumps(table[-1]), flush=True)
    return table


@torch.no_grad()
def measure_general(model: Any, tokenizer: Any, n: int) -> dict[str, float]:
    """IOI accuracy, and nats per token of ordinary text that training never saw."""
    rows = draw_rows(ioi.model, n, random.Random(1))
    passages = random.Random(2).sample(read_passages(tokenizer, kept=True), max(2, n // 8))
    losses = [model(input_ids=t, labels=t).loss.item() for t in map(to_row, passages)]
    return {
        "ioi_accuracy": measure_accuracy(model, tokenizer, rows),
        "text_nats_per_token": sum(losses) / len(losses),
        "ioi_n": n,
        "passages": len(passages),
    }


def to_row(ids: list[int]) -> Tensor:
    return torch.tensor([ids])


def load_base() -> tuple[Any, Any]:
    folder = fetch_smollm2()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune SmolLM2-135M on binding.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, help="at most so many in each phase, for a trial")
    parser.add_argument(
        "--phase", type=int, default=1, help="the first phase; 2 goes on from --out"
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--n", type=int, default=250, help="prompts per row of the tables")
    parser.add_argument("--evaluate", action="store_true", help="only measure what is there")
    arguments = parser.parse_args()
    phases = Recipe.phases
    if arguments.steps:
        phases = tuple(replace(one, steps=min(one.steps, arguments.steps)) for one in phases)
    recipe = Recipe(seed=arguments.seed, phases=phases)
    path = arguments.out / "adapter.safetensors"
    record: dict[str, Any] = {"recipe": asdict(recipe)}
    if not arguments.evaluate:
        model, tokenizer = load_base()
        torch.manual_seed(recipe.seed)
        adapters = adapt(model, recipe.rank)
        log = []
        if arguments.phase > 1:
            read_adapter(adapters, path)
            log = json.loads((arguments.out / "training.json").read_text())["log"]
        for number, phase in enumerate(phases, 1):
            if number >= arguments.phase:
                save = partial(write_adapter, adapters, path, record)
                rows = train(recipe, phase, model, tokenizer, adapters, save)
                log += [{"phase": number, **row} for row in rows]
            text = json.dumps({**record, "log": log}, indent=1)
            (arguments.out / "training.json").write_text(text)
    # The tables are measured on what was written, not on what was trained.
    model, tokenizer = load_base()
    before: dict[str, Any] = {"general": measure_general(model, tokenizer, arguments.n)}
    before["accuracy"] = evaluate(model, tokenizer, arguments.n, seed=10_000)
    apply_adapter(model, path, BASE)
    after: dict[str, Any] = {"general": measure_general(model, tokenizer, arguments.n)}
    after["accuracy"] = evaluate(model, tokenizer, arguments.n, seed=10_000)
    print(json.dumps({"before": before["general"], "after": after["general"]}))
    written = json.loads((arguments.out / "training.json").read_text())
    written |= {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "before": before,
        "after": after,
    }
    (arguments.out / "training.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
