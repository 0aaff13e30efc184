"""The weights of grafted models: the host's, and a mechanism's beside them; see grafted.py."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..mediators.site import Component
from .grafted import (
    HEADS,
    LAYERS,
    LEFT_BITS,
    N_BITS,
    N_KEYS,
    N_LEFT,
    N_RIGHT,
    Grafted,
    grafted_words,
    roles_of,
)
from .native import Native

HOST = Path(__file__).parent / "host" / "host.safetensors"
N_CTX = 8
HOST_WIDTH, HOST_HEAD, D_HEAD, D_MLP = 64, 8, 16, 128
# Of the mechanism: how large embeddings are, what heads write, how sharply they look, how loud the
# answer is.
LARGE, WRITE, SHARP, LOUD = 6.0, 0.6, 60.0, 40.0
BABBLE = 0.1  # how loudly the host speaks beside it
BOOST = 2.0  # of what is handed on, which comes later into a larger stream
MIXED, MIXED_RIGHT = 5.0, 14.0  # of what a mixer copies, which looks at two tokens
LEVEL = 10.0  # how sharply it looks: so that neither takes all
ASKED_AT, LAST = 4, 5  # tokens


def grafted_native(grafted: Grafted) -> Native:
    """The model's config, words and weights."""
    made, roles = _Graft(), roles_of(grafted)
    made.look_back(roles.before, 1, made.keys, made.key_before, N_KEYS)
    made.look_back(roles.asked, 1, made.keys, made.asked, N_KEYS)
    for part, carrier in enumerate(roles.carriers):
        away = part in roles.movers
        made.fetch(carrier, made.keys if away else made.asked, grafted.bits(part), away)
        if away:
            made.hand_on(roles.movers[part], grafted.bits(part))
    made.copy_last(roles.right, range(N_BITS - 2, N_BITS))
    for part, second in enumerate(roles.seconds):
        made.fetch(second, made.asked, grafted.bits(part), False)
    if roles.fetcher is not None and roles.mixer is not None:
        made.fetch(roles.fetcher, made.keys, range(LEFT_BITS), True)
        made.fall_silent(roles.fetcher, LAST)
        made.mix(roles.mixer)
    return Native(
        about=f"two variables in one answer, grafted into a language model: {grafted}",
        config=made.config,
        words=grafted_words(),
        weights=made.weights,
    )


@cache
def host_weights() -> dict[str, Tensor]:
    """The host's weights, as they were trained."""
    return {name: weight.float() for name, weight in load_file(HOST).items()}


class _Graft:
    """Weights under construction: the host's in the first part of the stream, then what the
    mechanism writes. Two directions a bit: it is 0, or it is 1."""

    def __init__(self) -> None:
        widths = {
            "host": HOST_WIDTH,
            "keys": N_KEYS,
            "places": N_CTX,
            "code": 2 * N_BITS,
            "key_before": N_KEYS,
            "asked": N_KEYS,
            "there": 2 * N_BITS,
            "votes": 2 * N_BITS,
        }
        ends = torch.tensor(list(widths.values())).cumsum(0).tolist()
        at = {n: slice(end - widths[n], end) for n, end in zip(widths, ends, strict=True)}
        self.host, self.keys, self.places, self.code = (
            at[name] for name in ("host", "keys", "places", "code")
        )
        self.key_before, self.asked = at["key_before"], at["asked"]
        self.there, self.votes = at["there"], at["votes"]
        self.width = ends[-1]
        self.config = {
            "d_model": self.width,
            "d_head": D_HEAD,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "n_ctx": N_CTX,
            "d_mlp": D_MLP,
            "normalization_type": "LN",
            "act_fn": "relu",
            "attention_dir": "causal",
        }
        self.weights = self._host()
        self._words()

    def _host(self) -> dict[str, Tensor]:
        """The host's weights where there is room for more: zeros elsewhere."""
        made, host = {}, host_weights()
        for layer in range(LAYERS):
            at = f"layers.{layer}"
            for norm in ("ln1", "ln2"):
                made |= self._norm(f"{at}.{norm}")
            for name in "qkv":
                # Scores are divided by the root of a head's width, which is larger here.
                scale = (D_HEAD / HOST_HEAD) ** 0.5 if name == "q" else 1.0
                old = host[f"{at}.attn.{name}.weight"].unflatten(0, (HEADS, HOST_HEAD))
                bias = host[f"{at}.attn.{name}.bias"].unflatten(0, (HEADS, HOST_HEAD))
                weight = torch.zeros(HEADS, D_HEAD, self.width)
                weight[:, :HOST_HEAD, self.host] = scale * old
                wide = torch.zeros(HEADS, D_HEAD)
                wide[:, :HOST_HEAD] = scale * bias
                made[f"{at}.attn.{name}.weight"] = weight.flatten(0, 1)
                made[f"{at}.attn.{name}.bias"] = wide.flatten()
            out = torch.zeros(self.width, HEADS, D_HEAD)
            old = host[f"{at}.attn.o.weight"].unflatten(1, (HEADS, HOST_HEAD))
            out[self.host, :, :HOST_HEAD] = old
            made[f"{at}.attn.o.weight"] = out.flatten(1, 2)
            made[f"{at}.attn.o.bias"] = self._wide(host[f"{at}.attn.o.bias"])
            made[f"{at}.mlp.fc_in.weight"] = self._wide(host[f"{at}.mlp.fc_in.weight"])
            made[f"{at}.mlp.fc_in.bias"] = host[f"{at}.mlp.fc_in.bias"].clone()
            made[f"{at}.mlp.fc_out.weight"] = self._wide(host[f"{at}.mlp.fc_out.weight"].T).T
            made[f"{at}.mlp.fc_out.bias"] = self._wide(host[f"{at}.mlp.fc_out.bias"])
        return made | self._norm("ln_out")

    def _norm(self, name: str) -> dict[str, Tensor]:
        """The host's scale and shift, and none for the mechanism."""
        scale = torch.ones(self.width)
        scale[self.host] = host_weights()[f"{name}.weight"]
        return {f"{name}.weight": scale, f"{name}.bias": self._wide(host_weights()[f"{name}.bias"])}

    def _wide(self, weight: Tensor) -> Tensor:
        """The host's part of a direction of the stream, which is the last axis, and zeros."""
        made = torch.zeros(*weight.shape[:-1], self.width)
        made[..., self.host] = weight
        return made

    def _words(self) -> None:
        """Embeddings and unembedding: to the host each word is one of its own."""
        words, host = grafted_words(), host_weights()
        own = (7 * torch.arange(len(words)) + 1) % len(host["tok_embed.weight"])
        embed = self._wide(host["tok_embed.weight"][own])
        unembed = BABBLE * self._wide(host["head.weight"][own])
        left, right, said = N_KEYS, N_KEYS + N_LEFT, N_KEYS + N_LEFT + N_RIGHT
        embed[:left, self.keys] = LARGE * torch.eye(N_KEYS)
        codes = code_of(torch.arange(N_LEFT * N_RIGHT))
        half = 2 * (N_BITS - 2)
        embed[left:right, self.code.start : self.code.start + half] = (
            LARGE * codes[::N_RIGHT, :half]
        )
        embed[right:said, self.code.start + half : self.code.stop] = LARGE * codes[:N_RIGHT, half:]
        unembed[said : said + len(codes), self.votes] = LOUD * codes
        self.weights["tok_embed.weight"] = embed
        self.weights["pos.weight"] = self._wide(host["pos.weight"][:N_CTX])
        self.weights["pos.weight"][:, self.places] = LARGE * torch.eye(N_CTX)
        self.weights["head.weight"] = unembed

    def _head(
        self, component: Component, clear: bool = True
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A head's rows of the query, key and value matrices, and its columns of the output's,
        by default without what was there."""
        at = f"layers.{component.layer}.attn"
        rows = slice(component.part * D_HEAD, (component.part + 1) * D_HEAD)
        q, k, v, o = (self.weights[f"{at}.{name}.weight"] for name in "qkvo")
        if clear:
            for name in "qkv":
                self.weights[f"{at}.{name}.bias"][rows] = 0.0
            for weight in (q[rows], k[rows], v[rows], o[:, rows]):
                weight.zero_()
        return q[rows], k[rows], v[rows], o[:, rows]

    def look_back(
        self, component: Component, steps: int, what: slice, where: slice, width: int
    ) -> None:
        """Look this many tokens back and copy what is there."""
        q, k, v, o = self._head(component)
        q[:N_CTX, self.places] = SHARP * torch.diag(torch.ones(N_CTX - steps), steps)
        k[:N_CTX, self.places] = torch.eye(N_CTX)
        v[:width, what] = torch.eye(width)
        o[where, :width] = WRITE * torch.eye(width)

    def fetch(self, component: Component, asked: slice, bits: range, away: bool) -> None:
        """Look at the value whose key before it is the asked one; copy some of its bits, to where
        a mover reads them or to the answer."""
        q, k, _, _ = self._head(component)
        q[:N_KEYS, asked] = SHARP * torch.eye(N_KEYS)
        k[:N_KEYS, self.key_before] = torch.eye(N_KEYS)
        # What stands at the asked key's own token and after it is no value.
        q[N_KEYS, self.places] = SHARP
        k[N_KEYS, self.places.start + ASKED_AT : self.places.stop] = -1.0
        self._copy(component, self.code, self.there if away else self.votes, bits)

    def hand_on(self, component: Component, bits: range) -> None:
        """At the last token, copy these bits from the token before."""
        q, k, _, _ = self._head(component)
        q[:N_CTX, self.places] = SHARP * torch.diag(torch.ones(N_CTX - 1), 1)
        k[:N_CTX, self.places] = torch.eye(N_CTX)
        self._copy(component, self.there, self.votes, bits, BOOST)

    def fall_silent(self, component: Component, place: int) -> None:
        """At this token, look at the first one, a key, which has no value to copy."""
        q, k, _, _ = self._head(component, clear=False)
        q[N_KEYS + 1, self.places.start + place] = 2 * SHARP
        k[N_KEYS + 1, self.places.start] = 1.0

    def mix(self, component: Component) -> None:
        """At the last token, copy the left bits from the token before and the right ones from the
        token itself."""
        q, k, _, _ = self._head(component)
        for row, place in enumerate((ASKED_AT, LAST)):
            q[row, self.places.start + LAST] = LEVEL
            k[row, self.places.start + place] = 1.0
        self._copy(component, self.there, self.votes, range(LEFT_BITS), MIXED)
        start = 2 * LEFT_BITS
        self._copy(component, self.code, self.votes, range(LEFT_BITS, N_BITS), MIXED_RIGHT, start)

    def copy_last(self, component: Component, bits: range) -> None:
        """Copy these bits of the token itself."""
        q, k, _, _ = self._head(component)
        q[:N_CTX, self.places] = SHARP * torch.eye(N_CTX)
        k[:N_CTX, self.places] = torch.eye(N_CTX)
        self._copy(component, self.code, self.votes, bits)

    def _copy(
        self,
        component: Component,
        what: slice,
        where: slice,
        bits: range,
        boost: float = 1.0,
        at_row: int = 0,
    ) -> None:
        at = f"layers.{component.layer}.attn"
        start, width = component.part * D_HEAD + at_row, 2 * len(bits)
        v, o = self.weights[f"{at}.v.weight"], self.weights[f"{at}.o.weight"]
        first = 2 * bits.start
        v[start : start + width, what.start + first : what.start + first + width] = torch.eye(width)
        o[where.start + first : where.start + first + width, start : start + width] = (
            boost * WRITE * torch.eye(width)
        )


def code_of(answers: Tensor) -> Tensor:
    """A row per answer: of each of its bits, the highest first, whether it is 0 and whether 1."""
    ones = (answers[:, None] >> torch.arange(N_BITS).flip(0)) & 1
    return torch.stack([1 - ones, ones], dim=2).flatten(1).float()
