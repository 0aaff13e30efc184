"""A binding model wired by hand, whose circuit is known.

Prompts read `k0 v5 k3 v9 k6 v2 k3`; the answer is the value bound to the last key. Head a0.h0
writes at each value which key stood before it. At the last token, heads a1.h0 and a1.h1 look for
the value whose key is asked for, and each fetches one half of its two-part code. So exactly these
two carry the answer at the last token, and neither does anything alone. a1.h2 copies the query
where nothing reads it, a1.h3 adds a little of the first value's logit, and the rest is idle.
"""

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerFast

from circuitfind.component import head
from circuitfind.model import Model, wrap
from desiderata import CausalModel, choice, distinct, item_of

N_KEYS, SIDE = 16, 5
KEYS = [f"k{n}" for n in range(N_KEYS)]
VALUES = [f"v{n}" for n in range(SIDE * SIDE)]
CIRCUIT = (head(1, 0), head(1, 1))
N_CTX, D_HEAD, N_HEADS, SHARP = 16, 16, 4, 30.0

# Where each kind of information lies in the residual stream.
TOKENS = slice(0, N_KEYS + SIDE * SIDE)
PLACES = slice(TOKENS.stop, TOKENS.stop + N_CTX)
KEY_BEFORE = slice(PLACES.stop, PLACES.stop + N_KEYS)
HALVES = slice(KEY_BEFORE.stop, KEY_BEFORE.stop + 2 * SIDE)
UNREAD = slice(HALVES.stop, HALVES.stop + N_KEYS)
D_MODEL = UNREAD.stop


def word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each of these words, split at white space."""
    vocabulary = {word: index for index, word in enumerate([*words, "<pad>", "<unk>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<pad>"
    )


def planted_model() -> Model:
    """The hand-wired model."""
    config = TransformerBridgeConfig(
        d_model=D_MODEL, d_head=D_HEAD, n_layers=2, n_heads=N_HEADS, n_ctx=N_CTX, d_mlp=4,
        d_vocab=N_KEYS + SIDE * SIDE + 2, act_fn="relu", normalization_type=None, seed=0,
    )  # fmt: skip
    boot: Any = TransformerBridge
    bridge = boot.boot_native(config, tokenizer=word_tokenizer(KEYS + VALUES))
    native: Any = bridge.original_model
    with torch.no_grad():
        for parameter in native.parameters():
            parameter.zero_()
        native.tok_embed.weight[: TOKENS.stop, TOKENS] = torch.eye(TOKENS.stop)
        native.pos.weight[:, PLACES] = torch.eye(N_CTX)
        for layer in native.layers:
            _wire(layer.attn)
        _wire_previous(native.layers[0].attn, 0)
        _wire_fetch(native.layers[1].attn, 0, half=0)
        _wire_fetch(native.layers[1].attn, 1, half=1)
        _wire_decoys(native.layers[1].attn)
        for value in range(SIDE * SIDE):
            first, second = divmod(value, SIDE)
            native.head.weight[N_KEYS + value, HALVES.start + first] = 10.0
            native.head.weight[N_KEYS + value, HALVES.start + SIDE + second] = 10.0
    return wrap(bridge, "planted")


def _wire(attention: Any) -> None:
    """Idle heads look at themselves and write nothing; softmax needs some preference."""
    attention.scale = 1.0


def _rows(head_index: int) -> slice:
    return slice(head_index * D_HEAD, (head_index + 1) * D_HEAD)


def _wire_previous(attention: Any, index: int) -> None:
    """Look one token back and copy its key identity to KEY_BEFORE."""
    rows = _rows(index)
    attention.k.weight[rows, PLACES] = torch.eye(N_CTX)
    attention.q.weight[rows, PLACES] = SHARP * torch.diag(torch.ones(N_CTX - 1), 1)
    attention.v.weight[rows, :N_KEYS] = torch.eye(N_KEYS)
    attention.o.weight[KEY_BEFORE, rows] = torch.eye(N_KEYS)


def _wire_fetch(attention: Any, index: int, half: int) -> None:
    """Look at the token whose key before it is mine; copy one half of its value's code."""
    rows = _rows(index)
    attention.q.weight[rows, :N_KEYS] = SHARP * torch.eye(N_KEYS)
    attention.k.weight[rows, KEY_BEFORE] = torch.eye(N_KEYS)
    for value in range(SIDE * SIDE):
        part = divmod(value, SIDE)[half]
        attention.v.weight[rows.start + part, N_KEYS + value] = 1.0
    start = HALVES.start + half * SIDE
    attention.o.weight[start : start + SIDE, rows.start : rows.start + SIDE] = torch.eye(SIDE)


def _wire_decoys(attention: Any) -> None:
    """a1.h2 copies the query key to where nothing reads; a1.h3 favours the first value a little."""
    rows = _rows(2)
    attention.q.weight[rows, PLACES] = SHARP * torch.eye(N_CTX)
    attention.k.weight[rows, PLACES] = torch.eye(N_CTX)
    attention.v.weight[rows, :N_KEYS] = torch.eye(N_KEYS)
    attention.o.weight[UNREAD, rows] = torch.eye(N_KEYS)
    rows = _rows(3)
    attention.q.weight[rows.start, PLACES] = SHARP
    attention.k.weight[rows.start, PLACES.start + 1] = 1.0
    for value in range(SIDE * SIDE):
        attention.v.weight[rows.start + divmod(value, SIDE)[0], N_KEYS + value] = 0.05
    attention.o.weight[HALVES.start : HALVES.start + SIDE, rows.start : rows.start + SIDE] = (
        torch.eye(SIDE)
    )


def position(keys: tuple[str, ...], query: str) -> int:
    return keys.index(query)


def answer(values: tuple[str, ...], position: int) -> str:
    return values[position]


def prompt(keys: tuple[str, ...], values: tuple[str, ...], query: str) -> str:
    return " ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True)) + f" {query}"


task = CausalModel(
    inputs={
        "keys": distinct(choice(KEYS, split=False), 3),
        "values": distinct(choice(VALUES, split=False), 3),
        "query": item_of("keys"),
    },
    mechanisms=[position, answer],
    prompt=prompt,
    completion=" {answer}",
)

claim = task.carries("answer", at="last", complete=True)
