"""Search on models whose answer is rarely yes and whose truth has eight parts and more."""

import pytest

from circuitfind.mediators.space import all_sites
from circuitfind.objective.encoding import encode
from circuitfind.progress import Progress
from circuitfind.search import METHODS, SearchConfig, SearchProblem, search, solve
from circuitfind.search.local_search import leave_out, polish

from ..votes import Vote, vote_claim, vote_model, vote_truth

ONE, EITHER, TWO_OF_THREE, THREE_OF_FIVE = (1, 1), (2, 1), (3, 2), (5, 3)
FAST = (
    Vote((ONE,) * 8, 6, "zero"),
    Vote((ONE,) * 8, 6, "resample", layers=3, seed=1),
    Vote((EITHER,) * 2 + (ONE,) * 5, 5, "zero", layers=2, seed=2),
    Vote((THREE_OF_FIVE, *(ONE,) * 5), 7, "zero", layers=2, seed=3),
    Vote(((8, 5),), 6, "zero", layers=2, seed=4),
)
QUICK = (FAST[0], FAST[1], FAST[4])
FAMILY = (
    *FAST,
    Vote((ONE,) * 8, 6, "mean", seed=5),
    Vote((ONE,) * 8, 6, "source", seed=6),
    Vote((ONE,) * 8, 4, "zero", layers=6, seed=7),
    Vote((ONE,) * 9, 6, "zero", seed=8),
    Vote((ONE,) * 9, 8, "resample", seed=9),
    Vote((ONE,) * 10, 7, "zero", layers=5, seed=10),
    Vote((ONE,) * 10, 6, "mean", seed=11),
    Vote((ONE,) * 12, 7, "zero", seed=12),
    Vote((ONE,) * 12, 5, "resample", layers=5, seed=13),
    Vote((EITHER,) * 3 + (ONE,) * 4, 6, "zero", seed=14),
    Vote((EITHER,) * 2 + (ONE,) * 6, 7, "mean", seed=15),
    Vote((EITHER,) * 2 + (ONE,) * 6, 7, "resample", seed=16),
    Vote((EITHER,) * 4 + (ONE,) * 3, 6, "zero", seed=17),
    Vote((TWO_OF_THREE,) * 3 + (ONE,) * 2, 6, "zero", seed=18),
    Vote((TWO_OF_THREE, *(ONE,) * 6), 7, "resample", seed=19),
    Vote((THREE_OF_FIVE, THREE_OF_FIVE), 6, "zero", seed=20),
    Vote(((4, 2), (4, 2)), 6, "mean", seed=21),
    Vote(((3, 3),) * 3, 7, "resample", seed=22),
    Vote(((10, 6),), 6, "zero", seed=23),
)


def search_pairs(vote):
    return vote_claim(vote).sample(10**6, 0)[0]


@pytest.mark.parametrize(
    "vote",
    [
        pytest.param(one, id=one.name, marks=() if one in QUICK else pytest.mark.slow)
        for one in FAMILY
    ],
)
def test_constrained_is_exact_where_the_answer_is_rarely_yes(vote):
    truth = vote_truth(vote)
    assert min(map(len, truth)) >= 4
    model = vote_model(vote)
    result = search(
        model, search_pairs(vote), sites=all_sites(model.n_layers, vote.heads, ("last",))
    )
    assert result.success, result.message
    assert frozenset(result.circuit.sites) in truth


def test_the_family_is_what_it_is_for():
    assert len(FAMILY) >= 20
    assert len({vote.name for vote in FAMILY}) == len(FAMILY)
    vote = FAST[0]
    problem = SearchProblem.open(vote_model(vote), search_pairs(vote))
    (bound,) = problem.bounds
    assert bound.null > 0.9 * bound.value  # a circuit of none is nearly right
    (truth,) = vote_truth(vote)
    assert len(truth) == 9  # the MLP too
    trials = problem.trials()
    whole = frozenset(problem.sites.index(site) for site in truth)
    none, *alone = trials.slacks([frozenset(), *(frozenset([site]) for site in whole)])
    assert set(alone) == {none}  # a plateau
    assert trials.holds(whole)


@pytest.mark.slow
def test_quorums_that_several_heads_make_up_give_several_circuits():
    assert len(vote_truth(FAST[2])) == 4
    assert len({len(one) for one in vote_truth(FAST[3])}) == 1


# Some that learn and some that do not; all end in the same local search.
SOME = ("constrained", "dcm-2023", "budget", "attribution", "random")


@pytest.mark.parametrize(
    "method",
    [pytest.param(one, marks=() if one in SOME else pytest.mark.slow) for one in METHODS.names()],
)
def test_no_method_that_ends_in_local_search_misses_what_all_sites_do(method):
    """Ten steps teach a mask nothing here."""
    vote = Vote((ONE,) * 8, 5, "zero", layers=2, seed=3)
    found = search(
        vote_model(vote), search_pairs(vote), method, config=SearchConfig(steps=2, polish=True)
    )
    assert found.success
    assert frozenset(found.circuit.sites) in vote_truth(vote)


def test_without_local_search_the_circuit_is_a_prefix():
    vote = FAST[0]
    problem = SearchProblem.open(vote_model(vote), search_pairs(vote))
    rough, fine = (
        solve(problem, "random", SearchConfig(seed=1, polish=polish)) for polish in (None, True)
    )
    assert rough.success and fine.success
    assert len(fine.circuit) == 9 <= len(rough.circuit)
    order = rough.ranking.argsort(descending=True).tolist()
    prefix = {problem.sites[n] for n in order[: len(rough.circuit)]}
    assert {*rough.circuit.sites} == prefix
    mask = solve(problem, config=SearchConfig(steps=2, polish=False))
    assert len(mask.circuit) >= 9


def test_a_circuit_that_needs_a_site_that_cannot_be_patched_is_none():
    """All but one of the necessary heads can be patched: all sites do not hold either."""
    vote = FAST[0]
    model, (truth,) = vote_model(vote), vote_truth(vote)
    missing = min(truth, key=str)
    sites = [site for site in all_sites(model.n_layers, vote.heads, ("last",)) if site != missing]
    (batch,) = encode(model, search_pairs(vote))
    # What is outside the space is never ablated, so that the head's bit is always taken away here.
    problem = SearchProblem.open(model, [batch], config=SearchConfig(vetoes=(str(missing),)))
    assert len(problem.sites) == len(sites)
    result = solve(problem)
    assert not result.success
    assert "no circuit of the" in result.message
    every = frozenset(range(len(problem.sites)))
    assert not problem.trials().holds(every)


def test_blocks_are_left_out_in_few_trials():
    """Nine of 36 sites are needed; the order says nothing."""
    vote = Vote((ONE,) * 8, 8, "zero", seed=1)
    problem = SearchProblem.open(vote_model(vote), search_pairs(vote))
    n_sites = len(problem.sites)
    trials = problem.trials()
    order = [(7 * n) % n_sites for n in range(n_sites)]
    assert sorted(order) == list(range(n_sites))
    left = leave_out(trials, frozenset(range(n_sites)), order)
    assert len(left) == 9
    assert trials.holds(left)
    assert len(trials.seen) <= n_sites
    assert all(not trials.holds(left - {site}) for site in left)


def test_the_best_order_costs_the_fewest_trials():
    vote = FAST[0]
    problem = SearchProblem.open(vote_model(vote), search_pairs(vote))
    (members,) = [frozenset(problem.sites.index(site) for site in one) for one in vote_truth(vote)]
    others = [n for n in range(len(problem.sites)) if n not in members]
    counts = []
    for order in ([*sorted(members), *others], [*others, *sorted(members)]):
        trials = problem.trials()
        before = problem.fit.cost.flops
        found = polish(trials, frozenset(), order, SearchConfig(), Progress())
        assert found == members
        counts.append(problem.fit.cost.flops - before)
    assert counts[0] < counts[1]
