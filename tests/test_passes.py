"""Faster ways of running give the same numbers: branches of shared prefixes, desiderata in one
pass, few entries of the vocabulary, and prompts that ran once."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import circuitfind.objective.objective as objective_file
from circuitfind.answers.top import Top
from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import load_model
from circuitfind.models.model import weights_shuffled
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.passes import together
from circuitfind.objective.patching import prepare, run, run_pass
from circuitfind.objective.precheck import keep_solved
from circuitfind.search import SearchConfig, SearchProblem, candidate_sites, search
from desiderata.choices import Alternatives
from tasks.variable_binding import claim

from .tiny import CONFIGS, N_HEADS, N_LAYERS, WORDS, random_desideratum

CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}
# ALiBi comes from a mask of tokens, which branches do not have.
NO_BRANCHES = {"bloom"}
FAMILIES = ("gpt2", "llama", "gemma2", "mistral", "bloom", "llama on bridge", "native")


def ready(model, at, **options):
    batch = encode(model, [random_desideratum(at, **options)])[0]
    return prepare(model, batch, all_sites(N_LAYERS, N_HEADS, at))


def random_gates(prepared, n, seed=1):
    return torch.rand(n, len(prepared.sites), generator=torch.Generator().manual_seed(seed))


def test_which_engines_have_the_faster_ways(tiny):
    can = {name: tiny(name).engine.can for name in CONFIGS}
    assert {name for name in CONFIGS if "branches" not in can[name]} == NO_BRANCHES
    assert {name for name in CONFIGS if "shortlist" not in can[name]} == set()
    assert not {"branches", "shortlist"} & tiny("llama on bridge").engine.can


@pytest.mark.parametrize("at", [("last",), ("x", "last")])
@pytest.mark.parametrize("name", sorted(set(CONFIGS) - NO_BRANCHES))
def test_masks_beside_each_other_give_what_each_gives_alone(tiny, name, at):
    """Of prompts of different lengths, so with padding, and gates that begin late."""
    prepared = ready(tiny(name), at, n=4)
    window = tiny(name).engine.sizes.window
    seen = prepared.batch.base.tokens.shape[1]
    assert prepared.alone.branches(3) == (window is None or seen <= window)
    gates = random_gates(prepared, 6)
    gates[2:4, prepared.layers < N_LAYERS - 1] = 0
    gates[4] = 0
    made = run(prepared, gates)
    for number, mask in enumerate(gates):
        torch.testing.assert_close(made[number], run(prepared, mask[None])[0], **CLOSE)
    assert not torch.allclose(made[0], made[1], **CLOSE)


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - NO_BRANCHES))
def test_a_prefix_that_stays_where_it_is_gives_what_a_copy_gives(tiny, name):
    """Values, and gradients to the gates, with padding and without."""
    engine = tiny(name).engine
    for n in (1, 4):
        prepared = ready(tiny(name), ("last",), n=n)
        if not engine._all_seen(prepared.prefix, prepared.alone.tokens):
            continue
        found = {}
        for most in (0, 2**40):  # numbers in keys up to which they are copied
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("circuitfind.engines.hooks.COPIED", most)
                gates = random_gates(prepared, 1).requires_grad_()
                logits = run(prepared, gates)
                (slope,) = torch.autograd.grad((logits[..., 3] - logits[..., 5]).sum(), gates)
                found[most] = logits.detach(), slope
        for shared, copied in zip(found[0], found[2**40], strict=True):
            torch.testing.assert_close(shared, copied, **CLOSE)


@pytest.mark.parametrize("n_masks", [1, 3])
@pytest.mark.parametrize("at", [("last",), ("x", "last"), ("all",)])
@pytest.mark.parametrize("name", FAMILIES)
def test_desiderata_in_one_pass_give_what_each_gives(tiny, name, at, n_masks):
    """With other pairs, lengths and parts, and one that takes zeros."""
    options = ({"n": 2}, {"n": 3, "part": "outside"}, {"n": 4, "donor": "zero"})
    parts = [ready(tiny(name), at, **own) for own in options]
    joined = together(parts)
    widths = {part.width for part in parts}
    if joined is None:
        assert len(widths) > 1 or "bridge" in name or parts[0].model.engine.sizes.window
        return
    gates = [random_gates(part, n_masks, seed) for seed, part in enumerate(parts)]
    for part, own, made in zip(parts, gates, run_pass(joined, gates), strict=True):
        torch.testing.assert_close(made, run(part, own), **CLOSE)


@pytest.mark.parametrize("n_parts", [1, 2])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_a_step_begins_at_the_first_layer_with_a_site(tiny, name, n_parts):
    """The same gradients as in whole passes, for less; of desiderata that run together, too."""
    model, last = tiny(name), N_LAYERS - 1
    sites = [s for s in all_sites(N_LAYERS, N_HEADS, ("last",)) if s.component.layer == last]
    batches = [
        encode(model, [random_desideratum(("last",), n=n)])[0] for n in range(3, 3 + n_parts)
    ]
    late = Objective(model, batches, sites)
    gates = torch.rand(len(sites), generator=torch.Generator().manual_seed(4)).requires_grad_()
    late.backward(dict.fromkeys(range(n_parts), 1.0), gates)  # the first one looks at the streams
    before = late.cost.flops
    found = late.backward(dict.fromkeys(range(n_parts), 1.0), gates)
    spent, slope = late.cost.flops - before, gates.grad
    whole = Objective(model, batches, sites)
    whole._prepared = [
        [prepare(model, batch, sites, cost=whole.cost, reuse=False)] for batch in batches
    ]
    own, before = gates.detach().clone().requires_grad_(), whole.cost.flops
    made = whole.backward(dict.fromkeys(range(n_parts), 1.0), own)
    for index in found:
        assert made[index] == pytest.approx(found[index], abs=1e-4)
    assert slope is not None and own.grad is not None
    torch.testing.assert_close(slope, 2 * own.grad, **CLOSE)
    assert spent < 0.5 * (whole.cost.flops - before)
    assert late._packed(tuple(range(n_parts)), 1)[0][1].first == last


def test_desiderata_with_prefixes_of_other_lengths_go_in_one_pass(tiny):
    parts = [ready(tiny("llama"), ("last",), n=n) for n in (1, 4)]
    assert len({part.start for part in parts}) == 2
    joined = together(parts)
    assert joined is not None and joined.padded and joined.owners is not None


def asking(model, answer, mask):
    """A batch whose expected answers are what the model says under this mask."""
    plain = random_desideratum(("last",), n=6)
    said = run(ready(model, ("last",), n=6), mask[None])[0].argmax(-1)
    pairs = tuple(
        replace(pair, expected=f" {WORDS[token]}", base_answer=" w0", source_answer=" w1")
        for pair, token in zip(plain.pairs, said.clamp(2, 29).tolist(), strict=True)
    )
    return encode(model, [replace(plain, pairs=pairs, answer=answer)])[0]


@pytest.mark.parametrize("answer", ["top", Alternatives()])
@pytest.mark.parametrize("name", ["llama", "gemma2", "opt"])
def test_few_entries_of_the_vocabulary_give_the_same_hits_leads_and_gradients(
    tiny, name, answer, monkeypatch
):
    model = tiny(name)
    table = random_gates(ready(model, ("last",), n=6), 20)
    batch = asking(model, answer, table[3])
    found = []
    for worth in (10**9, 0):
        monkeypatch.setattr(objective_file, "WORTH", worth)
        objective = Objective(model, [batch], all_sites(N_LAYERS, N_HEADS, ("last",)))
        gates = table[0].clone().requires_grad_()
        (loss, score), leads = (
            objective.backward({0: 1.0}, gates)[0],
            objective.pair_leads(0, table),
        )
        found.append((objective.hits(0, table), leads, gates.grad, loss, score))
    whole, few = found
    assert torch.equal(whole[0], few[0]) and whole[3:] == pytest.approx(few[3:], abs=1e-5)
    torch.testing.assert_close(whole[1], few[1], **CLOSE)
    torch.testing.assert_close(whole[2], few[2], **CLOSE)
    assert whole[0].any() and (name != "llama" or not whole[0].all())


def test_a_stream_that_another_token_leads_is_not_unembedded_whole(tiny, monkeypatch):
    """Only where no near token is ahead is the best one searched among all."""
    asked = []
    entries = Top.entries

    def counted(self, streams, unembed, target, near, need):
        found = entries(self, streams, unembed, target, near, need)
        asked.append(unembed.streams)
        return found

    monkeypatch.setattr(objective_file, "WORTH", 0)
    monkeypatch.setattr(Top, "entries", counted)
    model = tiny("llama")
    table = random_gates(ready(model, ("last",), n=6), 20)
    batch = asking(model, "top", table[3])
    objective = Objective(model, [batch], all_sites(N_LAYERS, N_HEADS, ("last",)))
    hits = objective.hits(0, table)
    assert int(hits.sum()) <= sum(asked) < hits.numel()


@pytest.fixture(scope="module")
def binder():
    return load_model("binder", device="cpu")


def solved(model, sites=(), n=24):
    """Pairs of the claim that the model solves, with what was spent on finding them."""
    cost = Cost()
    batches, counts = keep_solved(model, encode(model, claim.sample(n, 0)[0]), n, cost, sites)
    return batches, counts, cost


def test_prompts_run_once_and_give_the_same_circuit(binder):
    plain, counts, spent = solved(binder)
    sites = candidate_sites(binder, [batch.desideratum for batch in plain])
    kept, same, spent_too = solved(binder, sites)
    assert (same, spent_too.tokens_forward) == (counts, spent.tokens_forward)
    results, costs = [], []
    for batches in (plain, kept):
        cost = Cost()
        problem = SearchProblem.open(binder, batches, cost=cost)
        # The ends of the bounds are run in any case: two masks, a token a pair.
        costs.append(cost.tokens_forward)
        results.append(search(binder, batches, "constrained", config=SearchConfig(seed=0)))
        del problem
    assert results[0].circuit == results[1].circuit
    pairs = sum(len(batch) for batch in plain)
    assert costs[1] <= 3 * pairs < costs[0]


def test_a_prompt_that_was_not_looked_at_runs_again(binder):
    batches, _, _ = solved(binder, candidate_sites(binder, claim.sample(24, 0)[0]))
    strangers = encode(binder, claim.sample(24, 1)[1])
    for batch, other in zip(batches, strangers, strict=True):
        mixed = replace(other, kept=batch.kept)
        sites = candidate_sites(binder, [other.desideratum])
        gates = torch.rand(2, len(sites), generator=torch.Generator().manual_seed(0))
        one, two = (run(prepare(binder, own, sites), gates) for own in (mixed, other))
        torch.testing.assert_close(one, two, atol=0, rtol=0)


def test_what_prompts_gave_is_not_of_shuffled_weights(binder):
    sites = candidate_sites(binder, claim.sample(24, 0)[0])
    batch = solved(binder, sites)[0][0]
    with weights_shuffled(binder, 0) as spoilt:
        gates = torch.rand(2, len(sites), generator=torch.Generator().manual_seed(3))
        made = run(prepare(spoilt, batch, sites), gates)
        fresh = run(prepare(spoilt, replace(batch, kept=None), sites), gates)
        torch.testing.assert_close(made, fresh, atol=0, rtol=0)


def test_kept_prompts_give_what_running_them_gives(binder):
    """Whatever rows a batch has, in whatever order, and a second time, when prefixes are taken."""
    sites = candidate_sites(binder, claim.sample(24, 0)[0])
    for batch in solved(binder, sites)[0]:
        gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(2))
        for rows in ([5, 1, 3], list(range(6, 20)), [1, 7]):
            own = batch.take(rows)
            made = run(prepare(binder, own, sites), gates)
            fresh = run(prepare(binder, replace(own, kept=None), sites), gates)
            torch.testing.assert_close(made, fresh, **CLOSE)
