"""Lint: each kind of problem has a case where it is reported and one where it is not."""

import pytest

from desiderata import CausalModel, GivenPairs, Pair, choice, lint, lint_desiderata, pairs_hold

from .language_cases import desideratum, pair, wide_boxes


def many(count=40, side="search", answers="abcdefgh", **options):
    """A desideratum without a fault: `count` pairs that expect these answers in turn."""
    pairs = [pair(f"{side} {k}", answers[k % len(answers)], "old") for k in range(count)]
    return desideratum(*pairs, **options)


def keeping(count=40, side="search", **options):
    pairs = [pair(f"{side} {k}", *("abcdefgh"[k % 8] * 2)) for k in range(count)]
    return desideratum(*pairs, **{"sense": "keeps", **options})


def says(search, held_out=(), n=None):
    return [str(problem) for problem in lint_desiderata(search, held_out, n)]


def with_pairs(made, *more):
    return desideratum(*made.pairs, *more, name=made.name, part=made.part, sense=made.sense)


def reusing(base, source, expected="new", base_answer="old"):
    return Pair(base=base.base, source=source.source, expected=expected, base_answer=base_answer)


ONE = many().pairs[0]
CLASH = reusing(ONE, ONE, "z")
SAME_TEXT = Pair(base=ONE.base, source=ONE.base, expected="a", base_answer="old")


def test_nothing_is_said_where_all_is_well():
    assert says([many(), keeping(side="kept", name="e")], [many(side="held out")], n=40) == []


@pytest.mark.parametrize(
    "search, problem",
    [
        (
            [with_pairs(many(), CLASH)],
            "error: d: contradiction, inside the circuit: base 'base search 0', source "
            "'source search 0': "
            "d expects 'a' but d expects 'z'",
        ),
        (
            [many(), with_pairs(many(side="more", name="e"), CLASH)],
            "error: d and e: contradiction, inside the circuit: base 'base search 0', source "
            "'source search 0': d expects 'a' but e expects 'z'",
        ),
        (
            [with_pairs(many(), pair("x", "old", "old"), pair("y", "old", "old"))],
            "error: d: 2 of 42 pairs expect the base's own answer, which an empty circuit gives",
        ),
        (
            [with_pairs(keeping(), pair("x", "new", "old"))],
            "error: d: keeps, but 1 of 41 pairs expect another answer than the base's",
        ),
        (
            [with_pairs(many(), SAME_TEXT)],
            "error: d: 1 pairs have the same text as base and source",
        ),
        (
            [many(answers="a" * 30 + "bcdefghijk")],
            "warning: d: unbalanced: 'a' is expected in 30 of 40 pairs, with 11 different "
            "answers in all",
        ),
        (
            [many(answers="a")],
            "warning: d: unbalanced: 'a' is expected in 40 of 40 pairs, with 1 different "
            "answers in all",
        ),
        (
            [many(answers="a" * 39 + "b")],
            "warning: d: unbalanced: 'a' is expected in 39 of 40 pairs, with 2 different "
            "answers in all",
        ),
        (
            [many(31)],
            "warning: d: only 31 different search pairs: at 32 a share of 0.95 is known to "
            "about 0.1",
        ),
    ],
)
def test_each_problem_is_reported_and_alone(search, problem):
    assert says(search) == [problem]


@pytest.mark.parametrize(
    "search",
    [
        [many(), many(side="search", name="e")],
        [many(), with_pairs(many(side="more", name="e", part="outside"), CLASH)],
        [many(), with_pairs(many(side="more", name="e"), reusing(ONE, many().pairs[1], "z"))],
        [with_pairs(keeping(), pair("x", "old", "old"))],
        [with_pairs(many(), pair("x", "new", "old"))],
        [many(answers="aaabbcdefg")],
        [many(answers="aab")],
        [many(32)],
    ],
)
def test_what_is_close_to_a_problem_is_not_reported(search):
    assert says(search) == []


def test_more_contradictions_than_three_are_counted():
    clashes = [reusing(one, one, "z") for one in many().pairs[:5]]
    found = says([with_pairs(many(), *clashes)])
    assert len(found) == 4
    assert found[3] == "error: the claim: 2 more contradictory pairs"


def test_fewer_pairs_than_asked_for_and_too_few_held_out():
    assert says([many(40)], [many(31, "held out")], n=50) == [
        "warning: d: only 40 different search pairs; 50 asked for",
        "warning: d: only 31 different held-out pairs: at 32 a share of 0.95 is known to about 0.1",
    ]
    assert says([many(40)], [many(40, "held out")], n=40) == []
    assert says([many(40)], [many(40, "held out")]) == []


def test_a_prompt_in_search_and_held_out():
    shared = with_pairs(many(side="held out"), reusing(ONE, pair("x")))
    assert says([many()], [shared]) == [
        "error: the split: 1 prompt(s) are both in search and held out, such as 'base search 0'"
    ]


@pytest.mark.parametrize(
    "fault, problem",
    [
        (pair("x", "old", "old"), "expect the base's own answer"),
        (SAME_TEXT, "same text as base and source"),
        (
            reusing(many(side="held out").pairs[0], many(side="held out").pairs[0], "z"),
            "contradiction",
        ),
    ],
)
def test_a_fault_is_found_on_the_held_out_side_too(fault, problem):
    held_out = desideratum(*many(side="held out").pairs, fault)
    found = says([many(80, side="others")], [held_out])
    assert any(problem in one for one in found), found


def test_lint_of_a_claim_samples_it():
    claim = wide_boxes().carries("position", complete=True)
    assert lint(claim, n=40) == ()
    few = pairs_hold("by hand", [pair(k, "abc"[k % 3]) for k in range(9)], sense="follows")
    assert [(one.level, one.where) for one in lint(few, n=9)] == [("warning", "by hand")] * 2


def test_a_claim_that_cannot_be_sampled_has_one_problem_for_each_desideratum_and_side():
    """A variable that never moves the answer."""

    def answer(x, y):
        return y

    model = CausalModel(
        inputs={"x": choice("abc"), "y": choice("abc")}, mechanisms=[answer], prompt="{x} {y}"
    )
    found = lint(model.carries("x", keeps=[], crossed=False), n=5)
    assert [one.level for one in found] == ["error", "error"]
    for one, side in zip(found, ("search", "held-out"), strict=True):
        assert "follows x" in one.says
        assert f"no {side} pair can be made" in one.says


def test_given_pairs_that_cannot_be_divided_are_no_error():
    found = lint(GivenPairs("by hand", (desideratum(pair(1)),)))
    assert not [problem for problem in found if problem.level == "error"]
