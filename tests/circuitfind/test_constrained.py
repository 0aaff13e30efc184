"""When `constrained` learns a mask and when one gradient does; where only a mask gets there."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from circuitfind.mediators.site import Site
from circuitfind.models.grafted import grafted_truth, parse_grafted
from circuitfind.models.loading import load_model
from circuitfind.progress import Progress
from circuitfind.search import SearchConfig, SearchProblem, solve
from circuitfind.search.methods.constrained import (
    EVERY,
    SETTLED,
    STEPS,
    cuts,
    relax,
    search_constrained,
)
from tasks import grafted as task

from .. import planted as wired

CIRCUIT = {Site(component, "last") for component in wired.CIRCUIT}
POLISHED = SearchConfig(polish=True)
MIXED = "grafted:parts=3,mixers=1,seed=21"


@pytest.fixture(scope="module")
def opened(planted):
    return SearchProblem.open(planted, wired.claim.sample(24, 0)[0])


@pytest.fixture(scope="module")
def mixed():
    """A model in which a head carries both values, so that its gradient promises too much."""
    return SearchProblem.open(load_model(MIXED, device="cpu"), task.claim.sample(48, 7)[0])


def steps_of(result):
    return sum(row["stage"] == "relax" for row in result.history)


def cost_of(problem, *args):
    before = problem.fit.cost.flops
    result = solve(problem, *args)
    return result, problem.fit.cost.flops - before


def test_cuts_are_where_scores_fall_off_most():
    falling = torch.tensor([9.0, 8.0, 0.5, 0.4, -0.3])
    assert cuts(falling, 16) == [2, 4]
    assert cuts(falling, 3) == [2, 3]
    assert cuts(torch.tensor([-1.0, -2.0]), 16) == []
    assert cuts(torch.tensor([]), 16) == []


def test_where_one_gradient_does_no_mask_is_learned_and_it_costs_less(opened):
    quick, less = cost_of(opened, "constrained", POLISHED)
    learned, more = cost_of(opened, "constrained", replace(POLISHED, steps=40))
    assert {*quick.circuit.sites} == {*learned.circuit.sites} == CIRCUIT
    assert steps_of(quick) == 0 < steps_of(learned)
    assert quick.mask.membership.sum() == len(CIRCUIT)
    assert less < more


def test_it_costs_less_than_its_gradient_alone_with_local_search(opened):
    (one, mine), (other, its) = (
        cost_of(opened, name, POLISHED) for name in ("constrained", "attribution")
    )
    assert one.circuit.sites == other.circuit.sites
    assert mine < its


def test_a_size_is_kept_to_where_one_gradient_does(opened):
    found = solve(opened, "constrained", replace(POLISHED, size=2))
    assert found.success and steps_of(found) == 0
    assert {*found.circuit.sites} == CIRCUIT
    assert not solve(opened, "constrained", replace(POLISHED, size=1)).success


@pytest.mark.slow
def test_a_mask_is_learned_where_the_gradient_misleads(mixed):
    truth = grafted_truth(parse_grafted(MIXED))
    found = solve(mixed, "constrained", POLISHED)
    assert steps_of(found) > 0
    assert frozenset(found.circuit.sites) in truth
    assert not solve(mixed, "attribution", POLISHED).success


def test_descent_ends_at_the_first_trial_that_holds(opened):
    tried = []

    def holds(gates):
        tried.append(gates.clone())
        return True

    openness, history = relax(opened, SearchConfig(), Progress(), tried=holds)
    assert len(history) == EVERY and len(tried) == 1
    assert torch.equal(openness, tried[0])
    _, history = relax(opened, SearchConfig(), Progress(), tried=lambda gates: False)
    assert SETTLED < len(history) <= STEPS
    _, alone = relax(opened, SearchConfig(), Progress())
    assert history == alone


def test_gates_that_did_not_change_sides_are_not_tried_again(opened):
    tried = []

    def never(gates):
        tried.append(tuple((gates > 0.5).tolist()))
        return False

    relax(opened, SearchConfig(), Progress(), tried=never)
    assert all(one != other for one, other in pairwise(tried))
    assert 0 < len(tried) < STEPS // EVERY


def test_it_ends_in_a_circuit_by_itself_too(opened):
    found = search_constrained(opened, replace(POLISHED, polish=False), Progress())
    assert steps_of(found) > 0
    assert CIRCUIT <= {*found.circuit.sites}
