"""The tests of Shi et al. 2024, and necessity: known numbers, circuits known right and wrong."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import SearchSpace, all_sites
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import load_model
from circuitfind.models.planted import heads_of, parse_planted, planted_truth
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import Objective
from circuitfind.search import candidate_sites, positions_of
from circuitfind.validate import CheckInputs
from circuitfind.validate.checks.equivalence import (
    check_equivalence,
    equivalence_p,
    equivalence_power,
    judge_equivalence,
)
from circuitfind.validate.checks.independence import (
    ENOUGH,
    check_independence,
    gaussian_kernel,
    hsic_test,
    judge_independence,
)
from circuitfind.validate.checks.inflated import (
    check_inflated,
    flagging_power,
    judge_inflated,
    removal_losses,
)
from circuitfind.validate.checks.necessity import (
    check_necessity,
    judge_answers,
    judge_effect,
    judge_random,
)
from circuitfind.validate.makeup import circuits_outside

from .. import planted as wired

QUIET = "planted:layers=3,heads=6,decoys=0"
THREE = "planted:layers=3,heads=6,backups=2"
CHAIN = "planted:layers=3,heads=8,backups=1,mlps=carry,distractors=4,seed=3"
CHECKS = (check_equivalence, check_independence, check_inflated, check_necessity)


def subject_of(name, members, n=64, n_random=100):
    model = load_model(name, device="cpu")
    held_out = wired.claim.sample(n, 0)[1]
    batches, sites = encode(model, held_out), candidate_sites(model, held_out)
    circuit = Circuit(
        model=name,
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=tuple(members),
        scores=(0.0,) * len(members),
    )
    objective = Objective(model, batches, sites)
    return CheckInputs(
        model=model,
        circuit=circuit,
        space=SearchSpace(positions_of(objective.desiderata)),
        objective=objective,
        bounds=objective.bounds(),
        membership=membership_of(sites, members),
        n_random=n_random,
    )


def truth_of(name):
    return sorted(planted_truth(parse_planted(name))[0], key=str)


@pytest.fixture(scope="module")
def quiet():
    return subject_of(QUIET, truth_of(QUIET))


@pytest.fixture(scope="module")
def half():
    return subject_of(QUIET, truth_of(QUIET)[:1])


@pytest.fixture(scope="module")
def padded():
    return subject_of(QUIET, [*truth_of(QUIET), Site(head(0, 1), "last")])


def test_equivalence_is_rejected_where_the_paper_rejects():
    """With 100 pairs at a share of 0.69 or more and 0.31 or less, for eps = 0.1."""
    rejected = [wins for wins in range(101) if equivalence_p(wins, 0, 100) < 0.05]
    assert rejected == [*range(32), *range(69, 101)]


@pytest.mark.parametrize(("won", "ties"), [(0, 0), (3, 0), (10, 0), (0, 20), (3, 5), (17, 0)])
def test_the_p_value_is_both_tails_of_the_binomial(won, ties):
    n, far = 20, abs(won + ties / 2 - 10)
    upper = stats.binom.sf(np.ceil(10 + far) - 1, n, 0.6)
    lower = stats.binom.cdf(np.floor(10 - far), n, 0.6)
    assert equivalence_p(won, ties, n) == pytest.approx(min(1.0, upper + lower) if far else 1.0)


def test_wins_count_and_not_how_far():
    """One pair far above and the others a little below: the mean is above, the wins are not."""
    model = np.zeros(100)
    circuit = np.full(100, -0.1)
    circuit[0] = 100.0
    found = judge_equivalence(model, circuit, model - 1)
    assert (found.verdict, found.value) == ("fails", 0.01)
    assert found.details[0]["mean difference"] > 0
    assert (found.low, found.high) == pytest.approx(
        tuple(stats.binomtest(1, 100).proportion_ci(method="exact"))
    )


def test_always_a_hair_less_is_no_failure():
    model, empty = np.full(100, 10.0), np.zeros(100)
    little = judge_equivalence(model, model - 1.9, empty)
    assert little.verdict == "inconclusive" and little.details[0]["p"] < 0.05
    assert little.says.endswith("too little for a failure, which takes 2.000")
    assert judge_equivalence(model, model - 2.1, empty).verdict == "fails"
    assert judge_equivalence(model, model + 2.1, empty).verdict == "fails"
    # Of ten that the model scores, five are there whatever is ablated.
    assert judge_equivalence(model, model - 1.1, empty + 5).verdict == "fails"
    assert judge_equivalence(model, model - 0.9, empty + 5).verdict == "inconclusive"


def test_ties_are_half_wins_and_rounding_is_a_tie():
    same = judge_equivalence(np.full(64, 20.0), np.full(64, 20.0 - 2e-6), np.zeros(64))
    assert (same.verdict, same.value, same.details[0]["ties"]) == ("holds", 0.5, 64)
    odd = judge_equivalence(
        np.zeros(65), np.r_[np.zeros(1), np.ones(32), -np.ones(32)], -np.ones(65)
    )
    assert odd.value == 0.5
    assert odd.low == stats.binomtest(32, 65).proportion_ci(method="exact").low
    assert odd.high == stats.binomtest(33, 65).proportion_ci(method="exact").high


def test_too_few_pairs_say_how_many_would_do():
    found = judge_equivalence(np.zeros(10), np.r_[np.ones(5), -np.ones(5)], -np.ones(10))
    assert found.verdict == "inconclusive"
    n = int(found.says.split(", ")[-1].split()[0])
    assert equivalence_power(n) >= 0.8 > equivalence_power(n - 1)
    drawn = np.random.default_rng(0).binomial(n, 0.8, 4000)
    simulated = np.mean([equivalence_p(wins, 0, n) < 0.05 for wins in drawn.tolist()])
    assert equivalence_power(n) == pytest.approx(simulated, abs=0.02)


def test_the_kernel_and_hsic_are_their_definitions():
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x**2 + rng.normal(size=12)

    def kernel(values):
        far = [abs(a - b) for i, a in enumerate(values) for b in values[:i]]
        sigma = np.median(far)
        return [[np.exp(-((a - b) ** 2) / (2 * sigma**2)) for b in values] for a in values]

    first, second, n = np.array(kernel(x)), np.array(kernel(y)), 12
    assert gaussian_kernel(x) == pytest.approx(first)
    # The three sums of Gretton et al. 2007, over two, four and three indices.
    brute = sum(first[i, j] * second[i, j] for i, j in product(range(n), repeat=2)) / n**2
    brute += sum(first[i, j] * second[k, m] for i, j, k, m in product(range(n), repeat=4)) / n**4
    brute -= 2 * sum(first[i, j] * second[i, k] for i, j, k in product(range(n), repeat=3)) / n**3
    found = hsic_test(x, y, 0)
    assert found["hsic"] == pytest.approx(brute)
    centre = np.eye(n) - 1 / n
    assert found["hsic"] == pytest.approx(np.trace(first @ centre @ second @ centre) / n**2)
    # Two values each, half of the pairs: a = exp(-1/2) off the block, H K H = (1 - a) / 2 y y'.
    two = np.repeat([0.0, 3.0], 8)
    assert hsic_test(two, two, 0)["hsic"] == pytest.approx(((1 - np.exp(-0.5)) / 2) ** 2)


def test_hsic_rejects_what_depends_and_nothing_else():
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    # A parabola has no correlation to be seen by.
    assert hsic_test(x, x**2 + 0.1 * rng.normal(size=60), 0)["p"] == pytest.approx(1 / 1001)
    null = [hsic_test(rng.normal(size=30), rng.normal(size=30), seed)["p"] for seed in range(40)]
    assert stats.kstest(null, "uniform").pvalue > 0.01
    assert hsic_test(x, np.full(60, 3.0), 0)["p"] == 1.0
    power = []
    for seed in range(40):
        x = rng.normal(size=ENOUGH)
        y = 0.5 * x + 0.75**0.5 * rng.normal(size=ENOUGH)
        power.append(hsic_test(x, y, seed)["p"] < 0.05)
    assert sum(power) >= 27  # 80 % of 40, less two standard deviations


def test_independence_holds_fails_and_says_when_it_cannot_tell():
    rng = np.random.default_rng(3)
    model, other = rng.normal(10, 3, 64), rng.normal(-10, 3, 64)
    still, empty = 0.4 * model - 10, np.full(64, -10.0)
    assert judge_independence(model, other, other).verdict == "holds"
    assert judge_independence(model, still, empty).verdict == "fails"
    # Pairs that differ more score higher with the circuit and lower without any site.
    pairs = judge_independence(model, -model, -model)
    assert (pairs.verdict, pairs.details[1]["p"]) == ("inconclusive", 1.0)
    # Something is left outside, which has nothing to do with how the model scores.
    apart = judge_independence(model, rng.normal(2, 2, 64) - model, -model)
    assert apart.verdict == "inconclusive"
    assert apart.details[0]["p"] < 0.05 < apart.details[1]["p"]
    assert "more of them would not tell" in apart.says
    little = judge_independence(model, 0.02 * model - 10, empty)
    assert little.verdict == "inconclusive"
    assert "less than 0.05" in little.says
    few = judge_independence(model[:20], other[:20], empty[:20])
    assert few.verdict == "inconclusive"
    assert f"{ENOUGH} would do" in few.says
    alike = judge_independence(np.full(64, 10.0) + rng.normal(0, 1e-6, 64), other, empty)
    assert alike.verdict == "inconclusive"
    assert "same on every pair" in alike.says


def test_inflated_flags_at_the_published_counts():
    """With 100 references: at 84 wins or fewer, at 79 or fewer among 30 members."""
    for n_members, most in ((1, 84), (30, 79)):
        references = np.arange(1.0, 101.0)
        for wins, flagged in ((most, True), (most + 1, False)):
            members = np.r_[wins + 0.5, np.full(n_members - 1, 200.0)]
            names = [str(index) for index in range(n_members + 100)]
            found = judge_inflated(names, np.r_[members, references], n_members)
            assert found.details[0]["flagged"] == flagged
            assert found.verdict == ("fails" if flagged else "holds")
            assert found.value == wins / 100


def test_few_references_cannot_flag():
    names = ["member", *"abcd"]
    found = judge_inflated(names, np.array([2.5, 1.0, 2.0, 3.0, 4.0]), 1)
    assert found.verdict == "inconclusive"
    n = int(found.says.split(", ")[-1].split()[0])
    assert flagging_power(n, 1) >= 0.8 > flagging_power(n - 1, 1)
    assert judge_inflated(names, np.array([9.0, 1.0, 2.0, 3.0, 4.0]), 1).verdict == "holds"
    assert judge_inflated(names[:2], np.array([9.0, 1.0]), 1).verdict == "inconclusive"


def test_a_member_that_ties_with_a_reference_is_missed_no_more():
    """One idle site among a hundred others: all cost nothing alike."""
    found = judge_inflated([str(n) for n in range(101)], np.zeros(101), 1)
    assert (found.verdict, found.value) == ("fails", 0.0)
    assert found.details[0]["wins"] == 0


def test_losses_are_mean_squares_without_rounding():
    scores = np.array([[1.0, 2.0], [4.0, -2.0], [1.0 + 1e-6, 2.0]])
    assert removal_losses(scores).tolist() == [12.5, 0.0]


def test_a_true_circuit_passes(quiet):
    found = {check.__name__: check(quiet) for check in CHECKS}
    assert found["check_equivalence"].verdict == "holds"
    assert found["check_equivalence"].details[0]["ties"] == 64
    # The pair decides how far apart its answers are, with and without the circuit.
    assert found["check_independence"].verdict == "inconclusive"
    assert found["check_independence"].details[1]["p"] == 1.0
    assert found["check_inflated"].verdict == "holds"
    assert found["check_inflated"].n == 19
    assert found["check_necessity"].verdict == "holds"


def test_half_a_circuit_is_found_out(half):
    assert check_equivalence(half).verdict == "fails"
    assert check_independence(half).verdict == "fails"
    # It is needed and not all that is; of the heads of its layer one does as much, which one of
    # them does more on these pairs is chance.
    found = check_necessity(half)
    mine, every = found.details[:2]
    assert mine["effect"] / every["effect"] == pytest.approx(0.5, abs=0.05)
    drawn = [row for row in found.details if row["of"] == "random"]
    assert sum(row["drawn"] for row in drawn) == 100
    busy = [row for row in drawn if row["effect"] > 1e-3]
    assert [row["sites"] for row in busy] == ["a1.h1@last"]
    assert busy[0]["outweighed"] == (mine["loss"] > busy[0]["loss"])
    assert all(row["outweighed"] for row in drawn if row not in busy)


def test_padding_is_flagged(padded):
    found = check_inflated(padded)
    assert found.verdict == "fails"
    flags = {row["site"]: row["flagged"] for row in found.details if row["of"] == "member"}
    assert flags == {"a0.h1@last": True, "a1.h0@last": False, "a1.h1@last": False}
    assert check_equivalence(padded).verdict == "holds"


def test_answers_that_the_model_had_wrong_do_not_stay_right(quiet):
    """A third of the pairs names the source's answer as the base's. Without the circuit the base
    gives it, since the source brings it."""
    (made,) = [one for one in wired.claim.sample(64, 0)[1] if one.sense == "follows"][:1]
    turned = tuple(
        replace(pair, base_answer=pair.source_answer, source_answer=pair.base_answer)
        if row % 3 == 0
        else pair
        for row, pair in enumerate(made.pairs)
    )
    batches = encode(quiet.model, [replace(made, pairs=turned)])
    objective = Objective(quiet.model, batches, quiet.objective.sites)
    found = check_necessity(
        replace(quiet, objective=objective, bounds=objective.bounds(), ablated={})
    )
    words = re.search(r"0 of (\d+) right answers stay right", found.says)
    assert words and 16 <= int(words[1]) < 32, found.says


def test_what_does_nothing_is_not_necessary():
    found = check_necessity(subject_of(QUIET, [Site(head(2, 3), "last")]))
    assert found.verdict == "fails"
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-3)
    assert "32 of 32 right answers stay right" in found.says


def test_one_of_three_backups_is_not_necessary():
    """Two carriers of each digit are left, so that every answer stays right."""
    truth = truth_of(THREE)
    found = check_necessity(subject_of(THREE, truth))
    assert found.verdict == "holds"
    carriers = heads_of(parse_planted(THREE)).carriers
    one = check_necessity(subject_of(THREE, [Site(same[0], "last") for same in carriers]))
    assert one.verdict == "fails"
    assert "32 of 32 right answers stay right" in one.says


def test_what_lies_in_a_chain_overlaps():
    """Carriers speak through the last MLP, so that either alone does what both do."""
    found = check_necessity(subject_of(CHAIN, truth_of(CHAIN)))
    assert found.verdict == "holds"
    assert "what they do overlaps" in found.says
    rows = {of: [row for row in found.details if row["of"] == of] for of in ("member", "pair")}
    assert (len(rows["member"]), len(rows["pair"])) == (5, 10)
    single = {row["sites"]: row["effect"] for row in rows["member"]}
    for row in rows["pair"]:
        parts = sum(single[site] for site in row["sites"].split())
        assert row["excess"] == pytest.approx(row["effect"] - parts)
        through = "m2@last" in row["sites"]
        assert row["excess"] == pytest.approx(-parts + single["m2@last"] if through else 0, abs=0.1)


def test_backups_are_told_by_their_excess():
    rng = np.random.default_rng(4)
    model = rng.normal(10, 1, 64)
    # Each alone costs 1, both cost 8.
    told = judge_effect(np.stack([model, model - 8, model - 10, model - 1, model - 1]), 2, 0)
    assert told.verdict == "holds"
    assert "6.000 less (6.000 to 6.000): they back each other up" in told.says
    assert "0.80 of what every site does" in told.says
    noise = rng.normal(0, 1, 64)
    unsure = judge_effect(np.stack([model, model - 0.1 - noise, model - 10, model]), 1, 0)
    assert unsure.verdict == "inconclusive"
    assert "pairs would tell the effect from 0" in unsure.need
    assert judge_effect(np.stack([model, model + 1, model - 10, model + 1]), 1, 0)[0] == "fails"


def test_the_joint_effect_has_the_interval_of_a_mean(quiet):
    found = check_necessity(quiet)
    joint = next(row for row in found.details if row["of"] == "circuit")
    assert found.value == joint["effect"]
    # The bootstrap of a mean has the standard error sd / sqrt(n), here with the biased sd.
    spread = np.sqrt(joint["loss"] - joint["effect"] ** 2)
    half_width = 1.96 * spread / np.sqrt(found.n)
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.1)


@pytest.mark.parametrize(
    ("kept", "verdict"), [(0, "holds"), (23, "holds"), (30, "inconclusive"), (50, "fails")]
)
def test_answers_that_stay_right(kept, verdict):
    told = judge_answers(kept, 64)
    assert told.verdict == verdict
    if verdict == "inconclusive":
        n = int(told.need.split()[0])
        assert stats.binomtest(round(kept / 64 * n), n, alternative="less").pvalue < 0.025


@pytest.mark.parametrize(
    ("wins", "n", "verdict"),
    [(96, 100, "holds"), (95, 100, "inconclusive"), (84, 100, "fails"), (20, 20, "inconclusive")],
)
def test_partial_necessity_passes_at_96_of_100_and_never_with_20(wins, n, verdict):
    rows = [
        {"of": "random", "outweighed": True, "drawn": wins, "loss": 9.0, "sites": "a0.h0@last"},
        {"of": "random", "outweighed": False, "drawn": n - wins, "loss": 2, "sites": "a1.h3@last"},
        {"of": "random", "outweighed": False, "drawn": 0, "loss": 1.0, "sites": "a1.h4@last"},
    ]
    told = judge_random(rows, apart=True)
    assert told.verdict == verdict
    assert told.brief == f"{n - wins} of {n} random circuits are missed as much, such as a1.h3@last"
    if n == 20:
        assert told.need.startswith("29 random circuits")
    # Circuits that may share members with it do not speak against it.
    assert judge_random(rows, apart=False).verdict == verdict.replace("fails", "inconclusive")


def test_random_circuits_outside_keep_the_make_up_where_there_is_room():
    sites = all_sites(3, 4, ["last", "x"])
    chosen = [Site(head(1, index), "last") for index in range(3)]
    chosen += [Site(head(2, 3), "x"), Site(mlp(0), "x")]
    membership = membership_of(sites, chosen)
    drawn = circuits_outside(sites, membership, 200, seed=0)
    assert drawn == circuits_outside(sites, membership, 200, seed=0)
    assert len(set(drawn)) > 50
    for members in drawn:
        made = [sites[index] for index in members]
        assert len(made) == 5
        assert not set(made) & set(chosen)
        assert sum(site.component.kind == "mlp" for site in made) == 1
        # One head is left beside the three; two more come from elsewhere.
        assert Site(head(1, 3), "last") in made
        assert any(site.position == "x" and site.component.layer == 2 for site in made)
    with pytest.raises(ValueError, match="fewer than 16 sites are outside"):
        circuits_outside(sites, membership_of(sites, sites[:16]), 1, 0)


def test_most_of_the_model_is_compared_with_circuits_from_everywhere():
    model = load_model("planted", device="cpu")
    sites = candidate_sites(model, wired.claim.sample(8, 0)[1])
    found = check_necessity(subject_of("planted", [s for s in sites if s.component.index != 3]))
    assert "drawn from everywhere" in found.says
    assert found.verdict != "fails"


@pytest.mark.parametrize("check", CHECKS)
def test_no_circuit_and_the_whole_model_are_inconclusive(check, quiet):
    for members in ([], quiet.objective.sites):
        found = check(subject_of(QUIET, list(members), n=8))
        assert (found.verdict, found.n) == ("inconclusive", 0)
        assert "the circuit" in found.says


def test_scores_of_the_checks_are_those_of_the_masks(quiet):
    """By the whole model: knocking out the true circuit is patching it from the source."""
    hits = quiet.objective.hits(0, quiet.membership[None])
    assert bool(torch.all(hits))
    row = next(row for row in check_necessity(quiet).details if row["of"] == "circuit")
    assert row["right"] == 0.0
