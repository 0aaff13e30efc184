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
weight; in what was tried up to its limit, every prompt was answered and the truth was the same. A
seed other than 0 also shuffles the heads of each layer.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations, product
from typing import Any, TypeVar, cast

from ..mediators.head import head
from ..mediators.site import Component, Site
from ..mediators.whole import mlp

Circuits = tuple[frozenset[Site], ...]
Made = TypeVar("Made")
PREFIX = "planted"
N_KEYS, N_VALUES, N_CTX = 16, 25, 16
BASES = {1: 25, 2: 5, 3: 3}  # by the number of digits: how many values a digit has
MLPS = ("idle", "busy", "carry")
MOST_NOISE = 0.24  # times the number of heads, all of which add to it
CLAIMS = ("planted", "planted-inside", "planted-alone")
LIMITS: Mapping[str, tuple[float, float]] = {
    "layers": (2, 8),
    "heads": (1, 16),
    "parts": (1, 3),
    "backups": (0, 4),
    "inhibitors": (0, 4),
    "decoys": (0, 64),
    "distractors": (0, 256),
    "noise": (0.0, 0.01),
    "seed": (0, 2**31),
}


@dataclass(frozen=True, kw_only=True)
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
        if not problems and self.noise * self.layers * self.heads > MOST_NOISE:
            problems.append(
                f"noise times layers times heads must be at most {MOST_NOISE:g}, or the task is "
                f"lost in it; got {self.noise * self.layers * self.heads:g}"
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
    return parse_named(name, PREFIX, Planted)


def parse_named(name: str, expected: str, kind: type[Made]) -> Made:
    """What a name such as `prefix:key=value,...` stands for, a dataclass of plain values.

    Raises:
        ValueError: every unknown, repeated or malformed key at once, or values out of range.
    """
    prefix, _, text = name.partition(":")
    kinds: dict[str, Any] = {field.name: field.type for field in fields(cast(Any, kind))}
    problems = [] if prefix == expected else [f"such a model's name begins with {expected}:"]
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
    return kind(**given)


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
