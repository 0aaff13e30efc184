"""Domains of inputs: which values an input may take, and which of them a held-out split may keep.

`choice`, `integers`, `distinct` and `item_of` make them. A domain that depends on another input
(`item_of`) is drawn after it. Conditions across inputs belong to `CausalModel(where=...)`.
"""

import random
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, runtime_checkable

Values = Mapping[str, Any]

# Pools of words this large are split between search and held-out data unless told otherwise:
# with fewer, one side would be left with too few values to make pairs from.
SPLIT_FROM = 12
# Whole numbers may be any number of values; other pools are held in memory, and divided.
MOST = 1_000_000


@runtime_checkable
class Domain(Protocol):
    """What an input's domain must offer."""

    @property
    def parents(self) -> tuple[str, ...]: ...

    def draw(self, rng: random.Random, values: Values) -> Any: ...

    def accepts(self, value: Any, values: Values) -> bool: ...


@dataclass(frozen=True)
class Choice:
    """One item of a finite pool: a tuple, or a range of whole numbers."""

    items: Sequence[Any]
    held_out: tuple[Any, ...] = ()
    split: bool = False
    one_token: bool = False
    parents: tuple[str, ...] = ()

    def draw(self, rng: random.Random, values: Values) -> Any:
        return rng.choice(self.items)

    def accepts(self, value: Any, values: Values) -> bool:
        return value in self._members

    @cached_property
    def _members(self) -> Collection[Any]:
        """The items, so that one among many is found at once."""
        return self.items if isinstance(self.items, range) else frozenset(self.items)

    @property
    def can_be_divided(self) -> bool:
        """Whether its items can be dealt out one by one."""
        return len(self.items) <= MOST

    @property
    def pool(self) -> "Choice":
        return self

    def narrowed(self, items: Iterable[Any]) -> "Choice":
        """The same domain with only these items, in their old order."""
        kept = set(items)
        return replace(
            self,
            items=tuple(item for item in self.items if item in kept),
            held_out=tuple(item for item in self.held_out if item in kept),
        )


@dataclass(frozen=True)
class Distinct:
    """A tuple of `n` different items of one pool."""

    pool: Choice
    n: int
    parents: tuple[str, ...] = ()

    def draw(self, rng: random.Random, values: Values) -> tuple[Any, ...]:
        return tuple(rng.sample(self.pool.items, self.n))

    def accepts(self, value: Any, values: Values) -> bool:
        return len(value) == self.n == len(set(value)) and all(
            self.pool.accepts(item, values) for item in value
        )

    def narrowed(self, items: Iterable[Any]) -> "Distinct":
        """The same domain over only these items."""
        return replace(self, pool=self.pool.narrowed(items))


@dataclass(frozen=True)
class ItemOf:
    """One of the items that another input drew."""

    name: str

    @property
    def parents(self) -> tuple[str, ...]:
        return (self.name,)

    def draw(self, rng: random.Random, values: Values) -> Any:
        return rng.choice(values[self.name])

    def accepts(self, value: Any, values: Values) -> bool:
        return value in values[self.name]


def choice(
    items: Iterable[Any],
    *,
    held_out: Sequence[Any] = (),
    split: bool | None = None,
    one_token: bool = False,
) -> Choice:
    """The domain of one item of `items` (a string counts as its characters).

    Args:
        held_out: items kept out of search and used for held-out pairs only.
        split: whether to hold out a third of the items, chosen by the seed. By default pools of
            at least 12 words are split and smaller ones are not.
        one_token: keep only items that the model at hand writes as one token in context.

    Raises:
        ValueError: no items, more than a million, an item twice, or a held-out item that is not
            among the items.
    """
    problems = []
    pool: Sequence[Any]
    members: Collection[Any]
    if isinstance(items, range) and len(items) > MOST:
        pool = members = items
    else:
        pool = tuple(islice(items, MOST + 1))
        members = set(pool)
        if len(pool) > MOST:
            problems.append(
                f"choice() takes up to {MOST:,} items and got more; whole numbers may be given as "
                "integers(low, high) or as a range"
            )
        elif len(members) < len(pool):
            twice = sorted(str(item) for item, count in Counter(pool).items() if count > 1)
            problems.append(f"choice() needs different items; given twice: {', '.join(twice)}")
    if not pool:
        problems.append("choice() needs at least one item and got none")
    if strangers := [item for item in held_out if item not in members]:
        problems.append(f"held_out items must be among the items; these are not: {strangers}")
    if held_out and len(pool) <= len(set(held_out)) and not set(pool) - set(held_out):
        problems.append("held_out leaves no item for search; keep at least one")
    if problems:
        raise ValueError("; ".join(problems))
    if split is None:
        split = not held_out and len(pool) >= SPLIT_FROM and isinstance(pool[0], str)
    return Choice(pool, tuple(held_out), split, one_token)


def integers(low: int, high: int, *, split: bool = False) -> Choice:
    """The domain of the whole numbers from `low` to `high`, both included.

    Raises:
        ValueError: `low` is greater than `high`, or more numbers than a machine can count.
    """
    if low > high:
        raise ValueError(f"integers(low, high) needs low <= high; got {low} and {high}")
    if high - low >= sys.maxsize:
        raise ValueError(f"integers(low, high) takes up to {sys.maxsize} numbers; got {high - low}")
    numbers = range(low, high + 1)
    return Choice(numbers if len(numbers) > MOST else tuple(numbers), split=split)


def distinct(pool: Choice | Iterable[Any], n: int) -> Distinct:
    """The domain of tuples of `n` different items of a pool.

    Raises:
        ValueError: the pool holds fewer than `n` items.
    """
    domain = pool if isinstance(pool, Choice) else choice(pool)
    if not 1 <= n <= len(domain.items):
        raise ValueError(
            f"distinct(pool, n) needs 1 <= n <= the pool's size, {len(domain.items)}; got n={n}"
        )
    return Distinct(domain, n)


def item_of(name: str) -> ItemOf:
    """The domain of the items that the input called `name` (a `distinct` one) drew."""
    return ItemOf(name)


def pool_of(domain: Domain) -> Choice | None:
    """The pool that a domain draws its items from; None where it draws from another input, and
    for domains of your own."""
    return domain.pool if isinstance(domain, Choice | Distinct) else None
