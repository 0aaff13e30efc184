"""The weights of planted models, wired by hand; what they are for is told in planted.py."""

from math import isqrt

import torch
from torch import Tensor

from ..mediators.site import Component
from .native import Native
from .planted import N_CTX, N_KEYS, N_VALUES, Planted, heads_of, planted_words

SHARP, LOUD, FAINT = 15.0, 10.0, 0.05
WILD, QUIET = 0.3, 0.1  # of what is busy: its attention, and what it computes


def planted_native(planted: Planted) -> Native:
    """The model's config, words and weights."""
    made, roles = _Wiring(planted), heads_of(planted)
    made.look_back(roles.before, 1, made.keys, made.key_before)
    for part, same in enumerate(roles.carriers):
        for carrier in same:
            made.fetch(carrier, (part,), 1.0)
    for inhibitor in roles.inhibitors:
        made.fetch(inhibitor, tuple(range(planted.parts)), -1.0)
    kinds = (made.copy_query, made.favour_first, made.copy_key_before)
    for number, decoy in enumerate(roles.decoys):
        kinds[number % len(kinds)](decoy)
    for distractor in roles.distractors:
        made.distract(distractor)
    made.wire_mlps()
    made.add_noise()
    return Native(
        about=f"variable binding wired by hand: {planted}",
        config=made.config,
        words=planted_words(),
        weights=made.weights,
    )


class _Wiring:
    """Weights under construction: where each kind of information lies in the residual stream, and
    what a head is wired to do. Idle heads have zero weights and write nothing."""

    def __init__(self, planted: Planted) -> None:
        self.planted = planted
        self.rng = torch.Generator().manual_seed(planted.seed)
        code = planted.parts * planted.base
        carries = planted.mlps == "carry"
        widths = {
            "keys": N_KEYS,
            "values": N_VALUES,
            "places": N_CTX,
            "key_before": N_KEYS,
            "votes": code,
            "out": code if carries else 0,
            "unread": N_KEYS,
        }
        ends = torch.tensor(list(widths.values())).cumsum(0).tolist()
        at = {n: slice(end - widths[n], end) for n, end in zip(widths, ends, strict=True)}
        self.keys, self.values, self.places = at["keys"], at["values"], at["places"]
        self.key_before, self.votes, self.unread = at["key_before"], at["votes"], at["unread"]
        self.out = at["out"] if carries else at["votes"]
        self.d_model, self.d_mlp = ends[-1], max(4, code if carries else 0)
        # A square, so that dividing scores by its root rounds nothing.
        self.d_head = 16 if code <= 16 else 25
        self.config = {
            "d_model": self.d_model,
            "d_head": self.d_head,
            "n_layers": planted.layers,
            "n_heads": planted.heads,
            "n_ctx": N_CTX,
            "d_mlp": self.d_mlp,
            "normalization_type": None,
            "act_fn": "relu",
            "attention_dir": "causal",
        }
        self.weights = self._empty()
        tokens = slice(0, N_KEYS + N_VALUES)
        self.weights["tok_embed.weight"][tokens, tokens] = torch.eye(tokens.stop)
        self.weights["pos.weight"][:, self.places] = torch.eye(N_CTX)
        self.weights["head.weight"][self.values, self.out] = LOUD * self.codes()

    def _empty(self) -> dict[str, Tensor]:
        stream, inner = self.d_model, self.planted.heads * self.d_head
        n_words = len(planted_words())
        shapes: dict[str, tuple[int, ...]] = {
            "tok_embed.weight": (n_words, stream),
            "pos.weight": (N_CTX, stream),
            "head.weight": (n_words, stream),
        }
        for layer in range(self.planted.layers):
            at = f"layers.{layer}"
            for name in "qkv":
                shapes |= {f"{at}.attn.{name}.weight": (inner, stream)}
                shapes |= {f"{at}.attn.{name}.bias": (inner,)}
            shapes |= {f"{at}.attn.o.weight": (stream, inner), f"{at}.attn.o.bias": (stream,)}
            shapes |= {f"{at}.mlp.fc_in.weight": (self.d_mlp, stream)}
            shapes |= {f"{at}.mlp.fc_in.bias": (self.d_mlp,)}
            shapes |= {f"{at}.mlp.fc_out.weight": (stream, self.d_mlp)}
            shapes |= {f"{at}.mlp.fc_out.bias": (stream,)}
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    def codes(self) -> Tensor:
        """One row per value, with a one at the place of each of its digits."""
        made = torch.zeros(N_VALUES, self.planted.parts * self.planted.base)
        for value in range(N_VALUES):
            for part, digit in enumerate(self.planted.digits(value)):
                made[value, part * self.planted.base + digit] = 1.0
        return made

    def _head(self, component: Component) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A head's rows of the query, key and value matrices, and its columns of the output's."""
        index = component.part
        rows = slice(index * self.d_head, (index + 1) * self.d_head)
        q, k, v, o = (
            self.weights[f"layers.{component.layer}.attn.{name}.weight"] for name in "qkvo"
        )
        return q[rows], k[rows], v[rows], o[:, rows]

    def _sharp(self) -> float:
        return SHARP * isqrt(self.d_head)  # scores are divided by that root

    def look_back(self, component: Component, steps: int, what: slice, where: slice) -> None:
        """Look this many tokens back and copy what is there."""
        q, k, v, o = self._head(component)
        k[:N_CTX, self.places] = torch.eye(N_CTX)
        q[:N_CTX, self.places] = self._sharp() * torch.diag(torch.ones(N_CTX - steps), steps)
        v[:N_KEYS, what] = torch.eye(N_KEYS)
        o[where, :N_KEYS] = torch.eye(N_KEYS)

    def fetch(self, component: Component, parts: tuple[int, ...], weight: float) -> None:
        """Look at the value whose key before it is mine; vote for these digits of it."""
        q, k, v, o = self._head(component)
        q[:N_KEYS, self.keys] = self._sharp() * torch.eye(N_KEYS)
        k[:N_KEYS, self.key_before] = torch.eye(N_KEYS)
        # The first token has none before it, so that it holds its own key and would be looked at.
        k[:N_KEYS, self.places.start] = -1.0
        base = self.planted.base
        for slot, part in enumerate(parts):
            mine = slice(slot * base, (slot + 1) * base)
            place = slice(part * base, (part + 1) * base)
            v[mine, self.values] = self.codes()[:, place].T
            start = self.votes.start + place.start
            o[start : start + base, mine] = weight * torch.eye(base)

    def copy_query(self, component: Component) -> None:
        """Copy the query key to where nothing reads."""
        self.look_back(component, 0, self.keys, self.unread)

    def copy_key_before(self, component: Component) -> None:
        """Copy the key of the binding before to where nothing reads."""
        self.look_back(component, 2, self.keys, self.unread)

    def favour_first(self, component: Component) -> None:
        """Look at the first value; a faint vote for its first digit."""
        q, k, v, o = self._head(component)
        base = self.planted.base
        q[0, self.places] = self._sharp()
        k[0, self.places.start + 1] = 1.0
        v[:base, self.values] = FAINT * self.codes()[:, :base].T
        o[self.votes.start : self.votes.start + base, :base] = torch.eye(base)

    def distract(self, component: Component) -> None:
        """Attend to anything, compute from everything, write where nothing reads."""
        q, k, v, o = self._head(component)
        for weight, size in ((q, WILD), (k, WILD), (v, QUIET)):
            weight.copy_(size * self._random(weight))
        # About as loud as a carrier: what is much louder would be heard through noise.
        o[self.unread] = self._random(o[self.unread]) / isqrt(self.d_head)

    def wire_mlps(self) -> None:
        """Busy ones at random; the last one that carries hands votes on."""
        for layer in range(self.planted.layers):
            fc_in = self.weights[f"layers.{layer}.mlp.fc_in.weight"]
            fc_out = self.weights[f"layers.{layer}.mlp.fc_out.weight"]
            if self.planted.mlps == "busy":
                fc_in.copy_(QUIET * self._random(fc_in))
                fc_out[self.unread] = self._random(fc_out[self.unread])
            elif self.planted.mlps == "carry" and layer == self.planted.layers - 1:
                code = self.planted.parts * self.planted.base
                fc_in[:code, self.votes] = torch.eye(code)
                fc_out[self.out, :code] = torch.eye(code)

    def add_noise(self) -> None:
        for weight in self.weights.values():
            weight += self.planted.noise * self._random(weight)

    def _random(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.rng)
