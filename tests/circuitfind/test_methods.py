"""Every method of the table on models whose circuit is known, and what all of them must keep to."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.answers.answer import Target
from circuitfind.answers.spelling import spell
from circuitfind.answers.top import Top
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import build_native
from circuitfind.models.planted import parse_planted, planted_truth
from circuitfind.models.planted_weights import planted_native
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import Mask
from circuitfind.objective.objective import Objective
from circuitfind.search import (
    METHODS,
    SearchConfig,
    SearchProblem,
    candidate_sites,
    search,
    search_rival,
)
from circuitfind.search.descent import noise_of
from circuitfind.search.methods.budget import open_gates
from circuitfind.search.methods.hard_concrete import expected_open, sample
from circuitfind.search.ranks import grid, shortest_prefix
from circuitfind.search.rivals import is_rival
from circuitfind.search.trials import Trials
from tasks import planted as task

from .. import planted as wired

CIRCUIT = {Site(component, "last") for component in wired.CIRCUIT}
# Steps with which a method comes to its end on the planted model; None: it takes none.
STEPS = {
    "constrained": 40,
    "sigmoid": 40,
    "hard-concrete": 60,
    "budget": 60,
}
NAMES = [entry.name for entry in METHODS]
BASELINES = [entry.name for entry in METHODS if entry.baseline]
# What these find on this model are the two carriers and nothing else. The others get there with
# company: `sigmoid` keeps a1.h3, which adds a little, and `hard-concrete` idle sites whose samples
# happened to stay open, since nothing but chance tells them apart.
EXACT = ["constrained", "budget", "attribution", "attribution-ig", "exhaustive", "greedy"]


@pytest.fixture(scope="module")
def train():
    return wired.claim.sample(24, 0)[0]


@pytest.mark.parametrize("method", EXACT)
def test_these_methods_find_the_carriers_and_rank_them_first(planted, train, method):
    result = search(planted, train, method, config=SearchConfig(steps=STEPS.get(method)))
    assert result.success, result.message
    assert set(result.circuit.sites) == CIRCUIT
    ranks = dict(zip(result.mask.sites, result.ranking.tolist(), strict=True))
    assert min(ranks[site] for site in CIRCUIT) > max(
        rank for site, rank in ranks.items() if site not in CIRCUIT
    )


@pytest.mark.parametrize("method", ["sigmoid", "hard-concrete"])
def test_these_recipes_keep_the_carriers_and_what_does_no_harm(planted, train, method):
    result = search(planted, train, method, config=SearchConfig(steps=STEPS[method]))
    assert result.success, result.message
    assert CIRCUIT <= set(result.circuit.sites)
    assert len(result.circuit) < 7
    gates = dict(zip(result.mask.sites, result.mask.membership.tolist(), strict=True))
    assert all(gates[site] > 0.9 for site in CIRCUIT)
    assert gates[Site(head(0, 1), "last")] < 0.1


def test_baselines_are_marked_and_know_nothing_of_the_desiderata(planted, train):
    assert BASELINES == ["random", "activation-norm", "activation-variance"]
    for method in BASELINES[1:]:
        result = search(planted, train, method)
        ranks = dict(zip(result.mask.sites, result.ranking.tolist(), strict=True))
        # The head that copies the query writes a vector of length one, read by nobody.
        assert ranks[Site(head(1, 2), "last")] == pytest.approx(1.0, abs=0.2)
        assert ranks[Site(mlp(1), "last")] == 0.0
        assert result.success
    first, again, other = (
        search(planted, train, "random", config=SearchConfig(seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.ranking, again.ranking)
    assert not torch.equal(first.ranking, other.ranking)


# One that learns a mask under constraints, one that learns many, one that ranks, one that moves.
QUICK = ("constrained", "dcm-2023", "attribution", "greedy")


def slow_but_quick(names: Sequence[str], *more: Any) -> list[Any]:
    """These methods, each with these values, of which only some are in the fast tests."""
    slow = pytest.mark.slow
    return [pytest.param(one, *more, marks=() if one in QUICK else slow) for one in names]


@pytest.mark.parametrize(
    ("method", "size"), [*((name, 4) for name in NAMES), *slow_but_quick(NAMES, 1)]
)
def test_every_method_gives_exactly_the_size_asked_for(planted, train, method, size):
    result = search(planted, train, method, config=SearchConfig(size=size, steps=2, rounds=1))
    assert len(result.circuit) == size
    assert result.ranking.shape == (10,)
    assert bool(result.ranking.isfinite().all())
    if size == 1:
        assert not result.success
        assert "of the size 1 that was asked for" in result.message


def test_constrained_of_two_sites_swaps_its_way_to_the_carriers(planted, train):
    """After two steps the gates know next to nothing: the swaps do the work."""
    result = search(planted, train, config=SearchConfig(size=2, steps=2))
    assert result.success
    assert set(result.circuit.sites) == CIRCUIT


def test_a_size_that_the_sites_do_not_allow_is_refused(planted, train):
    with pytest.raises(ValueError, match="between 1 and the 10 sites that can be patched; got 11"):
        search(planted, train, "random", config=SearchConfig(size=11))
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        SearchConfig(size=0)


@pytest.mark.parametrize(
    "method", slow_but_quick([name for name in NAMES if name not in (*BASELINES, "greedy")])
)
def test_logits_that_are_not_numbers_end_the_search_and_are_named(
    planted, train, method, monkeypatch
):
    spoiled = Objective.passes

    def passes(self, indices, membership, need=None):
        for pieces in spoiled(self, indices, membership):
            yield [piece._replace(output=piece.output * math.nan) for piece in pieces]

    monkeypatch.setattr(Objective, "passes", passes)
    if method == "exhaustive":
        monkeypatch.setattr(
            Top, "lead", lambda _, made, target: torch.full(made.shape[:2], math.nan)
        )
    result = search(planted, train, method, config=SearchConfig(steps=2))
    assert (result.success, result.status) == (False, "fails")
    assert "not a number" in result.message or "is nan" in result.message
    assert result.problems[0] == result.message
    assert result.cost["tokens_forward"] > 0
    assert bool(result.ranking.isfinite().all() and result.mask.membership.isfinite().all())


def test_a_gradient_that_is_not_a_number_is_named_with_its_step(planted, train, monkeypatch):
    plain = Objective.backward

    def backward(self, weights, membership, *rest):
        made = plain(self, weights, membership, *rest)
        membership.grad[3] = math.inf
        return made

    monkeypatch.setattr(Objective, "backward", backward)
    for method in ("constrained", "sigmoid"):
        result = search(planted, train, method, config=SearchConfig(steps=2))
        assert "the gradient" in result.message and "step 0" in result.message
        assert not result.success


def test_scores_that_are_not_numbers_count_as_wrong():
    logits = torch.tensor([[[0.0, 1.0], [math.nan, 1.0], [math.nan, math.nan]]])
    spelling = spell([[[1]], [[0]], [[0]]], torch.device("cpu"))
    target = Target((), torch.tensor([True, True, True]), spelling)
    assert Top().hit(logits, target).tolist() == [[True, False, False]]


def test_empty_and_undecided_masks_are_named(planted, train):
    result = search(planted, train, "dcm-2023", config=SearchConfig(steps=12))
    words = " / ".join(result.problems)
    assert "the circuit is empty" in words
    assert "the mask is empty" in words
    assert "has not decided on" in words and "a1.h1@last 0.1" in words
    decided = search(planted, train, "greedy")
    assert decided.problems == ()


def test_prefixes_are_searched_where_satisfaction_does_not_rise_with_size():
    class Counted(Trials):
        def __init__(self, holds, peak):
            self.holds_at, self.peak, self.tried = holds, peak, set()

        def slacks(self, circuits):
            self.tried |= {len(one) for one in circuits}
            return [
                0.1 if len(one) in self.holds_at else -abs(len(one) - self.peak) / 300
                for one in circuits
            ]

    for n, holds in ((300, range(37, 301)), (300, range(37, 90)), (300, (61,)), (5, (5,)), (9, ())):
        trials = Counted(set(holds), 61)
        found = shortest_prefix(trials, list(range(n)))
        assert len(found) == (min(holds) if holds else 9)
        assert len(trials.tried) < 40
    assert grid(0) == [0]
    assert grid(1) == [0, 1]


def test_budget_gates_sum_to_the_budget_and_their_gradient_keeps_the_sum():
    theta = torch.randn(12, generator=noise_of(0, 0), dtype=torch.float64).requires_grad_()
    for size in (0.5, 3.0, 11.0):
        gates = open_gates(theta, size)
        assert float(gates.detach().sum()) == pytest.approx(size)
        (gradient,) = torch.autograd.grad(gates.sum(), theta)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)
    assert torch.autograd.gradcheck(lambda one: open_gates(one, 3.0), (theta,))
    assert open_gates(theta, 0).tolist() == [0.0] * 12
    assert open_gates(theta, 12).tolist() == [1.0] * 12


def test_hard_concrete_samples_are_open_as_often_as_expected():
    log_alpha = torch.tensor([-2.0, 0.0, 2.0])
    drawn = torch.stack([sample(log_alpha, noise_of(0, step)) for step in range(4000)])
    torch.testing.assert_close(
        (drawn > 0).float().mean(dim=0), expected_open(log_alpha), atol=0.03, rtol=0
    )
    assert bool(((drawn == 0).any(0) & (drawn == 1).any(0)).all())


def test_attribution_is_the_slope_of_what_exhaustive_measures(planted):
    """Each gate a little to either side of its end: the gradient lies between the two slopes,
    which differ where several wrong answers tie."""
    from circuitfind.search.methods.attribution import slopes

    train, _ = wired.claim.sample(12, 0)
    batches, sites = encode(planted, train), candidate_sites(planted, train)
    objective = Objective(planted, batches, sites)
    step = 1e-2 * torch.eye(len(sites))
    for index, desideratum in enumerate(objective.desiderata):
        inside = desideratum.part == "inside"
        start = torch.zeros(1, len(sites)) if inside else torch.ones(1, len(sites))
        here = objective.leads(index, start)
        up = (objective.leads(index, start + step) - here) / 1e-2
        down = (here - objective.leads(index, start - step)) / 1e-2
        slope = slopes(objective, (index,), 0.0)
        assert bool((slope >= torch.minimum(up, down) - 0.05).all())
        assert bool((slope <= torch.maximum(up, down) + 0.05).all())
        if desideratum.sense == "follows":
            assert float(slope[sites.index(Site(head(1, 0), "last"))]) > 1


def named(name):
    made = parse_planted(name)
    return made, build_native(planted_native(made), name)


@pytest.mark.parametrize(
    ("name", "claim", "shared"),
    [
        # Either carrier of each of two digits, an inhibitor: disjoint circuits.
        ("planted:heads=6,backups=1,inhibitors=1", "planted", 0),
        # All must speak through the last MLP.
        ("planted:heads=6,backups=1,inhibitors=1,mlps=carry", "planted", 1),
        # Any two of three carriers of each digit: two circuits share at least one of each.
        ("planted:heads=6,backups=2,decoys=1", "planted-inside", 2),
    ],
)
def test_a_rival_is_found_that_shares_as_little_as_can_be(name, claim, shared):
    made, model = named(name)
    truth = planted_truth(made, claim)
    claims = {"planted": task.claim, "planted-inside": task.inside}
    train, _ = claims[claim].sample(24, 0)
    found = search(model, train, config=SearchConfig(steps=40))
    assert frozenset(found.circuit.sites) in truth
    rival = search_rival(SearchProblem.open(model, train), found, SearchConfig(steps=40))
    assert rival.success, rival.message
    assert frozenset(rival.circuit.sites) in truth
    assert len(set(found.circuit.sites) & set(rival.circuit.sites)) == shared
    assert "the circuit is not unique" in rival.message


def test_a_circuit_that_is_the_only_one_has_no_rival(planted, train):
    found = search(planted, train, config=SearchConfig(steps=40))
    rival = search_rival(SearchProblem.open(planted, train), found, SearchConfig(steps=20))
    assert not rival.success
    assert rival.status == "fails"
    assert rival.message.startswith("no other circuit was found")
    lost = replace(found, success=False, message="it fails")
    with pytest.raises(ValueError, match="it fails"):
        search_rival(SearchProblem.open(planted, train), lost)
    part = replace(found, mask=Mask(found.mask.sites[1:], found.mask.membership[1:]))
    with pytest.raises(ValueError, match="are none of them: "):
        search_rival(SearchProblem.open(planted, train), part)


def test_what_only_adds_or_leaves_out_idle_members_is_no_rival(planted, train):
    batches, sites = encode(planted, train), candidate_sites(planted, train)
    trials = SearchProblem.open(planted, batches, sites=sites).trials()
    carriers = frozenset(sites.index(site) for site in CIRCUIT)
    idle = sites.index(Site(head(0, 1), "last"))
    assert not is_rival(trials, carriers, carriers | {idle})
    assert not is_rival(trials, carriers | {idle}, carriers)
    assert not is_rival(trials, carriers, frozenset({idle}))


def test_the_table_names_a_source_for_every_method():
    assert len(set(NAMES)) == len(NAMES)
    assert all(entry.idea and entry.source for entry in METHODS)
