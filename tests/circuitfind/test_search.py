"""Search on models whose answer is known: what must be found, and what must fail."""

import random
from dataclasses import replace

import pytest
import torch

from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import mlp
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Bound, Objective, slack
from circuitfind.progress import Progress
from circuitfind.search import METHODS, SearchConfig, SearchProblem, search, solve
from circuitfind.search.local_search import grow, polish
from circuitfind.search.methods.dcm_2023 import PENALTIES, _train
from circuitfind.search.trials import Trials
from desiderata import CausalModel, choice, distinct, integers, item_of

from .. import planted as wired

CIRCUIT = {Site(component, "last") for component in wired.CIRCUIT}


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=() if n < 3 else pytest.mark.slow) for n in range(10)]
)
def test_constrained_returns_exactly_the_planted_circuit(planted, seed):
    train, _ = wired.claim.sample(48, seed)
    result = search(planted, train, config=SearchConfig(seed=seed, steps=60))
    assert result.success, result.message
    assert set(result.circuit.sites) == CIRCUIT
    assert min(result.circuit.scores) > 0.3


def test_the_frontier_has_the_best_of_each_size(planted):
    train, _ = wired.claim.sample(48, 0)
    result = search(planted, train, config=SearchConfig(steps=40))
    sizes = [point.size for point in result.frontier]
    assert sizes == sorted(set(sizes))
    at = {point.size: point for point in result.frontier}
    assert {0, 1, 2} <= set(sizes)
    assert at[2].slack >= 0
    assert set(at[2].sites) == {str(site) for site in CIRCUIT}
    assert at[1].slack < 0
    assert at[0].satisfaction["follows answer"] < 0.1
    assert set(at[2].satisfaction) == {desideratum.name for desideratum in train}


def test_constraints_that_exclude_each_other_fail_and_are_named(planted):
    """The answer cannot both follow every change of the values and stay under the same change."""
    follows = wired.task.carries("values", keeps=[], crossed=False).sample(48)[0]
    stays = [
        desideratum
        for desideratum in wired.task.carries("values", keeps=["keys"], crossed=False).sample(48)[0]
        if desideratum.name == "keeps keys"
    ]
    twisted = [
        replace(
            stays[0],
            name="nothing moves",
            pairs=tuple(replace(pair, expected=pair.base_answer) for pair in follows[0].pairs),
        )
    ]
    result = search(planted, [*follows, *twisted], config=SearchConfig(steps=40, rounds=2))
    assert not result.success
    assert result.status == "fails"
    assert "no circuit of the" in result.message
    assert "'follows values' reaches" in result.message or "'nothing moves'" in result.message
    assert "in circuits that break another" in result.message


def test_where_none_holds_the_nearest_circuit_has_no_site_that_brings_it_no_nearer(planted):
    """One of two carriers brings what there is; the sites ranked before it are idle."""
    train, _ = wired.claim.sample(48, 0)
    idle, carrier = [Site(mlp(0), "last"), Site(mlp(1), "last")], Site(wired.CIRCUIT[0], "last")
    problem = SearchProblem.open(planted, train, sites=[*idle, carrier])
    trials, ranked = problem.trials(), [problem.sites.index(site) for site in (*idle, carrier)]
    found = polish(trials, frozenset(ranked), ranked, SearchConfig(rounds=0), Progress())
    assert not trials.holds(found)
    assert trials.slacks([frozenset()])[0] < trials.slacks([found])[0]
    assert found == {ranked[2]}


def test_a_variable_that_never_reaches_the_position_is_named(planted):
    """At the first value's token nothing about the query can have arrived."""

    def prompt(keys, values, query):
        from desiderata import join

        parts = [("first", values[0]) if n == 0 else values[n] for n in range(3)]
        pieces = []
        for key, part in zip(keys, parts, strict=True):
            pieces += [f"{key} ", part, " "]
        return join([*pieces, query])

    task = CausalModel(
        inputs=dict(wired.task.inputs),
        mechanisms=wired.task.mechanisms,
        prompt=prompt,
        completion=" {answer}",
    )
    train, _ = task.carries("query", at="first", keeps=[], crossed=False).sample(48)
    result = search(planted, train, config=SearchConfig(steps=20, rounds=1))
    assert not result.success
    assert "'follows query' reaches 0.00" in result.message
    assert "does not pass through these sites" in result.message


def test_dcm_2023_trains_a_mask_for_each_penalty(planted, monkeypatch):
    """Side by side, and each as it would be alone."""
    train, _ = wired.claim.sample(24, 0)
    result = search(planted, train, "dcm-2023", config=SearchConfig(steps=5))
    assert [row["step"] for row in result.history[:-1]] == [0, 1, 2, 3, 4]
    objective = Objective(planted, encode(planted, train), result.mask.sites)
    together, _ = _train(objective, SearchConfig(steps=15), Progress())
    assert len(together) == len(PENALTIES)
    assert not torch.allclose(together[0], together[-1], atol=1e-3)
    for number in (0, len(PENALTIES) - 1):
        monkeypatch.setitem(_train.__globals__, "PENALTIES", (PENALTIES[number],))
        alone, _ = _train(objective, SearchConfig(steps=15), Progress())
        torch.testing.assert_close(alone[0], together[number], atol=2e-2, rtol=0)
    assert result.mask.membership.max() < 0.2  # five rounds of 0.01 a step do not get far
    assert not result.success


def test_dcm_2023_descends_as_released(planted):
    """One round by hand: Adam's first step has the size of its learning rate, against the sign."""
    train, _ = wired.task.carries("answer", crossed=False, keeps=[]).sample(24, 0)
    result = search(planted, train, "dcm-2023", config=SearchConfig(steps=1))
    moved = {
        str(site): float(gate)
        for site, gate in zip(result.mask.sites, result.mask.membership, strict=True)
    }
    # sqrt's gradient at 0 is 15.8 a unit of penalty: only sites worth more than about 0.19 logits
    # (at weight 5 and penalty 0.06) open at all, by one learning rate.
    assert moved["a1.h0@last"] == pytest.approx(0.01)
    assert moved["a1.h1@last"] == pytest.approx(0.01)
    assert moved["a0.h1@last"] == 0.0
    assert moved["m1@last"] == 0.0


def test_dcm_2024_keeps_the_rounded_mask_that_validates_best(planted):
    train, _ = wired.claim.sample(96, 0)
    result = search(planted, train, "dcm-2024", config=SearchConfig(steps=16))
    assert result.success, result.message
    assert set(result.circuit.sites) >= CIRCUIT
    rows = [row for row in result.history if row["stage"] == "batches"]
    assert [row["step"] for row in rows] == [3, 7, 11, 15]
    best = max((row["mean satisfaction"], row["size"]) for row in rows)
    assert len(result.circuit) == best[1]
    # Adam moves a gate by about a tenth a step: after four none is past a half.
    assert rows[0]["size"] == 0
    assert rows[0]["mean satisfaction"] < best[0]


class Interrupted(Exception):
    pass


class Kept(Progress):
    """Keeps states in memory as a checkpoint would, and stops after some saves."""

    def __init__(self, stop_after=None, state=None):
        self.stop_after, self.state, self.saves = stop_after, state, 0

    def restore(self):
        return self.state

    def save(self, state):
        import copy

        self.state, self.saves = copy.deepcopy(dict(state)), self.saves + 1
        if self.saves == self.stop_after:
            raise Interrupted


@pytest.mark.parametrize(
    "method",
    [
        *("constrained", "dcm-2023", "dcm-2024", "budget"),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("sigmoid", "hard-concrete")),
    ],
)
def test_going_on_ends_with_the_same_circuit(planted, method):
    train, _ = wired.claim.sample(24, 1)
    config = SearchConfig(steps=12, rounds=1)
    whole = search(planted, train, method, config=config)
    broken = Kept(stop_after=2)
    with pytest.raises(Interrupted):
        search(planted, train, method, config=config, progress=broken)
    gone_on = search(planted, train, method, config=config, progress=Kept(state=broken.state))
    assert gone_on.circuit == whole.circuit
    torch.testing.assert_close(gone_on.mask.membership, whole.mask.membership, atol=0, rtol=0)
    strip = {"seconds"}
    assert {k: v for k, v in gone_on.cost.items() if k not in strip} == {
        k: v for k, v in whole.cost.items() if k not in strip
    }


def test_same_seed_same_result(planted):
    train, _ = wired.claim.sample(24, 1)
    first, second = (search(planted, train, config=SearchConfig(steps=8)) for _ in range(2))
    assert first.circuit == second.circuit
    assert first.history == second.history


def test_unknown_method_lists_the_known(planted):
    with pytest.raises(LookupError, match="constrained, dcm-2023"):
        search(planted, [], "magic")


def test_vacuous_desiderata_do_not_lead_the_search_but_are_reported(planted):
    """A claim whose `keeps` both ends satisfy: say so, and find the circuit all the same."""
    task = CausalModel(
        inputs={
            "keys": distinct(choice(wired.KEYS, split=False), 3),
            "values": distinct(choice(wired.VALUES, split=False), 3),
            "query": item_of("keys"),
            "swap": integers(0, 1),
        },
        mechanisms=wired.task.mechanisms,
        prompt=lambda keys, values, query, swap: wired.prompt(
            keys[::-1] if swap else keys, values[::-1] if swap else values, query
        ),
        completion=" {answer}",
    )
    train, _ = task.carries("answer").sample(32)
    result = search(planted, train, config=SearchConfig(steps=40))
    assert result.success, result.message
    assert "empty and the full circuit too: keeps swap" in result.message
    assert set(result.circuit.sites) == CIRCUIT


def test_bounds_scale_between_null_and_ceiling():
    scaled = Bound(null=0.1, ceiling=0.9, at_least=0.95, absolute=False, novel=False)
    assert scaled.value == pytest.approx(0.1 + 0.95 * 0.8)
    outside = Bound(null=0.9, ceiling=0.1, at_least=0.5, absolute=False, novel=False)
    assert outside.value == pytest.approx(0.5)
    crossed = Bound(null=0.0, ceiling=0.0, at_least=0.95, absolute=True, novel=True)
    assert (crossed.value, crossed.vacuous, crossed.unreached) == (0.95, False, False)
    never = Bound(null=0.0, ceiling=0.02, at_least=0.95, absolute=True, novel=False)
    assert (never.value, never.vacuous, never.unreached) == (0.95, False, True)
    always = Bound(null=1.0, ceiling=0.99, at_least=0.95, absolute=True, novel=False)
    assert (always.vacuous, always.unreached) == (True, False)


def test_slack_is_that_of_the_worst_off_and_ignores_what_was_not_scored():
    bounds = [Bound(0.0, 1.0, 0.9, False, False), Bound(0.0, 1.0, 0.8, False, False)]
    scores = torch.tensor([[1.0, 0.7], [0.95, 0.9], [0.5, float("nan")]])
    torch.testing.assert_close(slack(scores, bounds, [0.0, 0.0]), torch.tensor([-0.1, 0.05, -0.4]))
    # A margin never asks for more than all pairs.
    assert slack(torch.ones(1, 2), bounds, [0.5, 0.5]).item() == 0.0


def test_search_and_selection_pairs_are_disjoint(planted):
    train, _ = wired.claim.sample(24, 0)
    batches = encode(planted, train)
    sites = (Site(mlp(0), "last"),)
    made = SearchProblem.open(planted, batches, sites=sites)
    for fit, select in zip(made.fit.batches, made.select.batches, strict=True):
        assert not set(fit.desideratum.pairs) & set(select.desideratum.pairs)
        assert len(fit) + len(select) == 24


def test_which_circuits_hold_is_known_without_scoring_all_on_everything(planted):
    """What follows weeds out most, so that the others are tried on few."""
    batches = encode(planted, wired.claim.sample(12, 0)[0])
    sites = search(planted, batches).mask.sites
    objective = Objective(planted, batches, sites)
    kinds = (objective.bounds(), (0.0,) * len(batches), tuple(range(len(batches))))
    rng = random.Random(0)
    circuits = [frozenset(rng.sample(range(len(sites)), size)) for size in range(1, len(sites))]
    whole = frozenset(range(len(sites)))
    circuits += [whole, circuits[0], whole - {0}]
    one, other = Trials(objective, *kinds), Trials(objective, *kinds)
    expected = [
        each for each, clear in zip(circuits, one.slacks(circuits), strict=True) if clear >= 0
    ]
    assert 0 < len(expected) < len(circuits)
    assert other.reaching(circuits) == expected
    assert set(other.seen) == set(expected) and one.seen[whole][0] == other.seen[whole][0]
    assert one.reaching(circuits) == expected and other.reaching([]) == []


def tried(seen):
    """Trials of two live desiderata and one that is not, with these slacks and satisfactions."""
    nobody = Objective.__new__(Objective)  # what was tried needs no run
    rows = {
        frozenset(members): (clear, torch.tensor([*row, float("nan")]))
        for members, (clear, *row) in seen.items()
    }
    return Trials(nobody, (), (), (0, 1), rows)


def test_the_best_trial_is_the_smallest_that_holds_or_the_nearest():
    far, near, exact, roomy = (2,), (0,), (0, 1), (0, 1, 2)
    seen = {roomy: (0.3, 1.0, 1.0), exact: (0.0, 0.9, 0.9), near: (-0.1, 0.8, 0.9)}
    made = tried({far: (-0.4, 0.5, 0.9), **seen})
    assert made.best() == frozenset(exact) and made.holds(frozenset(exact))
    assert made.best(size=1) == frozenset(near) and not made.holds(frozenset(near))
    assert tried({far: (-0.4, 0.5, 0.9), near: seen[near]}).best() == frozenset(near)
    # As large and as good: the first in order, so that the order of trials decides nothing.
    assert tried({(4, 5): (0.1, 1.0, 1.0), (3, 9): (0.1, 1.0, 1.0)}).best() == frozenset((3, 9))


def test_what_a_member_is_worth_is_the_mean_over_desiderata():
    """Only live desiderata count; the others have no numbers here."""
    made = tried({(3, 7): (0.0, 1.0, 0.9), (7,): (-0.6, 0.4, 0.9), (3,): (-0.1, 0.9, 0.8)})
    worth = made.losses(frozenset((3, 7)))
    torch.testing.assert_close(worth, torch.tensor([0.3, 0.1]))


class _Given(Objective):
    """Desiderata whose satisfactions are given for each circuit, by its only site."""

    def __init__(self, senses, table) -> None:
        made = wired.claim.sample(2, 0)[0][0]
        self.made, self.table = tuple(replace(made, sense=sense) for sense in senses), table
        self.sites, self.scored = tuple(range(len(table))), []

    @property
    def desiderata(self):
        return self.made

    def scores(self, membership, only=None):
        self.scored.append((only, len(membership)))
        return torch.tensor(self.table)[membership.argmax(dim=1)]


def test_a_circuit_just_at_one_bound_has_to_reach_the_next_one_too():
    """What follows is scored first, and what falls short of it no further."""
    table = [[0.2, 0.95], [1.0, 0.95], [1.0, 0.94]]  # of the keeps, of the follows
    objective = _Given(("keeps", "follows"), table)
    bounds = (Bound(0.0, 1.0, 0.9, False, False), Bound(0.0, 1.0, 0.95, False, False))
    made = Trials(objective, bounds, (0.0, 0.0), (0, 1))
    one, two, three = (frozenset((site,)) for site in range(3))
    assert made.reaching([one, two, three]) == [two]
    assert objective.scored == [([1], 3), ([0], 2)]
    assert made.holds(two) and made.seen[two][0] == 0.0


class _ByCount(Trials):
    """Trials in which each of the sites 0 to 99 brings a circuit nearer by this much."""

    def __init__(self, gain: float) -> None:
        self.gain, self.tried = gain, set()

    def slacks(self, circuits):
        self.tried |= set(circuits)
        return [self.gain * len(members) - 1 for members in circuits]

    def reaching(self, circuits, least=0.0):
        return [
            one
            for one, clear in zip(circuits, self.slacks(circuits), strict=True)
            if clear >= least
        ]


@pytest.mark.parametrize(("gain", "holds"), [(0.05, True), (0.04, True), (0.01, False)])
def test_growing_goes_on_only_while_its_pace_would_get_there(gain, holds):
    """Twenty and 25 of 32 steps get there; at a pace that needs 100, one round is enough to see."""
    trials = _ByCount(gain)
    grown = grow(trials, frozenset(), range(100), SearchConfig(rounds=4), Progress())
    assert trials.holds(grown) == holds
    assert len(grown) == (round(1 / gain) if holds else 8)
    assert len(trials.tried) < 20 * 40


def test_pairs_made_ready_once_serve_many_searches(planted):
    train, _ = wired.claim.sample(24, 0)
    configs = [SearchConfig(steps=20, seed=seed) for seed in (0, 1)]
    apart = [search(planted, train, config=config) for config in configs]
    opened = SearchProblem.open(planted, train)
    for config, alone in zip(configs, apart, strict=True):
        found = solve(opened, "constrained", config)
        assert found.circuit == alone.circuit and found.history == alone.history
        assert torch.equal(found.mask.membership, alone.mask.membership)
        assert found.frontier == alone.frontier
    together = opened.fit.cost.tokens_forward
    assert solve(opened).circuit.seed == 0  # what they were opened with
    assert together < sum(int(alone.cost["tokens_forward"]) for alone in apart)


def test_pairs_serve_only_searches_with_the_decisions_that_they_were_opened_with(planted):
    train, _ = wired.claim.sample(24, 0)
    config = SearchConfig(steps=4, pins=("m0@last", "m1@last"))
    opened = SearchProblem.open(planted, train, config=config)
    solve(opened, config=replace(config, pins=("m1@last", "m0@last"), size=3))
    for changes, words in (
        (
            {"pins": ("m0@last",), "margin": 0.0},
            "opened with other pins and margin; open them again",
        ),
        ({"vetoes": ("a0.h0@last",)}, "opened with other vetoes"),
        ({"size": 99}, "size must be between 1 and the 10 sites"),
    ):
        with pytest.raises(ValueError, match=words):
            solve(opened, config=replace(config, **changes))


@pytest.fixture(scope="module")
def opened(planted):
    return SearchProblem.open(planted, wired.claim.sample(48, 0)[0])


@pytest.mark.parametrize(("method", "seeded"), [(one.name, one.seeded) for one in METHODS])
def test_another_seed_makes_a_difference_where_the_table_says_so(opened, method, seeded):
    first, second = (
        solve(opened, method, SearchConfig(steps=5, seed=seed)).ranking for seed in (1, 2)
    )
    assert torch.equal(first, second) != seeded


@pytest.mark.parametrize("row", [0, 1])  # the first goes to fitting, the second to selection
def test_dcm_2023_wants_the_answer_of_every_source(planted, row):
    batches = encode(planted, wired.claim.sample(24, 0)[0])
    keeps = next(n for n, one in enumerate(batches) if one.desideratum.sense == "keeps")
    answers = batches[keeps].source_answer
    known = torch.arange(len(answers)) != row
    batches = list(batches)
    batches[keeps] = replace(batches[keeps], source_answer=replace(answers, known=known))
    with pytest.raises(ValueError, match="give source_answer in"):
        search(planted, batches, "dcm-2023", config=SearchConfig(steps=1))


def test_a_checkpoint_of_an_earlier_layout_is_begun_again(planted):
    class Earlier(Progress):
        def restore(self):
            return {"step": 7, "gates": torch.zeros(3), "total": torch.zeros(3)}

    train, _ = wired.claim.sample(24)
    config = SearchConfig(steps=10, rounds=1)
    again = search(planted, train, config=config, progress=Earlier())
    assert again.circuit == search(planted, train, config=config).circuit
    assert again.history[0]["step"] == 0
