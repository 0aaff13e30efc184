"""Claims: a causal statement about the circuit that compiles into desiderata.

`carries(v)` says that v's value passes through the circuit, `suffices()` that the circuit alone
does the task, `GivenPairs` (given.py) that somebody else's pairs hold. Each is sampled in the same
way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from .causal import Causal
from .choices import (
    DONORS,
    TOP,
    Among,
    AnswerChoice,
    DonorChoice,
    answer_choice,
    donor_problems,
    name_of,
)
from .desideratum import AT_LEAST, Desideratum, Rule, check_degree
from .limits import Limit
from .opponents import with_opponents
from .positions import check_positions
from .sampling import BREAKS_CONDITION, WIDEN, NoPairs, Split, leaks, sample_pairs, split_content

Degrees = float | Mapping[str, float]
Limits = Limit | Mapping[str, Limit]
Sample = tuple[tuple[Desideratum, ...], tuple[Desideratum, ...]]


@runtime_checkable
class Sampleable(Protocol):
    """What the engine asks of a claim."""

    @property
    def name(self) -> str: ...

    @property
    def at(self) -> tuple[str, ...]: ...

    def sample(self, n: int, seed: int = 0) -> Sample: ...

    def notes(self, seed: int = 0) -> tuple[str, ...]: ...

    def moved(self, at: str | Sequence[str]) -> "Sampleable": ...

    def ablated(self, donor: DonorChoice) -> "Sampleable": ...

    def answered(self, answer: AnswerChoice) -> "Sampleable": ...


class SamplingError(ValueError):
    """Pairs that cannot be sampled; `problems` holds each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Claim:
    """A causal statement about a circuit at some positions, and the rules that it compiles to."""

    name: str
    model: Causal
    at: tuple[str, ...]
    rules: tuple[Rule, ...]
    read: str = "last"

    def split(self, seed: int = 0) -> Split:
        """The causal model's search and held-out sides for this seed."""
        return split_content(self.model, seed)

    def notes(self, seed: int = 0) -> tuple[str, ...]:
        """What search and held-out pairs share, in words."""
        return self.split(seed).notes

    def sample(self, n: int, seed: int = 0) -> Sample:
        """Desiderata for search and desiderata held out, each with up to `n` pairs.

        Raises:
            SamplingError: n is less than 1, held-out content that search would see through
                another input, or a rule without a single pair; every such one at once.
            TaskError: one of the task's functions raises, or a position such as `labels[position]`
                points outside its list.
        """
        if n < 1:
            raise SamplingError([f"n must be at least 1 pair; got {n}"])
        split = self.split(seed)
        if leaking := leaks(split):
            raise SamplingError(leaking)
        positions = tuple(dict.fromkeys([*self.at, self.read]))
        sides, failed = [], []
        for held_out in (False, True):
            side = []
            for rule in self.rules:
                try:
                    pairs = sample_pairs(split, rule, n, held_out, positions)
                except NoPairs as error:
                    failed.append(error)
                    continue
                side.append(
                    Desideratum(
                        name=rule.name,
                        part=rule.part,
                        sense=rule.sense,
                        pairs=pairs,
                        at=self.at,
                        at_least=rule.at_least,
                        weight=rule.weight,
                        donor=rule.donor,
                        answer=rule.answer,
                        read=self.read,
                        limit=rule.limit,
                    )
                )
            sides.append(tuple(side))
        if failed:
            raise SamplingError(_told_once(failed))
        return with_opponents(sides[0]), with_opponents(sides[1])

    def answered(self, answer: AnswerChoice) -> "Claim":
        """The same claim with another answer, which its name then tells."""
        rules = tuple(replace(rule, answer=answer) for rule in self.rules)
        before = self.rules[0].answer
        name = self.name if before == TOP else self.name.replace(f", {name_of(before)}", "")
        return replace(
            self, rules=rules, name=name if answer == TOP else f"{name}, {name_of(answer)}"
        )

    def moved(self, at: str | Sequence[str]) -> "Claim":
        """The same claim about other positions.

        Raises:
            LookupError: a position such as `labels[position]` without such a variable or list.
        """
        return replace(self, at=_checked(self.model, at))

    @property
    def _donor(self) -> DonorChoice:
        return self.rules[0].donor

    def ablated(self, donor: DonorChoice) -> "Claim":
        """The same claim with another donor, which its name then tells.

        Raises:
            ValueError: an unknown donor.
        """
        check_donor(donor)
        rules = tuple(replace(rule, donor=donor) for rule in self.rules)
        return replace(self, rules=rules, name=renamed(self.name, self._donor, donor))


def carries(
    model: Causal,
    variables: str | Sequence[str],
    *,
    at: str | Sequence[str] = "last",
    follows: bool = True,
    keeps: Collection[str] | None = None,
    crossed: bool = True,
    complete: bool = False,
    at_least: Degrees = AT_LEAST,
    bound: Limits | None = None,
    weight: Degrees = 1.0,
    donor: DonorChoice = "source",
    answer: AnswerChoice = TOP,
    among: Among | None = None,
    read: str = "last",
) -> Claim:
    """The claim that these variables' values pass through the circuit at these positions.

    It compiles to `follows v` (only v's inputs differ; the answer moves as under the
    interchange), `keeps u` for every other input u (only u differs; the base's answer stays),
    `crossed` (everything differs; the interchange's answer), and with `complete=True` `nothing
    else carries v` (the pairs of `follows v`, everything outside the circuit patched; the base's
    answer stays).

    Args:
        at: which sites may be patched, by position: the `last` token, `all`, a span such as
            `query` or `labels.0`, or one that the inputs decide: `labels[position]` is the item
            of `labels` that `position` points to, in each prompt by its own values.
        keeps: the inputs to keep still; all that v does not depend on, unless named.
        at_least, weight: one number, or numbers by desideratum's name.
        bound: what may be lost on average, such as `preference(share=0.9)`, in place of a share of
            pairs: of every desideratum that keeps, or limits by desideratum's name.
        among: answers that are compared with each other only, such as `[" is", " are"]`, or
            "named" for those that each pair names; a set in it counts as one answer. By default
            the answer is the most likely text of all.
        read: where the answer is read: after the `last` token or a span, also a span such as
            `labels[position]`.
        answer: somebody's own kind of answer (circuitfind/answers).

    Raises:
        LookupError: an unknown variable, also in a position such as `labels[position]`.
        ValueError: every contradiction among the arguments at once.
    """
    answer = answer_choice(answer, among)
    names = (variables,) if isinstance(variables, str) else tuple(variables)
    keeps = (keeps,) if isinstance(keeps, str) else keeps
    model.check_known([*names, *(keeps or ())])
    movers = frozenset().union(*(model.inputs_behind(name) for name in names))
    free = [name for name in model.inputs if name not in movers and model.can_vary(name)]
    kept = free if keeps is None else [name for name in free if name in keeps]
    label = " and ".join(names)
    problems = [] if names else ["carries() needs at least one variable"]
    if strangers := sorted(set(keeps or ()) - set(free)):
        problems.append(
            f"keeps={strangers} must name inputs that {label} does not depend on; those are: "
            f"{', '.join(free) or 'none'}"
        )
    # An answer that v alone decides may equal the source's own; else such pairs prove nothing.
    others = model.inputs_behind(model.answer, cut=names)
    shapes: list[Rule] = []
    if follows:
        shapes.append(
            Rule(
                name=f"follows {label}",
                part="inside",
                sense="follows",
                vary=movers,
                forced=names,
                must_move=names,
            )
        )
    shapes += [
        Rule(name=f"keeps {name}", part="inside", sense="keeps", vary=frozenset({name}))
        for name in kept
    ]
    if crossed:
        everything = frozenset(model.inputs)
        shapes.append(
            Rule(
                name=f"crossed {label}",
                part="inside",
                sense="follows",
                vary=everything,
                forced=names,
                must_move=names,
                must_be_novel=bool(others),
            )
        )
    if complete:
        shapes.append(
            Rule(
                name=f"nothing else carries {label}",
                part="outside",
                sense="keeps",
                vary=movers,
                forced=(),
                must_move=names,
                answers_differ=True,
            )
        )
    rules = _with_degrees(shapes, at_least, bound, weight, donor, answer, problems)
    loosened = (
        [] if keeps is None else [f"keeping only {', '.join(kept)}" if kept else "keeping nothing"]
    )
    loosened += [] if follows else ["not followed"]
    loosened += [] if crossed else ["not crossed"]
    loosened += ["and nothing else does"] if complete else []
    loosened += _choice_words(at_least, bound, donor, answer, read)
    name = ", ".join([f"carries {label} at {' and '.join(positions_of(at))}", *loosened])
    return Claim(name, model, _checked(model, at, read), rules, read)


def suffices(
    model: Causal,
    *,
    at: str | Sequence[str] = "all",
    same: Collection[str] = (),
    at_least: Degrees = AT_LEAST,
    bound: Limits | None = None,
    weight: Degrees = 1.0,
    donor: DonorChoice = "source",
    answer: AnswerChoice = TOP,
    among: Among | None = None,
    read: str = "last",
) -> Claim:
    """The claim that the circuit alone gives the answer: everything outside it is patched from a
    source that differs in every input except those in `same`, and the base's answer stays.

    This is the usual faithful circuit (Wang et al. 2022, arXiv 2211.00593). With
    `bound=preference(share=0.9)` it has to keep 0.9 of the preference for the base's answer, with
    `bound=distribution(within=0.1)` the distribution of the next token within 0.1 nats.

    Raises:
        LookupError: an unknown input in `same`, an unknown variable in a position.
        ValueError: every contradiction among the arguments at once.
    """
    answer = answer_choice(answer, among)
    same = (same,) if isinstance(same, str) else same
    model.check_known(same)
    vary = frozenset(model.inputs) - set(same)
    problems = [] if vary else ["suffices() needs an input in which source and base may differ"]
    rule = Rule(name="suffices", part="outside", sense="keeps", vary=vary, answers_differ=True)
    rules = _with_degrees([rule], at_least, bound, weight, donor, answer, problems)
    loosened = [f"same {', '.join(sorted(same))}"] if same else []
    loosened += _choice_words(at_least, bound, donor, answer, read)
    name = ", ".join([f"suffices at {' and '.join(positions_of(at))}", *loosened])
    return Claim(name, model, _checked(model, at, read), rules, read)


def positions_of(at: str | Sequence[str]) -> tuple[str, ...]:
    """The position names that an `at` stands for.

    Raises:
        ValueError: none, or an empty one.
    """
    positions = (at,) if isinstance(at, str) else tuple(at)
    if not positions or not all(positions):
        raise ValueError(f"at needs position names: last, all, or a span's name; got {at!r}")
    return positions


def _checked(model: Causal, at: str | Sequence[str], read: str = "last") -> tuple[str, ...]:
    """The position names of `at`, once they and `read` are known to name variables."""
    positions = positions_of(at)
    check_positions(model, [*positions, read])
    return positions


def _told_once(failed: Sequence[NoPairs]) -> list[str]:
    """One sentence for each rule without pairs, whatever sides it lacks; and one in all where no
    setting of the inputs meets the conditions."""
    if all(set(one.reasons) == {BREAKS_CONDITION} for one in failed):
        rules = " and ".join(dict.fromkeys(repr(one.rule) for one in failed))
        drawn = sum(one.reasons.total() for one in failed)
        return [
            f"no pair can be made for {rules}: none of {drawn} settings of the inputs that were "
            "drawn meets the conditions (where=...)"
        ]
    told = []
    for rule in dict.fromkeys(one.rule for one in failed):
        mine = [one for one in failed if one.rule == rule]
        told.append(f"desideratum {rule!r}: {', and '.join(one.says for one in mine)}. {WIDEN}")
    return told


def check_donor(donor: DonorChoice) -> None:
    """Raise unless this is a donor.

    Raises:
        ValueError: an unknown donor.
    """
    if problems := donor_problems(donor):
        raise ValueError("; ".join(problems))


def renamed(name: str, before: DonorChoice, donor: DonorChoice) -> str:
    """A claim's name with this donor in place of the one before; `source` is not named."""
    for other in (*DONORS, name_of(before)):
        name = name.removesuffix(f", donor {other}")
    return name if donor == "source" else f"{name}, donor {name_of(donor)}"


def _choice_words(
    at_least: Degrees, bound: Limits | None, donor: DonorChoice, answer: AnswerChoice, read: str
) -> list[str]:
    """A claim's degree, answer and donor in words, where they are not the usual ones."""
    words = []
    if isinstance(at_least, Mapping):
        words += [f"{name} at least {degree:g}" for name, degree in at_least.items()]
    elif at_least != AT_LEAST:
        words.append(f"at least {at_least:g}")
    if isinstance(bound, Mapping):
        words += [f"{name} {limit}" for name, limit in bound.items()]
    elif bound is not None:
        words.append(str(bound))
    words += [name_of(answer)] if answer != TOP else []
    words += [f"read at {read}"] if read != "last" else []
    return words + ([f"donor {name_of(donor)}"] if donor != "source" else [])


def _with_degrees(
    rules: Sequence[Rule],
    at_least: Degrees,
    bound: Limits | None,
    weight: Degrees,
    donor: DonorChoice,
    answer: AnswerChoice,
    problems: list[str],
) -> tuple[Rule, ...]:
    """The rules with their degrees; raises what was wrong before and what is wrong here."""
    names = [rule.name for rule in rules]
    if not rules and not problems:
        problems.append("the claim is empty: every kind of desideratum is switched off")
    for option, degrees in (("at_least", at_least), ("weight", weight)):
        if isinstance(degrees, Mapping) and (strangers := sorted(set(degrees) - set(names))):
            problems.append(
                f"{option} names unknown desiderata {strangers}; this claim has: {', '.join(names)}"
            )
    keeping = [rule.name for rule in rules if rule.sense == "keeps"]
    if isinstance(bound, Mapping) and (strangers := sorted(set(bound) - set(keeping))):
        problems.append(
            f"bound names {strangers}, which are no desiderata that keep; this claim has: "
            f"{', '.join(keeping) or 'none'}"
        )
    if isinstance(bound, Limit) and rules and not keeping:
        problems.append("bound is on what may be lost, and no desideratum of this claim keeps")
    made = [
        replace(
            rule,
            limit=_limit(bound, rule),
            at_least=_degree(at_least, rule.name, AT_LEAST),
            weight=_degree(weight, rule.name, 1.0),
            donor=donor,
            answer=answer,
        )
        for rule in rules
    ]
    for rule in made:
        problems += check_degree(rule.name, rule.at_least, rule.weight, rule.donor)
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(made)


def _limit(bound: Limits | None, rule: Rule) -> Limit | None:
    if isinstance(bound, Mapping):
        return bound.get(rule.name)
    return bound if rule.sense == "keeps" else None


def _degree(degrees: Degrees, name: str, default: float) -> float:
    return degrees.get(name, default) if isinstance(degrees, Mapping) else degrees
