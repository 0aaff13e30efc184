"""Binding models wired by hand, whose circuits are known: `planted:layers=3,heads=6,backups=1`.

Prompts read `k0 v5 k3 v9 k6 v2 k3`; the answer is the value bound to the last key (the task is
tasks/planted.py). A head of layer 0 writes at each value which key stood before it. At the last
token, carriers look for the value whose key is asked for. A value's code has `parts` digits; each
carrier fetches one digit and gives it a vote, and the answer is the value whose digits have most.
So the carriers of different digits need each other. There are `1 + backups` carriers of each
digit, and `inhibitors` heads fetch the whole code and vote against it.

**The truth**, at the last token, with g = 1 + backups and k = inhibitors. Where m of a digit's
carriers take the source's value and no inhibitor does, the source's digit has m votes and the
base's g - m - k; where the circuit keeps the base's instead, it is the same the other way round.
So a circuit needs more than (g - k) / 2 carriers of every digit, both to bring the answer over
(`planted-inside`) and to leave nothing outside that does (`planted`): with no backup the carriers
of all digits; with one backup and one inhibitor either carrier of each digit, so that the circuit
is not unique; with two backups any two of three. With one backup and no inhibitor both are needed:
that each of two equal carriers moves the answer by itself would be a contradiction, since source
in one and base in the other is also base in one and source in the other. Inhibitors are in no
smallest circuit, and a circuit with some of them patched too may fail that holds without them.

With `mlps=carry` votes reach the output only through the last MLP. Then `planted-inside` is also
satisfied by that MLP alone; `planted` needs it beside as many carriers as before, since the
patched ones outside the circuit speak through it, and it brings the answer over itself where it is
outside. When everything else is ablated to zero (`planted-alone`), one carrier of each digit is
enough, and that MLP where it carries.

Decoys carry other variables: the query (readable, not read), the first value (with a little
weight in the answer), the key before. Distractors and `mlps=busy` compute at random from all that
there is and write where nothing reads. `noise` is the standard deviation of what is added to every
weight. A seed other than 0 also shuffles the heads of each layer.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations, product
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from .component import Component, Site, head, mlp
from .native import Native

Circuits = tuple[frozenset[Site], ...]
PREFIX = "planted"
N_KEYS, N_VALUES, N_CTX = 16, 25, 16
BASES = {1: 25, 2: 5, 3: 3}  # by the number of digits: how many values a digit has
SHARP, LOUD, FAINT, WILD = 30.0, 10.0, 0.05, 0.3
MLPS = ("idle", "busy", "carry")
CLAIMS = ("planted", "planted-inside", "planted-alone")
LIMITS: Mapping[str, tuple[float, float]] = {
    "layers": (2, 12), "heads": (1, 32), "parts": (1, 3), "backups": (0, 4), "inhibitors": (0, 4),
    "decoys": (0, 64), "distractors": (0, 256), "noise": (0.0, 0.02), "seed": (0, 2**31),
}  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """What a planted model is made of.

    Args:
        parts: digits of a value's code, 1 to 3; the carriers of each need those of the others.
        backups: further carriers of each digit.
        inhibitors: heads that vote against the value, fewer than carriers of a digit.
        decoys: heads that carry another variable; distractors: busy heads that nothing reads.
        mlps: `idle`, `busy`, or `carry`: the last one carries, the others are idle.
        noise: standard deviation of what is added to every weight.

    Raises:
        ValueError: every value out of range at once, or more heads than there is room for.
    """

    layers: int = 2
    heads: int = 4
    parts: int = 2
    backups: int = 0
    inhibitors: int = 0
    decoys: int = 2
    distractors: int = 0
    mlps: str = "idle"
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} must lie from {low:g} to {high:g}; got {getattr(self, name)!r}"
            for name, (low, high) in LIMITS.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.mlps not in MLPS:
            problems.append(f"mlps must be one of {', '.join(MLPS)}; got {self.mlps!r}")
        if self.inhibitors > self.backups:
            problems.append(
                f"inhibitors must be fewer than the 1 + backups = {1 + self.backups} carriers of a "
                f"digit, or they outvote them; got {self.inhibitors}"
            )
        late, voters = (self.layers - 1) * self.heads, self.groups * self.parts + self.inhibitors
        if not problems and voters > late:
            problems.append(
                f"{voters} carriers and inhibitors do not fit into the {late} heads after layer 0"
            )
        elif not problems and voters + self.decoys + self.distractors + 1 > late + self.heads:
            problems.append(
                f"{voters + self.decoys + self.distractors + 1} heads that do something do not fit "
                f"into {late + self.heads}"
            )
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def groups(self) -> int:
        """Carriers of each digit."""
        return 1 + self.backups

    @property
    def base(self) -> int:
        """Values of a digit."""
        return BASES[self.parts]

    def digits(self, value: int) -> tuple[int, ...]:
        """The code of a value, the most significant digit first."""
        return tuple(value // self.base**place % self.base for place in reversed(range(self.parts)))


@dataclass(frozen=True)
class Heads:
    """Which head does what."""

    before: Component
    carriers: tuple[tuple[Component, ...], ...]  # of each digit
    inhibitors: tuple[Component, ...]
    decoys: tuple[Component, ...]
    distractors: tuple[Component, ...]


def parse_planted(name: str) -> Planted:
    """What a name such as `planted:layers=3,backups=1` stands for; `planted` is the default.

    Raises:
        ValueError: every unknown, repeated or malformed key at once, or values out of range.
    """
    prefix, _, text = name.partition(":")
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Planted)}
    problems = [] if prefix == PREFIX else [f"a planted model's name begins with {PREFIX}:"]
    given: dict[str, Any] = {}
    for item in text.split(",") if text else ():
        key, equals, value = (word.strip() for word in item.partition("="))
        if not equals or key not in kinds:
            problems.append(f"{item.strip()!r} is not key=value with a known key")
        elif key in given:
            problems.append(f"{key} is given twice")
        else:
            try:
                given[key] = kinds[key](value)
            except ValueError:
                problems.append(f"{key} must be of type {kinds[key].__name__}; got {value!r}")
    if problems:
        raise ValueError(f"{name}: {'; '.join(problems)}; the keys are: {', '.join(kinds)}")
    return Planted(**given)


def heads_of(planted: Planted) -> Heads:
    """Which head does what in this model."""
    rng = random.Random(f"planted/{planted.seed}")
    early = [head(0, index) for index in range(planted.heads)]
    late = [
        head(layer, index) for layer in range(1, planted.layers) for index in range(planted.heads)
    ]
    if planted.seed:
        rng.shuffle(early)
        rng.shuffle(late)
    n_carriers = planted.groups * planted.parts
    carriers = late[:n_carriers]
    rest = late[n_carriers + planted.inhibitors :] + early[1:]
    if planted.seed:
        rng.shuffle(rest)
    return Heads(
        early[0],
        tuple(tuple(carriers[part :: planted.parts]) for part in range(planted.parts)),
        tuple(late[n_carriers : n_carriers + planted.inhibitors]),
        tuple(rest[: planted.decoys]),
        tuple(rest[planted.decoys : planted.decoys + planted.distractors]),
    )


def planted_truth(planted: Planted, claim: str = "planted") -> Circuits:
    """Every smallest circuit of a claim of tasks/planted.py, by construction.

    Args:
        claim: `planted`, `planted-inside` or `planted-alone`.

    Raises:
        LookupError: another claim.
    """
    if claim not in CLAIMS:
        raise LookupError(f"no truth for {claim!r}; it is known for {', '.join(CLAIMS)}")
    carries = (mlp(planted.layers - 1),) if planted.mlps == "carry" else ()
    quorum = 1 if claim == "planted-alone" else (planted.groups - planted.inhibitors) // 2 + 1
    choices = [combinations(same, quorum) for same in heads_of(planted).carriers]
    voters = [tuple(one for same in chosen for one in same) for chosen in product(*choices)]
    if claim == "planted-inside":
        return _at_last([*([carries] if carries else []), *voters])
    return _at_last([(*members, *carries) for members in voters])


def _at_last(circuits: list[tuple[Component, ...]]) -> Circuits:
    return tuple(frozenset(Site(member, "last") for member in members) for members in circuits)


def planted_words() -> tuple[str, ...]:
    """The vocabulary: keys, values, padding and the unknown word."""
    keys, values = (f"k{n}" for n in range(N_KEYS)), (f"v{n}" for n in range(N_VALUES))
    return (*keys, *values, "<pad>", "<unk>")


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
        f"variable binding wired by hand: {planted}", made.config, planted_words(), made.weights
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
            "keys": N_KEYS, "values": N_VALUES, "places": N_CTX, "key_before": N_KEYS,
            "votes": code, "out": code if carries else 0, "unread": N_KEYS,
        }  # fmt: skip
        ends = torch.tensor(list(widths.values())).cumsum(0).tolist()
        at = {n: slice(end - widths[n], end) for n, end in zip(widths, ends, strict=True)}
        self.keys, self.values, self.places = at["keys"], at["values"], at["places"]
        self.key_before, self.votes, self.unread = at["key_before"], at["votes"], at["unread"]
        self.out = at["out"] if carries else at["votes"]
        self.d_model, self.d_mlp = ends[-1], max(4, code if carries else 0)
        # A square, so that dividing scores by its root rounds nothing.
        self.d_head = 16 if code <= 16 else 25
        self.config = {
            "d_model": self.d_model, "d_head": self.d_head, "n_layers": planted.layers,
            "n_heads": planted.heads, "n_ctx": N_CTX, "d_mlp": self.d_mlp,
            "normalization_type": None, "act_fn": "relu", "attention_dir": "causal",
        }  # fmt: skip
        self.weights = self._empty()
        tokens = slice(0, N_KEYS + N_VALUES)
        self.weights["tok_embed.weight"][tokens, tokens] = torch.eye(tokens.stop)
        self.weights["pos.weight"][:, self.places] = torch.eye(N_CTX)
        self.weights["head.weight"][self.values, self.out] = LOUD * self.codes()

    def _empty(self) -> dict[str, Tensor]:
        stream, inner = self.d_model, self.planted.heads * self.d_head
        n_words = len(planted_words())
        shapes: dict[str, tuple[int, ...]] = {
            "tok_embed.weight": (n_words, stream), "pos.weight": (N_CTX, stream),
            "head.weight": (n_words, stream),
        }  # fmt: skip
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
        index = component.head or 0
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
        for weight in (q, k, v):
            weight.copy_(WILD * self._random(weight))
        o[self.unread] = self._random(o[self.unread])

    def wire_mlps(self) -> None:
        """Busy ones at random; the last one that carries hands votes on."""
        for layer in range(self.planted.layers):
            fc_in = self.weights[f"layers.{layer}.mlp.fc_in.weight"]
            fc_out = self.weights[f"layers.{layer}.mlp.fc_out.weight"]
            if self.planted.mlps == "busy":
                fc_in.copy_(WILD * self._random(fc_in))
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
