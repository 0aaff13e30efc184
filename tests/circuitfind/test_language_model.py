"""SmolLM2-135M, where its weights are in the cache: it solves IOI, and reuse changes nothing."""

import pytest
import torch

from circuitfind.claims import load_claim
from circuitfind.component import all_sites
from circuitfind.cost import Cost
from circuitfind.encoding import encode, fit_to_tokenizer
from circuitfind.model import load_model
from circuitfind.patching import prepare, run
from circuitfind.precheck import solves
from circuitfind.smollm2 import cached_smollm2

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
    return encode(model, claim.sample(24, 0)[0][:1])[0]


def test_it_solves_most_ioi_pairs(model, batch):
    # Both prompts of a pair right: about 0.95 on the search templates (n = 128, seed 0).
    assert solves(model, batch, Cost()).float().mean() > 0.75


def test_reuse_equals_recomputation_and_patching_moves_the_answer(model, batch):
    few = batch.take(range(6))
    sites = all_sites(model.n_layers, model.n_heads, ["last"])
    gates = torch.stack([torch.zeros(len(sites)), torch.ones(len(sites))])
    reused, full = (run(prepare(model, few, sites, reuse=reuse), gates) for reuse in (True, False))
    torch.testing.assert_close(reused, full, atol=1e-3, rtol=1e-3)
    null, ceiling = (reused.argmax(-1) == few.expected).float().mean(dim=1).tolist()
    assert null == 0.0
    assert ceiling > 0.6
