"""Claims: the desiderata that they compile to, their names, and what a claim may not say.

`LAWS` says by hand what each desideratum's pairs are; the oracle in `language_cases` lists every
such pair by brute force. A sample must give exactly those, or N of them where there are many.
"""

from functools import cache

import pytest

from desiderata import GivenPairs, Pair, pairs_hold

from .language_cases import CASES, SIDES, Law, desideratum, lawful_pairs, pair, texts, wide_boxes

ARITHMETIC = CASES["arithmetic"].model
BOXES = CASES["boxes"].model
N = 70  # so many that a sample is complete where the oracle finds up to 50


def moves(name):
    return lambda base, source, expected: base[name] != source[name] and expected != base["answer"]


def moves_to_something_new(name):
    return lambda base, source, expected: (
        base[name] != source[name] and expected not in (base["answer"], source["answer"])
    )


def answers_differ(base, source, expected):
    """Here the variable moves wherever the answer does, since nothing else that varies counts."""
    return base["answer"] != source["answer"]


LETTERED = ("x", "y", "op", "style")
BOXED = ("labels", "objects", "query")
LAWS = {
    ("arithmetic", "x"): {
        "follows x": Law(["x"], ["x"], moves("x")),
        "keeps y": Law(["y"], []),
        "keeps op": Law(["op"], []),
        "keeps style": Law(["style"], []),
        "crossed x": Law(LETTERED, ["x"], moves_to_something_new("x")),
        "nothing else carries x": Law(["x"], [], answers_differ),
    },
    ("arithmetic", ("x", "y")): {
        "follows x and y": Law(["x", "y"], ["x", "y"], moves("x")),
        "keeps op": Law(["op"], []),
        "keeps style": Law(["style"], []),
        "crossed x and y": Law(LETTERED, ["x", "y"], moves_to_something_new("x")),
        "nothing else carries x and y": Law(["x", "y"], [], answers_differ),
    },
    ("boxes", "position"): {
        "follows position": Law(["labels", "query"], ["position"], moves("position")),
        "keeps objects": Law(["objects"], []),
        "crossed position": Law(BOXED, ["position"], moves_to_something_new("position")),
        "nothing else carries position": Law(["labels", "query"], [], answers_differ),
    },
    ("boxes", "answer"): {
        "follows answer": Law(BOXED, ["answer"], answers_differ),
        "crossed answer": Law(BOXED, ["answer"], answers_differ),
        "nothing else carries answer": Law(BOXED, [], answers_differ),
    },
}
KINDS = {
    "follows": ("inside", "follows"),
    "keeps": ("inside", "keeps"),
    "crossed": ("inside", "follows"),
    "nothing": ("outside", "keeps"),
}


@cache
def sampled(task, variables):
    return CASES[task].model.carries(variables, complete=True).sample(N)


@pytest.mark.parametrize("task, variables", LAWS)
def test_a_claim_compiles_to_these_desiderata(task, variables):
    for side in sampled(task, variables):
        kinds = {made.name: (made.part, made.sense) for made in side}
        assert kinds == {name: KINDS[name.split()[0]] for name in LAWS[task, variables]}


@pytest.mark.parametrize(
    "task, variables, name", [(*key, name) for key, laws in LAWS.items() for name in laws]
)
def test_a_sample_is_what_the_oracle_finds(task, variables, name):
    for side, desiderata in zip(SIDES, sampled(task, variables), strict=True):
        (made,) = (made for made in desiderata if made.name == name)
        check_against_oracle(made, CASES[task], LAWS[task, variables][name], side)


def check_against_oracle(made, case, law, side):
    got = {(pair.base.text, pair.source.text, pair.expected) for pair in made.pairs}
    lawful = set(lawful_pairs(case, law, side))
    assert 0 < len(got) == len(made.pairs)
    assert got <= lawful
    assert got == lawful or (len(lawful) > 50 and len(got) == N)


@pytest.mark.parametrize("same", [(), ("op",), ("op", "style")])
def test_what_suffices_samples_is_what_the_oracle_finds(same):
    law = Law([name for name in LETTERED if name not in same], [], answers_differ)
    for side, (made,) in zip(SIDES, ARITHMETIC.suffices(same=same).sample(N), strict=True):
        assert (made.part, made.sense, made.at) == ("outside", "keeps", ("all",))
        check_against_oracle(made, CASES["arithmetic"], law, side)


def test_a_pair_knows_the_answers_of_both_prompts():
    for made in sampled("arithmetic", "x")[0]:
        for one in made.pairs:
            for inputs, answer in (
                (one.base_inputs, one.base_answer),
                (one.source_inputs, one.source_answer),
            ):
                assert answer == str(CASES["arithmetic"].evaluate(inputs, {})["answer"])


def test_crossed_gives_the_sources_answer_only_where_the_variable_alone_decides_it():
    by_part = {made.name: made for made in sampled("boxes", "position")[0]}
    by_all = {made.name: made for made in sampled("boxes", "answer")[0]}
    assert by_part["crossed position"].is_novel
    assert all(one.expected == one.source_answer for one in by_all["crossed answer"].pairs)
    assert not by_all["crossed answer"].is_novel


@pytest.mark.parametrize("variable", ["query", "labels"])
def test_an_interchange_that_leaves_a_domain_is_passed_over(variable):
    """A forced query that the base does not label, or labels without the base's query."""
    search, held_out = wide_boxes().carries(variable).sample(20)
    for made in (*search, *held_out):
        for one in made.pairs if made.sense == "follows" else ():
            inputs = {**one.base_inputs, variable: one.source_inputs[variable]}
            assert inputs["query"] in inputs["labels"]


@pytest.mark.parametrize(
    "options, name, kinds",
    [
        ({}, "carries x at last", "follows x, keeps y, keeps op, keeps style, crossed x"),
        (
            {"keeps": ["op"], "crossed": False},
            "carries x at last, keeping only op, not crossed",
            "follows x, keeps op",
        ),
        (
            {"keeps": [], "follows": False},
            "carries x at last, keeping nothing, not followed",
            "crossed x",
        ),
        (
            {"keeps": ["style", "y"], "complete": True, "at": ("x", "last")},
            "carries x at x and last, keeping only y, style, and nothing else does",
            "follows x, keeps y, keeps style, crossed x, nothing else carries x",
        ),
    ],
)
def test_a_claims_name_says_how_it_was_loosened(options, name, kinds):
    claim = ARITHMETIC.carries("x", **options)
    assert claim.name == name
    assert ", ".join(rule.name for rule in claim.rules) == kinds


def test_names_of_other_claims():
    assert ARITHMETIC.carries(["x", "y"]).name == "carries x and y at last"
    assert ARITHMETIC.suffices().name == "suffices at all"
    assert ARITHMETIC.suffices(at="x", same=["y", "op"]).name == "suffices at x, same op, y"


def test_degrees_and_positions_reach_their_desiderata():
    claim = BOXES.carries(
        "position", at=["query", "last"], at_least={"keeps objects": 0.5}, weight=2, donor="mean"
    )
    for made in claim.sample(5)[1]:
        assert made.at == claim.at == ("query", "last")
        assert made.at_least == (0.5 if made.name == "keeps objects" else 0.95)
        assert (made.weight, made.donor) == (2, "mean")
    assert {made.at for made in claim.moved("labels.0").sample(5)[0]} == {("labels.0",)}
    weighted = BOXES.carries("position", at_least=0.8, weight={"crossed position": 3})
    assert [(rule.at_least, rule.weight) for rule in weighted.rules] == [(0.8, 1)] * 2 + [(0.8, 3)]


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: ARITHMETIC.carries("z"), "no variable 'z' in .* are: x, y, op, style, answer$"),
        (lambda: ARITHMETIC.carries(["x", "z"]), "no variable 'z'"),
        (lambda: ARITHMETIC.carries("x", keeps=["z"]), "no variable 'z'"),
        (lambda: ARITHMETIC.suffices(same=["z"]), "no variable 'z'"),
    ],
)
def test_unknown_variables_in_a_claim(make, says):
    with pytest.raises(LookupError, match=says):
        make()


@pytest.mark.parametrize(
    "options, says",
    [
        (
            {"keeps": ["x", "y"]},
            r"^keeps=\['x'\] must name inputs that x does not depend on; "
            "those are: y, op, style$",
        ),
        ({"keeps": ["answer"]}, r"keeps=\['answer'\] must name inputs"),
        ({"at_least": 1.1}, r"follows x: at_least must lie in \(0, 1\]; got 1.1"),
        ({"at_least": 0}, r"keeps op: at_least must lie in \(0, 1\]; got 0"),
        ({"at_least": float("nan")}, "got nan"),
        (
            {"at_least": {"keep y": 0.5}},
            r"at_least names unknown desiderata \['keep y'\]; this "
            "claim has: follows x, keeps y, keeps op, keeps style, crossed x$",
        ),
        ({"weight": 0}, "crossed x: weight must be positive; got 0"),
        ({"weight": {"keeps y": -1}}, "^keeps y: weight must be positive; got -1$"),
        ({"weight": {"z": 1}}, r"weight names unknown desiderata \['z'\]"),
        ({"donor": "nothing"}, "donor must be one of source, mean, zero, resample; got 'nothing'"),
        ({"follows": False, "crossed": False, "keeps": []}, "the claim is empty"),
    ],
)
def test_options_of_a_claim_that_cannot_be(options, says):
    with pytest.raises(ValueError, match=says):
        ARITHMETIC.carries("x", **options)


def test_every_problem_of_a_claim_is_in_one_message():
    with pytest.raises(ValueError) as caught:
        BOXES.carries(
            "position",
            keeps=["query"],
            at_least=2,
            weight={"z": 1, "follows position": -1},
            donor="none",
        )
    for problem in (
        "keeps=['query']",
        "weight names unknown desiderata ['z']",
        "got -1",
        "got 'none'",
        "follows position: at_least",
        "crossed position: at_least",
    ):
        assert problem in str(caught.value)


def test_claims_of_nothing():
    with pytest.raises(ValueError, match=r"^carries\(\) needs at least one variable"):
        ARITHMETIC.carries([])
    with pytest.raises(ValueError, match="needs an input in which source and base may differ"):
        ARITHMETIC.suffices(same=LETTERED)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"pairs": ()}, "^d: a desideratum needs at least one pair$"),
        ({"part": "within"}, "^d: part must be one of inside, outside; got 'within'$"),
        ({"sense": "moves"}, "^d: sense must be one of follows, keeps; got 'moves'$"),
        (
            {"at_least": -1, "weight": 0, "part": "in", "sense": "", "pairs": (), "donor": "x"},
            "at_least.*; .*weight.*; .*donor.*; .*one pair; .*part.*; .*sense",
        ),
    ],
)
def test_desiderata_that_cannot_be(options, says):
    with pytest.raises(ValueError, match=says):
        desideratum(**{"pairs": (pair(1),), **options})
    with pytest.raises(ValueError, match="needs at least one pair"):
        pairs_hold("by hand", [], sense="keeps")


@pytest.mark.parametrize(
    "answers, is_novel",
    [
        (("3", "1", "2"), True),
        (("3", "1", None), False),
        (("2", "1", "2"), False),
        (("1", "1", "2"), False),
    ],
)
def test_what_is_novel(answers, is_novel):
    made = desideratum(pair(0, "9", "1", "2"), pair(1, *answers))
    assert made.pairs[1].is_novel is made.is_novel is is_novel


def test_given_pairs_are_divided_so_that_no_prompt_is_on_both_sides():
    pairs = [pair(number) for number in range(12)]
    linked = [
        Pair(base=one.base, source=pairs[k // 2].source, expected="new", base_answer="old")
        for k, one in enumerate(pairs)
    ]
    claim = pairs_hold("by hand", linked, sense="follows", at=("x", "last"), weight=2)
    assert (claim.name, claim.at) == ("by hand", ("x", "last"))
    for seed in range(5):
        search, held_out = claim.sample(50, seed)
        assert not texts(search) & texts(held_out)
        assert {one for (made,) in (search, held_out) for one in made.pairs} == set(linked)
        assert len(search[0].pairs) > len(held_out[0].pairs)
    assert "names and values are not" in claim.notes()[0]
    assert [len(made.pairs) for side in claim.sample(2) for made in side] == [2, 2]


def test_given_pairs_follow_their_seed_and_move_with_their_claim():
    claim = pairs_hold("by hand", [pair(number) for number in range(30)], sense="follows")
    assert claim.sample(9, seed=1) == claim.sample(9, seed=1)
    assert claim.sample(9, seed=1) != claim.sample(9, seed=2)
    moved = claim.moved("x")
    assert moved.at == ("x",)
    assert {made.at for side in moved.sample(9) for made in side} == {("x",)}


@pytest.mark.parametrize("seed", range(6))
def test_each_of_several_given_desiderata_gets_pairs_on_both_sides(seed):
    made = [
        desideratum(*(pair(f"{name}{k}") for k in range(4)), name=name) for name in ("d", "e", "f")
    ]
    for side in GivenPairs("by hand", tuple(made)).sample(10, seed):
        assert [one.name for one in side] == ["d", "e", "f"]


def test_fewer_than_all_given_pairs_are_no_first_ones():
    """A file in order of its templates gives some of each."""
    made = pairs_hold("by hand", [pair(number) for number in range(300)], sense="follows")
    few, every = (made.sample(n, 0)[1][0].pairs for n in (20, 300))
    assert len(few) == 20 and few == made.sample(20, 0)[1][0].pairs
    places = [every.index(one) for one in few]
    assert places == sorted(places) and max(places) > len(every) / 2


def test_given_pairs_that_cannot_be_divided_are_all_on_both_sides():
    one, other = pair(1), pair(2)
    linked = Pair(base=one.base, source=other.source, expected="new", base_answer="old")
    made = (
        desideratum(one, other, linked, name="linked"),
        desideratum(pair(3), name="single"),
    )
    search, held_out = GivenPairs("by hand", made).sample(10)
    assert search == held_out
    assert [(len(one.pairs), one.exhaustive) for one in search] == [(3, True), (1, True)]


def test_another_donor_is_in_every_desideratum_and_in_the_name():
    claim = ARITHMETIC.carries("x", complete=True)
    ablated = claim.ablated("zero")
    assert ablated.name == f"{claim.name}, donor zero"
    assert ablated.ablated("mean").name == f"{claim.name}, donor mean"
    assert ablated.ablated("source") == claim
    assert {made.donor for side in ablated.sample(8) for made in side} == {"zero"}
    given = GivenPairs("given", claim.sample(8)[0]).ablated("mean")
    assert given.name == "given, donor mean"
    assert {made.donor for made in given.desiderata} == {"mean"}
    for made in (claim, given):
        with pytest.raises(ValueError, match="donor must be one of source, mean, zero, resample"):
            made.ablated("noise")  # type: ignore[arg-type]
