"""Claims that somebody else's pairs hold: written by hand, or read from a table."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property

from .choices import TOP, Among, AnswerChoice, DonorChoice, answer_choice
from .claim import Sample, SamplingError, check_donor, positions_of, renamed
from .desideratum import (
    AT_LEAST,
    Desideratum,
    Pair,
    Part,
    Sense,
    Texts,
    as_texts,
    texts_of,
)
from .dividing import Groups, groups_sharing_prompts, held_out_groups
from .limits import Limit
from .opponents import with_opponents
from .prompt import Prompt, Span

MAX_BAD = 0.2  # share of rows that may be left out, unless the user says otherwise
SHOWN = 4  # reasons spelled out before the rest are counted


@dataclass(frozen=True)
class GivenPairs:
    """Desiderata that somebody wrote by hand or in a file, split here into search and held out.

    A pair goes to one side with every other pair that shares a prompt with it. Where every
    division would leave a desideratum without pairs on one side, nothing is held out.

    Args:
        held_out: the pairs to hold out, where the user says which; search then sees all others.
        remarks: how the pairs were read, and what was left out, for the notes.
        tokens: names for tokens by their index, counted from 0 without the token that begins a
            text; `located` makes spans of them.
        max_bad: the share of the pairs that may be left out because they cannot be used.
        origins: where a pair of these texts stands in its file, for messages.
    """

    name: str
    desiderata: tuple[Desideratum, ...]
    _: KW_ONLY
    held_out: tuple[Desideratum, ...] = ()
    remarks: tuple[str, ...] = ()
    tokens: tuple[tuple[str, int], ...] = ()
    max_bad: float = MAX_BAD
    origins: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)
    at: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        positions = [name for desideratum in self.desiderata for name in desideratum.at]
        object.__setattr__(self, "at", tuple(dict.fromkeys(positions)))

    def notes(self, seed: int = 0) -> tuple[str, ...]:
        """How the pairs were read, and what search and held-out pairs share, in words."""
        return (*self.remarks, self._shares(seed))

    def _shares(self, seed: int) -> str:
        if self.held_out:
            return "pairs are held out as given: those of the file for that"
        if self._division(seed) is not None:
            return "pairs given as they are: prompts are divided, names and values are not"
        if len(set(self._groups.values())) == 1:
            why = "every pair shares prompts with every other"
        else:
            why = "some desideratum has too few pairs that share no prompt"
        if sum(len(one.pairs) for one in self.desiderata) == 1:
            why = "there is one pair"
        return f"nothing held out: {why}; the verdict is about the pairs that search saw"

    def sample(self, n: int, seed: int = 0) -> Sample:
        """Desiderata for search and desiderata held out, each with up to `n` of the given pairs,
        drawn at random and in the order given. Where nothing can be held out, both are the same
        pairs, and each desideratum is marked as `exhaustive`.

        Raises:
            SamplingError: n is less than 1; desiderata of which the pairs given as held out, or
                the others, have none.
        """
        if n < 1:
            raise SamplingError([f"n must be at least 1 pair; got {n}"])
        if self.held_out:
            return self._as_given(n, seed)
        kept = self._division(seed)
        if kept is None:
            both = tuple(
                replace(
                    _drawn(one, one.pairs, n, f"{seed}/{one.name}/both"),
                    exhaustive=True,
                    every=n >= len(one.pairs),
                )
                for one in self.desiderata
            )
            both = with_opponents(both)
            return both, both
        groups, sides = self._groups, []
        for held_out in (False, True):
            side = []
            for one in self.desiderata:
                pairs = [pair for pair in one.pairs if (groups[pair.base.text] in kept) == held_out]
                side.append(_drawn(one, pairs, n, f"{seed}/{one.name}/{held_out}"))
            sides.append(tuple(side))
        return with_opponents(sides[0]), with_opponents(sides[1])

    def _as_given(self, n: int, seed: int) -> Sample:
        names = [one.name for one in self.desiderata]
        theirs = {one.name: one for one in self.held_out}
        problems = [f"{name}: no pair is held out" for name in names if name not in theirs]
        problems += [
            f"{name}: pairs are held out, but none are to search on"
            for name in theirs
            if name not in names
        ]
        if problems:
            raise SamplingError(problems)
        first, second = (
            tuple(_drawn(one, one.pairs, n, f"{seed}/{one.name}/{held_out}") for one in side)
            for held_out, side in ((False, self.desiderata), (True, [theirs[n] for n in names]))
        )
        return with_opponents(first), with_opponents(second)

    @cached_property
    def _groups(self) -> Groups:
        return groups_sharing_prompts(self.desiderata)

    def _division(self, seed: int) -> frozenset[str] | None:
        """The groups that are held out; None where nothing can be."""
        if seed not in self._divisions:
            self._divisions[seed] = held_out_groups(self.desiderata, self._groups, seed)
        return self._divisions[seed]

    @cached_property
    def _divisions(self) -> dict[int, frozenset[str] | None]:
        return {}  # a cache: the same seed divides the same pairs in the same way

    def moved(self, at: str | Sequence[str]) -> "GivenPairs":
        """The same pairs patched at other positions."""
        positions = positions_of(at)
        return self._each(lambda one: replace(one, at=positions))

    def answered(self, answer: AnswerChoice) -> "GivenPairs":
        """The same pairs with another answer: `top`, `Alternatives`, or somebody's own.

        >>> claim.answered(alternatives("named"))  # doctest: +SKIP
        """
        return self._each(lambda one: replace(one, answer=answer))

    @property
    def _donor(self) -> DonorChoice:
        return self.desiderata[0].donor

    def ablated(self, donor: DonorChoice) -> "GivenPairs":
        """The same pairs with another donor, which the claim's name then tells.

        Raises:
            ValueError: an unknown donor.
        """
        check_donor(donor)
        made = self._each(lambda one: replace(one, donor=donor))
        return replace(made, name=renamed(self.name, self._donor, donor))

    def located(self, where: Callable[[Prompt, int], tuple[int, int] | None]) -> "GivenPairs":
        """The same pairs with a span for each name in `tokens`.

        Args:
            where: the characters of the token of this index, counted as in `tokens`; None where
                the prompt is shorter.
        """
        if not self.tokens:
            return self

        def spanned(prompt: Prompt) -> Prompt:
            known = {span.name for span in prompt.spans}
            found = [
                Span(name, *place)
                for name, index in self.tokens
                if name not in known and (place := where(prompt, index)) is not None
            ]
            return replace(prompt, spans=(*prompt.spans, *found))

        def each(one: Desideratum) -> Desideratum:
            pairs = [
                replace(pair, base=spanned(pair.base), source=spanned(pair.source))
                for pair in one.pairs
            ]
            return replace(one, pairs=tuple(pairs))

        return self._each(each)

    def written(self, write: Callable[[Prompt | str], Prompt | str]) -> "GivenPairs":
        """The same pairs with prompts and answers that were given as tokens, or prompts given as
        turns of a chat, in the text that a tokenizer writes for them.

        Args:
            write: the prompt, or the answer, with its text.
        """

        def texts(answer: Texts) -> Texts:
            return as_texts([str(write(text)) for text in texts_of(answer)])

        def pair(one: Pair) -> Pair:
            return replace(
                one,
                base=write(one.base),
                source=write(one.source),
                expected=texts(one.expected),
                base_answer=texts(one.base_answer),
                source_answer=None if one.source_answer is None else texts(one.source_answer),
                others=tuple(map(texts, one.others)),
            )

        return self._each(lambda one: replace(one, pairs=tuple(map(pair, one.pairs))))

    def without(self, find: Callable[[Desideratum], Mapping[int, str]]) -> "GivenPairs":
        """The same pairs without those that cannot be used, which the notes then count.

        Args:
            find: the rows of a desideratum's pairs that cannot be used, each with the reason in
                a few words. Rows with the same reason are counted together.

        Raises:
            ValueError: more of them than `max_bad`, or a desideratum that is left without pairs.
        """
        found = {id(one): find(one) for one in (*self.desiderata, *self.held_out)}
        if not any(found.values()):
            return self
        told = self._told(found)
        total = sum(len(one.pairs) for one in (*self.desiderata, *self.held_out))
        bad = sum(map(len, found.values()))
        empty = [
            one.name
            for one in (*self.desiderata, *self.held_out)
            if len(found[id(one)]) == len(one.pairs)
        ]
        if bad > self.max_bad * total or empty:
            left = f"; no pair of {', '.join(dict.fromkeys(empty))} is left" if empty else ""
            raise ValueError(
                f"{self.name}: {bad:,} of {total:,} pairs cannot be used: {told}{left} (up to a "
                f"share of {self.max_bad:g} is left out: --max-bad, or max_bad in Python)"
            )

        def kept(one: Desideratum) -> Desideratum:
            rows = found[id(one)]
            return replace(
                one, pairs=tuple(pair for row, pair in enumerate(one.pairs) if row not in rows)
            )

        remark = f"left out {bad:,} of {total:,} pairs: {told}"
        return replace(self._each(kept), remarks=(*self.remarks, remark))

    def _told(self, found: Mapping[int, Mapping[int, str]]) -> str:
        """The reasons with how often each comes, and the place of one pair."""
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for one in (*self.desiderata, *self.held_out):
            for row, reason in found[id(one)].items():
                counts[reason] += 1
                pair = one.pairs[row]
                texts = (pair.base.text, pair.source.text)
                first.setdefault(reason, self.origins.get(texts) or repr(pair.base.text))
        told = [
            f"{count:,} {reason}, such as {first[reason]}" for reason, count in counts.most_common()
        ]
        more = len(told) - SHOWN
        return "; ".join(told[:SHOWN]) + (f"; and {more} more reasons" if more > 0 else "")

    def _each(self, change: Callable[[Desideratum], Desideratum]) -> "GivenPairs":
        return replace(
            self,
            desiderata=tuple(map(change, self.desiderata)),
            held_out=tuple(map(change, self.held_out)),
        )


def pairs_hold(
    name: str,
    pairs: Sequence[Pair],
    *,
    sense: Sense,
    part: Part = "inside",
    at: str | Sequence[str] = "last",
    at_least: float = AT_LEAST,
    bound: Limit | None = None,
    weight: float = 1.0,
    donor: DonorChoice = "source",
    answer: AnswerChoice = TOP,
    among: Among | None = None,
    read: str = "last",
) -> GivenPairs:
    """The claim that hand-written pairs hold, as one desideratum.

    Raises:
        ValueError: every problem with the arguments at once.
    """
    desideratum = Desideratum(
        name=name,
        part=part,
        sense=sense,
        pairs=tuple(pairs),
        at=positions_of(at),
        at_least=at_least,
        weight=weight,
        donor=donor,
        answer=answer_choice(answer, among),
        read=read,
        limit=bound,
    )
    return GivenPairs(name, (desideratum,))


def _drawn(one: Desideratum, pairs: Sequence[Pair], n: int, seed: str) -> Desideratum:
    """The desideratum with up to `n` of these pairs, drawn at random and kept in order."""
    rng = random.Random(f"given/{seed}")
    rows = sorted(rng.sample(range(len(pairs)), min(n, len(pairs))))
    return replace(one, pairs=tuple(pairs[row] for row in rows))
