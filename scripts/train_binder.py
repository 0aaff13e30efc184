"""Train `binder`, the small LLaMA-style model that ships with circuitfind, and write its folder.

    python -m scripts.train_binder                    # remakes circuitfind/models/binder
    python -m scripts.train_binder --steps 50 --out /tmp/binder

Copying of random words comes first, until the model has learned to look for what followed a word
the last time. Then retrieval and arithmetic (`tasks/words.py`) are mixed in, with loss on the one
answer token, half of the rows scrambled: their keys, values and the word between them are random
words. Held-out words occur in copying and in scrambled rows only, where nothing but the order of
the words tells what is bound to what; without them their embeddings would stay random.

Last, a penalty on every head makes few heads do each job. Without it all eight heads of one layer
learn to fetch the same value, any six of them are a circuit, and there is little to find.
"""

import argparse
import json
import math
import platform
import random
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from scripts.binder_prompts import (
    FAMILIES,
    N_ENTITIES,
    SPECIAL,
    build_tokenizer,
    list_held_out_ids,
    list_vocabulary,
    make_arithmetic,
    make_copy,
    make_prompts,
    make_retrieval,
)
from tasks import words

FOLDER = Path(__file__).resolve().parent.parent / "circuitfind" / "models" / "binder"
IGNORED = -100  # label of a token that carries no loss


@dataclass(frozen=True)
class Phase:
    """A descent of its own: the learning rate rises from zero and falls back to it.

    The penalty on heads rises over the first two fifths of the steps.
    """

    steps: int
    learning_rate: float
    head_penalty: float = 0.0
    copying_steps: int = 0  # the first so many steps see copies alone


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, apart from the versions of the libraries."""

    seed: int = 0
    phases: tuple[Phase, ...] = (
        Phase(2200, 2e-3, copying_steps=650),
        Phase(1500, 1.5e-3, head_penalty=0.4),
        Phase(500, 1e-3, head_penalty=0.05),  # what the large penalty cost comes back
    )
    weight_decay: float = 0.1
    warmup: int = 50
    rows: tuple[tuple[str, int], ...] = (
        ("code", 10),
        ("sentence", 10),
        ("arithmetic", 8),
        ("scrambled code", 10),
        ("scrambled sentence", 12),
        ("scrambled arithmetic", 8),
        ("copy", 10),
    )
    copying_rows: tuple[tuple[str, int], ...] = (("copy", 32),)
    copy_weight: float = 1.0
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 8
    d_mlp: int = 256


# ---------------------------------------------------------------------------------- the training


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows padded on the right; the label at position p is the token expected at p + 1."""

    tokens: torch.Tensor  # row pos
    labels: torch.Tensor  # row pos
    is_copy: torch.Tensor  # row


def make_copy_row(
    most: int, ids: dict[str, int], rng: random.Random
) -> tuple[list[int], list[int]]:
    """A copy of at most `most` words, with loss on all but the first of the second copy.

    In a quarter of the rows words recur: there the word before does not tell what comes next, and
    the model learns to look two and three words back, as bindings need.
    """
    n_words = rng.randint(5, most)
    n_distinct = n_words if rng.random() < 0.75 else n_words // 2 + 1
    tokens = [ids["<bos>"], *(ids[word] for word in make_copy(n_words, n_distinct, rng))]
    start = len(tokens) - n_words
    return tokens, [IGNORED] * start + tokens[start + 1 :] + [IGNORED]


def make_row(
    kind: str, n_entities: int, ids: dict[str, int], rng: random.Random
) -> tuple[list[int], list[int]]:
    """The tokens of one row, and its label at each of them.

    A retrieval goes on after its answer with further queries, which give more answers to learn from
    per row; all but one key are asked, since the last could be found by elimination.
    """
    if kind == "copy":
        return make_copy_row(2 * n_entities + 6, ids, rng)
    scramble = kind.startswith("scrambled")
    kind = kind.removeprefix("scrambled ")
    if kind == "arithmetic":
        few = rng.choice([n for n in N_ENTITIES[kind] if n <= n_entities])
        turns = make_arithmetic(few, rng, held_out=False, held_out_sums=False, scramble=scramble)
    else:
        turns = make_retrieval(
            kind,
            n_entities,
            rng,
            held_out=False,
            new_template=False,
            n_asked=n_entities - 1,
            scramble=scramble,
        )
    tokens, labels = [ids["<bos>"]], []
    for prompt, answer in turns:
        tokens += [ids[word] for word in prompt.split()]
        labels += [IGNORED] * (len(tokens) - len(labels) - 1) + [ids[answer]]
        tokens += [ids[answer]]
    return tokens[:-1], labels


def make_batch(
    rows_of: tuple[tuple[str, int], ...], ids: dict[str, int], rng: random.Random
) -> Batch:
    kinds = [kind for kind, n_rows in rows_of for _ in range(n_rows)]
    n_entities = rng.choice(N_ENTITIES["code"])  # one for all rows, so that little is padding
    rows = [make_row(kind, n_entities, ids, rng) for kind in kinds]
    length = max(len(tokens) for tokens, _ in rows)
    tokens = [row + [ids["<pad>"]] * (length - len(row)) for row, _ in rows]
    labels = [row + [IGNORED] * (length - len(row)) for _, row in rows]
    is_copy = torch.tensor([kind == "copy" or kind.startswith("scrambled") for kind in kinds])
    return Batch(tokens=torch.tensor(tokens), labels=torch.tensor(labels), is_copy=is_copy)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=128,
        pad_token_id=SPECIAL.index("<pad>"),
        bos_token_id=SPECIAL.index("<bos>"),
        eos_token_id=None,
        initializer_range=0.05,
        # Prompts are short: quick rotations tell the word before from the one before that.
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        tie_word_embeddings=False,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def measure_loss(model: LlamaForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy, in nats, over the answers and over the copied words."""
    asked = batch.labels != IGNORED
    hidden = model.model(input_ids=batch.tokens).last_hidden_state[asked]
    copied = batch.is_copy[:, None].expand_as(asked)[asked]
    # Held-out words do not compete for the answers, or bindings would teach never to say them.
    hidden_words = list_held_out_ids()
    unfair = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    unfair[hidden_words] = True
    logits = model.lm_head(hidden).masked_fill(~copied[:, None] & unfair, -torch.inf)
    losses = torch.nn.functional.cross_entropy(logits, batch.labels[asked], reduction="none")
    n_copied = copied.sum()
    answer_loss = losses[~copied].sum() / (len(losses) - n_copied).clamp(min=1)
    return answer_loss, losses[copied].sum() / n_copied.clamp(min=1)


def schedule(step: int, steps: int, warmup: int) -> float:
    """The factor on the learning rate: a linear warm-up, then a cosine down to zero."""
    done = (step - warmup) / max(1, steps - warmup)
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * max(0.0, done)))


def build_optimizer(
    model: LlamaForCausalLM, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves the norms alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    model = build_model(recipe, tokenizer)
    for phase in recipe.phases:
        descend(model, tokenizer, recipe, phase, rng)
    return model


def descend(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    phase: Phase,
    rng: random.Random,
) -> None:
    ids = {word: i for i, word in enumerate(list_vocabulary())}
    optimizer = build_optimizer(model, phase.learning_rate, recipe.weight_decay)
    factor = partial(schedule, steps=phase.steps, warmup=recipe.warmup)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    began = time.monotonic()
    for step in range(1, phase.steps + 1):
        rows_of = recipe.copying_rows if step <= phase.copying_steps else recipe.rows
        answer_loss, copy_loss = measure_loss(model, make_batch(rows_of, ids, rng))
        loss = answer_loss + recipe.copy_weight * copy_loss
        if phase.head_penalty:
            penalty = phase.head_penalty * min(1.0, step / (0.4 * phase.steps))
            loss = loss + penalty * (measure_heads(model) + 0.01).sqrt().sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == phase.steps:
            losses = f"answer loss {answer_loss.item():.4f}, copy loss {copy_loss.item():.4f}"
            print(f"step {step} ({time.monotonic() - began:.0f} s): {losses}", flush=True)
            print("   " + summarize(model, tokenizer), flush=True)


def measure_heads(model: Any) -> torch.Tensor:
    """How much each head can write: the Frobenius norm of its output times its value matrix.

    Under the square root, as here, the small ones lose more than the large ones: few stay.
    """
    n_heads, sizes = model.config.num_attention_heads, []
    for layer in model.model.layers:
        value = layer.self_attn.v_proj.weight.unflatten(0, (n_heads, -1))
        output = layer.self_attn.o_proj.weight.unflatten(1, (n_heads, -1)).transpose(0, 1)
        grams = output.transpose(1, 2) @ output, value @ value.transpose(1, 2)
        sizes.append((grams[0] * grams[1]).sum((1, 2)).clamp(min=1e-8).sqrt())
    return torch.stack(sizes)


# -------------------------------------------------------------------------------- the evaluation


@torch.no_grad()
def measure_accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[tuple[str, str]]
) -> float:
    """The share of prompts whose most likely next token, among all tokens, is the answer."""
    n_right = 0
    for start in range(0, len(prompts), 250):
        chunk = prompts[start : start + 250]
        encoded = tokenizer(
            [prompt for prompt, _ in chunk],
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        last = encoded["attention_mask"].sum(1) - 1
        hidden = model.model(input_ids=encoded["input_ids"]).last_hidden_state
        guesses = model.lm_head(hidden[torch.arange(len(chunk)), last]).argmax(-1)
        answers = torch.tensor(tokenizer.convert_tokens_to_ids([word for _, word in chunk]))
        n_right += int((guesses == answers).sum())
    return n_right / len(prompts)


def summarize(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> str:
    """A quick look while training: trained words and templates, then held-out ones."""
    parts = []
    for family in FAMILIES:
        is_retrieval = family in words.RETRIEVAL
        most = 5 if is_retrieval else 2
        seen = make_prompts(family, 200, 1, False, most)
        new = make_prompts(family, 200, 1, True, most, new_template=is_retrieval)
        pair = [measure_accuracy(model, tokenizer, prompts) for prompts in (seen, new)]
        parts.append(f"{family}:{most} {pair[0]:.2f} -> {pair[1]:.2f}")
    return ", ".join(parts)


def evaluate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int, seed: int
) -> list[dict[str, str | int | float]]:
    """One row per family, kind of words, kind of template and number of entities."""
    rows = []
    for family in FAMILIES:
        sizes = N_ENTITIES.get(family, N_ENTITIES["arithmetic"])
        for new_template in (False, True) if family in words.RETRIEVAL else (False,):
            for held_out in (False, True):
                for n_entities in sizes:
                    prompts = make_prompts(
                        family, n, seed, held_out, n_entities, new_template=new_template
                    )
                    row = {
                        "family": family,
                        "words": "held out" if held_out else "trained",
                        "template": "held out" if new_template else "trained",
                        "n_entities": n_entities,
                        "n": n,
                        "accuracy": measure_accuracy(model, tokenizer, prompts),
                    }
                    rows.append(row)
    return rows


def print_table(rows: list[dict[str, str | int | float]]) -> None:
    for row in rows:
        print(
            f"{row['family']:<25} words {row['words']:<8}  template {row['template']:<8}  "
            f"{row['n_entities']} entities  n {row['n']}  accuracy {row['accuracy']:.4f}"
        )


# --------------------------------------------------------------------------------- the folder


def write_weights(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    model.half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)  # nothing in it is ours
    tokenizer.save_pretrained(folder)


def describe_run(
    recipe: Recipe, rows: list[dict[str, str | int | float]], seconds: float
) -> dict[str, object]:
    """What `training.json` says: how the weights came about and what they can do."""
    return {
        "command": "python -m scripts.train_binder " + " ".join(sys.argv[1:]),
        "recipe": asdict(recipe),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "seconds": round(seconds),
        "notes": [
            "held-out words are never bound in a template of retrieval: they occur in copying and"
            " in scrambled rows, whose keys, values and word between are random words; held-out"
            " templates occur in copying only",
            "scrambled arithmetic has the real templates: letters are not strictly held out there",
            "digits are never held out; all sums but arithmetic_held_out_sums are trained on",
            "accuracy: argmax over the whole vocabulary, float16 weights computed in float32",
        ],
        "accuracy": rows,
    }


def replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in place of `folder`, so that no reader meets a half-written one."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded model `binder`.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder to write")
    parser.add_argument("--steps", type=int, help="at most so many in each phase, for a trial")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--n", type=int, default=1000, help="prompts per row of the table")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    began = time.monotonic()
    phases = Recipe.phases
    if arguments.steps:
        phases = tuple(replace(one, steps=min(one.steps, arguments.steps)) for one in phases)
    recipe = Recipe(seed=arguments.seed, phases=phases)
    tokenizer = build_tokenizer()
    model = train(recipe, tokenizer)
    folder = arguments.out.resolve()
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    write_weights(model, tokenizer, new)
    # The table is measured on what was written, not on what was trained.
    written = LlamaForCausalLM.from_pretrained(new, dtype=torch.float32)
    rows = evaluate(written, AutoTokenizer.from_pretrained(new), arguments.n, seed=10_000)
    print_table(rows)
    record = describe_run(recipe, rows, time.monotonic() - began)
    (new / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    replace_folder(new, folder)


if __name__ == "__main__":
    main()
