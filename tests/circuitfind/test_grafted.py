"""Grafted models solve their task, and what is right by construction is right when tried."""

import pytest
import torch

from circuitfind.bench.truth import unread
from circuitfind.mediators.site import Site
from circuitfind.models.grafted import (
    CLAIMS,
    HEADS,
    LAYERS,
    Grafted,
    grafted_truth,
    parse_grafted,
    roles_of,
)
from circuitfind.models.grafted_weights import code_of, grafted_native, host_weights
from circuitfind.models.loading import load_model
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import Objective
from circuitfind.search import candidate_sites
from tasks import grafted as task

ONE, TWO = "grafted:parts=3", "grafted:parts=6,places=2,seed=1"
MIXED = "grafted:parts=3,mixers=1,seed=1"


def scores_of(name, claim, circuits, n=24):
    """The lowest satisfaction of each circuit, of the members of a truth by site."""
    model = load_model(name, device="cpu")
    pairs = getattr(task, claim).sample(n, 1)[0]
    sites = candidate_sites(model, pairs)
    rows = torch.stack([membership_of(sites, one) for one in circuits(sites)])
    return Objective(model, encode(model, pairs), sites).scores(rows).amin(dim=1).tolist()


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        (ONE, "claim"),
        (ONE, "complete"),
        (ONE, "both"),
        (TWO, "two_places"),
        (MIXED, "claim"),
        (MIXED, "complete"),
    ],
)
def test_what_is_right_by_construction_holds_and_no_member_can_go(name, claim):
    """Nor where everything else is patched beside: a missing part has no other way to come."""
    truth = grafted_truth(parse_grafted(name), claim)
    first = sorted(truth[0], key=str)
    right = [frozenset[Site](one) for one in truth]

    def circuits(sites):
        whole = frozenset(sites)
        less = [truth[0] - {site} for site in first]
        # But for what is another way of the same truth, and what carries what has to stay.
        roles = roles_of(parse_grafted(name))
        carry_right = [Site(one, "last") for one in (roles.right, roles.mixer) if one]
        others = frozenset().union(*truth, carry_right) - truth[0]
        return [*right, *less, *(whole - others - {site} for site in first)]

    found = scores_of(name, claim, circuits)
    assert min(found[: len(right)]) == 1.0
    assert max(found[len(right) :]) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS[3:])
@pytest.mark.parametrize(
    "name", [pytest.param("grafted:parts=3,places=2,seed=1", marks=pytest.mark.slow), TWO]
)
def test_two_places_have_the_truth_that_they_should(name, claim):
    truth = grafted_truth(parse_grafted(name), claim)
    movers = len(roles_of(parse_grafted(name)).movers)
    assert len(truth) == (2**movers if claim == "two_places" else 1)
    less = [truth[0] - {site} for site in sorted(truth[0], key=str)]
    found = scores_of(name, claim, lambda sites: [*truth, *less])
    assert min(found[: len(truth)]) == 1.0
    assert max(found[len(truth) :]) < 0.9


@pytest.mark.parametrize(
    "name", [MIXED, pytest.param("grafted:parts=6,mixers=1,seed=2", marks=pytest.mark.slow)]
)
def test_a_mixer_brings_the_left_value_with_fewer_sites_but_the_right_one_too(name):
    """With either carrier of each part; alone it brings neither."""
    grafted = parse_grafted(name)
    roles = roles_of(grafted)
    model, pairs = load_model(name, device="cpu"), task.claim.sample(24, 1)[0]
    sites = candidate_sites(model, pairs)
    assert roles.mixer is not None
    mixer = Site(roles.mixer, "last")
    firsts, seconds = (
        frozenset(Site(one, "last") for one in same) for same in (roles.carriers, roles.seconds)
    )
    assert grafted_truth(grafted) == (firsts | seconds,)
    circuits = [firsts | {mixer}, seconds | {mixer}, firsts, frozenset([mixer])]
    rows = torch.stack([membership_of(sites, one) for one in circuits])
    objective = Objective(model, encode(model, pairs), sites)
    names = [one.name for one in objective.desiderata]
    scores = objective.scores(rows)
    follows, keeps = (scores[:, names.index(name)] for name in ("follows left", "keeps right"))
    assert float(follows[:2].min()) > 0.8 and float(follows[2:].max()) < 0.7
    assert float(keeps[:2].max()) < 0.3 and float(keeps[2]) == 1.0 and float(keeps[3]) < 0.3
    with pytest.raises(LookupError, match="a mixer carries both values"):
        grafted_truth(grafted, "both")


def test_all_sites_do_not_hold_where_something_has_to_stay():
    none, whole = scores_of(ONE, "claim", lambda sites: [frozenset(), frozenset(sites)])
    assert none < 0.1 and whole < 0.1


def test_the_host_is_there_and_busy():
    """Every head that was not given up looks and writes as the host's does."""
    native, roles = grafted_native(Grafted()), roles_of(Grafted())
    given_up = {roles.before, roles.asked, roles.right, *roles.carriers}
    assert len(given_up) == 6
    old, new = host_weights(), native.weights
    for layer in range(LAYERS):
        for index in range(HEADS):
            mine = new[f"layers.{layer}.attn.v.weight"][16 * index : 16 * index + 8, :64]
            own = old[f"layers.{layer}.attn.v.weight"][8 * index : 8 * index + 8]
            taken = any(one.layer == layer and one.part == index for one in given_up)
            assert torch.equal(mine, own) != taken
    model = load_model("grafted", device="cpu")
    assert unread(model) == frozenset()  # there is layer norm, so that nothing is claimed
    assert (model.n_layers, model.n_heads) == (LAYERS, HEADS)


def test_codes_are_bits():
    codes = code_of(torch.tensor([0, 5]))
    assert codes.shape == (2, 16)
    assert codes[0].tolist() == [1.0, 0.0] * 8
    assert codes[1, 10:].tolist() == [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]


def test_names_and_claims_that_are_wrong_are_refused():
    assert parse_grafted("grafted:parts=6,places=2,seed=7") == Grafted(parts=6, places=2, seed=7)
    for name, words in (
        ("grafted:parts=4", "parts must be 1, 2, 3, 6; got 4"),
        ("grafted:places=3,seed=-1", "places must be 1 or 2; got 3; seed must lie"),
        ("grafted:places=2,mixers=1", "mixers must be 0, or 1 where places is 1; got 1"),
        ("grafted:mixers=2", "mixers must be 0, or 1 where"),
        ("grafted:part=3", "not key=value with a known key"),
        ("planted:parts=3", "begins with grafted:"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_grafted(name)
    with pytest.raises(LookupError, match="no truth for 'inside'"):
        grafted_truth(Grafted(), "inside")
