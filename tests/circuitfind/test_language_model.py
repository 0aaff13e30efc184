"""SmolLM2-135M, where its weights are in the cache: it solves IOI, and reuse changes nothing."""

import pytest
import torch

from circuitfind.claims import load_claim
from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import load_model
from circuitfind.models.smollm2 import cached_smollm2
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.fitting import fit_to_tokenizer
from circuitfind.objective.patching import prepare, run
from circuitfind.objective.precheck import solves

pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.skipif(
        cached_smollm2() is None, reason="SmolLM2 is not in the cache; make smollm2 fetches it"
    ),
]


@pytest.fixture(scope="module")
def model():
    return load_model("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def batch(model):
    claim, notes = fit_to_tokenizer(model, load_claim("ioi"))
    assert any("not one token here" in note for note in notes)
    return encode(model, claim.sample(12, 0)[0][:1])[0]


def test_it_solves_most_ioi_pairs(model, batch):
    # Both prompts of a pair right: about 0.95 on the search templates (n = 128, seed 0).
    assert solves(model, batch, Cost()).float().mean() > 0.75


def test_reuse_equals_recomputation_and_patching_moves_the_answer(model, batch):
    few = batch.take(range(3))
    sites = all_sites(model.n_layers, model.n_heads, ["last"])
    gates = torch.stack([torch.zeros(len(sites)), torch.ones(len(sites))])
    reused, full = (run(prepare(model, few, sites, reuse=reuse), gates) for reuse in (True, False))
    torch.testing.assert_close(reused, full, atol=1e-3, rtol=1e-3)
    null, ceiling = few.answer.hit(reused, few.expected).float().mean(dim=1).tolist()
    assert null == 0.0
    assert ceiling > 0.6


@pytest.fixture(scope="module")
def binding():
    return load_model("smollm2-135m-binding", device="cpu")


@pytest.mark.parametrize(
    ("task", "least"),
    [
        ("retrieval", 0.9),
        pytest.param("arithmetic", 0.9, marks=pytest.mark.slow),
        pytest.param("word-problems", 0.65, marks=pytest.mark.slow),
    ],
)
def test_the_fine_tuned_model_binds_held_out_words(model, binding, task, least):
    claim, _ = fit_to_tokenizer(binding, load_claim(task))  # the first 16 pairs
    held_out = encode(binding, claim.sample(16, 0)[1][:1])[0]
    tuned, shipped = (solves(one, held_out, Cost()).float().mean() for one in (binding, model))
    # Both prompts of a pair right: chance is 0.1 squared, or a half squared for two objects. Each
    # alone is right in 0.91 to 1.00 of prompts (training.json).
    assert tuned > least
    assert shipped < tuned - 0.2


def test_the_adapter_changes_attention_alone(model, binding):
    before, after = (one.engine.weights() for one in (model, binding))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == 4 * model.n_layers
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_beginning_at_a_late_layer_changes_nothing(model, batch):
    few = batch.take(range(3))
    sites = all_sites(model.n_layers, model.n_heads, ["last"])
    late = torch.tensor([[float(site.component.layer >= 24) for site in sites]])
    skipping, full = (prepare(model, few, sites, reuse=reuse) for reuse in (True, False))
    torch.testing.assert_close(run(skipping, late), run(full, late), atol=1e-3, rtol=1e-3)
    assert skipping.entries
