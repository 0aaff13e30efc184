"""The doctor: what it finds, what is refused for it, and what is remembered."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from circuitfind.engines.bridge import BridgeEngine
from circuitfind.engines.engine import Point
from circuitfind.engines.hooks import HooksEngine
from circuitfind.models import hugging_face
from circuitfind.models.cache import cache_folder
from circuitfind.models.doctor import begins, examine, untouched
from circuitfind.models.findings import Findings
from circuitfind.models.loading import examined, load_model
from scripts.model_families import tiny_config
from scripts.model_families import tiny_module as family

from ..engines.models import tiny_module
from ..tiny import CONFIGS, NATIVE, WORDS, save_tiny_model, word_tokenizer


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """An empty cache, so that every model is examined."""
    monkeypatch.setenv("CIRCUITFIND_CACHE", str(tmp_path_factory.mktemp("cache")))


def verdicts(found: Findings) -> dict[str, bool | None]:
    return {law.name: law.holds for law in found.laws}


def says(found: Findings, name: str) -> str:
    return next(law.says for law in found.laws if law.name == name)


# Whose attention differs; that the laws hold of all is tested in test_laws.py, too.
QUICK = ("gpt2", "llama", "neox", "gemma3", "mixtral", "bloom")


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in CONFIGS],
)
def test_hooks_are_sound_and_chosen(tmp_path, architecture):
    """BLOOM and Falcon too, whose layers add up within their MLP or attention."""
    folder = save_tiny_model(architecture, tmp_path)
    model = load_model(str(folder), device="cpu")
    assert isinstance(model.engine, HooksEngine)
    found = model.found
    assert found is not None and found.gap is not None and found.gap < 1e-5
    names = "weights logits padding heads additive gradients sites bos".split()
    assert verdicts(found) == dict.fromkeys(names, True)
    assert model.notes == ()
    assert model.checked == found.as_json()


@pytest.mark.parametrize("name", [*NATIVE, "llama on bridge", "falcon on bridge"])
def test_the_bridge_is_sound(tiny, name):
    found = examine(tiny(name).engine)
    assert (found.engine, found.sound) == ("bridge", True), found.message
    assert "heads and MLPs write all that the layers write" in says(found, "additive")


# -- each law, on a model or an engine that breaks it


class Blind(HooksEngine):
    """Hooks that miss the MLP of a layer."""

    def has(self, point):
        return point != Point(1, "mlp") and super().has(point)


class Closed(HooksEngine):
    """Hooks that find no layers."""

    def __init__(self, model):
        raise ValueError("no layers were found")


class Deaf(HooksEngine):
    """Hooks of which those at the MLP of a layer only look."""

    def forward(self, inputs, attends=None, edits=(), **options):
        def ignore(edit):
            def apply(own):
                edit(own)

            return apply

        edits = [(at, ignore(do) if at == Point(1, "mlp") else do) for at, do in edits]
        return super().forward(inputs, attends, edits, **options)


class Numb(HooksEngine):
    """Hooks that pass no gradient on at the MLP of a layer."""

    def forward(self, inputs, attends=None, edits=(), **options):
        def detach(edit):
            def apply(own):
                new = edit(own)
                return None if new is None else new.detach()

            return apply

        edits = [(at, detach(do) if at == Point(1, "mlp") else do) for at, do in edits]
        return super().forward(inputs, attends, edits, **options)


class Loud(HooksEngine):
    """Hooks that change the logits by themselves."""

    def forward(self, *args, **options):
        logits, kept = super().forward(*args, **options)
        return 1.05 * logits, kept


class Unpadded(HooksEngine):
    """Hooks that attend to padding."""

    def forward(self, inputs, attends=None, edits=(), **options):
        return super().forward(inputs, None, edits, **options)


@pytest.mark.parametrize(
    ("kind", "broken", "words"),
    [
        (Blind, {"additive"}, "do not write all that the layers write"),
        (Deaf, {"additive", "sites"}, "whatever stands at m1, no logit changes"),
        (Numb, {"gradients"}, "no gradient arrives at m1, which change"),
        (Loud, {"logits", "padding"}, "its logits differ from the untouched module's"),
        (Unpadded, {"padding"}, "padded on the left differ"),
    ],
)
def test_each_broken_engine_is_refused_by_its_own_law(monkeypatch, tmp_path, kind, broken, words):
    found = examine(kind(tiny_module("llama")), untouched(tiny_module("llama")))
    assert {law.name for law in found.broken} == broken
    assert words in found.message
    folder = str(save_tiny_model("llama", tmp_path))
    monkeypatch.setattr(hugging_face, "HooksEngine", kind)
    with pytest.raises(ValueError, match=r"is refused: hooks: .*--force loads it"):
        load_model(folder, device="cpu", engine="hooks")
    forced = load_model(folder, device="cpu", engine="hooks", force=True)
    assert isinstance(forced.engine, kind)
    assert any(note.startswith("forced although") and words in note for note in forced.notes)
    other = load_model(folder, device="cpu")
    assert isinstance(other.engine, BridgeEngine)
    assert other.checked["sound"] and words in other.checked["not hooks"]
    assert other.notes == ()


def test_where_hooks_find_no_layers_the_bridge_is_taken(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))
    monkeypatch.setattr(hugging_face, "HooksEngine", Closed)
    model = load_model(folder, device="cpu")
    assert (model.engine.name, model.checked["not hooks"]) == (
        "bridge",
        "hooks: no layers were found",
    )
    for force in (False, True):
        with pytest.raises(ValueError, match="no layers were found"):
            load_model(folder, device="cpu", engine="hooks", force=force)


def test_where_neither_engine_is_sound_both_are_told_and_hooks_can_be_forced(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))

    class Wrong(BridgeEngine):
        def has(self, point):
            return point != Point(2, "mlp") and super().has(point)

    monkeypatch.setattr(hugging_face, "HooksEngine", Blind)
    monkeypatch.setattr(hugging_face, "BridgeEngine", Wrong)
    with pytest.raises(ValueError, match=r"hooks: heads and MLPs do.*bridge: heads and MLPs"):
        load_model(folder, device="cpu")
    forced = load_model(folder, device="cpu", force=True)
    assert isinstance(forced.engine, Blind)
    ids = torch.tensor([[3, 4, 5]])
    own: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():  # not on a module that the bridge has changed
        torch.testing.assert_close(forced.engine.forward(ids)[0], own(ids).logits[:, -1])


def test_latent_attention_is_right_on_hooks_and_refused_in_the_bridge(tmp_path):
    """Its values are wider than its rotated keys: the bridge cuts each head in half."""
    folder = saved(family(tiny_config("deepseek_v3")), tmp_path)
    model = load_model(folder, device="cpu")
    assert isinstance(model.engine, HooksEngine)
    assert "4 (each moves with its own queries alone)" in model.checked["laws"][3]["says"]
    with pytest.raises(ValueError, match="its heads have 8 parts and the model says 4 heads"):
        load_model(folder, device="cpu", engine="bridge")


@pytest.mark.parametrize("engine", ["hooks", "bridge"])
def test_alibi_of_falcon_is_as_in_the_module(tmp_path, engine):
    config: Any = replace_config(CONFIGS["falcon"], alibi=True)
    folder = saved(family(config), tmp_path)
    assert load_model(folder, device="cpu", engine=engine).checked["sound"]


def replace_config(config: Any, **changes: Any) -> Any:
    return type(config)(**{**config.to_dict(), **changes})


def saved(module: Any, folder: Any) -> str:
    module.save_pretrained(folder)
    words = [*WORDS, *(f"v{n}" for n in range(module.config.vocab_size - 32))]
    word_tokenizer(words).save_pretrained(folder)
    return str(folder)


def test_a_hybrid_model_names_what_writes_and_is_no_site(tmp_path):
    model = load_model(saved(family(tiny_config("qwen3_next")), tmp_path), device="cpu")
    (note,) = model.notes
    assert note.startswith("layers 0, 2: linear_attn (Qwen3NextGatedDeltaNet) writes")
    share = float(note.partition("it makes ")[2].split()[0])
    assert 0.01 < share < 3
    assert load_model(str(tmp_path), device="cpu").notes == (note,)  # remembered


@pytest.mark.parametrize("name", ["mamba", "bert", "openai-gpt"])
def test_a_model_whose_layers_are_no_sum_of_heads_and_mlps_is_refused(tmp_path, name):
    folder = saved(family(tiny_config(name)), tmp_path)
    with pytest.raises(ValueError, match="is refused: hooks: "):
        load_model(folder, device="cpu")


# -- remembered


def remembered_files() -> list[Any]:
    return sorted((cache_folder() / "doctor").glob("*.json"))


def test_what_was_sound_is_not_examined_again(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))
    first = load_model(folder, device="cpu")
    assert len(remembered_files()) == 1

    def never(*_: Any) -> Any:
        raise AssertionError("examined again")

    monkeypatch.setattr(hugging_face, "examine", never)
    assert load_model(folder, device="cpu").found == first.found
    with pytest.raises(AssertionError, match="again"):
        load_model(folder, device="cpu", fresh=True)
    with pytest.raises(AssertionError, match="again"):  # other weights
        save_tiny_model("llama", tmp_path, scale=0.9)
        load_model(folder, device="cpu")


def test_weights_that_read_alike_under_another_config_are_examined(tmp_path):
    """Twice the heads of half the width: the same tensors, another model."""
    folder = save_tiny_model("gpt2", tmp_path)
    load_model(str(folder), device="cpu")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"n_head": 8}))
    assert load_model(str(folder), device="cpu").n_heads == 8
    assert len(remembered_files()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        '{"engine": "hooks", "laws": [], "notes": []}',
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("", "[]", '{"laws": 3}', '"x"')),
    ],
)
def test_a_damaged_file_is_as_none(tmp_path, damage):
    folder = str(save_tiny_model("llama", tmp_path))
    first = load_model(folder, device="cpu")
    (file,) = remembered_files()
    sound = file.read_text()
    file.write_text(damage)
    assert load_model(folder, device="cpu").found == first.found
    assert file.read_text() == sound  # written again


def test_values_of_other_types_are_no_findings():
    good = Findings(engine="hooks", laws=(), gap=0.1).as_json()
    law = {"name": "heads", "holds": True, "says": "so"}
    assert Findings.from_json(good | {"laws": [law]}) is not None
    for changes in ({"laws": [law | {"holds": "yes"}]}, {"notes": [3]}, {"engine": 3}):
        assert Findings.from_json(good | {"laws": [law]} | changes) is None


def test_a_broken_law_is_not_remembered(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path))
    monkeypatch.setattr(hugging_face, "HooksEngine", Blind)
    load_model(folder, device="cpu", engine="hooks", force=True)
    assert remembered_files() == []


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    folder = str(save_tiny_model("llama", tmp_path / "model"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIRCUITFIND_CACHE", str(tmp_path / "file"))
    assert load_model(folder, device="cpu").checked["sound"]


# -- native models


def test_a_native_model_runs_in_the_bridge_only():
    with pytest.raises(ValueError, match="native model, which runs in the engine bridge only"):
        load_model("planted", engine="hooks")


def test_idle_heads_of_a_wired_model_are_told_and_no_fault():
    found = examined("planted", device="cpu")
    assert found.sound
    assert "a0.h0, a0.h1, a0.h2, a0.h3, a1.h2" in says(found, "sites")
    assert not examine(load_model("planted", device="cpu").engine).sound


# -- BOS


def test_a_text_with_bos_twice_is_found(tmp_path):
    model = load_model(str(save_tiny_model("llama", tmp_path)), device="cpu")
    model.tokenizer.add_special_tokens({"bos_token": "w1"})
    assert begins(replace(model, prepend_bos=True)).holds

    class Twice:
        bos_token, bos_token_id = "w1", model.tokenizer.bos_token_id

        def __call__(self, texts: list[str], **_: Any) -> dict[str, Any]:
            ids = [[self.bos_token_id] * 2 for _ in texts]
            return {"input_ids": ids, "offset_mapping": [[(0, 1), (0, 1)] for _ in texts]}

    assert begins(replace(model, tokenizer=Twice())).holds is False
