"""Train `binder`, the small LLaMA-style model that ships with circuitfind, and write its folder.

    python -m scripts.train_binder                    # remakes circuitfind/models/binder
    python -m scripts.train_binder --steps 50 --out /tmp/binder

Copying of random words comes first, until the model has learned to look for what followed a word
the last time. Then retrieval and arithmetic (`tasks/words.py`) are mixed in, with loss on the one
answer token, half of the rows scrambled: their keys, values and the word between them are random
words. Held-out words occur in copying and in scrambled rows only, where nothing but the order of
the words tells what is bound to what; without them their embeddings would stay random.
"""

import argparse
import json
import math
import platform
import random
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tasks import words

FOLDER = Path(__file__).resolve().parent.parent / "circuitfind" / "models" / "binder"
FAMILIES = ("code", "sentence", "arithmetic", "arithmetic_held_out_sums")
SPECIAL = ("<pad>", "<bos>", "<unk>")
COPY_SIGN = "|"  # in no template, so that a query is never mistaken for the start of a copy
N_ENTITIES = {"code": (2, 3, 4, 5), "sentence": (2, 3, 4, 5), "arithmetic": (2, 3)}
IGNORED = -100  # label of a token that carries no loss


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the versions of the libraries."""

    seed: int = 0
    steps: int = 2200
    learning_rate: float = 2e-3
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
    first_steps: int = 650
    first_rows: tuple[tuple[str, int], ...] = (("copy", 32),)
    copy_weight: float = 1.0
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 8
    d_mlp: int = 256


# ---------------------------------------------------------------------------------- the prompts


def split_words(all_words: tuple[str, ...], held_out: bool) -> list[str]:
    """The held-out words of a list, or the others; digits are never held out."""
    hidden = {*words.HELD_OUT_NAMES, *words.HELD_OUT_OBJECTS, *words.HELD_OUT_LETTERS}
    if not hidden & set(all_words):
        return list(all_words)
    return [word for word in all_words if (word in hidden) == held_out]


def list_all_words() -> list[str]:
    return [*words.NAMES, *words.OBJECTS, *words.LETTERS]


def split_templates(family: str, new_template: bool) -> list[dict[str, str]]:
    hidden = words.HELD_OUT_TEMPLATES[family]
    templates = words.RETRIEVAL[family]
    return [template for name, template in templates.items() if (name == hidden) == new_template]


def list_sums() -> list[tuple[str, str, str]]:
    """All (left, operator, right) over single digits whose result is a single digit."""
    pairs = [(int(a), int(b)) for a in words.DIGITS for b in words.DIGITS]
    plus = [(str(a), "+", str(b)) for a, b in pairs if a + b <= 9]
    return plus + [(str(a), "-", str(b)) for a, b in pairs if a >= b]


def solve_sum(left: str, operator: str, right: str) -> str:
    return str(int(left) + int(right) if operator == "+" else int(left) - int(right))


def fill_clauses(template: dict[str, str], keys: list[str], values: list[str]) -> str:
    clauses = [
        template["clause"].format(key=key, value=value)
        for key, value in zip(keys, values, strict=True)
    ]
    return template["join"].join(clauses)


def make_retrieval(
    family: str,
    n_entities: int,
    rng: random.Random,
    *,
    held_out: bool,
    new_template: bool,
    n_asked: int = 1,
    scramble: bool = False,
) -> list[tuple[str, str]]:
    """The clauses with the first query, and its answer; then each further query and answer.

    To scramble is to draw keys, values and the word between them from all words, so that
    only the order of the words tells which is which. This is what carries over to held-out ones.
    """
    template = rng.choice(split_templates(family, new_template))
    keys = rng.sample(split_words(words.KEYS[family], held_out), n_entities)
    values = rng.sample(split_words(rng.choice(words.VALUES[family]), held_out), n_entities)
    if scramble:
        between, *drawn = rng.sample(list_all_words(), 2 * n_entities + 1)
        keys, values = drawn[:n_entities], drawn[n_entities:]
        verb = f" {template['clause'].split()[1]}"
        template = {part: text.replace(verb, f" {between}") for part, text in template.items()}
    asked = rng.sample(range(n_entities), n_asked)
    turns = [(template["query"].format(key=keys[i]), values[i]) for i in asked]
    first, answer = turns[0]
    return [(fill_clauses(template, keys, values) + first, answer), *turns[1:]]


def make_arithmetic(
    n_entities: int,
    rng: random.Random,
    *,
    held_out: bool,
    held_out_sums: bool,
    scramble: bool = False,
) -> list[tuple[str, str]]:
    template = rng.choice(list(words.ARITHMETIC.values()))
    hidden = set(words.HELD_OUT_SUMS)
    # The operator first, so that + and - are equally frequent.
    wanted = rng.choice(words.OPERATORS)
    sums = [s for s in list_sums() if s[1] == wanted and (s in hidden) == held_out_sums]
    left, operator, right = rng.choice(sums)
    letters = split_words(words.LETTERS, held_out)
    keys = rng.sample(list_all_words() if scramble else letters, n_entities)
    values = [rng.choice(words.DIGITS) for _ in keys]
    i, j = rng.sample(range(n_entities), 2)  # in order of definition, or reversed
    values[i], values[j] = left, right
    query = template["query"].format(left=keys[i], operator=operator, right=keys[j])
    return [(fill_clauses(template, keys, values) + query, solve_sum(left, operator, right))]


def make_prompts(
    family: str,
    n: int,
    seed: int,
    held_out: bool,
    n_entities: int,
    *,
    new_template: bool = False,
) -> list[tuple[str, str]]:
    """Prompts of one family, each with its answer: one word, the next token after the prompt.

    Args:
        family: one of FAMILIES.
        held_out: whether keys and values (but not digits) are words that training never bound.
        n_entities: how many keys are bound in each prompt.
        new_template: whether to use the template of retrieval that training never bound with.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {FAMILIES}, got {family!r}")
    rng = random.Random(f"{family} {seed}")
    if family in words.RETRIEVAL:
        make = partial(make_retrieval, family, new_template=new_template)
    elif new_template:
        raise ValueError(f"no template of {family!r} is held out: leave new_template False")
    else:
        make = partial(make_arithmetic, held_out_sums=family == "arithmetic_held_out_sums")
    return [make(n_entities=n_entities, rng=rng, held_out=held_out)[0] for _ in range(n)]


def list_vocabulary() -> list[str]:
    """Every word of every list and template, each once, special tokens first."""
    templates = [t for family in words.RETRIEVAL.values() for t in family.values()]
    templates += words.ARITHMETIC.values()
    parts = [word for t in templates for part in t.values() for word in part.split()]
    fixed = [word for word in parts if not word.startswith("{")] + list(words.OPERATORS)
    lists = [*words.DIGITS, *words.LETTERS, *words.NAMES, *words.OBJECTS]
    return list(dict.fromkeys([*SPECIAL, COPY_SIGN, *fixed, *lists]))


def list_held_out_ids() -> list[int]:
    hidden = {*words.HELD_OUT_NAMES, *words.HELD_OUT_OBJECTS, *words.HELD_OUT_LETTERS}
    return [i for i, word in enumerate(list_vocabulary()) if word in hidden]


def make_copy(n_words: int, n_distinct: int, rng: random.Random) -> list[str]:
    """Random words, the copy sign, the same words again.

    Half of the rows draw from a single list, which teaches what a name, an object or a letter is.
    """
    everything = [word for word in list_vocabulary() if word not in (*SPECIAL, COPY_SIGN)]
    one_list = rng.choice((words.NAMES, words.OBJECTS, words.LETTERS))
    pool = rng.sample(rng.choice((everything, list(one_list))), n_distinct)
    first = [*pool, *rng.choices(pool, k=n_words - n_distinct)]
    rng.shuffle(first)
    before = rng.sample(everything, rng.randint(0, 5))  # so that distance alone tells nothing
    return [*before, *first, COPY_SIGN, *first]


# --------------------------------------------------------------------------------- the tokenizer


def build_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(list_vocabulary())}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


# ---------------------------------------------------------------------------------- the training


@dataclass(frozen=True)
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
    return Batch(torch.tensor(tokens), torch.tensor(labels), is_copy)


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


def schedule(step: int, recipe: Recipe) -> float:
    """The factor on the learning rate: a linear warm-up, then a cosine down to zero."""
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return min(1.0, (step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * max(0.0, done)))


def build_optimizer(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves the norms alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    ids = {word: i for i, word in enumerate(list_vocabulary())}
    model = build_model(recipe, tokenizer)
    optimizer = build_optimizer(model, recipe)
    factor = partial(schedule, recipe=recipe)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    began = time.monotonic()
    for step in range(1, recipe.steps + 1):
        rows_of = recipe.first_rows if step <= recipe.first_steps else recipe.rows
        answer_loss, copy_loss = measure_loss(model, make_batch(rows_of, ids, rng))
        (answer_loss + recipe.copy_weight * copy_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == recipe.steps:
            losses = f"answer loss {answer_loss.item():.4f}, copy loss {copy_loss.item():.4f}"
            print(f"step {step} ({time.monotonic() - began:.0f} s): {losses}", flush=True)
            print("   " + summarize(model, tokenizer), flush=True)
    return model


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
        "recipe": vars(recipe),
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
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--n", type=int, default=1000, help="prompts per row of the table")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    began = time.monotonic()
    recipe = Recipe(seed=arguments.seed, steps=arguments.steps)
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
