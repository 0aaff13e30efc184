"""The questions that checks belong to, and what a card's findings answer to each.

A circuit that does not do what is claimed, one that has idle members, one that any other circuit
equals, one that has a twin, and one that looks different under an ablation that the claim does not
make are five different things, and only the first two say that it is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from . import names
from .finding import DesideratumScore, Finding, Question, Verdict, gravest

QUESTIONS: tuple[Question, ...] = get_args(Question)
DECIDE: tuple[Question, ...] = ("claim", "minimality")  # that one of them fails is a failure
# Reports of versions before questions hold none, so that their findings go by their names.
OF_CHECK: dict[str, Question] = {
    names.SATISFACTION: "claim",
    names.PAIRS: "claim",
    names.GROUPS: "claim",
    names.ROUNDING: "claim",
    names.LEAVE_ONE_OUT: "minimality",
    names.INFLATED: "minimality",
    names.RANDOM_CIRCUITS: "specificity",
    names.SELECTIVITY: "specificity",
    names.CONTROLS: "specificity",
    names.NECESSITY: "uniqueness",
    names.RIVAL: "uniqueness",
    names.STABILITY: "uniqueness",
    names.COMPLETENESS: "uniqueness",
    names.INDEPENDENCE: "uniqueness",
    names.FAITHFULNESS: "other ablations",
    names.EQUIVALENCE: "other ablations",
    names.CURVE: "other ablations",
}
_WORDS: dict[Question, tuple[str, str, str, str]] = {  # holds, fails, inconclusive, not asked
    "claim": ("satisfied", "not satisfied", "satisfaction undecided", "satisfaction not asked"),
    "minimality": ("minimal", "not minimal", "minimality undecided", "minimality not asked"),
    "specificity": ("specific", "not specific", "specificity undecided", "specificity not asked"),
    "uniqueness": ("no other seen", "not unique", "uniqueness undecided", "uniqueness not asked"),
    "other ablations": (
        "other ablations agree",
        "other ablations differ",
        "other ablations undecided",
        "other ablations not asked",
    ),
}
Look = Verdict | Literal["differs"]
_PLACE: dict[Verdict | None, int] = {"holds": 0, "fails": 1, "inconclusive": 2, None: 3}


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What the findings of one question come to; the verdict is None where no check asked it.

    `says` is what the headline says of it, with the first reason, such as "not minimal: 3 of 16
    sites are idle".
    """

    question: Question
    verdict: Verdict | None
    says: str

    @property
    def decides(self) -> bool:
        """Whether a circuit that fails it is wrong."""
        return self.question in DECIDE


def question_of(finding: Finding) -> Question | None:
    """The question that a finding belongs to; None for that of a check that names none."""
    return finding.question or OF_CHECK.get(finding.name)


def rulings(scores: Sequence[DesideratumScore], findings: Sequence[Finding]) -> tuple[Ruling, ...]:
    """One ruling for each question, in the order of `QUESTIONS`.

    The claim is satisfied where every desideratum reaches its bound on these pairs and no check of
    it fails; it is undecided where one misses by no more than the error of so many pairs.
    """
    made = []
    for question in QUESTIONS:
        mine = [finding for finding in findings if question_of(finding) == question]
        mine.sort(key=lambda one: one.name != names.RIVAL)  # a circuit that holds says most
        verdict = gravest([one.verdict for one in mine]) if mine else None
        briefs = [one.brief or one.name for one in mine if one.verdict == verdict]
        if question == "claim":
            verdict, briefs = _claim(scores, mine, verdict)
        elif verdict == "holds":
            briefs = []
        words = _WORDS[question][_PLACE[verdict]]
        if question == "claim" and verdict == "fails" and all(score.holds for score in scores):
            words = "satisfied, but not soundly"
        if question == "uniqueness" and verdict == "holds":
            if names.RIVAL not in {one.name for one in mine}:
                words += " (rivals not sought)"
        made.append(
            Ruling(
                question=question,
                verdict=verdict,
                says=words + (f": {briefs[0]}" if briefs else ""),
            )
        )
    return tuple(made)


def _claim(
    scores: Sequence[DesideratumScore], mine: Sequence[Finding], verdict: Verdict | None
) -> tuple[Verdict, list[str]]:
    """What the scores and the checks of the claim come to, with the reasons."""
    failing = [one.brief or one.name for one in mine if one.verdict == "fails"]
    if failing or any(score.verdict == "fails" for score in scores):
        return "fails", [*failing, short_of(scores)]
    if not all(score.holds for score in scores):
        return "inconclusive", [short_of(scores)]
    open_ = [one.brief for one in mine if one.verdict == "inconclusive" and one.brief]
    return "holds", open_ if verdict == "inconclusive" else []


def short_of(scores: Sequence[DesideratumScore]) -> str:
    """The desideratum that misses its bound by most, and how many others do; "" where none does."""
    short = [score for score in scores if not score.holds]
    if not short:
        return ""
    worst = min(short, key=lambda score: score.satisfaction - score.need)
    others = f" (and {len(short) - 1} more)" if len(short) > 1 else ""
    return f"{worst}{others}"


def headline(scores: Sequence[DesideratumScore], findings: Sequence[Finding]) -> str:
    """All five rulings in one sentence, and the checks of no question that fail."""
    words = [one.says for one in rulings(scores, findings)]
    words += [
        f"the check {one.name!r} fails"
        for one in findings
        if one.verdict == "fails" and question_of(one) is None
    ]
    return "; ".join(words)


def verdict_words(finding: Finding) -> str:
    """A finding's verdict as tables show it, in the words of its question.

    >>> verdict_words(Finding.undecided("rival", "no search pairs were given"))
    'inconclusive'
    """
    question = question_of(finding)
    if finding.verdict != "fails" or question in (None, "claim"):
        return finding.verdict
    return "differs" if question == "other ablations" else _WORDS[question][1]


def look_of(question: Question | None, verdict: Verdict) -> Look:
    """How a verdict is to look: that of a question which does not decide is never a failure."""
    return "differs" if verdict == "fails" and question not in (*DECIDE, None) else verdict
