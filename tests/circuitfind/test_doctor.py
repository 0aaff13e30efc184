"""The doctor, and the engine that a model is loaded into."""

import pytest
from transformers import AutoModelForCausalLM

from circuitfind.engines.bridge import BridgeEngine
from circuitfind.engines.engine import Point
from circuitfind.engines.hooks import HooksEngine
from circuitfind.models import loading
from circuitfind.models.doctor import examine
from circuitfind.models.loading import load_model

from ..tiny import CONFIGS, NATIVE, save_tiny_model


@pytest.mark.parametrize("architecture", CONFIGS)
def test_hooks_are_sound_and_chosen(tmp_path, architecture):
    """BLOOM and Falcon too, whose layers add up within their MLP or attention."""
    folder = save_tiny_model(architecture, tmp_path)
    module = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    found = examine(HooksEngine(module))
    assert found.sound, found.message
    assert found.gap is not None and found.gap < 1e-5
    model = load_model(str(folder), device="cpu")
    assert isinstance(model.engine, HooksEngine)
    assert model.checked == found.as_json()


@pytest.mark.parametrize("name", [*NATIVE, "llama on bridge", "falcon on bridge"])
def test_the_bridge_is_sound(tiny, name):
    found = examine(tiny(name).engine)
    assert (found.engine, found.sound) == ("bridge", True)
    assert "heads and MLPs write all that the layers write" in found.message


class Blind(HooksEngine):
    """Hooks that miss the MLP of a layer."""

    def has(self, point):
        return point != Point(1, "mlp") and super().has(point)


class Closed(HooksEngine):
    """Hooks that find no layers."""

    def __init__(self, model):
        raise ValueError("no layers were found")


def test_a_missed_site_is_found_and_the_bridge_taken(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))
    monkeypatch.setattr(loading, "HooksEngine", Blind)
    model = load_model(folder, device="cpu")
    assert isinstance(model.engine, BridgeEngine)
    assert model.checked["sound"] and model.checked["engine"] == "bridge"
    assert "do not write all that the layers write" in model.checked["not hooks"]
    asked = load_model(folder, device="cpu", engine="hooks")
    assert isinstance(asked.engine, Blind)
    assert asked.checked["sound"] is False and asked.checked["additive_gap"] > 1e-2


def test_where_hooks_find_no_layers_the_bridge_is_taken(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))
    monkeypatch.setattr(loading, "HooksEngine", Closed)
    model = load_model(folder, device="cpu")
    assert (model.engine.name, model.checked["not hooks"]) == ("bridge", "no layers were found")
    with pytest.raises(ValueError, match="no layers were found"):
        load_model(folder, device="cpu", engine="hooks")


def test_a_native_model_runs_in_the_bridge_only():
    with pytest.raises(ValueError, match="native model, which runs in the engine bridge only"):
        load_model("planted", engine="hooks")
