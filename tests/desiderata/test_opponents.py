"""What pairs are compared with that name one answer only, and claims asked for another answer."""

import pytest

from desiderata import CausalModel, Pair, Prompt, alternatives, choice, pairs_hold
from desiderata.choices import answer_named
from desiderata.opponents import MOST


def colour(thing):
    return {"a": "red", "b": "blue", "c": "green"}[thing]


things = CausalModel(
    inputs={"thing": choice("abc"), "place": choice("qrstuvwxyz")},
    mechanisms=[colour],
    prompt="the {thing} in {place} is",
    completion=" {colour}",
)


def test_a_pair_that_names_one_answer_is_compared_with_the_others_of_the_claim():
    search, held_out = things.carries("thing", keeps=["place"], among="named").sample(9)
    for one in (*search, *held_out):
        for pair in one.pairs:
            named = {pair.expected, pair.base_answer, pair.source_answer}
            wrong = {" red", " blue", " green"} - named
            assert set(pair.others) == (wrong if len(named) == 1 else set())
    top = things.carries("thing", keeps=["place"]).sample(9)
    assert not any(pair.others for side in top for one in side for pair in one.pairs)


def test_given_pairs_have_opponents_too_and_their_own_stay():
    rows = [Pair(Prompt(f"p{n}"), Prompt(f"q{n}"), f" w{n % 3}", f" w{n % 3}") for n in range(9)]
    rows.append(Pair(Prompt("p9"), Prompt("q9"), " w0", " w0", others=(" other",)))
    claim = pairs_hold("rows", rows, sense="keeps", among="named")
    for side in claim.sample(9):
        named = {text for pair in side[0].pairs for text in (pair.expected, *pair.others)}
        for pair in side[0].pairs:
            own = (" other",) if pair.base.text == "p9" else tuple(sorted(named - {pair.expected}))
            assert pair.others == own and own


def test_search_sees_no_answer_that_is_held_out():
    """Pairs are compared with answers of their own side only."""
    rows = [Pair(Prompt(f"p{n}"), Prompt(f"q{n}"), f" w{n}", f" w{n}") for n in range(12)]
    search, held_out = pairs_hold("rows", rows, sense="keeps", among="named").sample(12)
    kept = [{pair.expected for pair in side[0].pairs} for side in (search, held_out)]
    assert not kept[0] & kept[1]
    for side, answers in zip((search, held_out), kept, strict=True):
        assert {text for pair in side[0].pairs for text in pair.others} == answers


def test_no_pair_is_compared_with_more_than_a_dozen():
    names = [f"n{i}" for i in range(40)]
    many = CausalModel(
        inputs={"name": choice(names), "place": choice("xyz")},
        mechanisms=[same],
        prompt="{name} in {place} and",
        completion=" {same}",
    )
    one, again = (many.carries("name", keeps=["place"], among="named").sample(30) for _ in range(2))
    keeps = next(made for made in one[0] if made.name == "keeps place")
    assert {len(pair.others) for pair in keeps.pairs} == {MOST}
    assert all(pair.expected not in pair.others for pair in keeps.pairs)
    assert one == again  # which ones they are depends on the pair


def same(name):
    return name


def test_a_claim_is_asked_for_another_answer():
    claim = things.carries("thing", keeps=["place"])
    named = claim.answered(answer_named("among"))
    assert {rule.answer for rule in named.rules} == {alternatives("named")}
    assert named.name == f"{claim.name}, among those each pair names"
    assert named.answered("top") == claim
    first = claim.answered(answer_named("among-first"))
    assert {rule.answer for rule in first.rules} == {alternatives("named", first=True)}
    assert answer_named("top") == "top" and answer_named("sofa") == "sofa"


def test_named_is_the_only_word_for_alternatives():
    with pytest.raises(ValueError, match="among is a list of answers, or 'named'"):
        things.carries("thing", among="all")
    with pytest.raises(ValueError, match="needs two alternatives or more; got 0"):
        things.carries("thing", among=[])
