"""Given pairs: divided where they can be, searched whole where not, held out as the user says."""

import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desiderata import (
    Alternatives,
    Desideratum,
    GivenPairs,
    Pair,
    Prompt,
    lint,
    pairs_hold,
    read_pairs,
)
from desiderata.claim import SamplingError
from desiderata.dividing import NEEDED, groups_sharing_prompts, held_out_groups

from .language_cases import quick


def linked(base, source):
    return Pair(base=Prompt(base), source=Prompt(source), expected=" new", base_answer=" old")


def claim_of(*pairs, name="d"):
    return Desideratum(name=name, part="inside", sense="follows", pairs=pairs)


CHAIN = [linked(f"p{k}", f"p{k + 1}") for k in range(16)]
WHEEL = [linked(f"p{k}", f"p{(k + 1) % 16}") for k in range(16)]
COMMON = [linked(f"p{k}", "the same source") for k in range(16)]
APART = [linked(f"b{k}", f"s{k}") for k in range(16)]
EVERY, ONE, SOME = (
    "every pair shares prompts with every other",
    "there is one pair",
    "some desideratum has too few pairs that share no prompt",
)


@pytest.mark.parametrize(
    "pairs, why",
    [
        (CHAIN, EVERY),
        (WHEEL, EVERY),
        (COMMON, EVERY),
        (APART[:1], ONE),
        (APART[:2], SOME),
        (APART[:3], SOME),
    ],
    ids=["chain", "wheel", "common source", "one pair", "two pairs", "three pairs"],
)
def test_where_nothing_can_be_held_out_both_sides_are_the_same_pairs(pairs, why):
    claim = pairs_hold("by hand", pairs, sense="follows")
    search, held_out = claim.sample(50)
    assert search == held_out
    assert search[0].pairs == tuple(pairs) and search[0].exhaustive
    note = f"nothing held out: {why}; the verdict is about the pairs that search saw"
    assert claim.notes()[-1] == note
    assert not [one for one in lint(claim) if one.level == "error"]
    few, again = claim.sample(2, seed=3)
    assert few == again and len(few[0].pairs) == min(2, len(pairs))


def test_what_can_be_divided_is_held_out():
    claim = pairs_hold("by hand", APART[:4], sense="follows")
    search, held_out = claim.sample(50)
    assert (len(search[0].pairs), len(held_out[0].pairs)) == (3, 1)
    assert not search[0].exhaustive
    assert "nothing held out" not in claim.notes()[-1]


@quick
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 3),
)
def test_a_division_leaves_enough_on_both_sides_and_shares_no_prompt(edges, seed):
    made = [
        claim_of(*(linked(f"p{a}", f"p{b}") for a, b in several), name=f"d{at}")
        for at, several in enumerate(edges)
    ]
    groups = groups_sharing_prompts(made)
    pairs = [pair for one in made for pair in one.pairs]
    assert all(groups[pair.base.text] == groups[pair.source.text] for pair in pairs)
    kept = held_out_groups(made, groups, seed)
    if kept is None:
        return
    texts: dict[bool, set[str]] = {False: set(), True: set()}
    for one in made:
        sides = Counter(groups[pair.base.text] in kept for pair in one.pairs)
        assert sides[True] >= 1 and sides[False] >= NEEDED
    for pair in pairs:
        texts[groups[pair.base.text] in kept] |= {pair.base.text, pair.source.text}
    assert not texts[True] & texts[False]


def test_a_division_that_chance_does_not_find_is_found():
    """Fourteen desiderata of four pairs, of which three have to stay with search."""
    made = [
        claim_of(*(linked(f"{name}{k}", f"{name}{k}s") for k in range(4)), name=name)
        for name in "abcdefghijklmn"
    ]
    search, held_out = GivenPairs("by hand", tuple(made)).sample(50)
    assert {len(one.pairs) for one in search} == {3}
    assert {len(one.pairs) for one in held_out} == {1}


@pytest.mark.parametrize("shape", ["chain", "apart", "names"])
def test_many_linked_rows_are_divided_or_refused_in_linear_time(tmp_path, shape):
    """CPU time for eight times the rows is about eight times as long; a quadratic step or a
    thousand deals over all rows would take far longer."""

    def seconds(n):
        source = {"chain": lambda k: f"p {k + 1}", "apart": lambda k: f"s {k}"}
        rows = (
            {
                "base": f"p {k}",
                "source": source.get(shape, source["apart"])(k),
                "expected": f" {k % 7}",
                "base_answer": f" {k % 5 + 7}",
                "desideratum": f"d{k % (n // 10)}" if shape == "names" else "d",
            }
            for k in range(n)
        )
        path = tmp_path / f"{n}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        start = time.process_time()
        claim = read_pairs(path)
        claim.sample(100)
        assert ("nothing held out" in claim.notes()[-1]) == (shape == "chain")
        return time.process_time() - start

    few = min(seconds(2_000) for _ in range(3))
    assert seconds(16_000) < 8 * 6 * few


def test_the_work_of_dealing_is_bounded(monkeypatch):
    """Where chance finds nothing, deals end after a number of groups, not after a thousand."""
    deals = []

    class Counted:
        def __init__(self, seed):
            pass

        def shuffle(self, order):
            deals.append(len(order))

    monkeypatch.setattr("desiderata.dividing.random.Random", Counted)
    made = [claim_of(*(linked(f"z{k}", f"s{k}") for k in range(4)), name="last")]
    made += [claim_of(*(linked(f"a{k}", f"t{k}") for k in range(30_000)), name="first")]
    assert held_out_groups(made, groups_sharing_prompts(made), 0) is not None
    assert 10 <= len(deals) <= 40


def table(tmp_path, name, rows):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(start, stop, **more):
    row = {"expected": " new", "base_answer": " old"}
    return [{"base": f"b{k}", "source": f"s{k}", **row, **more} for k in range(start, stop)]


def test_pairs_are_held_out_as_given(tmp_path):
    train = table(tmp_path, "train.jsonl", rows_of(0, 6))
    test = table(tmp_path, "test.jsonl", [*rows_of(6, 9), *rows_of(6, 9), *rows_of(9, 11)])
    claim = read_pairs(train, held_out=test, at="all")
    search, held_out = claim.sample(50)
    assert [pair.base.text for pair in search[0].pairs] == [f"b{k}" for k in range(6)]
    assert [pair.base.text for pair in held_out[0].pairs] == [f"b{k}" for k in range(6, 11)]
    assert [len(one.pairs) for side in claim.sample(4) for one in side] == [4, 4]
    assert claim.notes()[0].startswith("test.jsonl: 3 row(s) are there before")
    assert claim.notes()[-1] == "pairs are held out as given: those of the file for that"
    moved = claim.moved("last").answered(Alternatives()).ablated("zero")
    for side in moved.sample(50):
        assert (side[0].at, side[0].answer, side[0].donor) == (("last",), Alternatives(), "zero")


def test_a_prompt_in_both_files_is_an_error(tmp_path):
    train, test = (table(tmp_path, f"{k}.jsonl", rows_of(0, 3 + k)) for k in range(2))
    (problem,) = [
        one for one in lint(read_pairs(train, held_out=test)) if "both in search" in one.says
    ]
    assert problem.level == "error"


def test_files_of_different_desiderata_are_refused(tmp_path):
    train = table(tmp_path, "a.jsonl", [*rows_of(0, 3), *rows_of(3, 5, desideratum="mine")])
    test = table(tmp_path, "b.jsonl", [*rows_of(5, 8), *rows_of(8, 9, desideratum="theirs")])
    with pytest.raises(SamplingError) as caught:
        read_pairs(train, held_out=test).sample(10)
    assert caught.value.problems == (
        "mine: no pair is held out",
        "theirs: pairs are held out, but none are to search on",
    )


def test_desiderata_of_two_files_are_called_alike(tmp_path):
    train = table(tmp_path, "a.jsonl", rows_of(0, 3, desideratum="d"))
    both = [*rows_of(3, 5, desideratum="d"), *rows_of(5, 7, desideratum="d", part="outside")]
    claim = read_pairs(train, held_out=table(tmp_path, "b.jsonl", both))
    assert [one.name for one in claim.desiderata] == ["d (inside follows)"]
    assert [one.name for one in claim.held_out] == ["d (inside follows)", "d (outside follows)"]


def test_what_a_model_cannot_use_is_left_out_and_counted(tmp_path):
    claim = read_pairs(table(tmp_path, "p.jsonl", rows_of(0, 20)))

    def find(one):
        return {3: "answer of 2 tokens", 7: "prompts of unequal length", 9: "answer of 2 tokens"}

    left = claim.without(find)
    assert [len(one.pairs) for one in left.desiderata] == [17]
    assert {pair.base.text for pair in claim.desiderata[0].pairs} - {
        pair.base.text for pair in left.desiderata[0].pairs
    } == {"b3", "b7", "b9"}
    assert left.notes()[0] == (
        "left out 3 of 20 pairs: 2 answer of 2 tokens, such as line 4; "
        "1 prompts of unequal length, such as line 8"
    )
    assert claim.without(lambda one: {}) is claim


def test_a_model_that_can_use_few_of_the_pairs_is_refused(tmp_path):
    path = table(tmp_path, "p.jsonl", rows_of(0, 20))
    for share, n in ((0.2, 5), (0.1, 3), (0.0, 1), (0.99, 20)):
        claim = read_pairs(path, max_bad=share)
        with pytest.raises(ValueError, match=f"{n} of 20 pairs cannot be used: {n} too long") as e:
            claim.without(lambda one, n=n: dict.fromkeys(range(n), "too long"))
        assert f"share of {share:g} is left out: --max-bad" in str(e.value)
    assert "no pair of follows is left" in str(e.value)
    by_hand = pairs_hold("by hand", APART, sense="follows")
    with pytest.raises(ValueError, match="such as 'b0'"):
        by_hand.without(lambda one: dict.fromkeys(range(9), "too long"))


def test_pairs_held_out_as_given_are_left_out_too(tmp_path):
    train = table(tmp_path, "a.jsonl", rows_of(0, 10))
    test = table(tmp_path, "b.jsonl", rows_of(10, 20))
    left = read_pairs(train, held_out=test).without(lambda one: {0: "too long"})
    assert [len(one.pairs) for one in (*left.desiderata, *left.held_out)] == [9, 9]


def test_none_are_no_sample():
    with pytest.raises(SamplingError, match="n must be at least 1"):
        pairs_hold("by hand", APART, sense="follows").sample(0)
