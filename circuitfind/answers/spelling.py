"""Texts as tokens, and where in an output each token is scored.

A model that has read a prompt gives the logits of the next token: place 0 of its output. An answer
of several tokens is scored by teacher forcing: its tokens but the last are run after the prompt,
and each of them gives one more place. Texts that begin alike share these tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

NOTHING = -1  # fills up shorter texts, and pairs with fewer texts

Logits = Float[Tensor, "mask pair *place d_vocab"]


@dataclass(frozen=True)
class Spelling:
    """The tokens of each pair's texts, and the place in an output where each is scored.

    Shorter texts, and pairs with fewer of them, are filled up with -1. Places are all 0 until
    `lay_out` has given them, which texts of one token need not.
    """

    ids: Int[Tensor, "pair text token"]
    places: Int[Tensor, "pair text token"]

    def take(self, rows: Int[Tensor, " kept"]) -> "Spelling":
        """The spelling of these pairs' texts."""
        return Spelling(self.ids[rows], self.places[rows])

    @property
    def is_one_token(self) -> bool:
        """Whether every text is a single token."""
        return self.ids.shape[2] == 1


@dataclass(frozen=True)
class Continuations:
    """Tokens to run after each pair's prompt, so that answers of several tokens can be scored.

    Place 1 + path * steps + step of an output is after this step of this path.
    """

    tokens: Int[Tensor, "pair path step"]

    def take(self, rows: Int[Tensor, " kept"]) -> "Continuations":
        """What is run after these pairs' prompts."""
        return Continuations(self.tokens[rows.to(self.tokens.device)])

    @property
    def n_tokens(self) -> int:
        """Tokens that are run for each pair, those that fill up included."""
        return self.tokens.shape[1] * self.tokens.shape[2]


def spell(rows: Sequence[Sequence[Sequence[int]]], device: torch.device) -> Spelling:
    """The spelling of these texts, by pair and text, all at place 0."""
    n_texts = max([1, *(len(texts) for texts in rows)])
    n_tokens = max([1, *(len(text) for texts in rows for text in texts)])
    empty = [NOTHING] * n_tokens
    filled = [
        [[*text, *empty][:n_tokens] for text in texts] + [empty] * (n_texts - len(texts))
        for texts in rows
    ]
    ids = torch.tensor(filled, device=device)
    return Spelling(ids, torch.zeros_like(ids))


def lay_out(
    spellings: Sequence[Spelling],
) -> tuple[Continuations | None, list[Int[Tensor, "pair text token"]]]:
    """The tokens to run after each pair's prompt so that all these spellings can be scored, and
    the places of each spelling's tokens; nothing to run where all texts are of one token."""
    if all(one.is_one_token for one in spellings):
        return None, [one.places for one in spellings]
    texts = [one.ids.tolist() for one in spellings]
    paths = [
        _paths([_real(text) for texts_of_pair in rows for text in texts_of_pair])
        for rows in zip(*texts, strict=True)
    ]
    n_paths, n_steps = max(map(len, paths)), max((len(p) for own in paths for p in own), default=1)
    n_paths, n_steps = max(1, n_paths), max(1, n_steps)
    fed = torch.zeros(len(paths), n_paths, n_steps, dtype=torch.long)
    for row, own in enumerate(paths):
        for number, path in enumerate(own):
            fed[row, number, : len(path)] = torch.tensor(path)
    placed = []
    for spelling, rows in zip(spellings, texts, strict=True):
        places = torch.zeros_like(spelling.ids, device="cpu")
        for row, (own, mine) in enumerate(zip(rows, paths, strict=True)):
            for number, text in enumerate(own):
                for token in range(1, len(_real(text))):
                    path = next(n for n, p in enumerate(mine) if p[:token] == tuple(text[:token]))
                    places[row, number, token] = 1 + path * n_steps + token - 1
        placed.append(places.to(spelling.ids.device))
    return Continuations(fed.to(spellings[0].ids.device)), placed


def by_place(output: Logits) -> Float[Tensor, "mask pair place d_vocab"]:
    """An output with its places, also where it has only the one after the prompt."""
    return output.unsqueeze(2) if output.ndim == 3 else output


def log_shares(output: Logits, spelling: Spelling) -> Float[Tensor, "mask pair text"]:
    """The log-probability of each whole text, in nats; minus infinity where there is no text."""
    places = by_place(output)
    logs = scores_of_tokens(places, spelling)
    norms = places.logsumexp(-1)
    index = spelling.places.to(norms.device).flatten(1).expand(len(norms), -1, -1)
    logs = logs - norms.gather(-1, index).reshape(logs.shape)
    ids = spelling.ids.to(logs.device)
    summed = logs.masked_fill(ids == NOTHING, 0.0).sum(-1)
    return summed.masked_fill(ids[..., 0] == NOTHING, float("-inf"))


def scores_of_tokens(
    places: Float[Tensor, "mask pair place d_vocab"], spelling: Spelling
) -> Float[Tensor, "mask pair text token"]:
    """The logit of each token where it is scored; any number where there is no token."""
    n_vocab = places.shape[-1]
    ids, where = (one.to(places.device) for one in (spelling.ids, spelling.places))
    index = (where * n_vocab + ids.clamp(min=0)).flatten(1)
    picked = places.flatten(2).gather(-1, index.expand(len(places), -1, -1))
    return picked.reshape(len(places), *ids.shape)


def _real(text: Sequence[int]) -> tuple[int, ...]:
    return tuple(token for token in text if token != NOTHING)


def _paths(texts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The longest beginnings that have to be run for these texts, none the beginning of another."""
    wanted = sorted({text[:-1] for text in texts if len(text) > 1})
    return [
        path
        for number, path in enumerate(wanted)
        if not any(other[: len(path)] == path for other in wanted[number + 1 :])
    ]
