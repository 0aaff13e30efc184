"""Models that cannot be loaded, or not as asked: through the command line, one message and exit
code 2; BOS as asked; adapters of PEFT."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    T5Config,
    ViTConfig,
)

import circuitfind
from circuitfind.cli import app as cli
from circuitfind.models.loading import load_model
from circuitfind.models.writing import Writer
from desiderata import Prompt

from ..tiny import CONFIGS, WORDS, save_tiny_model, word_tokenizer

TABLE = "base,source,expected,base_answer,source_answer\n" + "".join(
    f"w{n} w1 w2,w{n + 1} w1 w2, w3, w4, w3\n" for n in range(5, 25, 2)
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("CIRCUITFIND_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command line in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "2000")
    Path("words.csv").write_text(TABLE)

    def run(*arguments: Any) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["circuitfind", *map(str, arguments)])
        capsys.readouterr()  # what making the model has printed
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return run


def quantised(folder: Path) -> Path:
    save_tiny_model("llama", folder)
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    return edited(folder, quantization_config=config)


def edited(folder: Path, **changes: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def cut_short(folder: Path) -> Path:
    file = save_tiny_model("llama", folder) / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return folder


def encoder_decoder(folder: Path) -> Path:
    config = T5Config(vocab_size=32, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    word_tokenizer(WORDS).save_pretrained(folder)
    return folder


def vision(folder: Path) -> Path:
    save_tiny_model("llama", folder)
    (folder / "config.json").write_text(json.dumps(ViTConfig().to_dict()))
    return folder


def changed_weights(folder: Path, change: Any) -> Path:
    file = save_tiny_model("llama", folder) / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def without_a_layer(folder: Path) -> Path:
    def drop(weights: dict[str, Any]) -> None:
        for name in [name for name in weights if "layers.2." in name]:
            del weights[name]

    return changed_weights(folder, drop)


def without_one(folder: Path) -> Path:
    return changed_weights(folder, lambda weights: weights.pop("lm_head.weight"))


def with_one_more(folder: Path) -> Path:
    return changed_weights(folder, lambda w: w.update({"score.weight": torch.ones(2, 32)}))


def of_another_shape(folder: Path) -> Path:
    def narrow(weights: dict[str, Any]) -> None:
        weights["lm_head.weight"] = weights["lm_head.weight"][:, :16].clone()

    return changed_weights(folder, narrow)


def fewer_layers_than_its_file(folder: Path) -> Path:
    return edited(save_tiny_model("llama", folder), num_hidden_layers=2)


def pickled(folder: Path) -> Path:
    save_tiny_model("llama", folder)
    file = folder / "model.safetensors"
    torch.save(load_file(file), folder / "pytorch_model.bin")
    file.unlink()
    return folder


def no_config(folder: Path) -> Path:
    save_tiny_model("llama", folder)
    (folder / "config.json").unlink()
    return folder


def broken_config(folder: Path) -> Path:
    save_tiny_model("llama", folder)
    (folder / "config.json").write_text("{")
    return folder


def heads_that_do_not_fit(folder: Path) -> Path:
    return edited(save_tiny_model("gpt2", folder), n_head=5)


REFUSED = {
    quantised: "bitsandbytes",
    cut_short: "damaged or cut short",
    encoder_decoder: "expected a causal language model .* got an encoder-decoder of the type 't5'",
    vision: "transformers has none of the type 'vit'",
    without_a_layer: r"9 are missing from its file and random here \(model.layers.2.input_",
    without_one: r"1 are missing from its file and random here \(lm_head.weight\)",
    with_one_more: r"1 are in its file and have no place in it \(score.weight\)",
    of_another_shape: r"1 have another shape in its file and are random here \(lm_head.weight\)",
    fewer_layers_than_its_file: r"9 are in its file and have no place in it \(model.layers.2.",
    pickled: "no .safetensors weights",
    no_config: "config.json is missing",
    broken_config: "could not be loaded",
    heads_that_do_not_fit: "could not be loaded|is refused",
}


@pytest.mark.parametrize("make", REFUSED)
def test_what_cannot_be_loaded_is_one_message_and_exit_code_2(call, tmp_path, make):
    folder = make(tmp_path / "model")
    code, out, err = call("discover", "words.csv", "--model", folder, "--n", "8")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert str(folder) in err
    assert re.search(REFUSED[make], err), err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "nowhere", "meta", "mps"])
def test_a_device_that_is_not_here(call, device):
    if device.startswith("cuda") and torch.cuda.is_available():
        device = "cuda:99"
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    for model in ("binder", "planted"):
        code, _, err = call("discover", "words.csv", "--model", model, "--device", device)
        assert code == 2
        assert f"error: the device '{device}' cannot be used here" in err
        assert len(err.strip().splitlines()) == 1


def test_a_name_that_the_hub_does_not_give(call):
    code, _, err = call("doctor", "nobody/nothing")
    assert code == 2
    assert "no model 'nobody/nothing': it is not built in" in err


def test_missing_weights_can_be_forced_and_are_told(tmp_path):
    model = load_model(str(without_a_layer(tmp_path)), device="cpu", force=True)
    (note,) = model.notes
    assert note.startswith("forced although of the model's weights 9 are missing")
    assert model.checked["sound"] is False


def test_tables_that_old_files_hold_are_no_weights(tmp_path):
    def add(weights: dict[str, Any]) -> None:
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
        weights["model.layers.0.attn.masked_bias"] = torch.ones(())

    model = load_model(str(changed_weights(tmp_path, add)), device="cpu")
    assert model.checked["sound"]


def test_the_doctor_prints_every_law(call, tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    code, out, _ = call("doctor", folder)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{folder}, engine hooks"
    assert [line.split()[0] for line in lines[1:]] == ["holds"] * 8
    code, out, _ = call("doctor", folder, "--json")
    assert json.loads(out)["sound"] is True


def test_the_doctor_ends_with_1_where_a_law_is_broken(call, tmp_path):
    code, out, _ = call("doctor", without_one(tmp_path / "model"))
    assert code == 1
    assert "fails     weights: of the model's weights 1 are missing" in out


def test_forced_faults_reach_the_report_of_a_run(call, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(Path(circuitfind.__file__).parent / "models" / "binder", folder)
    weights = load_file(folder / "model.safetensors")
    more = weights | {"score.weight": torch.ones(2, 32)}
    save_file(more, folder / "model.safetensors", metadata={"format": "pt"})
    asked = ["variable_binding", "--model", folder, "--n", "16"]
    assert call("discover", *asked)[0] == 2
    assert call("try", *asked)[0] == 2
    code, out, _ = call(
        *("discover", *asked, "--method", "greedy", "--n-random", "2", "--force", "--json")
    )
    assert code in (0, 1)
    made = json.loads(out)
    told = "forced although of the model's weights 1 are in its file and have no place in it"
    assert any(note.startswith(told) for note in made["report"]["notes"])
    assert made["circuit"]["provenance"]["checked"]["sound"] is False


# -- BOS


def tokenizer(*, adds: bool) -> Any:
    """Words, and a BOS that comes first by itself, as with LLaMA, or not, as with GPT-NeoX."""
    words = ["<bos>", "<eos>", "<pad>", "<unk>", *WORDS[:28]]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    if adds:
        made.post_processor = TemplateProcessing(  # type: ignore[assignment]
            single="<bos> $A", special_tokens=[("<bos>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


BOS = [
    # the tokenizer adds it, what is asked, tokens of "w1 w2"
    (True, None, (0, 5, 6)),
    (True, True, (0, 5, 6)),
    (True, False, (5, 6)),
    (False, None, (5, 6)),
    (False, True, (0, 5, 6)),
    (False, False, (5, 6)),
]


@pytest.mark.parametrize(("adds", "asked", "ids"), BOS)
def test_bos_comes_first_as_asked_and_never_twice(tmp_path, adds, asked, ids):
    folder = save_tiny_model("llama", tmp_path)
    tokenizer(adds=adds).save_pretrained(folder)
    model = load_model(str(folder), device="cpu", prepend_bos=asked)
    plain, own = model.tokenize(["w1 w2", "<bos> w1 w2"])
    assert plain.ids == ids
    assert [plain.offsets[-2:], len(plain.offsets)] == [((0, 2), (3, 5)), len(ids)]
    assert own.ids == (0, 5, 6)  # its own, once
    assert own.offsets == ((0, 5), (6, 8), (9, 11))
    assert model.checked["laws"][-1]["name"] == "bos" and model.checked["sound"]


@pytest.mark.parametrize("adds", [True, False])
def test_a_chat_that_writes_bos_has_it_once(tmp_path, adds):
    folder = save_tiny_model("llama", tmp_path)
    made = tokenizer(adds=adds)
    made.chat_template = "<bos> {% for m in messages %}{{ m['content'] }} {% endfor %}"
    made.save_pretrained(folder)
    model = load_model(str(folder), device="cpu", prepend_bos=True)
    text = Writer(model.tokenizer)(Prompt(text="user: w1", turns=(("user", "w1"),))).text
    assert model.tokenize([text])[0].ids == (0, 5)


def test_bos_of_a_tokenizer_that_has_none_cannot_be_asked_for(tmp_path):
    folder = save_tiny_model("llama", tmp_path)
    made = word_tokenizer(WORDS)
    made.bos_token = None
    made.save_pretrained(folder)
    with pytest.raises(ValueError, match="its tokenizer has no BOS token"):
        load_model(str(folder), device="cpu", prepend_bos=True)


# -- adapters of PEFT

LAYER = "model.layers.1.self_attn.q_proj"


def adapter(folder: Path, base: Any, tensors: dict[str, Any], **config: Any) -> Path:
    """A folder as PEFT writes it."""
    folder.mkdir(exist_ok=True)
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": 2,
        "lora_alpha": 6,
        "target_modules": ["q_proj"],
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    named = {f"base_model.model.{name}": value for name, value in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def lora(layer: str = LAYER, rank: int = 2, wide: int = 32, high: int = 32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        f"{layer}.lora_A.weight": torch.randn(rank, wide, generator=generator),
        f"{layer}.lora_B.weight": torch.randn(high, rank, generator=generator),
    }


def weight_of(model: Any, name: str = LAYER) -> torch.Tensor:
    return dict(model.engine.model.named_parameters())[f"{name}.weight"]


@pytest.mark.parametrize(
    ("config", "rank", "scale"),
    [
        ({}, 2, 3.0),
        ({"use_rslora": True}, 2, 6 / 2**0.5),
        ({"alpha_pattern": {"q_proj": 1}}, 2, 0.5),
        ({"rank_pattern": {"layers.1.self_attn.q_proj": 4}}, 4, 1.5),
        ({"rank_pattern": {"layers.0.self_attn.q_proj": 4}}, 2, 3.0),
    ],
)
def test_an_adapter_changes_its_base_by_the_scaled_product(tmp_path, config, rank, scale):
    base, tensors = save_tiny_model("llama", tmp_path / "base"), lora(rank=rank)
    folder = adapter(tmp_path / "lora", base, tensors, **config)
    plain, changed = (load_model(str(one), device="cpu") for one in (base, folder))
    low, high = (tensors[f"{LAYER}.lora_{side}.weight"] for side in "AB")
    torch.testing.assert_close(weight_of(changed), weight_of(plain) + scale * high @ low)
    other = "model.layers.0.self_attn.q_proj"
    torch.testing.assert_close(weight_of(changed, other), weight_of(plain, other))
    assert changed.name == str(folder) and changed.digest != plain.digest
    assert changed.checked["sound"]
    ids = torch.tensor([[3, 4, 5]])
    assert not torch.allclose(changed.engine.forward(ids)[0], plain.engine.forward(ids)[0])


def test_weights_kept_the_other_way_round_and_whole_layers(tmp_path):
    """GPT-2's linear maps, and a norm that was trained whole."""
    base = save_tiny_model("gpt2", tmp_path / "base")
    name, norm = "transformer.h.0.attn.c_attn", "transformer.ln_f"
    tensors = lora(name, wide=32, high=96) | {f"{norm}.weight": torch.full((32,), 7.0)}
    folder = adapter(tmp_path / "lora", base, tensors, fan_in_fan_out=True)
    plain, changed = (load_model(str(one), device="cpu") for one in (base, folder))
    low, high = (tensors[f"{name}.lora_{side}.weight"] for side in "AB")
    torch.testing.assert_close(
        weight_of(changed, name), weight_of(plain, name) + 3 * (high @ low).T
    )
    assert bool((weight_of(changed, norm) == 7).all())


def test_an_embedding_is_changed(tmp_path):
    base = save_tiny_model("llama", tmp_path / "base")
    low, high = torch.randn(2, 32), torch.randn(32, 2)
    name = "model.embed_tokens"
    tensors = {f"{name}.lora_embedding_A": low, f"{name}.lora_embedding_B": high}
    plain, changed = (
        load_model(str(one), device="cpu")
        for one in (base, adapter(tmp_path / "lora", base, tensors))
    )
    torch.testing.assert_close(
        weight_of(changed, name), weight_of(plain, name) + 3 * (high @ low).T
    )


def test_a_base_of_the_catalogue_and_one_beside_the_adapter(tmp_path):
    binder = load_model("binder", device="cpu")
    wide = binder.d_model
    folder = adapter(tmp_path / "lora", "binder", lora(wide=wide, high=wide))
    changed = load_model(str(folder), device="cpu")
    assert not torch.equal(weight_of(changed), weight_of(binder))
    assert changed.tokenize(["b = 1"]) == binder.tokenize(["b = 1"])
    own = save_tiny_model("llama", tmp_path / "lora" / "base")
    beside = adapter(tmp_path / "lora", own.name, lora())
    assert load_model(str(beside), device="cpu").d_model == 32


@pytest.mark.parametrize(
    ("config", "tensors", "words"),
    [
        ({"peft_type": "IA3"}, lora(), "expected peft_type LORA; got 'IA3'"),
        ({"use_dora": True}, lora(), "use_dora is not supported"),
        ({"r": 0}, lora(), "expected a number above 0 as r; got 0"),
        ({"lora_alpha": "x"}, lora(), "as lora_alpha; got 'x'"),
        ({"base_model_name_or_path": None}, lora(), "expected base_model_name_or_path"),
        ({"rank_pattern": {"q_proj": "x"}}, lora(), "as rank_pattern"),
        ({"rank_pattern": {".*q_proj": 2}}, lora(), "not expressions; got .*q_proj"),
        ({}, lora(rank=3), "expected matrices of rank 2; got 3 x 32 and 32 x 3"),
        ({}, lora(wide=16), "expected a change of 32 x 32; got one of 32 x 16"),
        ({}, lora("model.layers.9.self_attn.q_proj"), "has no layer model.layers.9"),
        ({}, {f"{LAYER}.lora_A.weight": torch.ones(2, 32)}, "needs both matrices"),
        ({}, {f"{LAYER}.lora_magnitude_vector": torch.ones(2)}, "of no known meaning"),
        ({}, {"model.norm.weight": torch.ones(3)}, "model.norm.weight: expected 32; got 3"),
        ({}, {"model.nothing.weight": torch.ones(3)}, "no weight model.nothing.weight"),
        ({"base_model_name_or_path": "planted"}, lora(), "got 'planted', which is native"),
        ({"base_model_name_or_path": "tracr-half"}, lora(), "which is native"),
        ({"base_model_name_or_path": "./gone"}, lora(), "no model folder ./gone"),
    ],
)
def test_an_adapter_that_cannot_be_applied_is_one_message(call, tmp_path, config, tensors, words):
    base = save_tiny_model("llama", tmp_path / "base")
    folder = adapter(tmp_path / "lora", base, tensors, **config)
    code, _, err = call("doctor", folder)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert re.search(words, err), err


def test_tied_weights_are_not_changed_in_one_place_alone(tmp_path):
    config = LlamaConfig(**{**CONFIGS["llama"].to_dict(), "tie_word_embeddings": True})
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    word_tokenizer(WORDS).save_pretrained(base)
    name = "model.embed_tokens.lora_embedding_"
    tensors = {f"{name}A": torch.ones(2, 32), f"{name}B": torch.ones(32, 2)}
    with pytest.raises(ValueError, match="is one with another weight of the model"):
        load_model(str(adapter(tmp_path / "lora", base, tensors)), device="cpu")


def test_a_pickled_or_a_damaged_adapter_is_refused(tmp_path):
    base = save_tiny_model("llama", tmp_path / "base")
    folder = adapter(tmp_path / "lora", base, lora())
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        load_model(str(folder), device="cpu")
    torch.save(lora(), folder / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(ValueError, match="pickled weights are not loaded"):
        load_model(str(folder), device="cpu")


def test_an_adapter_of_an_adapter_is_refused(tmp_path):
    base = save_tiny_model("llama", tmp_path / "base")
    first = adapter(tmp_path / "first", base, lora())
    with pytest.raises(ValueError, match="an adapter itself"):
        load_model(str(adapter(tmp_path / "second", first, lora())), device="cpu")


def test_code_of_a_base_that_a_file_names_does_not_run(tmp_path):
    """Also where the user trusts the code of the folder that he names."""
    base = edited(
        save_tiny_model("llama", tmp_path / "base"),
        model_type="mine",
        auto_map={"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Model"},
    )
    (base / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    folder = adapter(tmp_path / "lora", base, lora())
    with pytest.raises(ValueError, match="could not be loaded"):
        load_model(str(folder), device="cpu", trust_remote_code=True)
    assert not (tmp_path / "ran").exists()
