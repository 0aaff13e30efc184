"""Pins and vetoes: every method keeps to them exactly, and says when they stand in the way."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import mlp
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.search import (
    METHODS,
    SearchConfig,
    SearchProblem,
    candidate_sites,
    search,
    search_rival,
)

from .. import planted as wired

NAMES = [entry.name for entry in METHODS]
CIRCUIT = {Site(component, "last") for component in wired.CIRCUIT}
PINS, VETOES = ("m0@last", "a1.h2@last"), ("a1.h3@last", "a0.h0@last")
# One of each kind: constraints, a mask, a ranking, moves of its own. The others take minutes.
QUICK = ("constrained", "sigmoid", "attribution", "greedy")
FEW = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
BOTH: dict[str, Any] = {"pins": PINS, "vetoes": VETOES}


@pytest.fixture(scope="module")
def train():
    return wired.claim.sample(24, 0)[0]


def names(circuit):
    return {str(site) for site in circuit.sites}


@pytest.mark.parametrize("method", FEW)
def test_every_method_keeps_to_pins_and_vetoes(planted, train, method):
    config = SearchConfig(steps=4, rounds=1, **BOTH)
    result = search(planted, train, method, config=config)
    sites = candidate_sites(planted, train)
    assert result.mask.sites == sites
    members, gates = (
        names(result.circuit),
        dict(zip(map(str, sites), result.mask.membership, strict=True)),
    )
    assert members >= set(PINS) and not members & set(VETOES)
    assert all(gates[name] == 1 for name in PINS) and all(gates[name] == 0 for name in VETOES)
    for point in result.frontier:
        assert set(point.sites) >= set(PINS) and not set(point.sites) & set(VETOES)
        assert point.size == len(point.sites)
    ranks = dict(zip(map(str, sites), result.ranking.tolist(), strict=True))
    free = [rank for name, rank in ranks.items() if name not in {*PINS, *VETOES}]
    assert min(ranks[name] for name in PINS) > max(free)
    assert max(ranks[name] for name in VETOES) < min(free)


@pytest.mark.parametrize("method", FEW)
def test_what_is_scored_is_the_whole_circuit(planted, train, method):
    """What was tried on the way scored as exactly these sites do, by an objective without pins."""
    # A carrier is pinned, without which nothing would move.
    config = SearchConfig(steps=4, rounds=1, pins=("a1.h0@last", "m0@last"), vetoes=VETOES)
    result = search(planted, train, method, config=config)
    sites = result.mask.sites
    trials = SearchProblem.open(planted, train, sites=sites).trials()
    places = {str(site): place for place, site in enumerate(sites)}
    assert result.frontier
    for point in result.frontier:
        members = frozenset(places[name] for name in point.sites)
        assert trials.slacks([members]) == [point.slack]
    assert any(point.slack > -1 for point in result.frontier)


@pytest.mark.parametrize("method", FEW)
def test_pins_count_towards_a_size(planted, train, method):
    for size in (2, 4):
        config = SearchConfig(size=size, steps=2, rounds=1, **BOTH)
        result = search(planted, train, method, config=config)
        assert len(result.circuit) == size
        assert names(result.circuit) >= set(PINS) and not names(result.circuit) & set(VETOES)


def test_the_carriers_come_beside_the_pins(planted, train):
    result = search(planted, train, config=SearchConfig(steps=40, **BOTH))
    assert result.success, result.message
    assert set(result.circuit.sites) == CIRCUIT | {Site(mlp(0), "last"), Site(head(1, 2), "last")}
    loss = dict(zip(map(str, result.circuit.sites), result.circuit.scores, strict=True))
    assert loss["m0@last"] == 0 and loss["a1.h0@last"] > 0.3  # a pinned site is scored too


@pytest.mark.parametrize("method", ["constrained", "exhaustive", "random"])
@pytest.mark.parametrize("size", [None, 3])
def test_a_vetoed_carrier_is_named_as_what_stands_in_the_way(planted, train, method, size):
    decided: dict[str, Any] = {"vetoes": ("a1.h0@last", "a0.h1@last"), "pins": ("m0@last",)}
    result = search(planted, train, method, config=SearchConfig(steps=40, size=size, **decided))
    assert not result.success and result.status == "fails"
    assert "the veto of a1.h0@last stands in the way" in result.message
    # Nobody is blamed for a veto of what is not missed, or a pin of what does no harm.
    assert "a0.h1@last" not in result.message and "m0@last" not in result.message
    assert "'follows answer' (1.00, otherwise " in result.message


def stays(desideratum):
    """What asks that the same patches leave the answer as it is."""
    pairs = tuple(replace(pair, expected=pair.base_answer) for pair in desideratum.pairs)
    return replace(desideratum, name="stays", sense="keeps", pairs=pairs)


def test_a_pin_that_breaks_something_is_named(planted, train):
    config = SearchConfig(steps=4, pins=tuple(map(str, CIRCUIT)))
    result = search(planted, [stays(train[0])], config=config)
    assert not result.success
    both = " and ".join(f"the pin of {site}" for site in sorted(map(str, CIRCUIT)))
    assert f"{both} stand in the way: a circuit of 0 sites" in result.message


def test_a_claim_that_fails_anyway_blames_nobody(planted, train):
    """The answer cannot both follow and stay, whatever a person decided."""
    config = SearchConfig(steps=20, rounds=1, vetoes=("a0.h1@last", "m1@last"))
    result = search(planted, [train[0], stays(train[0])], config=config)
    assert not result.success
    assert "in the way" not in result.message


def test_what_is_decided_moves_no_bound(planted, train):
    sites, batches = candidate_sites(planted, train), encode(planted, train)
    plain = Objective(planted, batches, sites)
    fixed = Objective(planted, batches, sites, decided={sites[0]: 1.0, sites[-3]: 0.0})
    assert fixed.bounds() == plain.bounds()
    # Nor does what carries all of the answer, by which both ends would be alike.
    for share in (0.0, 1.0):
        carriers = Objective(planted, batches, sites, decided=dict.fromkeys(CIRCUIT, share))
        assert carriers.bounds() == plain.bounds()
    assert fixed.sites == sites[1:-3] + sites[-2:]
    free = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)).round()
    whole = torch.cat([torch.ones(3, 1), free[:, :6], torch.zeros(3, 1), free[:, 6:]], dim=1)
    assert torch.equal(fixed.complete(free), whole)
    assert torch.equal(fixed.scores(free), plain.scores(whole))


def test_nothing_left_to_choose_is_a_result(planted, train):
    every = [str(site) for site in candidate_sites(planted, train)]
    pins = tuple(map(str, CIRCUIT))
    vetoes = tuple(name for name in every if name not in pins)
    for config in (SearchConfig(pins=pins, vetoes=vetoes), SearchConfig(size=2, pins=pins)):
        result = search(planted, train, config=config)
        assert result.success and names(result.circuit) == set(pins)


def test_a_rival_keeps_to_them_too(planted, train):
    config = SearchConfig(steps=20, pins=("a1.h0@last", "m0@last"), vetoes=("a1.h3@last",))
    found = search(planted, train, config=config)
    rival = search_rival(SearchProblem.open(planted, train, config=config), found, config)
    assert not rival.success and {"a1.h0@last", "m0@last"} <= names(rival.circuit)
    assert "a1.h3@last" not in names(rival.circuit)
    pinned = SearchConfig(pins=tuple(map(str, found.circuit.sites)))
    opened = SearchProblem.open(planted, train, config=pinned)
    assert "pinned" in search_rival(opened, found, pinned).message


def test_unknown_sites_come_with_near_ones(planted, train):
    config = SearchConfig(pins=("a1.h9@last", "<b>"), vetoes=("m0@lost",), size=11)
    with pytest.raises(ValueError) as raised:
        search(planted, train, config=config)
    words = str(raised.value)
    assert "'a1.h9@last'" in words and "near: a1.h" in words and "m0@last" in words
    assert "'<b>'" in words and "size must be between 1 and the 9 sites" in words


def test_decisions_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="both pinned and vetoed: m0@last") as raised:
        SearchConfig(pins=("m0@last", "m1@last"), vetoes=("m0@last",), size=1)
    assert "2 sites are pinned" in str(raised.value)
