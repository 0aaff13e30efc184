"""Few pairs at once or many: the same scores and gradients, in smaller passes."""

from dataclasses import replace

import pytest
import torch

from circuitfind.encoding import encode
from circuitfind.objective import Objective
from circuitfind.run import Settings
from circuitfind.search import candidate_sites

from .. import planted as wired


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
        pieces = [[len(batch) for batch, _ in objective.logits(0, membership)]]
        loss, share = objective.backward(0, gates, 1.0)
        widths.append(max(pieces[0]))
        found[size] = loss, share, gates.grad, objective.scores(membership)
    assert widths == [most, 12]
    for few, many in zip(*found.values(), strict=True):
        torch.testing.assert_close(
            torch.as_tensor(few), torch.as_tensor(many), atol=1e-4, rtol=1e-4
        )


def test_the_setting_reaches_the_model():
    assert Settings("planted", "planted", batch=7).load_model().pairs_at_once == 7
    assert Settings("planted", "planted").load_model().pairs_at_once == 256
    with pytest.raises(ValueError, match="batch must be at least 1; got 0"):
        Settings("planted", "planted", batch=0)
