"""What a desideratum chooses by name or by object: the donor, and what counts as the answer."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Donor = Literal["source", "mean", "zero", "resample"]
DONORS: tuple[Donor, ...] = ("source", "mean", "zero", "resample")
TOP = "top"
NAMED = "named"


@runtime_checkable
class Named(Protocol):
    """An object that stands in for a name: somebody's own donor or answer."""

    @property
    def name(self) -> str: ...


DonorChoice = Donor | Named


@dataclass(frozen=True)
class Alternatives:
    """Answers that are compared with each other only, each a set of texts that count as one.

    Args:
        sets: the alternatives of every pair; by default those that each pair names by itself: the
            expected answer, the base's, the source's, and its `others`.
        first: compare texts up to the first token that tells them apart, in place of the whole.

    >>> alternatives([" is", (" are", " were")]).sets
    ((' is',), (' are', ' were'))

    Raises:
        ValueError: a single alternative, an empty one, a text in two of them.
    """

    sets: tuple[tuple[str, ...], ...] = ()
    first: bool = False

    def __post_init__(self) -> None:
        if not self.sets:
            return
        texts = [text for one in self.sets for text in one]
        problems = []
        if len(self.sets) < 2:
            problems.append(f"among needs two alternatives or more; got {len(self.sets)}")
        if not all(self.sets) or not all(texts):
            problems.append("among has an alternative without a text")
        if twice := sorted({text for text in texts if texts.count(text) > 1}):
            problems.append(f"among has {', '.join(map(repr, twice))} more than once")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def name(self) -> str:
        """The alternatives in words."""
        shown = [" or ".join(map(repr, one)) for one in self.sets[:4]] or ["those each pair names"]
        more = len(self.sets) - len(shown) if self.sets else 0
        words = f"among {', '.join(shown)}" + (f" and {more} more" if more else "")
        return words + (", by the first token that differs" if self.first else "")


AnswerChoice = str | Named
Among = Sequence[str | Collection[str]] | str | Alternatives


def alternatives(among: Among, *, first: bool = False) -> Alternatives:
    """The alternatives of a list such as `[" is", " are"]`, where a set counts as one answer, or
    of "named": those that each pair names by itself.

    Args:
        first: compare texts up to the first token that tells them apart, in place of the whole.

    Raises:
        ValueError: alternatives that are none.
    """
    if isinstance(among, Alternatives):
        return among
    if isinstance(among, str):
        if among != NAMED:
            raise ValueError(f"among is a list of answers, or {NAMED!r}; got {among!r}")
        return Alternatives(first=first)
    sets = [(one,) if isinstance(one, str) else tuple(one) for one in among]
    if not sets:
        raise ValueError("among needs two alternatives or more; got 0")
    return Alternatives(tuple(sets), first)


ASKED = {"top": TOP, "among": Alternatives(), "among-first": Alternatives(first=True)}


def answer_named(name: str) -> AnswerChoice:
    """The answer that a word on a command line names: top, among, among-first, or one that somebody
    installed."""
    return ASKED.get(name, name)


def answer_choice(answer: AnswerChoice, among: Among | None) -> AnswerChoice:
    """The answer that a claim asks for, given by either of its two arguments.

    Raises:
        ValueError: both are given, or alternatives that are none.
    """
    if among is None:
        return answer
    if answer != TOP:
        raise ValueError("give the answer by `among` or by `answer`, not by both")
    return alternatives(among)


def name_of(choice: str | Named) -> str:
    """The name of a choice, given by name or as an object."""
    return choice if isinstance(choice, str) else choice.name


def donor_problems(donor: DonorChoice) -> list[str]:
    """What is wrong with a donor, in words."""
    if isinstance(donor, str) and donor not in DONORS:
        return [f"donor must be one of {', '.join(DONORS)}; got {donor!r}"]
    if not isinstance(name_of(donor), str):
        return [f"a donor is a name or an object with a name; got {donor!r}"]
    return []
