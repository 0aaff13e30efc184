"""The words of `binder`: its prompts, its vocabulary and its tokenizer.

Retrieval and arithmetic after `tasks/words.py`, as they stand or scrambled, and copies of random
words; `scripts/train_binder.py` turns them into rows and trains on them.
"""

import random
from functools import partial

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tasks import words

FAMILIES = ("code", "sentence", "arithmetic", "arithmetic_held_out_sums")
SPECIAL = ("<pad>", "<bos>", "<unk>")
COPY_SIGN = "|"  # in no template, so that a query is never mistaken for the start of a copy
N_ENTITIES = {"code": (2, 3, 4, 5), "sentence": (2, 3, 4, 5), "arithmetic": (2, 3)}


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
