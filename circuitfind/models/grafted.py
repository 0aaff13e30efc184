"""Binding models grafted into a trained language model: `grafted:parts=6,places=2,seed=1`.

The host (scripts/train_host.py: 8 layers of 12 heads, layer norm, trained on English text) keeps
its own part of the residual stream, its attention and its MLPs; some of its heads are given up to
a mechanism wired by hand in another part of the stream. Every layer norm is over both, so that
what the host computes moves the mechanism's numbers and the other way round, and all of the host's
sites are busy with the prompt; but nothing of the mechanism reads the host's part.

Prompts read `k0 a5 k3 a9 k3 b2`; the answer is the word of the eight bits of a9 and b2 (the task
is tasks/grafted.py). A head of layer 0 writes at each value which key stood before it, another at
the last token which key is asked for. The six bits of the left value are divided among `parts`
carriers, each of which looks for the value whose key is asked for and copies its bits; one more
head, the right carrier, copies the two bits of the last token. The answer is the word with these
bits, so that each carrier needs all others: with five of six, another word comes out.

With `places=2` every other carrier of the left value sits at the token of the key that is asked
for, and a mover at the last token, in a later layer, copies its bits from there.

With `mixers=1` a head at the last token, the mixer, carries both values at once: it copies all bits
of the left value, which a head at the asked key's token fetched, and those of the right one, louder
than the right carrier. There are two carriers of each part, so that of three votes for a part any
two have a majority. To bring the left value over, the mixer and one carrier of each part would do,
and with fewer sites; but the right value would come with it. So both carriers of every part are
necessary, and the mixer must stay out.

**The truth** of the claims, where the left value is to follow the source and the right one to stay:

- at the last token: what writes bits of the left value there, carriers and movers;
- at both places: carriers at the last token, and of each other carrier and its mover either one;
- complete, that is, where everything outside takes the source's state and the base's answer stays:
  both of them, and where a carrier sits at the last token the head that copies the asked key there,
  or that carrier would look for the source's key;
- of the whole answer (`both`), where there is no mixer: the right carrier beside.

A seed draws which of the host's heads are given up.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from ..mediators.head import head
from ..mediators.site import Component, Site
from .planted import Circuits, parse_named

PREFIX = "grafted"
LAYERS, HEADS = 8, 12  # the host's
MIDDLE = 5  # the first layer of movers; later layers write less, since the stream grows
N_KEYS, N_LEFT, N_RIGHT, N_BITS, LEFT_BITS = 8, 64, 4, 8, 6
PARTS = (1, 2, 3, 6)
CLAIMS = ("claim", "complete", "both", "two_places", "two_places_complete")


@dataclass(frozen=True, kw_only=True)
class Grafted:
    """What a grafted model is made of.

    Args:
        parts: carriers of the left value's six bits, each of the same number of them.
        places: 1, or 2 where every other carrier sits at the asked key's token.
        mixers: 0, or 1 where a head carries both values and each part has two carriers.

    Raises:
        ValueError: every value out of range at once.
    """

    parts: int = 3
    places: int = 1
    mixers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.parts not in PARTS:
            problems.append(f"parts must be {', '.join(map(str, PARTS))}; got {self.parts}")
        if self.places not in (1, 2):
            problems.append(f"places must be 1 or 2; got {self.places}")
        if self.mixers not in (0, 1) or (self.mixers and self.places == 2):
            problems.append(f"mixers must be 0, or 1 where places is 1; got {self.mixers}")
        if not 0 <= self.seed <= 2**31:
            problems.append(f"seed must lie from 0 to {2**31}; got {self.seed}")
        if problems:
            raise ValueError("; ".join(problems))

    def bits(self, part: int) -> range:
        """Which bits of the answer a carrier of the left value copies."""
        each = LEFT_BITS // self.parts
        return range(part * each, (part + 1) * each)


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which head does what; `movers` by the number of the part that each hands on, `seconds` of the
    parts that have two carriers; `fetcher` writes what the `mixer` copies."""

    before: Component
    asked: Component
    carriers: tuple[Component, ...]
    movers: Mapping[int, Component]
    right: Component
    seconds: tuple[Component, ...] = ()
    fetcher: Component | None = None
    mixer: Component | None = None


def parse_grafted(name: str) -> Grafted:
    """What a name such as `grafted:parts=6,seed=1` stands for; `grafted` is the default.

    Raises:
        ValueError: every unknown, repeated or malformed key at once, or values out of range.
    """
    return parse_named(name, PREFIX, Grafted)


def roles_of(grafted: Grafted) -> Roles:
    """Which of the host's heads are given up, and for what."""
    rng = random.Random(f"grafted/{grafted.seed}")
    first, early, late = (
        [head(layer, index) for layer in layers for index in range(HEADS)]
        for layers in ((0,), range(1, MIDDLE), range(MIDDLE, LAYERS))
    )
    before, asked = rng.sample(first, 2)
    carriers = rng.sample(early, grafted.parts)
    away = range(1, grafted.parts, 2) if grafted.places == 2 else ()
    *movers, right = rng.sample(late, len(away) + 1)
    seconds: list[Component] = []
    fetcher, mixer = None, None
    if grafted.mixers:
        for carrier in carriers:  # of the same layer, so that both are as loud
            free = [one for one in early if one.layer == carrier.layer]
            seconds.append(rng.choice([one for one in free if one not in (*carriers, *seconds)]))
        fetcher = rng.choice([one for one in early if one not in (*carriers, *seconds)])
        mixer = rng.choice([one for one in late if one not in (*movers, right)])
    return Roles(
        before=before,
        asked=asked,
        carriers=tuple(carriers),
        movers=dict(zip(away, movers, strict=True)),
        right=right,
        seconds=tuple(seconds),
        fetcher=fetcher,
        mixer=mixer,
    )


def grafted_truth(grafted: Grafted, claim: str = "claim") -> Circuits:
    """Every smallest circuit of a claim of tasks/grafted.py, by construction.

    Raises:
        LookupError: another claim, or one whose truth is not known for this model.
    """
    if claim not in CLAIMS:
        raise LookupError(f"no truth for {claim!r}; it is known for {', '.join(CLAIMS)}")
    roles = roles_of(grafted)
    if claim == "both" and grafted.mixers:
        raise LookupError("no truth for 'both' where a mixer carries both values")
    here = [
        Site(one, "last") for part, one in enumerate(roles.carriers) if part not in roles.movers
    ]
    here += [Site(one, "last") for one in roles.seconds]
    there = [
        (Site(roles.carriers[part], "query"), Site(mover, "last"))
        for part, mover in roles.movers.items()
    ]
    asked = [Site(roles.asked, "last")] if here else []
    movers = [mover for _, mover in there]
    if claim == "claim":
        return (frozenset([*here, *movers]),)
    if claim == "complete":
        return (frozenset([*here, *movers, *asked]),)
    if claim == "both":
        return (frozenset([*here, *movers, Site(roles.right, "last")]),)
    if claim == "two_places":
        return tuple(frozenset([*here, *one]) for one in product(*there))
    return (frozenset([*here, *asked, *(site for pair in there for site in pair)]),)


def grafted_words() -> tuple[str, ...]:
    """The vocabulary: keys, values, answers, padding and the unknown word."""
    counts = (("k", N_KEYS), ("a", N_LEFT), ("b", N_RIGHT), ("w", N_LEFT * N_RIGHT))
    return (*(f"{name}{n}" for name, count in counts for n in range(count)), "<pad>", "<unk>")
