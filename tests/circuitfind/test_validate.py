"""The validator, on a circuit that is known to be right and on ones that are known not to be."""

from dataclasses import replace
from math import inf, nextafter

import pytest
import torch

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.objective.encoding import encode
from circuitfind.objective.intervals import interval
from circuitfind.objective.objective import Objective, slack
from circuitfind.search import candidate_sites
from circuitfind.search.trials import scores_until_failure
from circuitfind.validate import DesideratumScore, card_from_json, validate
from circuitfind.validate.checks.leave_one_out import (
    MATERIAL,
    effect_of_removal,
    judge_removals,
    pairs_to_tell,
)
from circuitfind.validate.checks.satisfaction import judge
from circuitfind.validate.makeup import random_circuits
from circuitfind.validate.scores import score_desiderata
from circuitfind.validate.thresholds import holm

from .. import planted as wired


def circuit_of(*members):
    sites = tuple(Site(member, "last") for member in members)
    return Circuit(
        model="planted",
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=sites,
        scores=(0.0,) * len(sites),
    )


@pytest.fixture(scope="module")
def held_out():
    return wired.claim.sample(96, 3)[1]


@pytest.fixture(scope="module")
def cards(planted, held_out):
    """Cards of the true circuit, half of it, a wrong one, and the true one with an idle head."""
    members = {
        "true": wired.CIRCUIT,
        "half": wired.CIRCUIT[:1],
        "wrong": (head(1, 2), head(1, 3)),
        "padded": (*wired.CIRCUIT, head(1, 2)),
    }
    return {
        name: validate(planted, circuit_of(*sites), held_out, n_random=60)
        for name, sites in members.items()
    }


def finding(card, name):
    return next(found for found in card.findings if found.name == name)


def test_the_true_circuit_holds_in_every_check(cards):
    card = cards["true"]
    assert card.holds
    assert {found.verdict for found in card.findings} == {"holds"}
    for score in card.desiderata:
        assert (score.satisfaction, score.n, score.split) == (1.0, 96, "held-out")
        assert (score.low, score.high) == interval(96, 96)
        assert 0.9 < score.low < score.high == 1.0
    assert finding(card, "random circuits").value == 1.0


@pytest.mark.parametrize("name", ["half", "wrong"])
def test_what_does_not_carry_the_answer_fails(cards, name):
    card = cards[name]
    assert not card.holds
    assert finding(card, "satisfaction").verdict == "fails"
    assert finding(card, "random circuits").verdict in ("fails", "inconclusive")


def test_a_wrong_circuit_loses_to_random_ones(cards):
    found = finding(cards["wrong"], "random circuits")
    assert found.verdict == "fails"
    assert found.value < 0.5


def test_a_tie_with_random_circuits_is_no_win(planted, held_out):
    """One idle head: alone, no other head of its layer carries anything either."""
    card = validate(planted, circuit_of(head(1, 2)), held_out, n_random=20)
    found = finding(card, "random circuits")
    assert (found.verdict, found.value) == ("fails", 0.0)
    assert all(row["slack"] <= 0 for row in found.details)


@pytest.mark.parametrize(
    ("hits", "verdict"), [(60, "fails"), (93, "inconclusive"), (97, "inconclusive"), (100, "holds")]
)
def test_satisfaction_holds_where_the_whole_interval_does(hits, verdict):
    low, high = interval(hits, 100)
    score = DesideratumScore(
        name="follows x",
        part="inside",
        sense="follows",
        n=100,
        null=0.0,
        ceiling=1.0,
        satisfaction=hits / 100,
        low=low,
        high=high,
        at_least=0.95,
        need=0.95,
        holds=hits >= 95,
        vacuous=False,
        ablation="source",
        split="held-out",
    )
    found = judge([score])
    assert (found.verdict, found.value) == (verdict, hits / 100)


def test_pairs_that_are_all_there_are_have_no_interval(planted, held_out):
    sites = candidate_sites(planted, held_out)
    half = torch.tensor([float(site.component == head(1, 0)) for site in sites])
    for every in (True, False):
        desiderata = [replace(one, every=every) for one in held_out]
        objective = Objective(planted, encode(planted, desiderata), sites)
        score = score_desiderata(objective, objective.bounds(), half)[0]
        assert 0 < score.satisfaction < 0.5 and score.every is every
        ends = (score.satisfaction,) * 2 if every else interval(96 - len(score.wrong), 96)
        assert (score.low, score.high) == ends


def test_removals_are_tested_over_sites_and_desiderata():
    """Six pairs lost and none won has p = 0.016: enough among two tests, not among ten."""
    lost = {"follows x": (6, 0, 192)}
    others = {f"keeps {n}": (0, 0, 192) for n in range(4)}
    few = judge_removals({"a0.h0": lost, "a0.h1": lost})
    many = judge_removals({"a0.h0": lost | others, "a0.h1": lost | others})
    assert (few.verdict, few.value) == ("holds", 1.0)
    assert (many.verdict, many.value) == ("inconclusive", 0.0)
    assert "Holm over 10" in many.says


def test_no_member_of_a_broken_circuit_is_called_idle():
    changes = {"a0.h0": {"x": (0, 0, 192)}, "a0.h1": {"x": (50, 0, 192)}}
    assert judge_removals(changes).verdict == "fails"
    broken = judge_removals(changes, ["x"])
    assert broken.verdict == "inconclusive" and "does not reach 'x'" in broken.brief


def test_an_idle_member_is_found_out(cards):
    found = finding(cards["padded"], "leave one out")
    assert found.verdict == "fails"
    effects = {row["site"]: row for row in found.details}
    assert effects["a1.h2@last"]["effect"] == 0.0
    assert not effects["a1.h2@last"]["needed"]
    assert effects["a1.h0@last"]["needed"]
    for row in effects.values():
        assert set(row["effects"]) == {score.name for score in cards["padded"].desiderata}
        assert max(row["effects"].values()) == row["effects"][row["desideratum"]] == row["effect"]
    assert "a1.h2@last" in found.says


def test_null_and_ceiling_are_those_of_no_site_and_all(cards):
    by_name = {score.name: score for score in cards["true"].desiderata}
    follows, alone = by_name["follows answer"], by_name["nothing else carries answer"]
    assert (follows.null, follows.ceiling) == (0.0, 1.0)
    # Outside an empty circuit everything is patched, outside the full one nothing.
    assert (alone.part, alone.null, alone.ceiling) == ("outside", 0.0, 1.0)


def test_a_card_is_read_back(cards):
    read = card_from_json(cards["true"].as_json())
    assert read.desiderata == cards["true"].desiderata
    assert read.findings == cards["true"].findings
    with pytest.raises(ValueError, match="not a report with a card"):
        card_from_json({"desiderata": [{"name": "x"}], "checks": []})


def test_intervals_are_clopper_pearson():
    # Clopper and Pearson 1934; the rule of three for no hits, 1 - 0.025 ** (1 / n) exactly.
    assert interval(0, 60) == pytest.approx((0.0, 1 - 0.025 ** (1 / 60)), abs=1e-9)
    assert interval(57, 60) == pytest.approx((0.8608, 0.9896), abs=1e-3)


def test_holm_steps_down_and_stops():
    assert holm([0.001, 0.02, 0.04], 3) == [True, True, True]
    assert holm([0.03, 0.001, 0.04], 3) == [False, True, False]
    assert holm([0.001, 0.02], 8) == [True, False]


def test_what_a_removal_may_cost_is_the_pairs_lost_less_those_won():
    # The ends of the intervals by the rule of three and its like, closed forms.
    idle = effect_of_removal("a0.h0", {"one": (0, 0, 72), "two": (0, 0, 90)}, 0.95)
    assert idle["most"] == pytest.approx(1 - 0.025 ** (1 / 72)) and idle["effect"] == 0
    assert idle["most"] <= MATERIAL < 1 - 0.025 ** (1 / 71)
    assert pairs_to_tell([(0, 0, 40), (0, 0, 50)], 0.95) == 72
    # A member that does harm is not needed, though some pairs are lost without it too.
    harm = effect_of_removal("a0.h0", {"one": (6, 30, 192)}, 0.95)
    assert harm["effect"] == -0.125 and harm["p"] > 0.99 and harm["most"] < 0
    # What one desideratum wins pays for nothing that another loses.
    mixed = effect_of_removal("a0.h0", {"one": (6, 30, 192), "two": (6, 6, 192)}, 0.95)
    assert mixed["effect"] == 0 and mixed["most"] > MATERIAL
    assert mixed["desideratum"] == "two" and (mixed["lost"], mixed["won"]) == (6, 6)


@pytest.mark.parametrize("mine", [-1.0, -0.5, -0.2, 0.03])
def test_a_race_is_won_as_if_everyone_ran_to_the_end(planted, held_out, mine):
    batches = encode(planted, held_out)
    sites = candidate_sites(planted, held_out)
    objective = Objective(planted, batches, sites)
    bounds, live = objective.bounds(), list(range(len(batches)))
    masks = torch.bernoulli(torch.full((60, len(sites)), 0.6))
    masks[0] = 1.0
    full = slack(objective.scores(masks), bounds, [0.0] * len(bounds))
    none = [0.0] * len(bounds)
    raced = slack(scores_until_failure(objective, masks, bounds, none, live, mine), bounds, none)
    assert torch.equal(raced >= mine, full >= mine)
    assert torch.equal(raced[full >= mine], full[full >= mine])
    assert bool((raced >= full).all())
    # What just falls short, or ties where more is asked, runs no further.
    tie = nextafter(float(full[0]), inf)
    beyond = scores_until_failure(objective, masks[:1], bounds, none, live, tie)
    assert len(live) > 1 and bool(beyond.isnan().any())


def test_random_circuits_keep_the_make_up_and_are_never_the_circuit(planted):
    from circuitfind.mediators.space import all_sites
    from circuitfind.objective.mask import membership_of

    sites = all_sites(3, 4, ["last", "x"])
    chosen = [Site(head(1, 0), "last"), Site(head(1, 1), "last"), Site(head(2, 3), "x")]
    membership = membership_of(sites, chosen)
    drawn = random_circuits(sites, membership, 200, seed=0)
    assert len(drawn) == 200
    assert drawn == random_circuits(sites, membership, 200, seed=0)
    assert len(set(drawn)) > 10
    mine = frozenset(membership.nonzero()[:, 0].tolist())
    for members in drawn:
        assert members != mine
        made = sorted((sites[i].position, sites[i].component.layer) for i in members)
        assert made == [("last", 1), ("last", 1), ("x", 2)]
    whole_layer = membership_of(sites, [Site(head(0, index), "x") for index in range(4)])
    assert random_circuits(sites, whole_layer, 5, seed=0) == []


def test_a_site_that_the_claim_does_not_offer_is_refused(planted, held_out):
    with pytest.raises(LookupError, match=r"a7\.h0@last are not among the 10"):
        validate(planted, circuit_of(head(7, 0)), held_out)
