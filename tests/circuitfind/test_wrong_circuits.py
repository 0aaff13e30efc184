"""Circuits that naive checks accept, each caught by a named check, and right ones that pass.

Naive is what most reports rest on: a satisfaction, taken once. What is wrong with a circuit is
known here by construction.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.bench.cases import known_cases
from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.known import parse_site
from circuitfind.models.loading import load_model
from circuitfind.models.planted import heads_of, parse_planted, planted_truth
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import Mask
from circuitfind.objective.objective import Objective
from circuitfind.search import candidate_sites
from circuitfind.validate import CHECKS, validate
from circuitfind.validate.table import checks_named
from desiderata import words_of
from tasks import planted as tasks

from .. import planted as wired

N = 80
# Models with carriers that need each other, with backups, with an MLP that carries, with noise.
MODELS = (
    "planted:heads=6,parts=2,decoys=2,distractors=1",
    "planted:layers=3,heads=6,parts=3,decoys=4,distractors=4",
    "planted:layers=3,heads=6,parts=2,mlps=carry,decoys=3",
    "planted:layers=3,heads=8,parts=2,decoys=4,distractors=3,seed=2,noise=0.0005",
)


def slow_but(*fast: Any, of: Sequence[Any] = MODELS) -> list[Any]:
    """The models, or others, of which only these are in the fast tests."""
    return [pytest.param(one, marks=() if one in fast else pytest.mark.slow) for one in of]


ALL = {case.name: case for case in known_cases("all") if case.truth}


def right_under_every_ablation(case):
    """Whether it has a circuit, and the only one, that holds however the rest is ablated."""
    mine = case.truth[0]
    rivals = [one for one in ALL.values() if one.model == case.model and one.donor]
    return all(any(right <= mine for right in one.truth) for one in rivals) and (
        case.donor is not None or (len(case.truth) == 1 and not case.task.endswith("-inside"))
    )


RIGHT = [case for case in ALL.values() if right_under_every_ablation(case)]
# One of each kind, and under each ablation.
QUICK = (
    "two carriers: planted",
    "tracr-half: zero",
    "tracr-frac-prevs: mean",
    "tracr-sort-unique: resample",
    "siit-arithmetic: zero",
)
MORE = ("planted:seed=5", "planted:layers=4,heads=4,parts=2,seed=1", *MODELS[:2])


def card_of(model, sites, desiderata, checks=(), search=(), mask=None, task="t"):
    sites = tuple(sorted(sites, key=str))
    circuit = Circuit(
        model=model.name,
        task=task,
        claim="c",
        method="by hand",
        seed=0,
        sites=sites,
        scores=(0.0,) * len(sites),
    )
    batches = encode(model, desiderata)
    return validate(
        model,
        circuit,
        batches,
        checks=checks,
        mask=mask,
        search=encode(model, search) if search else (),
    )


def verdicts(card):
    return {finding.name: finding.verdict for finding in card.findings}


def truth_of(name, claim="planted"):
    return sorted(planted_truth(parse_planted(name), claim)[0], key=str)


def idle_heads(name):
    """Heads after layer 0 that write nothing."""
    planted = parse_planted(name)
    heads = heads_of(planted)
    busy = {one for same in heads.carriers for one in same}
    busy |= {*heads.inhibitors, *heads.decoys, *heads.distractors, heads.before}
    return [
        head(layer, index)
        for layer in range(1, planted.layers)
        for index in range(planted.heads)
        if head(layer, index) not in busy
    ]


def test_all_that_catch_wrong_circuits_but_rival_run_by_default():
    """So that each test may run its own alone; `rounding` does where there is a mask."""
    names = {"leave one out", "satisfaction", "faithfulness", "random circuits", "groups", "pairs"}
    assert {*names, "rounding"} <= {check.name for check in checks_named(())}


@pytest.mark.parametrize("name", slow_but(MODELS[0]))
def test_padding_with_idle_heads_is_caught_by_leave_one_out(name):
    model, (_, held_out) = load_model(name, device="cpu"), tasks.claim.sample(2 * N, 0)
    padded = [*truth_of(name), *(parse_site(f"{one}@last") for one in idle_heads(name)[:2])]
    card = card_of(model, padded, held_out, ("leave one out",))
    assert card.holds  # to the naive eye
    assert verdicts(card)["leave one out"] == "fails"


def test_on_few_pairs_a_member_is_not_called_idle():
    """That none of 40 pairs is lost is no news of one that carries a pair in twenty; how many
    pairs tell grows with the number of members among which one may be idle by luck."""
    model, (_, held_out) = load_model(MODELS[0], device="cpu"), tasks.claim.sample(40, 0)
    padded = [*truth_of(MODELS[0]), parse_site(f"{idle_heads(MODELS[0])[0]}@last")]
    card = card_of(model, padded, held_out, checks=["leave one out"])
    found = card.findings[-1]
    assert (found.name, found.verdict) == ("leave one out", "inconclusive")
    n = next(n for n in range(40, 200) if 0.95**n <= 0.025 / len(padded))
    assert found.says.endswith(f"; if it loses no more, {n} pairs would tell that it is idle")


@pytest.mark.parametrize("name", slow_but(MODELS[1]))
def test_members_that_do_not_suffice_together_are_caught(name):
    """Each is needed, and what is needed is not all that is."""
    model, (_, held_out) = load_model(name, device="cpu"), tasks.claim.sample(N, 0)
    short = truth_of(name)[:-1]
    found = verdicts(card_of(model, short, held_out, ("satisfaction", "faithfulness")))
    assert found["satisfaction"] == "fails"
    assert found["faithfulness"] == "fails"


@pytest.mark.parametrize("backups", slow_but(2, of=(2, 4)))
def test_a_random_circuit_that_happens_to_score_is_caught_by_random_circuits(backups):
    """Of many equal carriers some are enough; so are any others of the layer."""
    name = f"planted:heads={2 * (1 + backups)},parts=1,backups={backups},decoys=0"
    model, (_, held_out) = load_model(name, device="cpu"), tasks.inside.sample(N, 0)
    carriers = [site for site in truth_of(name, "planted-inside") if site.component.kind == "head"]
    card = card_of(model, carriers, held_out, ("random circuits",))
    assert card.holds
    assert verdicts(card)["random circuits"] != "holds"


@pytest.mark.parametrize("heads", slow_but(6, of=(6, 8)))
def test_one_of_two_backups_presented_as_the_circuit_is_caught_by_rival(heads):
    name = f"planted:layers=3,heads={heads},parts=2,backups=1,inhibitors=1,decoys=2"
    model, (search, held_out) = load_model(name, device="cpu"), tasks.claim.sample(N, 0)
    card = card_of(model, truth_of(name), held_out, ("rival",), search)
    assert card.holds
    assert verdicts(card)["rival"] == "fails"


@pytest.mark.parametrize("name", slow_but(MODELS[0], of=MODELS[:2]))
def test_a_circuit_for_one_order_only_is_caught_by_groups(name):
    """Where one digit of the code is the same in base and source, its carrier is not missed."""
    model = load_model(name, device="cpu")
    planted = parse_planted(name)
    follows = tasks.inside.sample(600, 0)[1][0]
    words = [
        (
            pair,
            *(
                planted.digits(int(words_of(word).strip()[1:]))
                for word in (pair.expected, pair.base_answer)
            ),
        )
        for pair in follows.pairs
    ]
    easy = [pair for pair, mine, base in words if mine[-1] == base[-1]]
    hard = [pair for pair, mine, base in words if mine[-1] != base[-1]]
    rows = [replace(pair, base_inputs={"order": "ab"}) for pair in (easy * 40)[:300]]
    rows += [replace(pair, base_inputs={"order": "ba"}) for pair in hard[:9]]
    carriers = [parse_site(f"{same[0]}@last") for same in heads_of(planted).carriers[:-1]]
    card = card_of(model, carriers, [replace(follows, pairs=tuple(rows))], ("groups",))
    assert card.holds
    assert verdicts(card)["groups"] == "fails"


@pytest.mark.parametrize("name", slow_but(MODELS[0], of=MODELS[:2]))
def test_a_leaking_desideratum_is_caught_by_pairs(name):
    model, (_, held_out) = load_model(name, device="cpu"), tasks.inside.sample(N, 0)
    leaky = tuple(
        replace(pair, expected=pair.base_answer) if row % 7 == 0 else pair
        for row, pair in enumerate(held_out[0].pairs)
    )
    batches = [replace(held_out[0], pairs=leaky), *held_out[1:]]
    card = card_of(model, truth_of(name), batches, ("pairs",))
    assert verdicts(card)["pairs"] == "fails"


@pytest.mark.parametrize("name", slow_but(MODELS[0], of=MODELS[:2]))
def test_a_target_taken_outside_its_context_is_caught_by_pairs(name):
    model, (_, held_out) = load_model(name, device="cpu"), tasks.inside.sample(N, 0)
    batches = [
        replace(batch, base_answer=wired.shifted(batch.base_answer))
        for batch in encode(model, held_out)
    ]
    circuit = Circuit(
        model=name,
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=tuple(truth_of(name)),
        scores=(0.0,) * len(truth_of(name)),
    )
    card = validate(model, circuit, batches, checks=("pairs",))
    assert card.holds
    assert verdicts(card)["pairs"] == "fails"


@pytest.mark.parametrize("parts", slow_but(2, of=(1, 2)))
def test_a_soft_mask_that_rounds_badly_is_caught_by_satisfaction_and_rounding(parts):
    """One carrier of three taken whole and two by 0.4 outvote the base; one alone does not."""
    name = f"planted:heads=8,parts={parts},backups=2,decoys=0"
    model, (_, held_out) = load_model(name, device="cpu"), tasks.inside.sample(N, 0)
    sites = candidate_sites(model, held_out)
    soft = {
        str(one): share
        for same in heads_of(parse_planted(name)).carriers
        for one, share in zip(same, (1.0, 0.4, 0.4), strict=True)
    }
    mask = Mask(sites, torch.tensor([soft.get(str(site.component), 0.0) for site in sites]))
    objective = Objective(model, encode(model, held_out), sites)
    assert float(objective.scores(mask.membership[None]).min()) == 1.0
    card = card_of(model, mask.members(), held_out, ("satisfaction", "rounding"), mask=mask)
    assert verdicts(card)["satisfaction"] == verdicts(card)["rounding"] == "fails"
    rounding = next(one for one in card.findings if one.name == "rounding")
    assert rounding.value == pytest.approx(
        max(row["mask"] - row["circuit"] for row in rounding.details)
    )
    carriers = tuple(parse_site(f"{one}@last") for one in soft)
    halves = replace(mask, membership=mask.membership.clamp(max=0.9))
    right = card_of(model, carriers, held_out, checks=["rounding"], mask=halves)
    assert verdicts(right) == {"rounding": "holds"}


@pytest.mark.parametrize(
    "name", slow_but("tracr-half: mean", of=("tracr-reverse: mean", "tracr-half: mean"))
)
def test_a_circuit_right_for_one_ablation_only_is_caught_by_faithfulness(name):
    case = ALL[name]
    model, claim = case.load()
    card = card_of(model, case.truth[0], claim.sample(10**6)[1], ("faithfulness",))
    assert card.holds
    found = next(one for one in card.findings if one.name == "faithfulness")
    assert found.verdict == "fails"
    assert "the ablations disagree, it fails under zero, holds under mean" in found.says


def alarms(card):
    return [(one.name, one.says) for one in card.findings if one.verdict == "fails"]


def test_there_are_enough_right_circuits():
    assert len(RIGHT) + len(MORE) >= 20
    assert {*QUICK} <= {case.name for case in RIGHT}


@pytest.mark.parametrize("name", slow_but(*QUICK, of=[case.name for case in RIGHT]))
def test_right_circuits_pass(name):
    case = ALL[name]
    model, claim = case.load()
    card = card_of(model, case.truth[0], claim.sample(10**6 if case.donor else N, 0)[1])
    assert card.holds
    assert not alarms(card)


@pytest.mark.slow
@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_right_circuits_pass_every_check_that_does_not_search(case):
    model, claim = case.load()
    names = [check.name for check in CHECKS if not check.searches and not check.of_mask]
    desiderata = claim.sample(10**6 if case.donor else N, 0)[1]
    card = card_of(model, case.truth[0], desiderata, names, task=case.task)
    found = [name for name, _ in alarms(card)]
    # The task of saved inputs is installed under a name of its own, too.
    assert found == (["selectivity"] if case.model == "siit-arithmetic" else [])


@pytest.mark.parametrize("name", slow_but(MORE[0], of=MORE))
def test_more_right_circuits_pass(name):
    model, (_, held_out) = load_model(name, device="cpu"), tasks.claim.sample(N, 0)
    card = card_of(model, truth_of(name), held_out)
    assert card.holds
    assert not alarms(card)
