"""Random circuits of the same make-up as a given one: as many sites of each kind in each layer."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import comb, prod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..mediators.site import Site


def random_circuits(
    sites: Sequence[Site], membership: Float[Tensor, " site"], n: int, seed: int
) -> list[frozenset[int]]:
    """`n` random circuits of the same make-up as this one, never itself; none where it is the
    only one. Where few exist, they come more than once."""
    mine = frozenset(membership.nonzero()[:, 0].tolist())
    groups = _groups(sites)
    wanted = [(group, len(mine.intersection(group))) for group in groups]
    if count_alternatives(sites, membership) == 0:
        return []
    rng, drawn = random.Random(f"random circuits/{seed}"), []
    while len(drawn) < n:
        made = frozenset(site for group, count in wanted for site in rng.sample(group, count))
        if made != mine:
            drawn.append(made)
    return drawn


def circuits_outside(
    sites: Sequence[Site], membership: Float[Tensor, " site"], n: int, seed: int
) -> list[frozenset[int]]:
    """`n` random circuits as large as this one and without its members, of the same make-up as
    far as its layers have others enough.

    Raises:
        ValueError: fewer sites are outside than inside.
    """
    groups, members = defaultdict(list), membership.nonzero()[:, 0].tolist()
    for index in (membership == 0).nonzero()[:, 0].tolist():
        groups[_place(sites[index])].append(index)
    kinds = Counter(sites[index].component.kind for index in members)
    if sum(map(len, groups.values())) < len(members):
        raise ValueError(f"fewer than {len(members)} sites are outside the circuit")
    rng, drawn = random.Random(f"necessity/{seed}"), []
    while len(drawn) < n:
        made: set[int] = set()
        for place, count in Counter(_place(sites[index]) for index in members).items():
            made.update(rng.sample(groups[place], min(count, len(groups[place]))))
        for kind, count in kinds.items():
            rest = [index for index in _rest(groups, made) if sites[index].component.kind == kind]
            missing = count - sum(sites[index].component.kind == kind for index in made)
            made.update(rng.sample(rest, min(missing, len(rest))))
        made.update(rng.sample(_rest(groups, made), len(members) - len(made)))
        drawn.append(frozenset(made))
    return drawn


def count_alternatives(sites: Sequence[Site], membership: Float[Tensor, " site"]) -> int:
    """How many other circuits have the same make-up."""
    mine = set(membership.nonzero()[:, 0].tolist())
    return prod(comb(len(group), len(mine.intersection(group))) for group in _groups(sites)) - 1


def _groups(sites: Sequence[Site]) -> list[list[int]]:
    """Indices of sites by position, layer and kind."""
    groups = defaultdict(list)
    for index, site in enumerate(sites):
        groups[site.position, site.component.layer, site.component.kind].append(index)
    return list(groups.values())


def _place(site: Site) -> tuple[str, int, str]:
    return site.position, site.component.layer, site.component.kind


def _rest(groups: Mapping[Any, Sequence[int]], made: set[int]) -> list[int]:
    return [index for group in groups.values() for index in group if index not in made]
