"""What the findings of a card come to: five rulings, a headline, and whether it is a success."""

from dataclasses import replace

import pytest

from circuitfind.objective.intervals import interval
from circuitfind.validate import CHECKS, QUESTIONS, Card, Finding
from circuitfind.validate.checks.satisfaction import judge, pairs_to_hold
from circuitfind.validate.finding import DesideratumScore
from circuitfind.validate.questions import (
    OF_CHECK,
    look_of,
    question_of,
    short_of,
    verdict_words,
)


def score(hits, n=192, need=0.95, name="follows x", **changes):
    low, high = interval(hits, n)
    made = DesideratumScore(
        name=name,
        part="inside",
        sense="follows",
        n=n,
        null=0.0,
        ceiling=1.0,
        satisfaction=hits / n,
        low=low,
        high=high,
        at_least=need,
        need=need,
        holds=hits / n >= need,
        vacuous=False,
        ablation="source",
        split="held-out",
    )
    return replace(made, **changes)


def found(name, verdict, brief="", question=None):
    return Finding(
        name=name,
        verdict=verdict,
        value=1.0,
        low=1.0,
        high=1.0,
        n=9,
        ablation="a",
        split="held-out",
        says="says",
        brief=brief,
        question=question,
    )


def card(*findings, hits=192):
    return Card((score(hits),), findings)


def test_every_built_in_check_belongs_to_a_question():
    assert {check.name for check in CHECKS} >= set(OF_CHECK)
    for check in CHECKS:
        assert check.question == OF_CHECK.get(check.name)
    assert set(OF_CHECK.values()) == set(QUESTIONS)


def test_the_headline_names_all_five():
    made = card(
        found("satisfaction", "holds"),
        found("leave one out", "fails", "3 of 16 sites are idle"),
        found("random circuits", "holds"),
        found("faithfulness", "fails", "under zero"),
    )
    assert made.headline == (
        "satisfied; not minimal: 3 of 16 sites are idle; specific; uniqueness not asked; other "
        "ablations differ: under zero"
    )
    assert [ruling.verdict for ruling in made.rulings] == ["holds", "fails", "holds", None, "fails"]
    assert [ruling.decides for ruling in made.rulings] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("pairs", True),
        ("groups", True),
        ("rounding", True),
        ("leave one out", True),
        ("inflated circuits", True),
        ("random circuits", False),
        ("rival", False),
        ("necessity", False),
        ("faithfulness", False),
    ],
)
def test_only_the_claim_and_minimality_decide_and_strict_has_all_count(name, decides):
    made = card(found("satisfaction", "holds"), found(name, "fails"))
    assert made.success is not decides
    assert made.passes() is not decides and not made.passes(strict=True)
    assert card(found("satisfaction", "holds")).passes(strict=True)


def test_a_check_of_no_question_is_named_and_decides_only_if_strict():
    made = card(found("satisfaction", "holds"), found("mine", "fails"))
    assert made.headline.endswith("; the check 'mine' fails")
    assert made.success and not made.passes(strict=True)
    asked = card(found("mine", "fails", "b", question="minimality"))
    assert not asked.success and "not minimal: b" in asked.headline


def test_a_miss_within_the_error_is_undecided_and_no_success():
    short = card(hits=180)  # 0.9375, with 0.95 in the interval
    assert short.rulings[0].verdict == "inconclusive" and not short.success
    assert short.headline.startswith(
        "satisfaction undecided: 'follows x' reaches 0.938 of the 0.950 it needs, within the error "
        "of 192 pairs; "
    )
    assert card(hits=160).headline.startswith(
        "not satisfied: 'follows x' reaches 0.833 of the 0.950 it needs; "
    )


def test_the_reason_is_the_widest_miss_and_not_the_lowest_score():
    near = score(150, need=0.8, name="keeps y")  # 0.781 of 0.8
    wide = score(170)  # 0.885 of 0.95
    assert short_of([near, wide]) == f"{wide} (and 1 more)"
    assert short_of([near]) == str(near) and short_of([score(192)]) == ""


def test_where_one_desideratum_of_two_fails_the_claim_is_not_satisfied():
    leaks = found("pairs", "fails", "leaks")
    sound = Card((score(192), score(192, name="keeps y")), (leaks,))
    assert sound.headline.startswith("satisfied, but not soundly: leaks; ")
    short = Card((score(192), score(100, name="keeps y")), (leaks,))
    assert short.headline.startswith("not satisfied: leaks; ")


def test_without_a_search_for_rivals_the_circuit_is_not_called_the_only_one():
    assert "no other seen (rivals not sought)" in card(found("necessity", "holds")).headline
    both = card(found("necessity", "holds"), found("rival", "holds"))
    assert "no other seen;" in both.headline


def test_verdicts_have_the_words_and_the_look_of_their_question():
    words = {name: verdict_words(found(name, "fails")) for name in ("rival", "pairs", "curve")}
    assert words == {"rival": "not unique", "pairs": "fails", "curve": "differs"}
    assert verdict_words(found("leave one out", "fails")) == "not minimal"
    assert verdict_words(found("rival", "holds")) == "holds"
    looks = [
        look_of(question_of(found(name, "fails")), "fails") for name in ("rival", "pairs", "x")
    ]
    assert looks == ["differs", "fails", "fails"]


def test_of_five_desiderata_one_is_not_failed_by_luck():
    """4 of 192 pairs under the bound has p = 0.03 for one desideratum, which is not 0.05 / 5."""
    low = score(174)  # p = 0.006
    near = score(176)  # p = 0.021
    assert judge([near]).verdict == "fails"
    four = [score(192, name=f"follows {n}") for n in range(4)]
    assert judge([near, *four]).verdict == "inconclusive"
    assert judge([low, *four]).verdict == "fails"


def test_how_many_pairs_it_takes_to_hold_is_said():
    few = judge([score(58, n=58), score(58, n=58, need=0.9)])
    assert few.verdict == "inconclusive"
    assert few.says.endswith("; 59 pairs, if none of them breaks it, would tell")
    assert judge([score(59, n=59)]).verdict == "holds"
    assert pairs_to_hold(0.9) == 29 and pairs_to_hold(1.0) is None and pairs_to_hold(0.0) == 1
    assert "told by no sample" in judge([score(64, n=64, need=1.0)]).says
    assert "at this share 208 pairs would tell" in judge([score(187)]).says


def test_pairs_that_are_all_there_are_decide():
    """Ten saved inputs are no sample of ten: the share is the truth."""
    every = {"every": True, "low": 1.0, "high": 1.0}
    assert judge([score(10, n=10, need=1.0, **every)]).verdict == "holds"
    short = {"every": True, "low": 0.9, "high": 0.9}
    assert judge([score(9, n=10, need=1.0, **short)]).verdict == "fails"
    assert "95 %" not in judge([score(10, n=10, need=1.0, **every)]).says
