"""Low-rank adapters: what they change, and what is refused."""

from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from circuitfind.models.adapter import FORMAT, apply_adapter


def a_model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 2, bias=False))


def saved(path, tensors, **about):
    save_file(tensors, path, metadata={"format": FORMAT, "base": "tiny", **about})
    return path


def test_it_adds_the_product_and_leaves_the_rest(tmp_path):
    model, before = a_model(), a_model()
    down, up = torch.randn(2, 4), torch.randn(6, 2)
    path = saved(tmp_path / "a.safetensors", {"0.weight.down": down, "0.weight.up": up})
    apply_adapter(model, path, "tiny")
    torch.testing.assert_close(model[0].weight, before[0].weight + up @ down)
    torch.testing.assert_close(model[1].weight, before[1].weight)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"7.weight.down": (2, 4), "7.weight.up": (6, 2)}, "no weight 7.weight"),
        ({"0.weight.down": (2, 4)}, "needs both"),
        ({"0.weight.down": (2, 5), "0.weight.up": (6, 2)}, "does not make"),
        ({"0.weight.down": (3, 4), "0.weight.up": (6, 2)}, "does not make"),
    ],
)
def test_one_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, tensors, words):
    model, before = a_model(), a_model()
    made = {name: torch.ones(shape) for name, shape in tensors.items()}
    good = {"1.weight.down": torch.ones(1, 6), "1.weight.up": torch.ones(2, 1)}
    path = saved(tmp_path / "a.safetensors", made | good)
    with pytest.raises(ValueError, match=words):
        apply_adapter(model, path, "tiny")
    torch.testing.assert_close(model[1].weight, before[1].weight)


def test_all_misfits_are_told_at_once(tmp_path):
    tensors = {"7.weight.down": torch.ones(2, 4), "0.weight.down": torch.ones(2, 4)}
    path = saved(tmp_path / "a.safetensors", tensors)
    with pytest.raises(ValueError, match=r"needs both.*no weight"):
        apply_adapter(a_model(), path, "tiny")


def test_an_adapter_for_another_model_or_no_adapter_is_refused(tmp_path):
    path = saved(tmp_path / "a.safetensors", {"x": torch.ones(1)}, base="other")
    with pytest.raises(ValueError, match="for 'other'"):
        apply_adapter(a_model(), path, "tiny")
    (tmp_path / "b.safetensors").write_text("not one")
    with pytest.raises(ValueError, match="cannot be read"):
        apply_adapter(a_model(), tmp_path / "b.safetensors", "tiny")
