"""Lint: each kind of problem has a case where it is reported and one where it is not."""

import itertools
import random
import re
import time
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest

from desiderata import (
    CausalModel,
    Choice,
    GivenPairs,
    Pair,
    Prompt,
    Texts,
    TokenIds,
    choice,
    fill,
    integers,
    lint,
    lint_desiderata,
    pairs_hold,
)

from .language_cases import WORDS, desideratum, pair, wide_boxes


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


def reusing(base, source, expected: Texts = "new", base_answer: Texts = "old"):
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
            [with_pairs(many(), pair("x 1", "old", "old"), pair("y 1", "old", "old"))],
            "error: d: 2 of 42 pairs expect the base's own answer, which an empty circuit gives",
        ),
        (
            [with_pairs(keeping(), pair("x 1", "new", "old"))],
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
            "warning: d: only 31 different pairs (search: d 31); add values: at 32 pairs a share "
            "of 0.95 is known to about 0.1, and with fewer worse",
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
        [with_pairs(keeping(), pair("x 1", "old", "old"))],
        [with_pairs(many(), pair("x 1", "new", "old"))],
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


def test_too_few_pairs_are_said_once_with_what_to_do():
    sides = [many(40), many(200, name="e")], [many(31, "held out"), many(60, "held out", name="e")]
    assert says(*sides, n=50) == [
        "warning: d: only 31 different pairs of 50 asked for (search: d 40; held-out: d 31); add "
        "values: at 32 pairs a share of 0.95 is known to about 0.1, and with fewer worse",
    ]
    assert says(*sides, n=100) == [
        "warning: d and e: only 31 different pairs of 100 asked for (search: d 40; held-out: d 31, "
        "e 60); add values: at 32 pairs a share of 0.95 is known to about 0.1, and with fewer worse"
    ]
    assert says([many(40)], [many(50, "held out")], n=50) == [
        "warning: d: only 40 different pairs of 50 asked for (search: d 40); add values, or ask "
        "for fewer (--n 40)"
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


def several(count=40, **options):
    """Pairs whose right answers are sets: two new digits of three, with the old ones."""
    digits = ("1", "2", "3")
    pairs = [
        pair(f"search {k}", (*(d for d in digits if d != digits[k % 3]), "9"), ("8", "9"))
        for k in range(count)
    ]
    return desideratum(*pairs, **options)


def test_sets_contradict_only_where_they_have_no_text_in_common():
    made = several(name="d")
    one = made.pairs[0]
    overlapping = reusing(one, one, ("2", "5"), ("8", "9"))
    (balance,) = says([with_pairs(made, overlapping)])
    assert "unbalanced" in balance
    (problem, _) = says([with_pairs(made, reusing(one, one, ("5", "6"), ("8", "9")))])
    assert problem.endswith("d expects '2' or '3' or '9' but d expects '5' or '6'")
    # What is right in the base as well does not tell that the answer moved: '3' is asked for.
    asked = reusing(one, one, ("8", "9", "3"), ("8", "9"))
    stays = reusing(one, one, ("8", "9"), ("8", "9"))
    kept = desideratum(*keeping(side="kept").pairs, stays, name="e", sense="keeps")
    (problem,) = says([with_pairs(many(side="more"), asked), kept])
    assert problem.endswith("d expects '3' but e expects '8' or '9'")


def test_sets_that_one_text_meets_are_unbalanced():
    assert says([several()]) == [
        "warning: d: unbalanced: '9' is expected in 40 of 40 pairs, with 4 different answers in all"
    ]
    without_nine = [replace(one, expected=one.expected[:2]) for one in several().pairs]
    assert says([desideratum(*without_nine)]) == []


@pytest.mark.parametrize(
    "text, answer, glued",
    [
        ("gave it to", "Kyle", "'to' and 'Kyle'"),
        ("gave it to", " Kyle", None),
        ("gave it to ", "Kyle", None),
        ("from 17", "th", None),
        ("x =", "five", None),
        ("gave it to", TokenIds([464]), None),  # its text is a stand-in
        ("the year 17", "43", None),
        ("\u6771\u4eac", "\u5927", None),  # no spaces between words there
        ("\u043a\u043e\u0442", "\u0438", "'\u043a\u043e\u0442' and '\u0438'"),
    ],
)
def test_an_answer_right_after_a_letter_lacks_a_space(text, answer, glued):
    prompts = Prompt(f"{text}"), Prompt(f"but {text}")
    one = Pair(base=prompts[0], source=prompts[1], expected=answer, base_answer="1")
    found = says([with_pairs(many(), one)])
    says_it = f"error: d: no space between {glued}; begin completion with a space"
    assert found == ([says_it] if glued else [])


def town(completion, **options):
    return CausalModel(
        inputs={"name": choice("Ann Bob Cat Dan Eve Fay".split()), "n": integers(1, 40)},
        mechanisms=[answer_name],
        prompt="{n}: I met {name} and called",
        completion=completion,
        **options,
    )


def answer_name(name):
    return name


def test_a_missing_space_is_no_fault_where_the_tokenizer_decides():
    glued = lint(town("{answer_name}").carries("name"), n=40)
    assert glued[0].level == "error"
    message = r"no space between 'called' and '\w+'; begin completion with a space"
    assert re.fullmatch(message, glued[0].says)
    for completion, answer in ((" {answer_name}", ""), ("", "answer_name")):
        assert lint(town(completion, answer=answer).carries("name"), n=40) == ()


def test_an_unknown_span_is_said_once_with_those_there_are():
    (problem,) = lint(town(" {answer_name}").carries("name", at="nam"), n=40)
    assert (problem.level, problem.where) == ("error", "follows name, keeps n and crossed name")
    assert problem.says == (
        "the prompts have no span 'nam'; the spans are: n, name (besides last and all)"
    )
    (problem,) = lint(town(" {answer_name}").carries("name", at=["name", "last"], read="m"), n=40)
    assert "no span 'm'" in problem.says
    assert lint(town(" {answer_name}").carries("name", at=["name", "all"], read="n"), n=40) == ()
    assert lint(town(" {answer_name}").carries("name", read="2"), n=40) == ()


def test_a_span_that_some_prompts_lack():
    with_span = [
        Pair(base=fill("{x} a", x=k), source=fill("{x} b", x=k), expected="1", base_answer="0")
        for k in range(3)
    ]
    made = desideratum(*many().pairs, *with_span, at=("x",))
    assert says([made]) == [
        "error: d: 80 of 86 prompts, such as 'base search 0', have no span 'x'; the spans are: "
        "none (besides last and all)"
    ]


def lint_of(mechanism, **options):
    return lint(task_of(mechanism, **options).carries("x"), n=40)


def task_of(mechanism, **options):
    mechanism.__name__ = "answer"
    return CausalModel(
        inputs={"x": choice(WORDS), "y": integers(1, 9)},
        mechanisms=[mechanism],
        **{"prompt": "{y} {x} =", "completion": " {answer}", **options},
    )


def test_functions_that_draw_at_random_are_named_with_file_line_and_inputs():
    def answer(x):
        return random.random()

    line = answer.__code__.co_firstlineno
    (problem,) = lint_of(answer)
    assert (problem.level, problem.where) == ("error", "answer")
    assert re.match(rf"test_lint.py, line {line}: answer\(x='\w+'\) gives 0\.", problem.says)
    assert "the same inputs must give the same" in problem.says
    (problem,) = lint_of(lambda x: x, prompt=lambda x, y: f"{x} {y} {random.random()}")
    assert problem.where == "the prompt"
    (problem,) = lint_of(lambda x: x, where=[lambda x: True, lambda y: random.random() > 0.5])
    assert problem.where == "condition 2"
    seeded = lint_of(lambda x, y: random.Random(f"{x}{y}").random())
    assert not [one for one in seeded if one.level == "error"]


def test_a_mechanism_that_raises_is_one_problem():
    def answer(x):
        return {"apple": "red"}[x]

    (problem,) = lint_of(answer)
    assert problem.level == "error"
    line = answer.__code__.co_firstlineno + 1
    assert re.fullmatch(
        rf"test_lint.py, line {line}: answer\(x='(\w+)'\) raised KeyError: '\1'", problem.says
    )


@pytest.mark.parametrize(
    "value, says",
    [
        (None, r"gives None \(NoneType\) for the answer; an answer is text, a number, or a list"),
        ({"a": 1}, r"gives \{'a': 1\} \(dict\)"),
        (float("nan"), r"gives nan \(float\)"),
        (float("inf"), r"gives inf \(float\)"),
        ([1, None], r"gives None \(NoneType\)"),
        ([(1, 2)], r"gives \(1, 2\) \(tuple\)"),
        ("", "gives an empty text"),
        (b"a", r"gives b'a' \(bytes\)"),
    ],
)
def test_answers_that_are_none(value, says):
    (problem,) = lint_of(lambda x: value)
    assert problem.level == "error"
    assert re.match(rf"test_lint.py, line \d+: answer\(x='\w+'\) {says}", problem.says)


@pytest.mark.parametrize(
    "mechanism",
    [
        lambda x: x,
        lambda x: len(x) + 0.5,
        lambda x: Fraction(len(x), 7),
        lambda x: {x, "b"},
        lambda x: frozenset(x),
        lambda x: (x, 1),
        lambda x: [x],
    ],
)
def test_answers_that_are_some(mechanism):
    assert not [one for one in lint_of(mechanism) if one.level == "error"]


def test_true_and_false_are_warned_about():
    (problem, *rest) = lint_of(lambda x: x > "c")
    assert (problem.level, problem.where) == ("warning", "answer")
    assert "such as 'yes' or 'no'" in problem.says
    assert not [one for one in rest if "yes" in one.says]


@dataclass(frozen=True)
class Weights:
    """A domain of somebody's own, without a pool."""

    parents: tuple[str, ...] = ()

    def draw(self, rng, values):
        return round(rng.random(), 6)

    def accepts(self, value, values):
        return 0 <= value <= 1


def test_domains_without_end_neither_hang_nor_go_unsaid():
    model = task_of(lambda x: x)
    endless = {"y": Weights(), "z": integers(0, 10**12)}
    wide = replace(model, inputs={**model.inputs, **endless}, prompt="{z} {y} {x} =")
    begun = time.monotonic()
    (problem,) = lint(wide.carries("x"), n=40)
    assert time.monotonic() - begun < 20
    assert str(problem) == (
        "warning: y: shared by search and held-out pairs, because its domain is your own and has "
        "no pool"
    )
    split = replace(model, inputs={**model.inputs, "y": integers(0, 10**9, split=True)})
    (problem,) = lint(split.carries("x"), n=40)
    assert problem.where == "y"
    assert "1,000,000,001 values, of which up to 1,000,000 can be divided" in problem.says
    with pytest.raises(ValueError, match="takes up to 1,000,000 items and got more"):
        choice(itertools.count())


def test_an_empty_domain_is_refused():
    with pytest.raises(ValueError, match="the input 'x' has no value: its domain is empty"):
        CausalModel(inputs={"x": Choice(())}, mechanisms=[], prompt="{x}", answer="x")


def test_lint_of_a_claim_samples_it():
    claim = wide_boxes().carries("position", complete=True)
    assert lint(claim, n=40) == ()
    few = pairs_hold("by hand", [pair(k, "abc"[k % 3]) for k in range(9)], sense="follows")
    assert [(one.level, one.where) for one in lint(few, n=9)] == [("warning", "by hand")]


def test_a_claim_that_cannot_be_sampled_has_one_problem_for_each_desideratum():
    """A variable that never moves the answer."""

    def answer(x, y):
        return y

    model = CausalModel(
        inputs={"x": choice("abc"), "y": choice("abc")}, mechanisms=[answer], prompt="{x} {y}"
    )
    (found,) = lint(model.carries("x", keeps=[], crossed=False), n=5)
    assert found.level == "error"
    assert "follows x" in found.says
    for side in ("search", "held-out"):
        assert f"no {side} pair can be made" in found.says


def test_given_pairs_that_cannot_be_divided_are_no_error():
    found = lint(GivenPairs("by hand", (desideratum(pair(1)),)))
    assert not [problem for problem in found if problem.level == "error"]
