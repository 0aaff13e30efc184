"""Given pairs divided into search and held-out ones that share no prompt.

Pairs that share a prompt are in one group, and groups are dealt to a side. Every step is linear in
the number of pairs, or bounded.
"""

import random
from collections import Counter
from collections.abc import Sequence

from .desideratum import Desideratum
from .sampling import HELD_OUT_SHARE

DEALS = 1000  # ways of dividing that are tried at random
WORK = 1_000_000  # groups looked at in those
NEEDED = 3  # pairs that search needs of each desideratum

Groups = dict[str, str]  # for each prompt's text, the name of its group


def groups_sharing_prompts(desiderata: Sequence[Desideratum]) -> Groups:
    """For each prompt text, the name of its group: texts linked by pairs are in one group."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while (above := parent[text]) != text:
            parent[text] = parent[above]  # halves the way for whoever asks next
            text = above
        return text

    for desideratum in desiderata:
        for pair in desideratum.pairs:
            parent[root(pair.source.text)] = root(pair.base.text)
    return {text: root(text) for text in parent}


def held_out_groups(
    desiderata: Sequence[Desideratum], groups: Groups, seed: int
) -> frozenset[str] | None:
    """About a third of the groups, such that every desideratum has a pair on this side and as many
    on the other as search needs; None where that cannot be found."""
    sizes = [Counter(groups[pair.base.text] for pair in one.pairs) for one in desiderata]
    if any(len(one) < 2 or one.total() <= NEEDED for one in sizes):
        return None
    order, rng = sorted(set(groups.values())), random.Random(f"given/{seed}")
    cost = len(order) + sum(map(len, sizes))
    for _ in range(min(DEALS, max(10, WORK // cost))):
        rng.shuffle(order)
        kept = set(order[: max(1, round(len(order) * HELD_OUT_SHARE))])
        if all(_serves(one, kept) for one in sizes):
            return frozenset(kept)
    return _one_by_one(sizes, order)


def _serves(sizes: Counter[str], kept: set[str]) -> bool:
    """Whether this leaves a desideratum pairs on both sides."""
    out = sum(size for group, size in sizes.items() if group in kept)
    return 0 < out <= sizes.total() - NEEDED


def _one_by_one(sizes: Sequence[Counter[str]], order: Sequence[str]) -> frozenset[str] | None:
    """Groups held out one at a time, for each desideratum that has none, where no other loses
    what search needs."""
    kept: set[str] = set()
    spare = [one.total() - NEEDED for one in sizes]
    place = {group: at for at, group in enumerate(order)}
    inside: dict[str, list[int]] = {}
    for at, one in enumerate(sizes):
        for group in one:
            inside.setdefault(group, []).append(at)
    for one in sorted(sizes, key=len):
        if not kept.isdisjoint(one):
            continue
        fitting = [
            group for group in one if all(sizes[at][group] <= spare[at] for at in inside[group])
        ]
        if not fitting:
            return None
        chosen = min(fitting, key=lambda group: (one[group], place[group]))
        kept.add(chosen)
        for at in inside[chosen]:
            spare[at] -= sizes[at][chosen]
    return frozenset(kept)
