"""Planted models: their truth is what trying all circuits finds, and they solve their task."""

from dataclasses import replace
from importlib.metadata import entry_points

import pytest
import torch

from circuitfind.bench.truth import exhaustive_truth
from circuitfind.claims import GROUP
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import load_model
from circuitfind.models.planted import (
    CLAIMS,
    Planted,
    heads_of,
    parse_planted,
    planted_truth,
    planted_words,
)
from circuitfind.models.planted_weights import planted_native
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.precheck import solves
from tasks import planted as task

OF_NAME = dict(zip(CLAIMS, (task.claim, task.inside, task.alone), strict=True))
SMALL = (
    "planted",
    "planted:backups=1,decoys=0",  # both carriers of a digit are needed
    "planted:backups=1,inhibitors=1,heads=5,seed=3",  # either of them is enough
    "planted:parts=1,backups=2,decoys=0",  # two of three
    "planted:parts=1,backups=2,inhibitors=1,heads=5,decoys=0,seed=1",
    "planted:parts=3,seed=2",
    "planted:mlps=carry,backups=1,parts=1,inhibitors=1,seed=5",
    "planted:layers=3,heads=3,distractors=3,mlps=busy,seed=6",
    "planted:parts=1,heads=3,decoys=1,noise=0.01,seed=7",  # every weight is there: nothing is idle
)


def sites_of(model):
    return all_sites(model.n_layers, model.n_heads, ("last",))


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        # The first model by every claim, each other one by one of them.
        pytest.param(name, claim, marks=pytest.mark.slow if (m + n) % 3 and m else ())
        for m, name in enumerate(SMALL)
        for n, claim in enumerate(CLAIMS)
    ],
)
def test_the_truth_is_what_trying_all_circuits_finds(name, claim):
    model, planted = load_model(name, device="cpu"), parse_planted(name)
    batches = encode(model, OF_NAME[claim].sample(36, 1)[0])
    truth = exhaustive_truth(model, batches, sites_of(model), bound=0.95)
    assert set(truth.circuits) == set(planted_truth(planted, claim))
    assert bool(truth.idle) == (planted.noise == 0)


@pytest.mark.parametrize(
    "name",
    [
        *SMALL,
        "planted:layers=6,heads=8,parts=3,backups=4,inhibitors=4,decoys=9,distractors=9,seed=9",
        "planted:mlps=carry,backups=2,heads=8,inhibitors=2,noise=0.01,seed=11",
        "planted:layers=4,heads=8,decoys=12,distractors=8,mlps=busy,noise=0.0075,seed=12",
    ],
)
def test_every_prompt_is_answered(name):
    model = load_model(name, device="cpu")
    batches = encode(model, [task.inside.sample(60, 2)[0][0]])
    assert bool(solves(model, batches[0], Cost()).all())


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_the_truth_holds_and_nothing_smaller_does_in_large_models(seed):
    """Too many sites to try all circuits: those of the truth hold, and not without a member."""
    name = f"planted:layers=4,heads=8,backups=2,distractors=6,mlps=busy,noise=0.0075,seed={seed}"
    model = load_model(name, device="cpu")
    sites = sites_of(model)
    for claim, wanted in OF_NAME.items():
        objective = Objective(model, encode(model, wanted.sample(36)[0]), sites)
        circuits = planted_truth(parse_planted(name), claim)[::3]
        wholes = torch.stack([row_of(sites, circuit) for circuit in circuits])
        assert bool((objective.scores(wholes) >= 0.95).all())
        less = [row_of(sites, circuits[0] - {member}) for member in circuits[0]]
        assert bool((objective.scores(torch.stack(less)).amin(dim=1) < 0.95).all())


def row_of(sites, circuit):
    return torch.tensor([float(site in circuit) for site in sites])


def test_how_many_circuits_there_are():
    def count(text, claim="planted"):
        return [len(one) for one in planted_truth(parse_planted(f"planted:{text}"), claim)]

    assert count("") == [2]
    assert count("backups=1,decoys=0") == [4]
    assert count("backups=1,inhibitors=1,heads=6") == [2] * 4
    assert count("parts=1,backups=2") == [2] * 3
    assert count("parts=1,backups=2,inhibitors=2,heads=6") == [1] * 3
    assert count("backups=1,decoys=0", "planted-alone") == [2] * 4
    assert count("mlps=carry") == [3]
    assert sorted(count("mlps=carry", "planted-inside")) == [1, 2]
    with pytest.raises(LookupError, match="no truth for 'arithmetic'"):
        planted_truth(Planted(), "arithmetic")


def test_a_circuit_with_an_inhibitor_fails_where_it_holds_without():
    name = "planted:parts=1,backups=1,inhibitors=1,decoys=0"
    model, roles = load_model(name, device="cpu"), heads_of(parse_planted(name))
    sites = sites_of(model)
    objective = Objective(model, encode(model, task.claim.sample(36)[0]), sites)

    def scores(*members):
        return objective.scores(row_of(sites, {Site(one, "last") for one in members})[None])

    carrier, inhibitor = roles.carriers[0][0], roles.inhibitors[0]
    assert bool((scores(carrier) == 1.0).all())
    assert bool((scores(carrier, inhibitor) < 0.95).any())
    assert bool((objective.scores(torch.ones(1, len(sites)))[:, :2] == 1.0).all())


def test_a_name_is_read_with_all_its_problems():
    assert parse_planted("planted") == parse_planted("planted:") == Planted()
    assert parse_planted("planted:layers=3, mlps=busy,noise=0.01") == Planted(
        layers=3, mlps="busy", noise=0.01
    )
    with pytest.raises(ValueError) as error:
        load_model("planted:layers=two,wings=2,seed=1,seed=2,heads")
    for words in (
        "layers must be of type int; got 'two'",
        "'wings=2' is not key=value with a known key",
        "seed is given twice",
        "'heads' is not key=value",
        "the keys are: layers, heads, parts",
    ):
        assert words in str(error.value)
    with pytest.raises(ValueError) as error:
        Planted(layers=1, parts=4, mlps="sleepy", noise=float("nan"), inhibitors=1)
    for words in (
        "layers must lie from 2 to 8; got 1",
        "parts must lie from 1 to 3",
        "mlps must be one of",
        "noise must lie",
        "inhibitors must be fewer than the 1 + backups = 1 carriers",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({"backups": 2}, "6 carriers and inhibitors do not fit into the 4 heads after layer 0"),
        (
            {"noise": 0.01, "heads": 16, "layers": 4},
            "noise times layers times heads must be at most",
        ),
        ({"decoys": 6}, "9 heads that do something do not fit into 8"),
    ],
)
def test_heads_must_have_room_and_noise_a_limit(planted, words):
    with pytest.raises(ValueError, match=words):
        Planted(**planted)


def test_every_head_does_one_thing():
    for seed in range(5):
        planted = Planted(
            layers=3, heads=6, backups=1, inhibitors=1, decoys=3, distractors=4, seed=seed
        )
        roles = heads_of(planted)
        given = [roles.before, *sum(roles.carriers, ()), *roles.inhibitors]
        given += [*roles.decoys, *roles.distractors]
        assert len(given) == len(set(given)) == 1 + 4 + 1 + 3 + 4
        assert roles.before.layer == 0
        assert all(one.layer > 0 for one in sum(roles.carriers, ()))
    assert heads_of(Planted(seed=1)) != heads_of(Planted(seed=2))
    assert heads_of(Planted()).carriers == ((head(1, 0),), (head(1, 1),))


def test_the_seed_decides_the_weights_and_noise_is_in_all_of_them():
    one, same, other = (planted_native(Planted(noise=0.01, seed=seed)) for seed in (1, 1, 2))
    clean = planted_native(Planted(seed=1))
    for name, weight in one.weights.items():
        assert torch.equal(weight, same.weights[name])
        assert not torch.equal(weight, other.weights[name])
        difference = weight - clean.weights[name]
        assert bool((difference != 0).float().mean() > 0.9)
        assert 0.005 < float(difference.std()) < 0.015
    assert one.about != other.about


def test_the_task_and_the_models_speak_of_the_same_words():
    assert planted_words() == (*task.KEYS, *task.VALUES, "<pad>", "<unk>")
    offered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    assert [offered[claim] for claim in CLAIMS] == [
        "tasks.planted:claim",
        "tasks.planted:inside",
        "tasks.planted:alone",
    ]
    assert task.claim.rules[-1].part == "outside" and len(task.inside.rules) == 2
    assert (task.alone.rules[0].donor, task.alone.at) == ("zero", ("last",))


def test_the_last_mlp_carries_where_it_should():
    planted = Planted(mlps="carry", layers=3)
    assert frozenset({Site(mlp(2), "last")}) in planted_truth(planted, "planted-inside")
    assert planted_truth(replace(planted, mlps="idle"), "planted-inside") == planted_truth(
        replace(planted, mlps="busy"), "planted"
    )
