"""Pairs and desiderata: what must happen when one prompt's activations are patched into another.

A desideratum is a named set of pairs. *Inside* means that the circuit takes the source's values,
*outside* that everything except the circuit does. It *follows* when the answer must move to
something new, and *keeps* when the base's answer must stay.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from .choices import TOP, AnswerChoice, DonorChoice, donor_problems
from .limits import Limit
from .prompt import Prompt

Part = Literal["inside", "outside"]
Sense = Literal["follows", "keeps"]

PARTS: tuple[Part, ...] = ("inside", "outside")
SENSES: tuple[Sense, ...] = ("follows", "keeps")
AT_LEAST = 0.95

Texts = str | tuple[str, ...]  # one right answer, or several that count as one


def texts_of(answer: str | Collection[str]) -> tuple[str, ...]:
    """The texts of an answer, sorted, each once.

    >>> texts_of(" is"), texts_of([" were", " are"])
    ((' is',), (' are', ' were'))
    """
    return (answer,) if isinstance(answer, str) else tuple(sorted(set(answer)))


def as_texts(answer: str | Collection[str]) -> Texts:
    """An answer as pairs hold it: a set of one is its text.

    Raises:
        ValueError: no text, or an empty one.
    """
    if answer and isinstance(answer, str):
        return answer
    texts = texts_of(answer)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"an answer is text, or several texts, none empty; got {answer!r}")
    return texts[0] if len(texts) == 1 else texts


def words_of(answer: Texts, shown: int = 4) -> str:
    """An answer in words: the text itself, or several with "or" between them.

    >>> words_of((" are", " were"))
    'are or were'
    """
    if isinstance(answer, str):
        return answer
    more = f" or {len(answer) - shown} more" if len(answer) > shown else ""
    return " or ".join(text.strip() for text in answer[:shown]) + more


@dataclass(frozen=True)
class Pair:
    """A base and a source prompt, the answer expected under the patch, and their own answers.

    An answer is a text, or several texts that are all right. `source_answer` is None where whoever
    wrote the pair did not say. `others` are wrong answers, which `among` compares with. The inputs
    are those of the causal model, for reports; hand-written pairs have none.

    Raises:
        ValueError: an answer without text.
    """

    base: Prompt
    source: Prompt
    expected: Texts
    base_answer: Texts
    _: KW_ONLY
    source_answer: Texts | None = None
    others: tuple[Texts, ...] = ()
    base_inputs: Mapping[str, Any] = field(default_factory=dict, compare=False)
    source_inputs: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("expected", "base_answer"):
            object.__setattr__(self, name, as_texts(getattr(self, name)))
        if self.source_answer is not None:
            object.__setattr__(self, "source_answer", as_texts(self.source_answer))
        object.__setattr__(self, "others", tuple(map(as_texts, self.others)))

    @property
    def asked(self) -> Texts:
        """What the answer has to be under the patch. Where everything that is right in the base is
        among the expected answers, only those that are new tell that the answer moved."""
        expected, own = set(texts_of(self.expected)), set(texts_of(self.base_answer))
        return as_texts(expected - own) if own < expected else self.expected

    @property
    def is_novel(self) -> bool:
        """Whether neither prompt has the expected answer by itself."""
        return self.source_answer is not None and self.expected not in (
            self.base_answer,
            self.source_answer,
        )


def check_degree(name: str, at_least: float, weight: float, donor: DonorChoice) -> list[str]:
    """What is wrong with these settings of a desideratum, in words."""
    problems = []
    if not 0 < at_least <= 1:
        problems.append(f"{name}: at_least must lie in (0, 1]; got {at_least}")
    if not weight > 0:
        problems.append(f"{name}: weight must be positive; got {weight}")
    return problems + [f"{name}: {problem}" for problem in donor_problems(donor)]


@dataclass(frozen=True)
class Desideratum:
    """One constraint on the circuit, with the pairs that test it.

    Args:
        at: the position names whose sites may be patched: `last`, `all`, or a span's name.
        at_least: the share of the range between null and ceiling to reach.
        weight: its weight in methods that add losses up.
        donor: what a patched site takes: the source's activation, the mean over the sources,
            zero, or another pair's source.
            Somebody's own donor is given as an object (circuitfind/donors).
        answer: what counts as the answer: `top`, the most likely of all; `Alternatives`, the most
            likely of those named; or somebody's own (circuitfind/answers).
        read: where the answer is read: after the `last` token, after a span's last token, or at
            the token of this index, counted from 0 and written as text such as "1".
        mean_over: the prompts that `donor="mean"` is a mean over; by default the pairs' sources.
        limit: what may be lost on average, in place of a share of pairs, for desiderata that keep;
            `at_least` is then unused.
        exhaustive: the pairs are about every prompt that there is, so that search and held-out
            pairs may share prompts.
        every: the pairs are all that the claim is about, each once, so that a share of them is
            no estimate.

    Raises:
        ValueError: every problem with the arguments at once.
    """

    name: str
    part: Part
    sense: Sense
    pairs: tuple[Pair, ...]
    _: KW_ONLY
    at: tuple[str, ...] = ("last",)
    at_least: float = AT_LEAST
    weight: float = 1.0
    donor: DonorChoice = "source"
    answer: AnswerChoice = TOP
    read: str = "last"
    mean_over: tuple[Prompt, ...] = ()
    exhaustive: bool = False
    every: bool = False
    limit: Limit | None = None

    def __post_init__(self) -> None:
        problems = check_degree(self.name, self.at_least, self.weight, self.donor)
        if not self.pairs:
            problems.append(f"{self.name}: a desideratum needs at least one pair")
        if self.part not in PARTS:
            problems.append(
                f"{self.name}: part must be one of {', '.join(PARTS)}; got {self.part!r}"
            )
        if self.sense not in SENSES:
            problems.append(
                f"{self.name}: sense must be one of {', '.join(SENSES)}; got {self.sense!r}"
            )
        if self.limit and self.sense != "keeps":
            problems.append(
                f"{self.name}: a limit is on what may be lost, and this desideratum "
                f"{self.sense}; limits are for those that keep"
            )
        if not self.read or self.read == "all":
            problems.append(
                f"{self.name}: read must be 'last', a span's name, or the index of a token as "
                f"text, such as '1'; got {self.read!r}"
            )
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def is_novel(self) -> bool:
        """Whether no pair's expected answer is one that either of its prompts gives by itself,
        so that neither the empty circuit nor the full one can satisfy it."""
        return all(pair.is_novel for pair in self.pairs)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the pairs of one desideratum are made from a causal model.

    `vary` names the inputs in which source and base differ, `forced` the variables that take
    the source's value in the run that gives the expected answer (none: the base's own answer).
    """

    name: str
    part: Part
    sense: Sense
    vary: frozenset[str]
    forced: tuple[str, ...] = ()
    must_move: tuple[str, ...] = ()
    must_be_novel: bool = False
    answers_differ: bool = False
    at_least: float = AT_LEAST
    weight: float = 1.0
    donor: DonorChoice = "source"
    answer: AnswerChoice = TOP
    limit: Limit | None = None
