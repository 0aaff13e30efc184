"""What can be said about desiderata before any model runs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .choices import name_of
from .claim import Sampleable, SamplingError
from .desideratum import Desideratum

# The most common expected answer may be this many times its fair share before it is reported:
# a circuit that always gave that answer would otherwise look good.
UNBALANCED = 3.0
FEW = 32


@dataclass(frozen=True)
class Problem:
    """One thing wrong. An `error` makes a result meaningless; a `warning` weakens it."""

    level: Literal["error", "warning"]
    where: str
    says: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.says}"


def lint(claim: Sampleable, n: int = 256, seed: int = 0) -> tuple[Problem, ...]:
    """Every problem with a claim that shows without a model; empty where all is well.

    Args:
        n: pairs asked for per desideratum, as search would.
    """
    try:
        search, held_out = claim.sample(n, seed)
    except SamplingError as error:
        return tuple(Problem("error", claim.name, says) for says in error.problems)
    return lint_desiderata(search, held_out, n)


def lint_desiderata(
    search: Sequence[Desideratum], held_out: Sequence[Desideratum], n: int | None = None
) -> tuple[Problem, ...]:
    """Every problem with sampled desiderata that shows without a model.

    Contradictory pairs, expectations that the base meets by itself, unbalanced answers, too few
    pairs, content shared by search and held-out pairs.
    """
    found = [problem for side in (search, held_out) for problem in _contradictions(side)]
    for desideratum in (*search, *held_out):
        found += _expectations(desideratum)
        found += _balance(desideratum)
    for side, desiderata in (("search", search), ("held-out", held_out)):
        found += _sizes(side, desiderata, n)
    found += _shared(search, held_out)
    return tuple(dict.fromkeys(found))


def _contradictions(desiderata: Sequence[Desideratum]) -> Iterator[Problem]:
    """Pairs with the same prompts and two expectations, within or across desiderata."""
    expected: dict[tuple[str, ...], dict[str, str]] = {}
    for desideratum in desiderata:
        for pair in desideratum.pairs:
            donor = name_of(desideratum.donor)
            how = (desideratum.part, donor, desideratum.read, *desideratum.at)
            key = (pair.base.text, pair.source.text, *how)
            expected.setdefault(key, {})[pair.expected] = desideratum.name
    clashes = [(key, answers) for key, answers in expected.items() if len(answers) > 1]
    for (base, source, part, *_), answers in clashes[:3]:
        wants = " but ".join(f"{name} expects {answer!r}" for answer, name in answers.items())
        yield Problem(
            "error",
            " and ".join(dict.fromkeys(answers.values())),
            f"contradiction, {part} the circuit: base {base!r}, source {source!r}: {wants}",
        )
    if len(clashes) > 3:
        yield Problem("error", "the claim", f"{len(clashes) - 3} more contradictory pairs")


def _expectations(desideratum: Desideratum) -> Iterator[Problem]:
    same = sum(pair.expected == pair.base_answer for pair in desideratum.pairs)
    if desideratum.sense == "follows" and same:
        yield Problem(
            "error",
            desideratum.name,
            f"{same} of {len(desideratum.pairs)} pairs expect the base's own answer, which an "
            "empty circuit gives",
        )
    if desideratum.sense == "keeps" and same < len(desideratum.pairs):
        yield Problem(
            "error",
            desideratum.name,
            f"keeps, but {len(desideratum.pairs) - same} of {len(desideratum.pairs)} pairs expect "
            "another answer than the base's",
        )
    still = sum(pair.base.text == pair.source.text for pair in desideratum.pairs)
    if still:
        yield Problem(
            "error", desideratum.name, f"{still} pairs have the same text as base and source"
        )


def _balance(desideratum: Desideratum) -> Iterator[Problem]:
    counts = Counter(pair.expected for pair in desideratum.pairs)
    answer, most = counts.most_common(1)[0]
    fair = len(desideratum.pairs) / len(counts)
    # With two or three answers three times the fair share is everything: nine in ten is too many.
    if len(counts) == 1 or most > min(UNBALANCED * fair, 0.9 * len(desideratum.pairs)):
        yield Problem(
            "warning",
            desideratum.name,
            f"unbalanced: {answer!r} is expected in {most} of {len(desideratum.pairs)} pairs, "
            f"with {len(counts)} different answers in all",
        )


def _sizes(side: str, desiderata: Sequence[Desideratum], n: int | None) -> Iterator[Problem]:
    for desideratum in desiderata:
        if desideratum.exhaustive:  # there are no more
            continue
        got = len(desideratum.pairs)
        if got < FEW:
            yield Problem(
                "warning",
                desideratum.name,
                f"only {got} different {side} pairs: at 32 a share of 0.95 is known to about 0.1",
            )
        elif n is not None and got < n:
            yield Problem(
                "warning", desideratum.name, f"only {got} different {side} pairs; {n} asked for"
            )


def _shared(search: Sequence[Desideratum], held_out: Sequence[Desideratum]) -> Iterator[Problem]:
    def texts(side: Sequence[Desideratum]) -> set[str]:
        return {
            prompt.text
            for desideratum in side
            if not desideratum.exhaustive
            for pair in desideratum.pairs
            for prompt in (pair.base, pair.source)
        }

    if both := texts(search) & texts(held_out):
        yield Problem(
            "error",
            "the split",
            f"{len(both)} prompt(s) are both in search and held out, such as {min(both)!r}",
        )
