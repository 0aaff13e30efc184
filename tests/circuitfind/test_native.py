"""Native folders: what is saved is what is loaded, and what is wrong with one is said at once."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from circuitfind.claims import load_claim
from circuitfind.engines.boot import native_shapes
from circuitfind.models.loading import build_native, load_model, load_saved
from circuitfind.models.native import (
    Native,
    full_config,
    is_native,
    plain_names,
    read_native,
    save_native,
    word_tokenizer,
)
from desiderata import Saved, SavedInputs

from ..tiny import bridge_of

WORDS = ("BOS", "a", "b", "c", "<pad>", "<unk>")
CONFIG = {
    "d_model": 8,
    "d_head": 4,
    "n_layers": 2,
    "n_heads": 2,
    "n_ctx": 5,
    "d_mlp": 3,
    "attention_dir": "bidirectional",
}
INPUTS = (Saved("BOS a b", {1: "b", 2: "a"}), Saved("BOS c b", {1: "b", 2: "c"}))
TRUTH = {"claim": "suffices", "ablations": {"zero": [["a0.h1", "m1"]]}, "how": "by hand"}


def random_weights(config=CONFIG, words=WORDS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = native_shapes(full_config(config, words))
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    native = Native(
        about="a test",
        config=CONFIG,
        words=WORDS,
        weights=random_weights(),
        inputs=INPUTS,
        truth=TRUTH,
    )
    return save_native(tmp_path_factory.mktemp("sound"), native)


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of the sound folder, to be spoiled."""
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def spoil(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def problems_of(folder):
    with pytest.raises(ValueError) as error:
        load_model(str(folder))
    return str(error.value)


@st.composite
def natives(draw):
    """What a native model is made of, but for the weights. (Not the model itself: checking its
    types draws random numbers, which hypothesis does not allow here.)"""
    heads = draw(st.sampled_from([1, 2, 4]))
    config = {
        "d_model": draw(st.integers(1, 9)),
        "d_head": 2 * draw(st.integers(1, 2)),
        "n_layers": draw(st.integers(1, 2)),
        "n_heads": heads,
        "n_ctx": draw(st.integers(2, 6)),
        "d_mlp": draw(st.integers(1, 5)),
    }
    options = {
        "attention_dir": ["causal", "bidirectional"],
        "normalization_type": [None, "LN", "RMS"],
        "act_fn": ["relu", "gelu", "silu"],
        "gated_mlp": [False, True],
        "positional_embedding_type": ["standard", "rotary"],
        "n_key_value_heads": [1, heads],
    }
    config |= {
        key: draw(st.sampled_from(some)) for key, some in options.items() if draw(st.booleans())
    }
    letters = st.characters(exclude_categories=["Cs", "Z", "C"])
    word = st.text(letters, min_size=1, max_size=6).filter(lambda text: text.split() == [text])
    special = ("<pad>", "<unk>")
    plain = draw(st.lists(word, min_size=2, max_size=8, unique=True))
    plain = [each for each in plain if not any(one in each for one in special)]
    words = tuple(draw(st.permutations([*(plain or ["w"]), *special])))
    length = draw(st.integers(1, config["n_ctx"]))
    at = draw(st.lists(st.integers(0, length - 1), min_size=1, unique=True))
    texts = st.lists(st.sampled_from(words), min_size=length, max_size=length).map(" ".join)
    inputs = (
        tuple(
            Saved(text, {index: draw(st.sampled_from(words)) for index in at})
            for text in draw(st.lists(texts, min_size=2, max_size=5, unique=True))
        )
        if len(words) ** length >= 5 and draw(st.booleans())
        else ()
    )
    about = draw(st.text(letters, min_size=1).filter(str.strip))
    truth = {"claim": "suffices", "ablations": {"mean": [["m0"], []]}}
    return about, config, words, inputs, draw(st.sampled_from([None, truth]))


@given(natives(), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_what_is_saved_is_what_is_loaded(parts, seed):
    about, config, words, inputs, truth = parts
    native = Native(
        about=about,
        config=config,
        words=words,
        weights=random_weights(config, words, seed),
        inputs=inputs,
        truth=truth,
    )
    with TemporaryDirectory() as place:
        folder = save_native(place, native)
        again, model = read_native(folder, native_shapes), load_model(str(folder), device="cpu")
    assert (again.about, again.config, again.words) == (native.about, native.config, native.words)
    assert (again.inputs, again.truth) == (native.inputs, native.truth)
    loaded = plain_names(bridge_of(model).original_model.state_dict())
    assert set(loaded) == set(again.weights) == set(native.weights)
    for name, weight in native.weights.items():
        torch.testing.assert_close(again.weights[name], weight, atol=0, rtol=0)
        torch.testing.assert_close(loaded[name], weight, atol=0, rtol=0)
    tokens = model.tokenize([" ".join(native.words)])[0]
    assert tokens.ids == tuple(range(len(native.words)))


def test_a_loaded_model_computes_what_transformer_lens_native_model_computes(sound):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native import NativeModel

    model = load_model(str(sound), device="cpu")
    plain = NativeModel(TransformerBridgeConfig(**full_config(CONFIG, WORDS), device="cpu"))
    plain.load_state_dict(load_file(sound / "model.safetensors"), strict=True)
    tokens = torch.tensor([[0, 1, 2], [3, 2, 1]])
    torch.testing.assert_close(model.engine.forward(tokens)[0], plain(tokens)[:, -1])
    assert "prefix" not in model.engine.can
    backwards = model.engine.forward(tokens, reads=torch.tensor([0, 0]))[0]
    assert not torch.allclose(backwards, model.engine.forward(tokens[:, :1])[0])  # it looks ahead


def test_weights_may_come_as_a_bridge_names_them(sound, tmp_path):
    bridge = bridge_of(load_model(str(sound), device="cpu"))
    weights = bridge.original_model.state_dict()
    assert len(weights) > len(random_weights())
    folder = save_native(
        tmp_path, Native(about="again", config=CONFIG, words=WORDS, weights=weights)
    )
    wanted, got = (load_file(path / "model.safetensors") for path in (sound, folder))
    assert set(got) == set(wanted)
    assert all(torch.equal(got[name], weight) for name, weight in wanted.items())


def test_loading_leaves_the_random_numbers_of_others_alone(sound):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_model(str(sound), device="cpu")
    torch.testing.assert_close(torch.rand(3), expected, atol=0, rtol=0)


def test_other_dtypes(sound):
    model = load_model(str(sound), device="cpu", dtype="bfloat16")
    assert model.engine.forward(torch.tensor([[0, 1]]))[0].dtype == torch.bfloat16


def wrong(change, *words, name="config.json"):
    return pytest.param(name, change, words, id=words[0][:40])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        wrong(lambda c: c.update(format="circuitfind-native/2"), "format must be 'circuitfind-na"),
        wrong(lambda c: c.update(colour="red"), "unknown: colour"),
        wrong(lambda c: c.pop("words"), "missing: words"),
        wrong(lambda c: c.update(about=" "), "about must say in a line"),
        wrong(lambda c: c["config"].update(wings=2), "config: unknown: wings"),
        wrong(lambda c: c["config"].update(attn_only=True), "config: unknown: attn_only"),
        wrong(lambda c: c["config"].update(n_layers=1000), "n_layers must be at most 64"),
        wrong(lambda c: c["config"].update(d_head=True), "d_head must be a whole number"),
        wrong(lambda c: c["config"].pop("n_heads"), "config: missing: n_heads"),
        wrong(lambda c: c["config"].update(act_fn="step"), "act_fn must be 'relu', 'gelu'"),
        wrong(lambda c: c["config"].update(eps=float("nan")), "eps must be a finite number"),
        wrong(lambda c: c["config"].update(d_vocab=5), "d_vocab is 5 but there are 6 words"),
        wrong(lambda c: c["config"].update(n_key_value_heads=3), "TransformerLens cannot build it"),
        wrong(lambda c: c["config"].update(n_key_value_heads=-1), "TransformerLens cannot build"),
        wrong(lambda c: c["config"].update(d_mlp=4), "mlp.fc_in.bias must have shape [4]; got [3]"),
        wrong(lambda c: c["config"].update(n_layers=3), "missing tensor(s) 'layers.2.attn.k.bias'"),
        wrong(lambda c: c["config"].update(n_layers=1), "no place for: 'layers.1.attn.k.bias'"),
        wrong(lambda c: c["words"].append("a"), "word(s) listed twice: 'a'"),
        wrong(lambda c: c["words"].append("d e"), "text without white space; got 'd e'"),
        wrong(lambda c: c["words"].append("\ud800"), "text that is no Unicode"),
        wrong(lambda c: c["words"].append("x<pad>"), "no word may contain pad or unk"),
        wrong(lambda c: c["words"].append(7), "words.6 must be text; got 7"),
        wrong(lambda c: c.update(pad="<gap>"), "pad and unk must be among the words; not there"),
        wrong(lambda c: c.update(unk="<pad>"), "must be two words"),
        wrong(
            lambda c: c["inputs"][0].update(text="BOS a"),
            "inputs.0: outputs are at indices from 0 to 1; got '2'",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][0].update(text="BOS a b c"),
            "inputs.0 has 4 words and outputs at 1, 2; inputs.1 has 3 words",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][0].update(outputs={"1": "b"}),
            "one length and outputs at the same indices",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][1].update(text="BOS zebra b"),
            "inputs.1: text has words that are not in the vocabulary: 'zebra'",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][1]["outputs"].update({"1": "zebra"}),
            "outputs that are no words of the vocabulary: 'zebra'",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][1]["outputs"].update({"1": ["b"]}),
            "inputs.1.outputs.1 must be text; got a list of 1",
            name="inputs.json",
        ),
        wrong(
            lambda c: c["inputs"][1]["outputs"].update({"01": "b"}),
            "got '01'",
            name="inputs.json",
        ),
        wrong(lambda c: c["inputs"].append(c["inputs"][0]), "is there twice", name="inputs.json"),
        wrong(
            lambda c: c.update(inputs=[]), "inputs must have at least 2 rows", name="inputs.json"
        ),
        wrong(
            lambda c: c["inputs"].append(3), "inputs.2 must be an object; got 3", name="inputs.json"
        ),
        wrong(lambda c: c.update(claim="carries"), "claim must be 'suffices'", name="truth.json"),
        wrong(
            lambda c: c["ablations"].update(noise=[]),
            "the key ablations.noise must be 'source'",
            name="truth.json",
        ),
        wrong(
            lambda c: c["ablations"].update(zero=[["a0.h2", "m2", "embed", "a0.h1"]]),
            "zero: 'a0.h2' is no component of this model",
            "'m2' is no",
            "'embed' is no",
            name="truth.json",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, name, change, words):
    spoil(folder, name, change)
    told = problems_of(folder)
    assert told.startswith(f"{folder} is no native model: ")
    for word in words:
        assert word in told
    assert f"{name}: " in told or "model.safetensors: " in told


def test_all_that_is_wrong_is_said_at_once(folder):
    spoil(folder, "config.json", lambda c: c["config"].update(n_layers=3))
    spoil(folder, "inputs.json", lambda c: c["inputs"][0].update(text="BOS zebra b"))
    spoil(folder, "truth.json", lambda c: c.pop("claim"))
    weights = load_file(folder / "model.safetensors")
    weights["head.weight"] = torch.full((6, 8), float("inf"))
    weights["pos.weight"] = torch.zeros(5, 9)
    weights["tail.weight"] = torch.zeros(1)
    weights["tok_embed.weight"] = torch.zeros(6, 8, dtype=torch.int64)
    save_file(weights, folder / "model.safetensors")
    told = problems_of(folder)
    for words in (
        "'layers.2.attn.k.bias'",
        "'zebra'",
        "truth.json: missing: claim",
        "no finite numbers",
        "pos.weight must have shape [5, 8]; got [5, 9]",
        "no place for: 'tail.weight'",
        "tok_embed.weight must be one of float32, float64",
    ):
        assert words in told, words


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("inputs.json", b"{", "inputs.json is not JSON in UTF-8"),
        ("inputs.json", b"[]", "inputs.json: expected an object; got a list"),
        ("truth.json", b"\xff", "truth.json is not JSON in UTF-8"),
        ("truth.json", b"[" * 100_000, "truth.json is not JSON"),
        ("model.safetensors", b"\x80\x02}q\x00.", "model.safetensors is no safetensors file"),
    ],
)
def test_files_that_cannot_be_read_are_named(folder, name, content, words):
    (folder / name).write_bytes(content)
    assert words in problems_of(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert "model.safetensors cannot be read" in problems_of(folder)


def test_bad_natives_are_not_saved(tmp_path):
    native = Native(
        about="",
        config={**CONFIG, "wings": 2},
        words=(*WORDS, "a"),
        weights={"head.weight": torch.tensor([0])},
    )
    with pytest.raises(ValueError) as error:
        save_native(tmp_path / "new", native)
    for words in ("about must say", "wings", "listed twice: 'a'", "head.weight must be one of"):
        assert words in str(error.value)
    assert not (tmp_path / "new").exists()


def test_weights_of_other_shapes_do_not_build(sound):
    native = Native(
        about="a test",
        config=CONFIG,
        words=WORDS,
        weights={**random_weights(), "x": torch.zeros(1)},
    )
    with pytest.raises(ValueError, match="no place for: 'x'"):
        build_native(native, "here")


def test_only_folders_that_say_so_are_native(folder, tmp_path):
    assert is_native(folder)
    assert not is_native(tmp_path / "nowhere")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    assert not is_native(folder)


def test_words_are_tokens_whatever_their_letters():
    tokenizer = word_tokenizer(["1/3", "a.b", "A", "<pad>", "<unk>"])
    assert tokenizer("A  a.b 1/3 a")["input_ids"] == [2, 1, 0, 4]


def test_suffices_is_about_the_saved_inputs(sound):
    claim = load_claim("suffices", str(sound), "mean")
    assert isinstance(claim, SavedInputs)
    assert claim.inputs == INPUTS == load_saved(str(sound))
    assert claim.name == "suffices at all on saved inputs, donor mean"


def test_suffices_needs_saved_inputs(tmp_path):
    save_native(
        tmp_path, Native(about="a test", config=CONFIG, words=WORDS, weights=random_weights())
    )
    for model in (str(tmp_path), "binder", "planted"):
        with pytest.raises(LookupError, match="no inputs are saved beside"):
            load_claim("suffices", model)
    with pytest.raises(LookupError, match="name the model"):
        load_claim("suffices")
