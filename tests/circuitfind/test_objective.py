"""Few pairs at once or many: the same scores and gradients, in smaller passes."""

from dataclasses import replace

import pytest
import torch

from circuitfind.mediators.space import all_sites
from circuitfind.objective import patching
from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import Mask
from circuitfind.objective.objective import Objective
from circuitfind.runs.settings import Settings
from circuitfind.search import candidate_sites

from .. import planted as wired
from ..tiny import N_HEADS, N_LAYERS, random_desideratum


@pytest.mark.parametrize("most", [1, 5])
def test_fewer_pairs_at_once_change_nothing_but_the_width_of_passes(planted, most):
    desiderata = wired.claim.sample(12, 0)[0]
    sites = candidate_sites(planted, desiderata)
    membership = torch.rand(1, len(sites), generator=torch.Generator().manual_seed(0))
    widths, found = [], {}
    for size in (most, 256):
        model = replace(planted, pairs_at_once=size)
        objective = Objective(model, encode(model, desiderata), sites)
        gates = membership[0].clone().requires_grad_()
        pieces = [piece for made in objective.passes([0], membership) for piece in made]
        loss, share = objective.backward({0: 1.0}, gates)[0]
        widths.append(max(len(piece.batch) for piece in pieces))
        found[size] = loss, share, gates.grad, objective.scores(membership)
    assert widths == [most, 12]
    for few, many in zip(*found.values(), strict=True):
        torch.testing.assert_close(
            torch.as_tensor(few), torch.as_tensor(many), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("most", "n", "left"), [(8, 20, 16), (8, 16, 16), (8, 4, 8), (8, 99, 40), (64, 8, 40)]
)
def test_the_first_pairs_are_taken_as_they_are_prepared(planted, most, n, left):
    batches = encode(planted, wired.claim.sample(40, 0)[1])
    sites = candidate_sites(planted, [batch.desideratum for batch in batches])
    objective = Objective(replace(planted, pairs_at_once=most), batches, sites)
    spent = objective.cost.report()["flops"]
    few = objective.first(n)
    assert objective.cost.report()["flops"] == spent
    assert {len(batch) for batch in few.batches} == {left}
    assert {len(batch) for batch in objective.batches} == {40}
    masks = torch.bernoulli(torch.full((5, len(sites)), 0.5))
    again = Objective(planted, [batch.take(range(left)) for batch in batches], sites)
    assert torch.equal(few.scores(masks), again.scores(masks))


def test_desiderata_in_one_pass_are_what_they_are_alone(planted, monkeypatch):
    """Scores, logits and gradients, for parts inside and outside and donors of several kinds."""
    desiderata = [
        *wired.claim.sample(12, 0)[0],
        *(
            replace(one, part="outside", donor=donor, name=f"{one.name} {donor}")
            for one, donor in zip(wired.claim.sample(9, 1)[0], ("resample", "zero"), strict=False)
        ),
    ]
    sites = candidate_sites(planted, desiderata)
    membership = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(0))
    weights = {index: 1.0 + index for index in range(len(desiderata))}
    found = []
    for most in ((1, 1), patching.TOKENS_PER_PASS):
        monkeypatch.setattr(patching, "TOKENS_PER_PASS", most)
        objective = Objective(planted, encode(planted, desiderata), sites)
        gates = membership[0].clone().requires_grad_()
        passes = list(objective.passes(weights, membership))
        logits = {piece.index: piece.output for made in passes for piece in made}
        scores = objective.backward(weights, gates)
        found.append((len(passes), logits, scores, gates.grad))
    (alone, *first), (together, *second) = found
    assert (alone, together) == (len(desiderata), 1)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_what_sites_write_in_base_prompts_leaves_padding_out(tiny):
    """At `all` a row for every token of every prompt; prompts here have several lengths."""
    batches = encode(tiny("llama"), [random_desideratum(("all",))])
    sites = all_sites(N_LAYERS, N_HEADS, ("all",))
    attends = batches[0].base.attends
    assert not attends.all()
    together = Objective(tiny("llama"), batches, sites).activations()
    assert {len(rows) for rows in together} == {int(attends.sum())}
    one_by_one = [
        Objective(tiny("llama"), [batches[0].take([row])], sites).activations()
        for row in range(len(attends))
    ]
    for rows, alone in zip(together, zip(*one_by_one, strict=True), strict=True):
        torch.testing.assert_close(rows, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_a_site_with_half_a_membership_is_no_member():
    sites = all_sites(1, 2, ("last",))
    mask = Mask(sites, torch.tensor([0.5, 0.51, 1.0]))
    assert mask.hard().membership.tolist() == [0.0, 1.0, 1.0]
    assert mask.members() == sites[1:] and mask.hard().members() == mask.members()
    assert mask.hard(0.51).membership.tolist() == [0.0, 0.0, 1.0]


def test_the_setting_reaches_the_model():
    assert Settings(task="planted", model="planted", batch=7).load_model().pairs_at_once == 7
    assert Settings(task="planted", model="planted").load_model().pairs_at_once == 256
    with pytest.raises(ValueError, match="batch must be at least 1; got 0"):
        Settings(task="planted", model="planted", batch=0)
