"""Seeded sampling of pairs, and splits into search and held-out data that share no content."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Generic

from .causal import Causal, Model
from .desideratum import Pair, Rule, Texts
from .domains import MOST, SPLIT_FROM, Choice, ItemOf, Values, pool_of
from .positions import with_computed

DRAWS_PER_PAIR = 200  # draws allowed for each pair asked for, refused ones included
REPEATS_PER_PAIR = 4  # this many pairs drawn again for each one asked for: there are no more
HELD_OUT_SHARE = 1 / 3
BREAKS_CONDITION = "base outside the conditions"


class NoPairs(ValueError):
    """A rule of which one side of the split has not a single pair; `reasons` counts why."""

    def __init__(self, rule: str, held_out: bool, reasons: Counter[str]) -> None:
        self.rule, self.held_out, self.reasons = rule, held_out, reasons
        super().__init__(f"desideratum {rule!r}: {self.says}. {WIDEN}")

    @property
    def says(self) -> str:
        """The side, and why draws were refused, in words."""
        refused = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        side = "held-out" if self.held_out else "search"
        return f"no {side} pair can be made ({refused})"


WIDEN = "Widen the domains, loosen the conditions, or leave this desideratum out of the claim"


@dataclass(frozen=True)
class Split(Generic[Model]):
    """The causal model narrowed to search content and to held-out content.

    `notes` says in words what the two sides share and why. `by_setting` is set where no pool of
    content could be divided; then whole settings of the inputs are dealt to one side or the other.
    """

    search: Model
    held_out: Model
    notes: tuple[str, ...]
    by_setting: bool
    seed: int

    def owns(self, inputs: Values, held_out: bool) -> bool:
        """Whether this setting of the inputs belongs to the given side."""
        return not self.by_setting or is_held_out(inputs, self.seed) == held_out


def is_held_out(inputs: Values, seed: int) -> bool:
    """Which side a whole setting of the inputs is dealt to, by a hash that the seed changes."""
    text = repr((seed, sorted(inputs.items(), key=lambda item: item[0])))
    return hashlib.sha256(text.encode()).digest()[0] < 256 * HELD_OUT_SHARE


def split_content(model: Model, seed: int) -> Split[Model]:
    """The two sides of a causal model, disjoint in every pool of content that can be divided, and
    in what other pools share with these."""
    pools = {
        name: pool for name, domain in model.inputs.items() if (pool := pool_of(domain)) is not None
    }
    kept = _held_out_items(pools.values(), seed)
    search, held_out, notes, whole = {}, {}, [], []
    for name, pool in pools.items():
        domain = model.inputs[name]
        if pool.split or pool.held_out:
            if not pool.can_be_divided:
                notes.append(undivided(name, pool))
                continue
            need = getattr(domain, "n", 1)
            out = [item for item in pool.items if item in kept]
            stay = [item for item in pool.items if item not in kept]
            if len(out) >= need and len(stay) >= need:
                search[name], held_out[name] = domain.narrowed(stay), domain.narrowed(out)  # type: ignore[attr-defined]
            else:
                # What was named as held out stays out of search even where it is too little to
                # make held-out pairs of.
                named = set(pool.held_out)
                if len(safe := [item for item in pool.items if item not in named]) >= need:
                    search[name] = domain.narrowed(safe)  # type: ignore[attr-defined]
                notes.append(
                    f"{name}: shared by search and held-out pairs, because {len(pool.items)} "
                    f"item(s) cannot be divided so that both sides have {need}"
                )
        elif len(pool.items) > 1:
            whole.append(name)
    divided = bool(held_out)
    notes += _divide_sharing(model, pools, search, held_out)
    whole = [name for name in whole if name not in held_out]
    if whole:
        notes.append(
            f"{', '.join(whole)}: shared by search and held-out pairs (numbers and pools of fewer "
            f"than {SPLIT_FROM} words are not divided unless split=True)"
        )
    notes += [
        undivided(name)
        for name, domain in model.inputs.items()
        if name not in pools and not isinstance(domain, ItemOf)
    ]
    if not divided:
        notes.append("no content is divided: whole settings of the inputs are, one side or other")
    return Split(model.narrowed(search), model.narrowed(held_out), tuple(notes), not divided, seed)


def _divide_sharing(
    model: Causal,
    pools: Mapping[str, Choice],
    search: dict[str, Any],
    held_out: dict[str, Any],
) -> list[str]:
    """Divide pools that are not divided by themselves as far as they share items with those that
    are: a held-out item is held out wherever it stands. What each side has, in words."""
    seen, unseen = (
        {item for name in list(held_out) for item in domains[name].pool.items}
        for domains in (search, held_out)
    )
    notes = []
    for name, pool in pools.items():
        if name in held_out or not pool.can_be_divided:
            continue
        domain: Any = search.get(name, model.inputs[name])
        need = getattr(domain, "n", 1)
        stay = [item for item in domain.pool.items if item not in unseen]
        out = [item for item in pool.items if item not in seen]
        divides = len(stay) < len(domain.pool.items) or len(out) < len(pool.items)
        if divides and len(stay) >= need and len(out) >= need:
            search[name], held_out[name] = domain.narrowed(stay), domain.narrowed(out)
            both = len({*stay} & {*out})
            notes.append(
                f"{name}: divided as far as it shares items with inputs that are divided"
                + (f"; {both} other item(s) are on both sides" if both else "")
            )
    return notes


def leaks(split: Split) -> list[str]:
    """How held-out content reaches search through another input, a sentence for each; empty where
    it does not. A pool may be too small to be divided and share items with one that is."""
    pools = {
        name: (pool_of(domain), pool_of(split.held_out.inputs[name]))
        for name, domain in split.search.inputs.items()
    }
    found = []
    for other, (mine, theirs) in pools.items():
        if mine is None or theirs is None or mine.items == theirs.items:
            continue
        own = [item for item in theirs.items if not _has(mine, item)]
        for name, (inside, _) in pools.items():
            shared = [item for item in own if inside is not None and _has(inside, item)]
            if shared:
                found.append(
                    f"{name} has {len(shared)} item(s) that are held out of {other}, such as "
                    f"{shared[0]!r}, and cannot be divided itself, so that search would see them; "
                    f"give {name} other items or more of them, or leave {other} undivided "
                    "(split=False)"
                )
    return found


def _has(pool: Choice, item: Any) -> bool:
    """Whether a pool has an item; a range would look for anything but whole numbers for long."""
    if isinstance(pool.items, range) and not isinstance(item, int):
        return False
    return pool.accepts(item, {})


def undivided(name: str, pool: Choice | None = None) -> str:
    """Why an input's values are shared by search and held-out pairs, in words."""
    why = (
        "its domain is your own and has no pool"
        if pool is None
        else f"it has {len(pool.items):,} values, of which up to {MOST:,} can be divided"
    )
    return f"{name}: shared by search and held-out pairs, because {why}"


def _held_out_items(pools: Iterable[Choice], seed: int) -> set[Any]:
    """The items kept for held-out pairs. An item is on one side only, whatever pools it is in."""
    kept, dealt = set(), set()
    for pool in pools:
        kept.update(pool.held_out)
        dealt.update(pool.held_out)
    for pool in pools:
        if not pool.split or not pool.can_be_divided:
            continue
        fresh = sorted((item for item in pool.items if item not in dealt), key=repr)
        random.Random(f"split/{seed}").shuffle(fresh)
        kept.update(fresh[: round(len(fresh) * HELD_OUT_SHARE)])
        dealt.update(fresh)
    return kept


def sample_pairs(
    split: Split, rule: Rule, n: int, held_out: bool, positions: Collection[str] = ()
) -> tuple[Pair, ...]:
    """Up to `n` different pairs for a rule, balanced over the expected answers.

    Fewer come back where the causal model has fewer; the same seed gives the same pairs. Prompts
    have a span for each of the `positions` that their own inputs decide, such as
    `labels[position]`.

    Raises:
        NoPairs: not one pair exists; the message counts why draws were refused.
        TaskError: one of the task's functions raises, or a position is not there.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 pair; got {n}")
    model = split.held_out if held_out else split.search
    rng = random.Random(f"{split.seed}/{held_out}/{rule.name}")
    reasons: Counter[str] = Counter()
    by_answer: dict[Texts, list[Pair]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for _ in range(DRAWS_PER_PAIR * max(n, 50)):
        # Three candidates for each place let the balance choose among answers.
        if len(seen) >= 3 * n:
            break
        made = _draw_pair(split, model, rule, rng, held_out, positions)
        if isinstance(made, str):
            reasons[made] += 1
        elif (key := (made.base.text, made.source.text)) in seen:
            reasons["drawn before"] += 1
            if reasons["drawn before"] > REPEATS_PER_PAIR * n:
                break
        else:
            seen.add(key)
            by_answer[made.expected].append(made)
    if not seen:
        raise NoPairs(rule.name, held_out, reasons)
    rounds = zip_longest(*by_answer.values())
    balanced = [pair for pair in chain.from_iterable(rounds) if pair is not None]
    return tuple(balanced[:n])


def _draw_pair(
    split: Split,
    model: Causal,
    rule: Rule,
    rng: random.Random,
    held_out: bool,
    positions: Collection[str],
) -> Pair | str:
    """A pair, or the reason why this draw gives none."""
    base = model.draw(rng)
    if base is None:
        return BREAKS_CONDITION
    source = model.draw(rng, base, rule.vary)
    if source is None:
        return "source outside the conditions"
    if base == source or any(base[n] == source[n] for n in rule.vary if _can_differ(model, n)):
        return "an input that should differ did not"
    if not (split.owns(base, held_out) and split.owns(source, held_out)):
        return "belongs to the other side of the split"
    at_base, at_source = model.run(base), model.run(source)
    if any(at_base[name] == at_source[name] for name in rule.must_move):
        return "the variable did not move"
    if not model.takes(base, {name: at_source[name] for name in rule.forced}):
        return "interchange outside the domains"
    crossed = model.interchange(base, source, rule.forced) if rule.forced else at_base
    if not model.meets_conditions(crossed):
        return "interchange outside the conditions"
    expected, base_answer = model.write_answer(crossed), model.write_answer(at_base)
    source_answer = model.write_answer(at_source)
    if not (expected and base_answer and source_answer):
        return "no right answer"
    if rule.sense == "follows" and expected == base_answer:
        return "the answer did not move"
    if rule.must_be_novel and expected == source_answer:
        return "the source answers the same"
    if rule.answers_differ and base_answer == source_answer:
        return "both prompts answer the same"
    return Pair(
        base=with_computed(model.render(at_base), positions, at_base),
        source=with_computed(model.render(at_source), positions, at_source),
        expected=expected,
        base_answer=base_answer,
        source_answer=source_answer,
        base_inputs=base,
        source_inputs=source,
    )


def _can_differ(model: Causal, name: str) -> bool:
    """Whether an input has another value at all; one drawn from another input need not."""
    pool = pool_of(model.inputs[name])
    return pool is not None and len(pool.items) > 1
