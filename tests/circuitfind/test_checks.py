"""Checks one by one, each on a circuit that passes and on one that does not."""

import re
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import permutations

import pytest
import torch
from scipy import stats

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import SearchSpace
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import load_model
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import Mask, membership_of
from circuitfind.objective.objective import Objective
from circuitfind.search import SearchConfig, SearchResult, candidate_sites, positions_of
from circuitfind.validate import CHECKS, CheckInputs, checks_named, validate
from circuitfind.validate.checks import rival, selectivity, stability
from circuitfind.validate.checks.completeness import check_completeness
from circuitfind.validate.checks.controls import check_controls
from circuitfind.validate.checks.curve import check_curve
from circuitfind.validate.checks.equivalence import check_equivalence
from circuitfind.validate.checks.faithfulness import check_faithfulness
from circuitfind.validate.checks.groups import check_groups, judge_groups
from circuitfind.validate.checks.leave_one_out import check_leave_one_out
from circuitfind.validate.checks.necessity import check_necessity
from circuitfind.validate.checks.pairs import check_pairs
from circuitfind.validate.checks.rival import check_rival
from circuitfind.validate.checks.rounding import check_rounding
from circuitfind.validate.checks.stability import check_stability
from desiderata import GivenPairs, Prompt, words_of
from tasks import planted as tasks

from .. import planted as wired

BACKED = "planted:layers=3,heads=6,parts=2,backups=1,inhibitors=1"


def subject_of(model, desiderata, members, search=(), **changes):
    """These members at the last token, on these pairs as they are."""
    batches = encode(model, desiderata)
    sites = candidate_sites(model, desiderata)
    chosen = tuple(Site(member, "last") for member in members)
    circuit = Circuit(
        model=model.name,
        task="t",
        claim="c",
        method="constrained",
        seed=0,
        sites=chosen,
        scores=(0.0,) * len(chosen),
    )
    objective = Objective(model, [changes.get("spoil", lambda b: b)(b) for b in batches], sites)
    return CheckInputs(
        model=model,
        circuit=circuit,
        space=SearchSpace(positions_of(objective.desiderata)),
        objective=objective,
        bounds=objective.bounds(),
        membership=membership_of(sites, chosen),
        search=encode(model, search) if search else (),
    )


@pytest.fixture(scope="module")
def held_out():
    return wired.claim.sample(90, 3)[1]


@pytest.fixture(scope="module")
def sound(planted, held_out):
    return subject_of(planted, held_out, wired.CIRCUIT, wired.claim.sample(60, 3)[0])


def test_every_check_is_named_and_chosen_by_name():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert [check.name for check in checks_named(["leave one out", "pairs"])] == [
        "pairs",
        "leave one out",
    ]
    fast = checks_named()
    assert not any(check.thorough for check in fast)
    assert checks_named(thorough=True) == CHECKS.all()
    with pytest.raises(LookupError, match="no check luck; the checks are: satisfaction, "):
        checks_named(["luck"])


def test_a_circuit_that_fails_on_one_group_is_found_out(planted):
    """On 92 pairs only the first digit differs, on 8 only the second, which is not in it."""
    follows = wired.claim.sample(200, 0)[1][0]
    code = {f"v{n}": divmod(n, 5) for n in range(25)}
    # What the first carrier fetches differs between base and source, or what the second does.
    first, second = (
        [
            pair
            for pair in follows.pairs
            if code[words_of(pair.expected).strip()][same]
            == code[words_of(pair.base_answer).strip()][same]
        ]
        for same in (1, 0)
    )
    rows = [replace(pair, base_inputs={"order": "ab"}) for pair in (first * 10)[:192]]
    rows += [replace(pair, base_inputs={"order": "ba"}) for pair in second[:6]]
    mixed = replace(follows, pairs=tuple(rows))
    half = subject_of(planted, [mixed], wired.CIRCUIT[:1])
    assert half.objective.scores(half.membership[None])[0, 0] >= 0.95
    found = check_groups(half)
    assert found.verdict == "fails"
    assert "order = ba" in found.says
    assert check_groups(subject_of(planted, [mixed], wired.CIRCUIT)).verdict == "holds"


def row_of_group(hits, n=20, need=0.95, name="g"):
    return {
        "desideratum": "follows x",
        "by": "template",
        "group": name,
        "n": n,
        "satisfaction": hits / n,
        "low": 0.0,
        "high": 1.0,
        "need": need,
        "p": float(stats.binomtest(hits, n, need, alternative="less").pvalue),
    }


def test_of_many_groups_one_is_not_failed_by_luck():
    """17 of 20 where 0.95 is needed has p = 0.075, 16 has 0.016, 14 has 0.0003."""
    good = [row_of_group(20, name=str(n)) for n in range(19)]
    assert judge_groups([row_of_group(16), row_of_group(20)]).verdict == "fails"
    assert judge_groups([row_of_group(17), row_of_group(20)]).verdict == "inconclusive"
    assert judge_groups([row_of_group(16), *good]).verdict == "inconclusive"
    found = judge_groups([row_of_group(14), *good])
    assert found.verdict == "fails" and "1 of 20 groups" in found.says
    assert judge_groups(good).verdict == "holds"


def test_checks_ask_for_the_bound_and_not_for_its_degree(planted, held_out):
    """Where the ends are 0.2 and 0.8, 0.75 of the range between them is 0.65."""
    pairs = tuple(
        replace(pair, expected=pair.base_answer) if row < 8 else pair
        for row, pair in enumerate(held_out[0].pairs[:40])
    )
    made = replace(held_out[0], pairs=pairs, at_least=0.75)
    subject = subject_of(planted, [made], wired.CIRCUIT)
    assert subject.bounds[0].value == pytest.approx(0.65) and not subject.bounds[0].absolute
    subject = replace(subject, mask=subject.membership)
    for check in (check_groups, check_controls, check_rounding):
        needs = {row["need"] for row in check(subject).details}
        assert needs == {subject.bounds[0].value}, check
    for row in check_groups(subject).details:
        hits = round(row["satisfaction"] * row["n"])
        wanted = stats.binomtest(hits, row["n"], row["need"], alternative="less").pvalue
        assert row["p"] == pytest.approx(float(wanted))


def test_members_are_not_missed_for_what_both_ends_satisfy(planted, held_out):
    vacuous = replace(alike(held_out[0]), name="alike", sense="keeps")
    kept = tuple(replace(pair, expected=pair.base_answer) for pair in vacuous.pairs)
    subject = subject_of(planted, [held_out[0], replace(vacuous, pairs=kept)], wired.CIRCUIT)
    assert [bound.vacuous for bound in subject.bounds] == [False, True]
    found = check_leave_one_out(subject)
    assert {name for row in found.details for name in row["effects"]} == {held_out[0].name}
    assert "Holm over 2)" in found.says and found.verdict == "holds"


def test_what_is_ablated_takes_what_the_claim_says_of_the_rest(planted, held_out):
    inside, outside = held_out[0], replace(held_out[0], name="o", part="outside", donor="zero")
    for desiderata, donor in (([inside, outside], "zero"), ([inside], "source")):
        assert subject_of(planted, desiderata, wired.CIRCUIT).donor == donor


def test_groups_by_the_inputs_of_the_causal_model(sound):
    found = check_groups(sound)
    assert found.verdict == "holds"
    assert "query" in {row["by"] for row in found.details}
    assert all(row["n"] >= 6 for row in found.details)


def test_leaking_targets_and_wrong_tokens_are_found_out(planted, held_out, sound):
    assert check_pairs(sound).verdict == "holds"
    follows = held_out[0]
    leaky = tuple(
        replace(pair, expected=pair.base_answer) if row % 7 == 0 else pair
        for row, pair in enumerate(follows.pairs)
    )
    found = check_pairs(
        subject_of(planted, [replace(follows, pairs=leaky), *held_out[1:]], wired.CIRCUIT)
    )
    assert found.verdict == "fails"
    assert found.value == pytest.approx(13 / 90)
    bare = subject_of(
        planted,
        held_out,
        wired.CIRCUIT,
        spoil=lambda batch: replace(batch, expected=wired.shifted(batch.expected)),
    )
    found = check_pairs(bare)
    assert found.verdict == "fails"
    assert found.details[0]["wrong tokens"] == 90


def test_what_keeps_does_not_leak(planted, held_out):
    """There the base's answer is what is asked for."""
    kept = tuple(replace(pair, expected=pair.base_answer) for pair in held_out[0].pairs)
    keeps = replace(held_out[0], sense="keeps", pairs=kept)
    found = check_pairs(subject_of(planted, [keeps], wired.CIRCUIT))
    assert (found.verdict, found.value) == ("holds", 0.0)


def test_nothing_is_found_where_nothing_is(planted, sound):
    before = {k: v.clone() for k, v in planted.engine.weights().items()}
    found = check_controls(sound)
    assert found.verdict == "holds"
    assert {row["control"] for row in found.details} == {"weights shuffled", "answers dealt anew"}
    after = planted.engine.weights()
    assert all(torch.equal(before[name], after[name]) for name in before)
    constant = tuple(replace(pair, expected=" v3") for pair in sound.batches[0].desideratum.pairs)
    same = subject_of(
        planted, [replace(sound.batches[0].desideratum, pairs=constant)], wired.CIRCUIT
    )
    # Where all pairs expect the same answer, dealing answers anew changes nothing.
    rows = {row["control"]: row for row in check_controls(same).details}
    assert rows["answers dealt anew"]["satisfaction"] == pytest.approx(
        float(same.compared.scores(same.membership[None])[0, 0])
    )


def test_what_keeps_is_no_control(planted, held_out):
    """A model that ignores its input keeps everything, and so do answers dealt to other pairs."""
    follows = held_out[0]
    kept = tuple(replace(pair, expected=pair.base_answer) for pair in follows.pairs)
    keeps = replace(follows, name="keeps", sense="keeps", pairs=kept)
    found = check_controls(subject_of(planted, [keeps, follows], wired.CIRCUIT))
    assert {row["desideratum"] for row in found.details} == {follows.name}
    assert found.verdict == "holds"
    alone = check_controls(subject_of(planted, [keeps], wired.CIRCUIT))
    assert alone.verdict == "inconclusive" and "no desideratum asks" in alone.says


def test_no_answer_is_dealt_to_its_own_pair(planted, held_out):
    """Where each pair expects a word of its own, the circuit gets none of them."""
    own = {words_of(pair.expected): pair for pair in held_out[0].pairs}
    assert len(own) > 15
    made = replace(held_out[0], pairs=tuple(own.values()))
    subject = subject_of(planted, [made], wired.CIRCUIT)
    for seed in range(4):
        rows = check_controls(replace(subject, seed=seed)).details
        (dealt,) = (row for row in rows if row["control"] == "answers dealt anew")
        assert dealt["satisfaction"] == 0.0


def test_a_circuit_that_another_task_needs_is_not_about_this_one(sound, monkeypatch):
    """The same prompts under another name need the circuit as much. Where the answer is always
    one word, another prompt's value is as good: nothing changes. Answers that the model does not
    give, and words that it does not have, are left aside."""
    follows = wired.claim.sample(60, 4)[1][0]

    def given(pairs):
        return GivenPairs("given", (replace(follows, pairs=tuple(pairs)),))

    alike = [
        pair
        for pair in wired.claim.sample(300, 4)[1][0].pairs
        if pair.base_answer == follows.pairs[0].base_answer
    ]
    constant = [
        replace(pair, source=other.base, source_answer=None)
        for pair, other in permutations(alike, 2)
    ][:40]
    assert len(constant) > 30
    tasks_there = {
        "same": given(follows.pairs),
        "constant": given(constant),
        "unsolved": given(replace(p, base_answer=p.expected) for p in follows.pairs),
        "unread": given(replace(p, base=Prompt("once upon a time")) for p in follows.pairs),
    }

    def find(*names):
        entries = {name: EntryPoint(name, "x:y", "circuitfind.tasks") for name in names}
        monkeypatch.setattr(selectivity, "installed_claims", lambda: entries)
        monkeypatch.setattr(selectivity, "load_claim", tasks_there.__getitem__)
        return selectivity.check_selectivity(sound)

    found = find(*tasks_there)
    assert found.verdict == "fails"
    rows = {row["task"]: row for row in found.details if row["verdict"] != "not judged"}
    assert set(rows) == {"its own", "same", "constant"}
    assert rows["same"]["changed"] > 0.9 and rows["same"]["verdict"] == "fails"
    assert rows["constant"]["changed"] == 0.0 and rows["constant"]["verdict"] == "holds"
    assert rows["constant"]["divergence"] < 1e-3 < rows["same"]["divergence"]
    assert "not judged: 3 others" in found.says  # and text, which it cannot read
    assert find("constant").verdict == "holds"
    assert find("unsolved", "unread").verdict == "inconclusive"


def test_another_task_may_change_by_half_of_what_its_own_does():
    own = {"low": 0.8, "high": 0.9}
    for low, high, verdict in (
        (0.1, 0.39, "holds"),
        (0.1, 0.41, "inconclusive"),
        (0.3, 0.7, "inconclusive"),
        (0.44, 0.8, "inconclusive"),
        (0.46, 0.8, "fails"),
    ):
        assert selectivity.judge_row({"low": low, "high": high}, own) == verdict


def result_of(sound, *components, success=True):
    """What a search that ends with these components would give."""
    chosen = tuple(Site(component, "last") for component in components)
    sites = sound.objective.sites
    membership = membership_of(sites, chosen)
    return SearchResult(
        mask=Mask(sites, membership),
        circuit=replace(sound.circuit, sites=chosen, scores=(0.0,) * len(chosen)),
        success=success,
        status="holds",
        message="found",
        history=(),
        frontier=(),
        ranking=membership,
    )


def test_a_rival_has_to_hold_on_held_out_pairs_too(sound, monkeypatch):
    """On search pairs both were found to hold; the second one is idle."""
    for components, verdict, value in (
        ((*wired.CIRCUIT, mlp(0)), "fails", 2 / 3),
        ((head(1, 2), head(0, 1)), "inconclusive", 0.0),
    ):
        made = result_of(sound, *components)
        monkeypatch.setattr(rival, "search_rival", lambda *_, made=made, **__: made)
        found = check_rival(sound)
        assert (found.verdict, found.value) == (verdict, pytest.approx(value))
        assert ("but not on held-out ones" in found.says) is (verdict == "inconclusive")


def test_stability_is_the_mean_over_pairs_of_searches(sound, monkeypatch):
    """Of a search that draws nothing: the circuit twice, and two others of as many sites."""
    results = iter(
        [
            replace(result_of(sound), circuit=replace(sound.circuit)),
            result_of(sound, head(1, 2), head(1, 3)),
            result_of(sound, head(0, 0), head(1, 0)),
        ]
    )
    monkeypatch.setattr(stability, "solve", lambda *_: next(results))
    monkeypatch.setattr(stability, "BOOTSTRAPS", 3)
    found = check_stability(replace(sound, circuit=replace(sound.circuit, method="attribution")))
    # Six pairs of circuits: alike, a third shared twice, and nothing three times.
    assert found.n == 3 and found.verdict == "fails"
    assert (found.low, found.value, found.high) == pytest.approx((0.0, (1 + 2 / 3) / 6, 1.0))
    shares = {row["site"]: row["share"] for row in found.details}
    assert shares["a1.h0@last"] == 3 / 4 and shares["a1.h3@last"] == 1 / 4


def test_a_circuit_that_falls_short_as_its_mask_does_lost_nothing_by_rounding(planted, held_out):
    half = subject_of(planted, held_out, wired.CIRCUIT[:1])
    same = check_rounding(replace(half, mask=half.membership))
    assert same.verdict == "holds" and same.value == 0.0
    assert any(row["circuit"] < row["need"] for row in same.details)
    whole = membership_of(half.objective.sites, [Site(one, "last") for one in wired.CIRCUIT])
    assert check_rounding(replace(half, mask=whole)).verdict == "fails"


def test_a_rival_is_found_where_there_is_one_and_not_where_there_is_none(sound):
    assert check_rival(sound).verdict == "holds"
    model = load_model(BACKED, device="cpu")
    search, held_out = tasks.claim.sample(60, 0)
    carriers = [head(1, 0), head(1, 1)]
    found = check_rival(subject_of(model, held_out, carriers, search))
    assert found.verdict == "fails"
    assert found.value < 1
    assert "not unique" in found.says
    assert check_rival(subject_of(model, held_out, carriers)).verdict == "inconclusive"


def test_a_rival_is_sought_no_further_than_its_budget(sound, monkeypatch):
    """Where there is none, every penalty would be tried."""
    spent = []
    for budget in (1.0, float("inf")):
        monkeypatch.setattr(rival, "BUDGET", budget)
        before = sound.objective.cost.flops
        assert check_rival(sound).verdict == "holds"
        spent.append(sound.objective.cost.flops - before)
    assert 0 < 2 * spent[0] < spent[1]


def test_searching_again_costs_no_more_than_it_may(planted, sound, monkeypatch):
    """Few pairs, drawn from all of them, and no bootstrap past the budget."""
    monkeypatch.setattr(stability, "BUDGET", 1.0)
    many = replace(sound, search=encode(planted, wired.claim.sample(200, 0)[0]))
    assert [len(batch) for batch in many.searched] == [48] * len(many.search)
    every = many.search[0].desideratum.pairs
    places = [every.index(pair) for pair in many.searched[0].desideratum.pairs]
    assert places == sorted(places) and max(places) > 150
    found = check_stability(many)
    assert found.says.startswith(
        "6 searches by constrained, 5 by other seeds and 1 of 5 on resampled pairs, on 48 of 200 "
        "search pairs: "
    )
    assert found.verdict == "holds"


def test_a_search_is_repeated_as_it_was_made(sound, monkeypatch):
    """With its settings and its size, and by other seeds only where they make a difference."""
    monkeypatch.setattr(stability, "BOOTSTRAPS", 1)
    config = {"steps": 3, "margin": 1.0, "size": 3, "seed": 7, "pins": ["m0@last", "m9@last"]}
    circuit = replace(
        sound.circuit,
        method="attribution",
        provenance={"config": config},
        sites=(*sound.circuit.sites, Site(mlp(0), "last")),
        scores=(0.0,) * 3,
    )
    again = replace(sound, circuit=circuit)
    assert again.config(4) == SearchConfig(steps=3, margin=1.0, size=3, seed=4, pins=("m0@last",))
    found = check_stability(again)
    assert found.says.startswith(
        "1 searches by attribution, 0 by other seeds (it draws nothing) and 1 of 1 on resampled"
    )
    assert sum(row["share"] for row in found.details) == 3


@pytest.mark.slow
def test_a_circuit_is_found_again_or_not(planted, sound):
    found = check_stability(sound)
    assert found.verdict == "holds"
    assert found.value == 1.0
    assert found.n == 10
    assert found.says.startswith("10 searches by constrained, 5 by other seeds and 5 of 5 on ")
    search = sound.search
    lucky = replace(
        subject_of(planted, wired.claim.sample(90, 3)[1], [head(1, 2), head(0, 1)]),
        search=search,
        circuit=replace(sound.circuit, method="random"),
    )
    found = check_stability(lucky)
    assert found.verdict == "fails"
    assert found.value < 0.8


def test_a_card_is_bound_to_its_circuit(planted, held_out, sound):
    card = validate(planted, sound.circuit, held_out, checks=["satisfaction"])
    assert set(card.binds) == {"circuit", "model", "pairs"}
    card.require(sound.circuit)
    other = replace(sound.circuit, sites=sound.circuit.sites[:1], scores=(0.0,))
    with pytest.raises(ValueError, match="this card is about another circuit"):
        card.require(other)
    assert (
        validate(planted, sound.circuit, held_out[:1], checks=["pairs"]).binds["pairs"]
        != (card.binds["pairs"])
    )


@pytest.mark.parametrize(("among", "unit"), [(None, "logits"), ([" v1", " v2"], "nats")])
def test_sentences_name_the_unit_of_the_answer(planted, among, unit):
    values = [f" v{n}" for n in range(25)]
    claim = wired.task.carries("answer", at="last", complete=True, among=among and values)
    subject = subject_of(planted, claim.sample(60, 3)[1], wired.CIRCUIT)
    assert subject.unit == unit
    told = check_necessity(subject).says
    assert re.search(rf"costs \d+\.\d+ of \d+\.\d+ {unit},", told), told
    told = check_equivalence(subject).says
    assert re.search(rf"mean difference is [+-]\d\.\d+ of \d+\.\d+ {unit}", told), told
    told = check_completeness(subject).says
    assert re.search(rf"the right answer leads by -?\d+\.\d+ and -?\d+\.\d+ {unit}\)", told), told
    same = subject_of(planted, [alike(one) for one in claim.sample(60, 3)[1]], wired.CIRCUIT)
    for check in (check_faithfulness, check_completeness, check_curve):
        told = check(same).says
        assert re.search(rf"changes the lead of the right answer by \S+ {unit} ", told), told


def alike(desideratum):
    """The same pairs, each source with the base's prompt, so that ablating changes nothing."""
    pairs = tuple(replace(pair, source=pair.base) for pair in desideratum.pairs)
    return replace(desideratum, pairs=pairs, donor="source")
