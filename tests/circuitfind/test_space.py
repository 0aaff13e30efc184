"""The search space: what selectors mean, in which order, and what is refused."""

from dataclasses import replace

import pytest

from circuitfind.mediators.head import HEADS, head
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import (
    Decoder,
    SearchSpace,
    all_sites,
    has_component,
    space_from_json,
)
from circuitfind.mediators.whole import EMBED, MLPS, mlp
from circuitfind.search import SearchConfig, search
from circuitfind.validate import validate

from .. import planted as wired

DECODER = Decoder(3, 2)
AT = ("x", "last")


def names(*selectors, at=AT):
    return [str(site) for site in SearchSpace(at, selectors).sites(DECODER)]


def everywhere(*components):
    return [f"{one}@{position}" for position in AT for one in components]


HEAD_NAMES = [f"a{layer}.h{index}" for layer in range(3) for index in range(2)]
LAYER_BY_LAYER = [
    name for layer in range(3) for name in (*HEAD_NAMES[2 * layer : 2 * layer + 2], f"m{layer}")
]


def test_heads_and_mlps_by_position_then_in_the_order_of_the_pass():
    assert names() == everywhere(*LAYER_BY_LAYER)
    assert [str(site) for site in all_sites(3, 2, AT)] == names()
    assert names(at=("last", "x")) == [*names(at=("last",)), *names(at=("x",))]


@pytest.mark.parametrize(
    ("selectors", "components"),
    [
        (["heads"], HEAD_NAMES),
        (["Heads"], HEAD_NAMES),
        ([HEADS], HEAD_NAMES),
        (["mlps"], ["m0", "m1", "m2"]),
        (["mlps", "heads"], LAYER_BY_LAYER),
        ([MLPS, "embeddings"], ["embed", "m0", "m1", "m2"]),
        (["a1-2.*"], HEAD_NAMES[2:]),
        (["a*.h1"], HEAD_NAMES[1::2]),
        (["m1"], ["m1"]),
        (["*1"], ["a0.h1", "a1.h1", "m1", "a2.h1"]),
        (["heads", "!a0-1.*"], HEAD_NAMES[4:]),
        (["!heads", "!m0"], ["m1", "m2"]),
    ],
)
def test_selectors_without_a_position_hold_at_every_one(selectors, components):
    assert names(*selectors) == everywhere(*components)


def test_selectors_with_a_position_hold_there_alone():
    assert names("a1-2.*@last") == [f"{name}@last" for name in HEAD_NAMES[2:]]
    assert names("mlps", "!m0@last") == ["m0@x", "m1@x", "m2@x", "m1@last", "m2@last"]
    assert names("m2@last", "a0.h1@x", "m2@last") == ["a0.h1@x", "m2@last"]
    assert names(Site(mlp(1), "x"), parse_site("a0.h0@x")) == ["a0.h0@x", "m1@x"]
    assert names("*@x", "!heads") == ["embed@x", "m0@x", "m1@x", "m2@x"]


def test_what_selects_nothing_is_refused_all_at_once():
    with pytest.raises(ValueError) as error:
        names("sofas", "a9.h6@last", Site(head(7, 0), "x"), "heads", "!m5@last", "!a1.h0@sofa")
    for words in ("'sofas' selects", "'a9.h6@last' selects", "'a7.h0@x' selects"):
        assert words in str(error.value)
    for words in ("'!m5@last' leaves no site out", "'!a1.h0@sofa' leaves", "at x, last"):
        assert words in str(error.value)
    assert "'heads'" not in str(error.value)
    with pytest.raises(ValueError, match="the space is empty"):
        names("heads", "!heads")


def test_a_space_is_read_back():
    space = SearchSpace(AT, (HEADS, "!a0.*", Site(mlp(2), "last")))
    assert space.as_json() == {
        "positions": ["x", "last"],
        "selectors": ["heads", "!a0.*", "m2@last"],
    }
    assert space_from_json(space.as_json()).sites(DECODER) == space.sites(DECODER)
    assert space.at(["last"]).sites(DECODER) == SearchSpace(("last",), space.selectors).sites(
        DECODER
    )


def test_a_model_has_the_components_that_its_engine_offers():
    assert has_component(DECODER, head(2, 1)) and has_component(DECODER, mlp(0))
    assert not has_component(DECODER, head(2, 2)) and not has_component(DECODER, mlp(3))


def test_a_search_over_sites_that_are_not_the_usual_ones_validates(planted):
    """Null, ceiling and random circuits are of the space that the search had."""
    train, held_out = wired.claim.sample(24)
    usual = all_sites(planted.n_layers, planted.n_heads, ["last"])
    sites = [*usual, Site(EMBED, "last")]
    result = search(planted, train, sites=sites, config=SearchConfig(steps=20, rounds=1))
    assert result.space is not None
    assert str(result.mask.sites[0]) == "embed@last"
    card = validate(planted, result.circuit, held_out, n_random=4)
    assert card.holds and card.space == result.space.as_json()
    member = replace(result.circuit, sites=(Site(EMBED, "last"),), scores=(0.0,))
    assert validate(planted, member, held_out, checks=["satisfaction"]).findings
    heads = search(planted, train, sites=["heads"], config=SearchConfig(steps=20, rounds=1))
    assert {site.component.kind for site in heads.mask.sites} == {"head"}
    assert heads.circuit.space is not None and heads.circuit.digest != result.circuit.digest
