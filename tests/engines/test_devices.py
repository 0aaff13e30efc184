"""A model over two devices: the later layers on `meta`, which keeps shapes alone and refuses to
compute with tensors of another device, as a second GPU does. Nothing comes back from there, so
that what reads the logits is tested on their shape only."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import nn

from circuitfind.engines.sharing import beside_of
from circuitfind.engines.unembedding import reading
from circuitfind.mediators.head import HEADS
from circuitfind.mediators.space import all_sites
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.passes import Patch, Prepared, mixer, together
from circuitfind.objective.patching import prepare, run_pass

from ..tiny import N_HEADS, N_LAYERS, random_desideratum, tiny_model

FAR = torch.device("meta")


@pytest.fixture(params=["llama", "gpt2"])
def spread(request, tmp_path):
    """A tiny model whose layers but the first are on another device, with accelerate's hooks."""
    model = tiny_model(request.param, tmp_path)
    engine: Any = model.engine
    batches = encode(model, [random_desideratum(("x", "last"))])
    near = Objective(model, batches, all_sites(N_LAYERS, N_HEADS, ("x", "last")))
    near.scores(torch.rand(3, len(near.sites)).round())  # what is tried once is tried here
    module = engine.model
    inner = module.model if request.param == "llama" else module.transformer
    blocks = inner.layers if request.param == "llama" else inner.h
    norm = inner.norm if request.param == "llama" else inner.ln_f
    for part in (*blocks[1:], norm, module.lm_head):
        part.to(FAR)
        hook = AlignDevicesHook(execution_device=FAR)
        add_hook_to_module(part, hook)
    return model


def prepared_on(model, at, read="last", **changes) -> list[Prepared]:
    """Two desiderata of other sizes and patched positions made ready, with padding."""
    sites = all_sites(N_LAYERS, N_HEADS, at)
    desiderata = [
        random_desideratum(at, n=5, seed=0, read=read, **changes),
        random_desideratum(at, n=4, seed=1, read=read, **changes),
    ]
    return [prepare(model, batch, sites) for batch in encode(model, desiderata)]


def devices_of(one: Prepared) -> set[str]:
    donors = [patch.donor for patches in one.patches.values() for patch in patches]
    return {donor.device.type for donor in donors}


@pytest.mark.parametrize("at", [("last",), ("x", "last"), ("all",)])
@pytest.mark.parametrize("n_masks", [1, 3])
@pytest.mark.parametrize("grad", [False, True])
def test_a_pass_goes_through_both_devices(spread, at, n_masks, grad):
    one, other = prepared_on(spread, at)
    assert devices_of(one) == {"cpu", "meta"}
    gates = [torch.rand(n_masks, len(one.sites), requires_grad=grad) for _ in range(2)]
    (alone,) = run_pass(one.alone, gates[:1])
    assert alone.device == FAR and alone.shape[:2] == (n_masks, 5)
    joined = together([one, other])
    if joined is not None:
        outputs = run_pass(joined, gates)
        assert [output.shape[:2] for output in outputs] == [(n_masks, 5), (n_masks, 4)]
    assert joined is not None or at == ("all",)


def test_passes_begin_at_layers_of_either_device(spread):
    """What enters the first layer of a device is seen on the one before, where it still is."""
    (one, _), gates = prepared_on(spread, ("last",)), torch.ones(2, (N_HEADS + 1) * N_LAYERS)
    assert [entry.device.type for entry in one.entries] == ["cpu", "cpu", "meta"]
    for first in (0, 1):
        assert run_pass(one.alone, [gates], first)[0].shape[:2] == (2, 5)


def test_a_donor_may_lie_elsewhere():
    """Another model's donors are on its device; columns of patches come from there, too."""
    gates = torch.rand(1, 3, 2)
    table = torch.tensor([[0, 1]])
    own = torch.zeros(3, 4, 2, 5, device=FAR)
    donor = torch.ones(3, 1, 2, 5)
    patch = Patch(HEADS, torch.tensor([0, 1, 3]), donor, table)
    for branched in (False, True):
        assert mixer([(patch, gates)], branched)(own).shape == own.shape
    whole = replace(patch, columns=None, donor=donor.expand(-1, 4, -1, -1))
    assert mixer([(whole, gates)])(own).device == FAR


def test_the_unembedding_takes_streams_to_where_it_is():
    head = nn.Linear(4, 7, device=FAR)
    with reading(head, torch.tensor([1, 0]), None):
        assert head(torch.rand(2, 3, 4)).shape == (2, 7)


def test_what_is_added_to_scores_is_on_the_first_layers_device():
    """The masks are made once a pass; each layer takes them to its own device."""
    keys = torch.rand(2, 1, 3, 4)
    how = beside_of({0: (keys, keys)}, torch.tensor([[0, 1, 1, 1, 1]] * 2), 1, 2)
    assert how.before is not None and how.before.device == keys.device
    with pytest.raises(RuntimeError):  # what `.to` there saves from
        _ = torch.rand(2, 1, 2, 3, device=FAR) + how.before
