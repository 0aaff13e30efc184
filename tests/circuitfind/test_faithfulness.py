"""Faithfulness, completeness and the curve: against closed forms, and on circuits known to be
right and known not to be."""

import json
import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from circuitfind.circuits.circuit import Circuit
from circuitfind.claims import load_claim
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.space import SearchSpace, all_sites
from circuitfind.models.loading import load_model
from circuitfind.objective.encoding import encode
from circuitfind.objective.intervals import interval
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import Objective
from circuitfind.search import candidate_sites, positions_of
from circuitfind.validate import CheckInputs, validate
from circuitfind.validate.ablation import WORDS, Ablated, Outcome, ablate
from circuitfind.validate.behaviour import cannot_divide, differences
from circuitfind.validate.checks.completeness import (
    check_completeness,
    judge_size,
    measure_completeness,
    remove,
)
from circuitfind.validate.checks.curve import (
    FRACTIONS,
    chance,
    check_curve,
    cpr_cmd,
    keep_best,
    rank,
    sizes,
)
from circuitfind.validate.checks.faithfulness import (
    check_faithfulness,
    judge_faithfulness,
    measure_faithfulness,
)
from circuitfind.validate.inputs import PAIRS_COMPARED

TRUE, HALF, WRONG = ("a1.h0", "a1.h1"), ("a1.h0",), ("a1.h2", "a1.h3")
CANDIDATES = all_sites(2, 4, ["last"])  # of the planted model
KL = torch.tensor([[0.0], [2.0], [9.0]])
CHECKS = (check_faithfulness, check_completeness, check_curve)


def subject_of(name, members, claim="planted", n=64, scores=None):
    model, claim = load_model(name, device="cpu"), load_claim(claim, name)
    held_out = claim.sample(n, 0)[1]
    sites = candidate_sites(model, held_out)
    at = held_out[0].at[0]
    chosen = tuple(parse_site(f"{member}@{at}") for member in members)
    circuit = Circuit(
        model=name,
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=chosen,
        scores=scores or (0.0,) * len(chosen),
    )
    objective = Objective(model, encode(model, held_out), sites)
    bounds = objective.bounds()
    return CheckInputs(
        model=model,
        circuit=circuit,
        space=SearchSpace(positions_of(objective.desiderata)),
        objective=objective,
        bounds=bounds,
        membership=membership_of(sites, chosen),
    )


@pytest.fixture(scope="module")
def subjects():
    return {
        name: subject_of("planted", members)
        for name, members in {"true": TRUE, "half": HALF, "wrong": WRONG}.items()
    }


def outcome(whole, circuit, empty, lost=0):
    """One that is made by hand; in the first `lost` pairs the circuit loses the answer."""
    right = torch.ones(3, len(whole), dtype=torch.bool)
    right[1, :lost] = False
    difference = torch.tensor(np.stack([whole, circuit, empty]), dtype=torch.float32)
    return Outcome(difference, torch.zeros(3, len(whole)), right, right)


def noisy(mean, n=64, seed=0, spread=0.2):
    return mean + spread * np.random.default_rng(seed).standard_normal(n)


# Faithfulness


def test_the_true_circuit_is_faithful_under_every_ablation(subjects):
    found = check_faithfulness(subjects["true"])
    assert (found.verdict, found.n, found.split) == ("holds", 64, "held-out")
    assert [row["donor"] for row in found.details] == ["source", "zero", "mean", "resample"]
    for row in found.details:
        assert row["f"] == pytest.approx(1, abs=0.02) and row["flips"] == 0.0
        assert row["low"] <= row["f"] <= row["high"]
    json.dumps(found.details, allow_nan=False)


def test_half_of_it_is_not(subjects):
    """Each of the two heads gives half of the votes."""
    found = check_faithfulness(subjects["half"])
    assert found.verdict == "fails"
    for row in found.details:
        assert row["verdict"] == "fails" and row["f"] == pytest.approx(0.5, abs=0.05)
        assert row["flips"] > 0.5


def test_zero_disagrees_with_the_others_on_a_compiled_model():
    """tracr-reverse's own truth: one head is all, unless zero takes the MLPs' constants away."""
    found = check_faithfulness(subject_of("tracr-reverse", ["a3.h1"], "suffices"))
    by = {row["donor"]: row["verdict"] for row in found.details}
    assert by == {"zero": "fails", "mean": "holds", "resample": "holds", "source": "holds"}
    assert found.verdict == "fails" and found.value == pytest.approx(0, abs=1e-3)
    assert "fails under zero, holds under source (the claim's), mean, resample" in found.says
    whole = check_faithfulness(subject_of("tracr-reverse", ["m0", "m1", "m2", "a3.h1"], "suffices"))
    assert whole.verdict == "holds"


def test_holding_under_mean_does_not_outweigh_failing_under_resample():
    good = outcome(noisy(4.0), noisy(3.9, seed=1), noisy(0.0, seed=2))
    bad = outcome(noisy(4.0), noisy(1.0, seed=1), noisy(0.0, seed=2), lost=30)
    rows = [measure_faithfulness("mean", good, 0), measure_faithfulness("resample", bad, 0)]
    found = judge_faithfulness(rows)
    assert found.verdict == "fails"
    assert "the ablations disagree, it fails under resample, holds under mean" in found.says
    assert found.value == rows[1]["f"]


def test_f_is_the_ratio_of_means_and_not_clipped():
    row = measure_faithfulness(
        "zero", outcome(noisy(2.0), noisy(5.0, seed=1), noisy(1.0, seed=2)), 0
    )
    made = outcome(noisy(2.0), noisy(5.0, seed=1), noisy(1.0, seed=2))
    whole, mine, empty = made.difference.double().mean(1).tolist()
    assert row["f"] == pytest.approx((mine - empty) / (whole - empty))
    assert row["f"] > 3 and row["verdict"] == "fails"
    # The delta method's standard error of a ratio of means, an independent road to the interval.
    w, c, e = made.difference.double().numpy()
    error = stats.sem((c - e) - row["f"] * (w - e)) / (whole - empty)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_draws_in_which_ablation_touches_no_pair_do_not_count():
    """Of twelve pairs four are touched: one draw in 130 has none of them."""
    whole, empty = np.full(12, 5.0), np.r_[np.zeros(4), np.full(8, 5.0)]
    row = measure_faithfulness("source", outcome(whole, whole, empty), 0)
    assert (row["f"], row["low"], row["high"]) == (1.0, 1.0, 1.0)


def test_the_spread_of_single_pairs_is_beside_it():
    whole, empty = np.full(101, 2.0), np.zeros(101)
    row = measure_faithfulness("zero", outcome(whole, np.linspace(0, 2, 101), empty), 0)
    names = ("worst_percent", "quartile_1", "median", "quartile_3")
    assert [row[name] for name in names] == pytest.approx([0.01, 0.25, 0.5, 0.75])
    assert (row["whole"], row["circuit"], row["empty"]) == pytest.approx((2.0, 1.0, 0.0))
    made = replace(outcome(whole, whole, empty), divergence=KL.repeat(1, 101))
    assert measure_faithfulness("zero", made, 0)["divergence"] == 2.0


@pytest.mark.parametrize(("lost", "verdict"), [(0, "holds"), (14, "inconclusive"), (30, "fails")])
def test_flips_decide_too(lost, verdict):
    """With the same f: a circuit that loses half of the answers is not the model."""
    made = outcome(noisy(4.0), noisy(4.0, seed=1), noisy(0.0, seed=2), lost)
    row = measure_faithfulness("source", made, 0)
    assert (row["verdict"], row["flips"]) == (verdict, lost / 64)
    assert (row["flips_low"], row["flips_high"]) == interval(lost, 64)


def test_what_the_model_had_wrong_is_no_flip():
    """In 20 pairs neither is right, in 5 others only the circuit, in 3 only the model."""
    right = torch.ones(3, 64, dtype=torch.bool)
    right[:2, :20] = False
    right[0, 20:25] = False
    right[1, 25:28] = False
    made = replace(outcome(noisy(4.0), noisy(4.0, seed=1), noisy(0.0, seed=2)), right=right)
    row = measure_faithfulness("source", made, 0)
    assert (row["flips"], row["verdict"]) == (3 / 64, "holds")


def test_an_effect_to_divide_by_may_have_either_sign():
    for empty in (0.0, 3.0):
        assert cannot_divide(noisy(1.5), noisy(empty, seed=1), 0, "nats") == ""
    words = cannot_divide(noisy(1.5), noisy(1.5, seed=1), 0, "nats")
    assert "changes the lead of the right answer by" in words and "nats" in words
    # Surely not 0, and yet no more than rounding.
    assert "cannot be told" in cannot_divide(np.full(64, 5e-4), np.zeros(64), 0, "nats")
    assert "7 pairs are too few" in cannot_divide(np.ones(7), np.zeros(7), 0, "nats")


def test_where_ablating_everything_changes_nothing_f_is_refused():
    made = outcome(noisy(1.0), noisy(1.0, seed=1), noisy(1.0, seed=2))
    found = judge_faithfulness([measure_faithfulness("mean", made, 0)])
    assert found.verdict == "inconclusive"
    assert found.details[0]["f"] is None
    assert "cannot be told from 0 on 64 pairs" in found.says
    json.dumps(found.details, allow_nan=False)


def test_an_undecided_f_says_how_many_pairs_would_tell():
    """The interval goes from about 0.75 to 0.95; with four times the pairs it would be half."""
    made = outcome(np.full(64, 1.0), noisy(0.85, spread=0.4), np.zeros(64))
    found = judge_faithfulness([measure_faithfulness("zero", made, 0)])
    assert found.verdict == "inconclusive"
    need = 64 * ((found.high - found.low) / 2 / (found.value - 0.8)) ** 2
    assert f"under zero about {math.ceil(need)} pairs would tell" in found.says


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_said_of_no_circuit(check):
    found = check(subject_of("planted", [], n=8))
    assert found.verdict == "inconclusive" and "empty" in found.says


def test_nothing_is_said_of_all_sites(subjects):
    every = [str(site.component) for site in subjects["true"].objective.sites]
    whole = subject_of("planted", every, n=8)
    for check in CHECKS[:2]:
        found = check(whole)
        assert found.verdict == "inconclusive" and "every candidate" in found.says


def test_the_divergence_is_from_the_untouched_output(subjects):
    """KL(untouched || ablated), which the other way round is another number."""
    subject = subjects["half"]
    made = ablate(subject, "zero")
    rows = torch.stack([torch.ones_like(subject.membership), subject.membership])
    (output,) = (
        torch.cat([piece.output for piece in found], 1)
        for found in made.objective.passes([0], rows)
    )
    whole, ablated = output.double().log_softmax(-1)
    forth, back = ((p.exp() * (p - q)).sum(-1) for p, q in ((whole, ablated), (ablated, whole)))
    found = made.outcome(rows).divergence
    torch.testing.assert_close(found[1], forth.float(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[0], torch.zeros(64), atol=1e-5, rtol=0.0)
    assert not torch.allclose(back.float(), found[1], atol=0.5)


def test_the_mean_of_an_ablation_is_over_bases_and_sources(subjects):
    (batch,) = ablate(subjects["true"], "mean").objective.batches
    pairs = batch.desideratum.pairs
    texts = {prompt.text for pair in pairs for prompt in (pair.base, pair.source)}
    assert len(batch.donated.tokens) == len(texts) > len(pairs)
    assert {tuple(row) for row in batch.donated.tokens.tolist()} == {
        tuple(row) for side in (batch.base, batch.source) for row in side.tokens.tolist()
    }


def test_an_ablation_is_made_once_and_shares_what_was_run(subjects):
    subject = replace(subjects["true"], ablated={})
    spent = [subject.objective.cost.flops]
    for donor in ("source", "zero", "source"):
        made = ablate(subject, donor)
        spent.append(subject.objective.cost.flops)
    first, second, third = np.diff(spent)
    assert first > 10 * second > 0 == third
    assert made is ablate(subject, "source") and made is not ablate(subject, "source", 8)


def test_ablated_are_some_of_each_answer_wherever_it_is_read():
    """Given pairs come in an order, and a compiled program has a desideratum for each token."""
    subject = subject_of("tracr-recall", ["a0.h2", "a1.h1", "a2.h1"], "suffices", n=10**6)
    known = {one.read for one in subject.objective.desiderata}
    pairs = {
        (one.read, pair.base.text)
        for one in subject.objective.desiderata
        for pair in one.pairs
        if pair.source_answer != pair.base_answer
    }
    assert len(known) > 1 and len(pairs) > 100
    made = ablate(subject, "source", 40).objective
    assert {one.read for one in made.desiderata} == known
    assert sum(map(len, made.batches)) == 40
    answers = [(one.read, pair.base_answer) for one in made.desiderata for pair in one.pairs]
    counts = Counter(answers)
    possible = {
        (one.read, pair.base_answer)
        for one in subject.objective.desiderata
        for pair in one.pairs
        if pair.source_answer != pair.base_answer
    }
    assert counts.keys() == possible and max(counts.values()) - min(counts.values()) <= 1
    whole = ablate(subject, "source", 40).outcome(torch.ones(1, len(subject.membership)))
    assert whole.difference.shape == (1, 40) and bool(whole.right.all())


def test_pairs_whose_answers_are_the_same_are_not_ablated(subjects):
    """Of them nothing could be lost."""
    subject = subjects["true"]
    made = subject.objective.desiderata[0]
    alike = tuple(replace(pair, source_answer=pair.base_answer) for pair in made.pairs[::2])
    mixed = [replace(made, pairs=pairs) for pairs in ((*made.pairs[1::2], *alike), alike)]
    for desideratum, words in zip(mixed, ("", "no pair's source has another"), strict=True):
        objective = Objective(
            subject.model, encode(subject.model, [desideratum]), subject.objective.sites
        )
        other = replace(subject, objective=objective, ablated={})
        if words:
            with pytest.raises(ValueError, match=words):
                ablate(other, "source")
        else:
            (batch,) = ablate(other, "source").objective.batches
            assert len(batch) == 32
            assert all(p.source_answer != p.base_answer for p in batch.desideratum.pairs)


@pytest.mark.parametrize("donor", ["zero", "mean", "source"])
def test_checks_about_the_rest_ablate_as_the_claim_does(donor):
    model = load_model("tracr-frac-prevs", device="cpu")
    claim = load_claim("suffices", "tracr-frac-prevs", donor)
    names = ["necessity", "equivalence", "independence", "inflated circuits", "curve"]
    chosen = (parse_site("a1.h0@all"),)
    circuit = Circuit(
        model=model.name, task="t", claim="c", method="by hand", seed=0, sites=chosen, scores=(0.0,)
    )
    card = validate(model, circuit, claim.sample(10**6)[1], checks=[*names, "completeness"])
    found = {finding.name: finding for finding in card.findings}
    assert {found[name].ablation for name in names} == {WORDS[donor]}
    assert found["completeness"].ablation.startswith(f"{donor}; in the rows also")
    by = {row["donor"] for row in found["completeness"].details}
    assert by <= {donor, "source" if donor == "mean" else "mean"}


# Completeness


def test_the_true_circuit_is_complete_and_a_wrong_one_is_not(subjects):
    found = check_completeness(subjects["true"])
    assert found.verdict == "holds" and found.high < 0.05
    parts = {row["part"] for row in found.details if row["donor"] == "source"}
    assert parts == {"", "a1.h0@last", "a1.h1@last", "a1.h0@last, a1.h1@last"}
    wrong = check_completeness(subjects["wrong"])
    assert wrong.verdict == "fails" and wrong.low > 0.9
    json.dumps(wrong.details, allow_nan=False)


def test_a_backup_that_is_left_out_shows():
    """Three carriers of each of two digits, all votes equal. With one of each in the circuit, the
    other two thirds stay when these are taken out of the model, and not when of the circuit."""
    found = check_completeness(
        subject_of("planted:layers=3,heads=6,backups=2", ["a1.h0", "a1.h1"], n=32)
    )
    assert found.verdict == "fails"
    assert found.value == pytest.approx(2 / 3, abs=0.02)


def test_the_row_of_all_is_marks_completeness(subjects):
    """f(M without C) = (m(M without C) - m(empty)) / (m(M) - m(empty)), on the measuring pairs."""
    subject = subjects["half"]
    mine = subject.membership
    rows = torch.stack([torch.ones_like(mine), torch.zeros_like(mine), 1 - mine])
    whole, empty, without = differences(ablate(subject, "source").outcome(rows))[:, 1::2].mean(1)
    row = next(row for row in check_completeness(subject).details if row["by"] == "all")
    assert row["difference"] == pytest.approx((without - empty) / (whole - empty))


class Wired(Ablated):
    """Sites 0 and 1 give half of the logit difference each, and site 9 all of it where they do
    not; in every other pair site 2 gives as much again, and so does site 8 in its place."""

    def outcome(self, membership):
        x = membership.T
        shared = torch.maximum(x[0] + x[1], 2 * x[9]) / 2
        made = shared[:, None].repeat(1, 32)
        made[:, ::2] += torch.maximum(x[2], x[8])[:, None]
        made *= 1 + 0.1 * torch.rand(32, generator=torch.Generator().manual_seed(0))
        return Outcome(made, torch.zeros_like(made), made > 0, made > 0)


@pytest.fixture(scope="module")
def wired_rows(subjects):
    subject = subjects["true"]
    membership = (torch.arange(10) < 7).float()
    return measure_completeness(
        replace(subject, membership=membership), Wired("source", subject.objective)
    )


def test_greedy_adds_what_adds_most_and_stops(wired_rows):
    """The circuit is faithful, and what is in its place outside of it shows step by step."""
    by = {row["by"]: row for row in wired_rows}
    assert by["none"]["difference"] == 0.0
    names = [str(site) for site in CANDIDATES[:3]]
    assert by["greedy 1"]["part"] == names[2]
    assert by["greedy 3"]["part"] == ", ".join(names)
    assert "greedy 4" not in by
    # Without 0 and 1: all that is shared, which is what these pairs have.
    assert by["greedy 3"]["difference"] == pytest.approx(1.0)
    assert sum(row["by"] == "random" for row in wired_rows) > 15


def test_the_worst_part_is_measured_on_pairs_that_did_not_choose_it(wired_rows):
    """Without site 2 the circuit fails in the pairs that choose, and in no other."""
    row = next(row for row in wired_rows if row["by"] == "greedy 1")
    assert row["where_chosen"] == pytest.approx(0.5, abs=0.01)
    assert (row["difference"], row["low"], row["high"]) == (0.0, 0.0, 0.0)
    [worst] = [row for row in wired_rows if row["worst"]]
    assert worst["where_chosen"] == max(row["where_chosen"] for row in wired_rows)


class Lucky(Ablated):
    """In every other pair site 2 does all, or site 8 in its place; in the others site 0 does, or
    site 9 in its place where 2 is there too."""

    def outcome(self, membership):
        x = membership.T
        made = torch.maximum(x[0], x[9] * x[2])[:, None].repeat(1, 32)
        made[:, ::2] = torch.maximum(x[2], x[8])[:, None]
        return Outcome(made, torch.zeros_like(made), made > 0, made > 0)


def test_the_worst_part_is_not_chosen_by_what_it_is_measured_to_be(subjects):
    """Without 2 all is lost in the pairs that choose, and nothing in the others; without 0 it is
    the other way round."""
    subject = replace(subjects["true"], membership=(torch.arange(10) < 7).float())
    rows = measure_completeness(subject, Lucky("source", subject.objective))
    [worst] = [row for row in rows if row["worst"]]
    assert (worst["where_chosen"], worst["difference"]) == (1.0, 0.0)
    assert max(row["difference"] for row in rows) == 1.0


def test_parts_are_taken_from_the_circuit_and_from_the_model(subjects):
    subject = subjects["true"]
    ablated, part = ablate(subject, "source"), frozenset(subject.members[:1])
    [(by, same, circuit, model)] = remove(ablated, subject.membership, [("x", part)])
    rows = torch.stack([subject.membership, torch.ones_like(subject.membership)])
    rows[:, list(part)] = 0.0
    assert (by, same) == ("x", part)
    assert np.array_equal(np.stack([circuit, model]), differences(ablated.outcome(rows)))


# CPR and CMD


def test_the_areas_are_those_of_closed_forms():
    """MIB's weights of the ten points: .0005 .002 .004 .0075 .02 .04 .075 .2 .4 .25."""
    weights = (0.0005, 0.002, 0.004, 0.0075, 0.02, 0.04, 0.075, 0.2, 0.4, 0.25)
    assert cpr_cmd(FRACTIONS, [1.0] * 10) == pytest.approx((0.999, 0.0))
    # Useless until everything is in.
    assert cpr_cmd(FRACTIONS, [0.0] * 9 + [1.0]) == pytest.approx((0.25, 0.749))
    for index, weight in enumerate(weights):
        only = [float(index == other) for other in range(10)]
        assert cpr_cmd(FRACTIONS, only) == pytest.approx((weight, 0.999 - weight))
    # f = p: the trapezoid is exact on a line.
    assert cpr_cmd(FRACTIONS, FRACTIONS) == pytest.approx(((1 - 1e-6) / 2, (1 - 0.001) ** 2 / 2))
    # More than 1 counts for CPR and against CMD.
    assert cpr_cmd(FRACTIONS, [2.0] * 10) == pytest.approx((1.998, 0.999))


def test_sizes_are_those_of_gpt2_small_in_the_released_code():
    assert sizes(156) == [0, 0, 0, 1, 3, 7, 15, 31, 78, 156]
    assert keep_best(list(range(156))).sum(1).tolist() == sizes(156)


def test_a_tie_with_a_random_order_is_no_win():
    assert chance(0.1, [0.5] * 19) == 0.05
    assert chance(0.5, [0.5] * 19) == 1.0
    assert chance(0.3, [0.2, 0.3, 0.4]) == 0.75


def test_the_curve_of_the_true_circuit_rises_at_once(subjects):
    found = check_curve(subjects["true"])
    assert found.verdict == "holds"
    assert [(row["ranking"], row["sites"]) for row in found.details] == [
        (name, size) for name in ("signed", "absolute") for size in sizes(10)
    ]
    f = [row["f"] for row in found.details if row["ranking"] == "absolute"]
    # No site, none of the votes; one, half of them; two, all.
    assert f == pytest.approx([0] * 6 + [0.5, 1, 1, 1], abs=0.05)
    assert found.value == pytest.approx(cpr_cmd(FRACTIONS, f)[1])
    assert found.low < found.value < found.high
    assert "level of sites, not to be compared" in found.says
    json.dumps(found.details, allow_nan=False)


class Inhibited(Ablated):
    """Site 0 gives twice the behaviour, and site 1 takes half of that away again."""

    def outcome(self, membership):
        n = sum(map(len, self.objective.batches))
        given, taken = 1 + 0.2 * torch.rand(2, n, generator=torch.Generator().manual_seed(0))
        made = 2 * membership[:, :1] * given - membership[:, 1:2] * taken
        return Outcome(made, torch.zeros_like(made), made > 0, made > 0)


class Halved(Ablated):
    """In the even pairs site 3 gives the behaviour, in the odd ones site 4."""

    def outcome(self, membership):
        pairs = [pair for batch in self.objective.batches for pair in batch.desideratum.pairs]
        even = torch.tensor([pair.base_inputs["even"] for pair in pairs])
        x = membership.T
        made = torch.where(even, x[3][:, None], x[4][:, None]) + 0.1 * x[0][:, None]
        return Outcome(made, torch.zeros_like(made), made > 0, made > 0)


def test_sites_are_not_ranked_on_the_pairs_that_measure_them(subjects):
    """Site 3 comes next to the circuit by the even pairs, and does nothing in the odd ones."""
    subject = subject_of("planted", [str(CANDIDATES[0].component)], scores=(1.0,))
    whole = ablate(subject, "source").objective
    (batch,) = whole.batches
    pairs = tuple(
        replace(pair, base_inputs={"even": row % 2 == 0})
        for row, pair in enumerate(batch.desideratum.pairs)
    )
    batch = replace(batch, desideratum=replace(batch.desideratum, pairs=pairs))
    made = Halved("source", Objective(subject.model, [batch], whole.sites))
    found = check_curve(replace(subject, ablated={("source", PAIRS_COMPARED): made}))
    f = [row["f"] for row in found.details if row["ranking"] == "signed"]
    # Two sites at a fifth: the circuit's, which gives a tenth, and site 3.
    assert f[7] == pytest.approx(0.1 / 1.1) and f[-1] == pytest.approx(1.0)


class Noisy(Ablated):
    """Sites 0 and 1 give half of the behaviour each; outside them only noise."""

    def outcome(self, membership):
        x, noise = membership.T, torch.randn(64, generator=torch.Generator().manual_seed(1))
        made = (x[0] + x[1])[:, None] / 2 + 0.2 * x[9][:, None] * noise
        return Outcome(made, torch.zeros_like(made), made > 0, made > 0)


def test_a_difference_that_may_have_either_sign_may_be_none(subjects):
    subject = replace(subjects["true"], membership=(torch.arange(10) < 2).float())
    made = {
        (donor, PAIRS_COMPARED): Noisy(donor, subject.objective) for donor in ("source", "mean")
    }
    found = check_completeness(replace(subject, ablated=made))
    assert 0.0 == found.low < found.value < found.high < 0.2
    (row,) = (one for one in found.details if one["worst"] and one["donor"] == "source")
    assert row["low"] < 0 < row["high"] and found.high == max(-row["low"], row["high"])


def test_a_difference_is_judged_by_its_whole_interval():
    for low, high, verdict in (
        (0.0, 0.19, "holds"),
        (0.1, 0.21, "inconclusive"),
        (0.3, 0.4, "inconclusive"),
        (0.4, 0.9, "inconclusive"),
        (0.51, 0.6, "fails"),
    ):
        assert judge_size(low, high) == verdict


def test_more_than_all_of_the_behaviour_counts_against_a_ranking():
    """With f = 2 at a tenth of the sites: 0.074 where nothing is kept, and as much again there."""
    first, second = (str(site.component) for site in CANDIDATES[:2])
    subject = subject_of("planted", [first, second], scores=(1.0, 0.5))
    made = Inhibited("source", ablate(subject, "source").objective)
    found = check_curve(replace(subject, ablated={("source", PAIRS_COMPARED): made}))
    f = [row["f"] for row in found.details if row["ranking"] == "signed"]
    assert f == pytest.approx([0] * 6 + [2, 1, 1, 1], abs=0.05)
    assert found.value == pytest.approx(0.074 + 0.075, abs=0.005)
    assert 0.14 < found.low < found.value < found.high < 0.16


def test_idle_heads_in_front_do_worse_than_chance():
    idle = ["a0.h1", "a0.h2", "a0.h3", "a1.h2", "a1.h3", "m0", "m1"]
    found = check_curve(subject_of("planted", idle))
    assert found.verdict == "fails"
    assert found.value == pytest.approx(0.749, abs=0.02)


def test_members_come_first_by_their_scores_then_what_adds_most():
    subject = subject_of("planted", ["a1.h0", "a1.h2", "m0"], scores=(0.1, -0.5, 0.2))
    names = [str(site.component) for site in subject.objective.sites]
    signed, absolute, *others = rank(subject, ablate(subject, "source"))
    assert [names[index] for index in signed[:4]] == ["m0", "a1.h0", "a1.h2", "a1.h1"]
    assert [names[index] for index in absolute[:4]] == ["a1.h2", "m0", "a1.h0", "a1.h1"]
    assert all(sorted(order) == list(range(10)) for order in (signed, absolute, *others))
    assert len({tuple(order) for order in others}) == len(others) == 99
    random.seed(1)
    assert rank(subject, ablate(subject, "source"))[2:] == others
