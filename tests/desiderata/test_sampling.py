"""Sampling: what every pair obeys, seeds, balance, and what search and held out may share."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from desiderata import CausalModel, choice, distinct, integers, lint, lint_desiderata, sampling
from desiderata.claim import SamplingError
from desiderata.sampling import sample_pairs

from .language_cases import CASES, WORDS, items_of, quick, texts, wide_boxes, written

NAMES = tuple("Ann Bob Cat Dan Eve Fay Gus Hal Ida Jon Kim Lee Max Ned Oda".split())
TEMPLATES = ("{0} met {1} by the {2}", "by the {2}, {0} saw {1}", "{2}: {0}, {1}")
ROOT = Path(__file__).parents[2]


# Random causal models a, b -> m; m, c -> answer, and what each of their pairs must obey.

COMBINE = (lambda a, b: a + b, lambda a, b: a - b, max, lambda a, b: a * b % 5)
FINISH = (
    lambda m, c: m + c,
    lambda m, c: m - c,
    lambda m, c: m,
    lambda m, c: (m == c) + 10 * m,
    lambda m, c: {m, m + c},  # several right answers
    lambda m, c: [value for value in (c, m) if value > 0],  # or none
)
CONDITIONS = (
    ((), lambda v: True),
    (lambda a, c: a != c, lambda v: v["a"] != v["c"]),
    (lambda m, c: m + c >= 0, lambda v: v["m"] + v["c"] >= 0),
    (
        (lambda m: m != 3, lambda b, answer: b != answer),
        lambda v: v["m"] != 3 and v["b"] != v["answer"],
    ),
)
BEHIND = {"a": "a", "b": "b", "c": "c", "m": "ab", "answer": "abc"}
PATHS = ({"a", "m", "answer"}, {"b", "m", "answer"}, {"c", "answer"})
domains = (
    st.builds(integers, st.integers(-1, 1), st.integers(2, 4))
    | st.builds(lambda high: integers(1, high, split=True), st.integers(6, 8))
    | st.just(choice((11, 13, 15, 17), held_out=(17, 11)))
)


@dataclass(frozen=True)
class World:
    """A random causal model, and the functions that it was made of."""

    model: CausalModel
    combine: Any
    finish: Any
    is_allowed: Any

    def values(self, inputs, forced=()):
        values = {**inputs, **dict(forced)}
        values.setdefault("m", self.combine(values["a"], values["b"]))
        values.setdefault("answer", self.finish(values["m"], values["c"]))
        return values


@st.composite
def worlds(draw):
    combine, finish = draw(st.sampled_from(COMBINE)), draw(st.sampled_from(FINISH))
    where, is_allowed = draw(st.sampled_from(CONDITIONS))

    def m(a, b):
        return combine(a, b)

    def answer(m, c):
        return finish(m, c)

    inputs = {name: draw(domains) for name in "abc"}
    model = CausalModel(inputs=inputs, mechanisms=[answer, m], prompt="{a} {b} {c} =", where=where)
    return World(model, combine, finish, is_allowed)


def check_pair(world, names, rule, pair):
    """One sampled pair, against the definitions in DESIGN.md, section 4."""
    base, source = pair.base_inputs, pair.source_inputs
    at_base, at_source = world.values(base), world.values(source)
    movers = {name for variable in names for name in BEHIND[variable]}
    kind = rule.name.split()[0]
    varied = {"keeps": {rule.name[-1]}, "crossed": set("abc")}.get(kind, movers)
    assert {name for name in "abc" if base[name] != source[name]} == varied
    forced = names if kind in ("follows", "crossed") else ()
    crossed = world.values(base, {name: at_source[name] for name in forced})
    assert (pair.expected, pair.base_answer, pair.source_answer) == tuple(
        written(values["answer"]) for values in (crossed, at_base, at_source)
    )
    assert all((pair.expected, pair.base_answer, pair.source_answer))
    assert all(map(world.is_allowed, (at_base, at_source, crossed)))
    for values in (base, source):
        assert all(values[name] in items_of(world.model.inputs[name]) for name in "abc")
    if kind == "keeps":
        assert pair.expected == pair.base_answer
        return
    assert all(at_base[name] != at_source[name] for name in names)
    if kind == "nothing":
        assert pair.expected == pair.base_answer != pair.source_answer
    else:
        assert pair.expected != pair.base_answer
    if kind == "crossed" and not all(path & set(names) for path in PATHS):
        assert pair.expected != pair.source_answer
    for prompt, inputs in ((pair.base, base), (pair.source, source)):
        spans = {span.name: prompt.text[span.start : span.end] for span in prompt.spans}
        assert spans == {name: str(inputs[name]) for name in "abc"}


@quick
@given(worlds(), st.sets(st.sampled_from(list(BEHIND)), min_size=1), st.integers(0, 9))
def test_every_sampled_pair_obeys_the_definitions(world, names, seed):
    claim = world.model.carries(sorted(names), complete=True)
    split, sides = claim.split(seed), []
    for held_out in (False, True):
        prompts = set()
        for rule in claim.rules:
            try:
                with mock.patch.object(sampling, "DRAWS_PER_PAIR", 4):
                    pairs = sample_pairs(split, rule, 8, held_out)
            except ValueError as error:
                assert f"{rule.name!r}: no {'held-out' if held_out else 'search'}" in str(error)
                continue
            for pair in pairs:
                check_pair(world, sorted(names), rule, pair)
            assert len({(pair.base, pair.source) for pair in pairs}) == len(pairs) <= 8
            prompts |= {prompt.text for pair in pairs for prompt in (pair.base, pair.source)}
        sides.append(prompts)
    assert not sides[0] & sides[1]
    assume(any(sides))


def lambda_named(name, function):
    """The function as a mechanism for this variable."""
    function.__name__ = name
    return function


# Seeds and counts.


@pytest.mark.parametrize(
    "claim",
    [
        CASES["arithmetic"].model.carries("x"),
        wide_boxes().carries("position"),
        wide_boxes().suffices(),
    ],
)
def test_the_seed_decides_the_pairs(claim):
    assert claim.sample(12, seed=4) == claim.sample(12, seed=4)
    for side, other in zip(claim.sample(12, seed=4), claim.sample(12, seed=5), strict=True):
        assert all(one.pairs != two.pairs for one, two in zip(side, other, strict=True))
    assert claim.notes(4) == claim.split(4).notes


def test_another_process_samples_the_same_without_torch():
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "from language_cases import wide_boxes\n"
        "search, held_out = wide_boxes().carries('position').sample(6, seed=2)\n"
        "print([pair.base.text for made in search + held_out for pair in made.pairs])\n"
        "print('torch' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].endswith("False\n")


@pytest.mark.parametrize("n", [1, 7, 40])
def test_as_many_different_pairs_as_asked_for(n):
    for side in wide_boxes().carries("position", complete=True).sample(n):
        for made in side:
            assert len({(pair.base.text, pair.source.text) for pair in made.pairs}) == n
            assert len(made.pairs) == n


def test_expected_answers_are_balanced_where_draws_are_not():
    """Half of the x answer 'many'; still a third of the pairs expect each answer."""

    def answer(x, y):
        return ("none", "one")[x] if x < 2 else "many"

    model = CausalModel(
        inputs={"x": integers(0, 3), "y": choice(WORDS)}, mechanisms=[answer], prompt="{x} {y}:"
    )
    (follows,), _ = model.carries("x", keeps=[], crossed=False).sample(30)
    (keeps,), _ = model.carries("x", keeps=["y"], follows=False, crossed=False).sample(30)
    for made in (follows, keeps):
        counts = Counter(pair.expected for pair in made.pairs)
        assert set(counts.values()) == {10}, counts


# What search and held out share.


def stories() -> CausalModel:
    def answer(names):
        return names[1]

    def prompt(template, names, item, place):
        return template.format(*names, item) + f" {place}"

    return CausalModel(
        inputs={
            "template": choice(TEMPLATES, split=True),
            "names": distinct(NAMES, 2),
            "item": choice(WORDS, held_out=["egg", "hat"]),
            "place": choice(["in", "out"]),
        },
        mechanisms=[answer],
        prompt=prompt,
        completion=" {answer}",
    )


def seen_values(desiderata, name):
    values = [
        inputs[name]
        for made in desiderata
        for pair in made.pairs
        for inputs in (pair.base_inputs, pair.source_inputs)
    ]
    return {item for value in values for item in (value if type(value) is tuple else (value,))}


@pytest.mark.parametrize("seed", range(4))
def test_names_values_and_templates_are_on_one_side_only(seed):
    claim = stories().carries("names", keeps=["item", "place"])
    search, held_out = claim.sample(40, seed)
    assert not texts(search) & texts(held_out)
    assert lint_desiderata(search, held_out) == ()
    for name, size in (("names", 15), ("item", 12), ("template", 3)):
        mine, theirs = seen_values(search, name), seen_values(held_out, name)
        assert not mine & theirs, name
        assert len(mine | theirs) == size
    assert seen_values(held_out, "item") == {"egg", "hat"}
    assert len(seen_values(held_out, "names")) == 5
    assert seen_values(search, "place") == seen_values(held_out, "place") == {"in", "out"}
    assert claim.notes(seed) == (
        "place: shared by search and held-out pairs (numbers and pools of fewer than 12 words are "
        "not divided unless split=True)",
    )


def test_another_seed_holds_out_other_items():
    kept = {
        frozenset(items_of(stories().carries("names").split(seed).held_out.inputs["names"]))
        for seed in range(6)
    }
    assert len(kept) > 3


def test_a_kept_input_differs_though_only_one_of_its_items_is_held_out():
    model = CausalModel(
        inputs={
            "x": choice("abcdefgh"),
            "style": choice(["one", "two", "three"], held_out=["three"]),
        },
        mechanisms=[lambda_named("answer", lambda x: x)],
        prompt="{style} {x}:",
    )
    try:
        _, held_out = model.carries("x").sample(10)
    except ValueError as error:
        assert "keeps style" in str(error)
    else:
        assert all(pair.base != pair.source for made in held_out for pair in made.pairs)


def test_a_kept_input_that_another_one_gives_differs():
    """A query is drawn from the labels; base and source must still not be the same prompt."""
    search, held_out = wide_boxes().carries("objects").sample(12)
    for made in (*search, *held_out):
        assert all(pair.base.text != pair.source.text for pair in made.pairs), made.name


def test_held_out_items_are_never_searched_even_where_too_few():
    """One held-out letter cannot make a held-out pair of two; search must do without it."""
    letters = distinct(choice("abcdef", held_out=["a"]), 2)
    model = CausalModel(
        inputs={"x": letters},
        mechanisms=[lambda_named("answer", lambda x: x[0])],
        prompt="{x[0]} {x[1]} is",
    )
    try:
        search, _ = model.carries("x").sample(20)
    except ValueError:
        return
    assert "a" not in seen_values(search, "x")


def test_whole_settings_are_dealt_where_no_content_is_divided():
    def answer(x, y, op):
        return x + y if op == "+" else x - y

    model = CausalModel(
        inputs={"x": integers(1, 9), "y": integers(1, 9), "op": choice("+-")},
        mechanisms=[answer],
        prompt="{x} {op} {y} =",
    )
    claims = [model.carries("x", keeps=["op"]), model.carries("y", keeps=["x"])]
    assert claims[0].notes() == (
        "x, y, op: shared by search and held-out pairs (numbers and pools of fewer than 12 words "
        "are not divided unless split=True)",
        "no content is divided: whole settings of the inputs are, one side or other",
    )
    (search, held_out), *others = [claim.sample(9) for claim in claims]
    for mine, theirs in ((search, held_out), *others):
        assert not texts(mine) & texts(held_out)
        assert not texts(search) & texts(theirs)
    assert texts(search) & texts(claims[0].sample(9, 1)[1]), "another seed deals other settings"


def test_a_pool_that_cannot_be_divided_is_shared_and_said_so():
    model = CausalModel(
        inputs={"x": distinct(WORDS, 5), "y": choice(NAMES)},
        mechanisms=[lambda_named("answer", lambda x: x[0])],
        prompt="{y} {x[0]} {x[1]}",
    )
    assert model.carries("x").notes() == (
        "x: shared by search and held-out pairs, because 12 item(s) cannot be divided so that "
        "both sides have 5",
    )


pools = st.builds(
    lambda items, split, kept: choice(
        sorted(items), split=split, held_out=sorted(items)[: min(kept, len(items) - 1)]
    ),
    st.sets(st.sampled_from(WORDS), min_size=1),
    st.booleans(),
    st.integers(0, 3),
)


@quick
@given(st.lists(pools, min_size=1, max_size=4), st.integers(0, 99))
def test_an_item_of_divided_pools_is_on_one_side_only(pools, seed):
    inputs = {f"v{n}": pool for n, pool in enumerate(pools)}
    model = CausalModel(inputs=inputs, mechanisms=[], prompt="{v0}", answer="v0", completion="{v0}")
    split = sampling.split_content(model, seed)
    searched, kept, all_searched = set(), set(), set()
    for name, pool in inputs.items():
        mine = set(items_of(split.search.inputs[name]))
        theirs = set(items_of(split.held_out.inputs[name]))
        all_searched |= mine
        assert mine | theirs == set(pool.items)
        if not mine & theirs:
            searched |= mine
            kept |= theirs
            assert set(pool.held_out) <= theirs
        else:
            one_sided = mine ^ theirs
            assert set(pool.items) - one_sided <= mine & theirs
            assert len(mine | theirs) == 1 or any(name in note for note in split.notes)
    if not sampling.leaks(split):
        assert not all_searched & kept
    assert not searched & kept
    assert split.by_setting == (not kept)


def test_pools_that_overlap_hold_out_a_third_of_their_items_together():
    pools = {"x": choice(WORDS[:9], split=True), "y": choice(WORDS[3:], split=True)}
    model = CausalModel(inputs=pools, mechanisms=[], prompt="{x} {y}", answer="x", completion="{x}")
    for seed in range(5):
        held_out = model.suffices().split(seed).held_out.inputs.values()
        assert len({item for domain in held_out for item in items_of(domain)}) == 4


# Claims without a pair.


def test_a_condition_that_nothing_meets_is_said_once_for_all_desiderata():
    model = CASES["arithmetic"].model
    never = CausalModel(
        inputs=model.inputs, mechanisms=model.mechanisms, prompt=model.prompt, where=lambda x: x > 3
    )
    with mock.patch.object(sampling, "DRAWS_PER_PAIR", 2), pytest.raises(SamplingError) as caught:
        never.carries("x", keeps=["op"]).sample(50)
    assert caught.value.problems == (
        "no pair can be made for 'follows x' and 'keeps op' and 'crossed x': none of 600 settings "
        "of the inputs that were drawn meets the conditions (where=...)",
    )


def test_no_right_answer_is_a_refused_draw_and_an_error_if_always():
    """Whatever is greater than 4 has no right answer among the digits up to 4."""
    made = digits_up_to(4).carries("digit", crossed=False).sample(40)
    for pair in (pair for side in made for one in side for pair in one.pairs):
        assert {pair.base_inputs["digit"], pair.source_inputs["digit"]} <= {2, 3}
        assert pair.expected and pair.base_answer and pair.source_answer
    with (
        mock.patch.object(sampling, "DRAWS_PER_PAIR", 4),
        pytest.raises(ValueError, match=r"'follows digit': no search pair .*\d+ no right answer"),
    ):
        digits_up_to(1).carries("digit", crossed=False).sample(5)


def digits_up_to(last):
    """The digits after one between 2 and 6, none of them greater than `last`."""
    return CausalModel(
        inputs={"digit": integers(2, 6), "word": choice(WORDS)},
        mechanisms=[lambda_named("answer", lambda digit: {*range(digit + 1, last + 1)})],
        prompt="{word} {digit} <",
    )


def small_model(answer, prompt="{x} {y}", where=()):
    """Two inputs and these mechanisms."""
    inputs = {"x": choice("ab"), "y": choice("cd")}
    return CausalModel(
        inputs=inputs, mechanisms=[lambda_named("answer", answer), half], prompt=prompt, where=where
    )


def half(x):
    return x == "z"


@pytest.mark.parametrize(
    "variable, model, reason",
    [
        ("x", small_model(lambda x, y: y), "the answer did not move"),
        ("half", small_model(lambda x, half: x), "the variable did not move"),
        ("x", small_model(lambda x: x, where=lambda x: x == "a"), "source outside the conditions"),
        ("x", small_model(lambda x: x), "belongs to the other side of the split"),
    ],
)
def test_the_message_counts_why_no_pair_can_be_made(variable, model, reason):
    claim = model.carries(variable, keeps=[], crossed=False)
    with (
        mock.patch.object(sampling, "DRAWS_PER_PAIR", 4),
        pytest.raises(ValueError, match=rf"'follows {variable}': no .*\d+ {reason}"),
    ):
        claim.sample(5)


def shared_pools(first, second, n=1):
    """A task whose second input may have items of the first one's pool."""

    def answer(who, other):
        return who

    return CausalModel(
        inputs={"who": choice(first), "other": distinct(second, n) if n > 1 else second},
        mechanisms=[answer],
        prompt="{other} met {who}. The one who was met is",
        completion=" {answer}",
    )


def content(desiderata, name):
    """The items of an input, in either prompt of these desiderata's pairs."""
    values = [
        inputs[name]
        for one in desiderata
        for pair in one.pairs
        for inputs in (pair.base_inputs, pair.source_inputs)
    ]
    return {item for value in values for item in (value if isinstance(value, tuple) else [value])}


SECOND = {
    "not divided": choice(NAMES, split=False),
    "small": choice(NAMES[:8]),
    "with others": choice((*NAMES, *range(5)), split=False),
    "with one held out": choice(NAMES[:6], held_out=(NAMES[0],)),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND)
def test_what_is_held_out_of_one_pool_is_held_out_of_another(second, seed):
    claim = shared_pools(NAMES, second).carries("answer")
    search, held_out = claim.sample(40, seed)
    mine, theirs = (content(side, "who") for side in (search, held_out))
    assert mine.isdisjoint(theirs)
    assert content(search, "other").isdisjoint(theirs)
    assert content(held_out, "other").isdisjoint(mine)


def test_other_items_of_a_second_pool_stay_on_both_sides():
    claim = shared_pools(NAMES, SECOND["with others"]).carries("answer")
    assert any("other: divided" in note and "5 other item(s)" in note for note in claim.notes())
    search, held_out = claim.sample(60, 0)
    assert {*range(5)} <= content(search, "other") & content(held_out, "other")


@pytest.mark.parametrize("split", [None, False])
def test_a_second_pool_that_cannot_be_divided_is_refused(split):
    """As many names at once as there are: neither side has enough of them."""
    claim = shared_pools(NAMES, choice(NAMES, split=split), n=len(NAMES) - 1).carries("answer")
    with pytest.raises(SamplingError, match=r"other has \d+ item\(s\) that are held out of who"):
        claim.sample(20, 0)
    (problem,) = lint(claim, 20)
    assert problem.level == "error" and "such as" in problem.says


def test_pools_without_common_items_are_left_as_they_are():
    claim = shared_pools(NAMES, choice("abcdefgh")).carries("answer")
    search, held_out = claim.sample(60, 0)
    assert content(search, "other") & content(held_out, "other")
    assert not any("other: divided" in note for note in claim.notes())
    wide = shared_pools(NAMES, choice(range(10**12))).carries("answer")
    assert wide.sample(10, 0)[0][0].pairs  # the range is not looked through
