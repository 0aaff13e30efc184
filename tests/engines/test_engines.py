"""The laws of every engine, on tiny random models of many architectures."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.modeling_utils import AttentionInterface

import circuitfind
from circuitfind.engines import (
    BridgeEngine,
    HooksEngine,
    Point,
    additive_gap,
    dead_sites,
)
from circuitfind.engines.laws import look

from .models import CONFIGS, N_HEADS, N_LAYERS, bridge_engine, hooks_engine, tiny_module

EXACT: Any = {"atol": 0.0, "rtol": 0.0}
CLOSE: Any = {"atol": 1e-5, "rtol": 1e-5}
# Their queries, keys and values are one matrix, which the bridge splits: other rounding.
JOINT = {"gpt2", "bloom", "falcon", "neox"}
# Attention that does not go through transformers' interface.
APART = {"bloom", "falcon"}

BASE = torch.tensor([[3, 5, 7, 9, 11, 4], [8, 2, 6, 1, 12, 13]])
SOURCE = torch.tensor([[4, 9, 3, 20, 12, 7], [9, 1, 2, 22, 14, 15]])
LEFT = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])  # row 1 is padded on the left

# What transformers attends by, before any engine runs.
ATTENTION = dict(AttentionInterface._global_mapping)

architectures = pytest.mark.parametrize("architecture", CONFIGS)
with_interface = pytest.mark.parametrize("architecture", [a for a in CONFIGS if a not in APART])
_MADE: dict[tuple[str, str], Any] = {}


@pytest.fixture
def hooks(architecture) -> HooksEngine:
    return made("hooks", architecture)


@pytest.fixture
def bridge(architecture) -> BridgeEngine:
    return made("bridge", architecture)


def made(name: str, architecture: str) -> Any:
    if (name, architecture) not in _MADE:
        build = {"hooks": hooks_engine, "bridge": bridge_engine}[name]
        _MADE[name, architecture] = build(architecture)
    return _MADE[name, architecture]


def plain(engine, inputs=BASE, **options):
    with torch.no_grad():
        return engine.forward(inputs, **options)[0]


def donor(engine, point, inputs=SOURCE):
    return look(engine, inputs, [point])[1][point]


def mix(value, share=0.7):
    return lambda own: torch.lerp(own, value.to(own), share)


def one_head(value, head):
    def swap(own):
        own = own.clone()
        own[:, :, head] = value[:, :, head]
        return own

    return swap


# -- both engines give the same


@architectures
def test_both_engines_give_the_same_logits(architecture, hooks, bridge):
    exactly = CLOSE if architecture in JOINT else EXACT
    torch.testing.assert_close(plain(hooks), plain(bridge), **exactly)


@architectures
def test_both_engines_know_the_same_sizes(architecture, hooks, bridge):
    ours, theirs = hooks.sizes, bridge.sizes
    if architecture in JOINT:  # the bridge counts the joint matrix, and its parts again
        assert ours.n_block_parameters <= theirs.n_block_parameters
        theirs = replace(theirs, n_block_parameters=ours.n_block_parameters)
    assert ours == theirs
    assert (ours.n_layers, ours.n_heads, ours.d_model, ours.d_vocab) == (N_LAYERS, N_HEADS, 32, 32)
    assert ours.n_block_parameters == sum(
        weight.numel()
        for name, weight in hooks.weights().items()
        if any(f".{layer}." in name for layer in range(N_LAYERS))
    )


@architectures
@pytest.mark.parametrize("kind", ["embed", "entry", "heads", "mlp_in", "mlp"])
def test_both_engines_show_and_change_the_same(architecture, hooks, bridge, kind):
    point = Point(0 if kind == "embed" else 1, kind)
    taken = [donor(engine, point) for engine in (hooks, bridge)]
    torch.testing.assert_close(*taken, **CLOSE)
    assert taken[0].shape == ((2, 6, N_HEADS, 8) if kind == "heads" else (2, 6, 32))
    edits = [(point, mix(taken[0]))]
    changed = [plain(engine, edits=edits) for engine in (hooks, bridge)]
    torch.testing.assert_close(*changed, **CLOSE)
    assert not torch.allclose(changed[0], plain(hooks), **CLOSE)


@architectures
def test_one_head_is_the_same_head_in_both_engines(architecture, hooks, bridge):
    for head in range(N_HEADS):
        point = Point(1, "heads")
        changed = [
            plain(engine, edits=[(point, one_head(donor(engine, point), head))])
            for engine in (hooks, bridge)
        ]
        torch.testing.assert_close(*changed, **CLOSE)


@architectures
def test_a_prefix_changes_nothing_with_padding(architecture, hooks, bridge):
    """Prompts of two lengths; two masks at once; an edit behind the prefix."""
    gives = []
    for engine in (hooks, bridge):
        point = Point(1, "heads")
        value = donor(engine, point)
        full = plain(
            engine, BASE, attends=LEFT, edits=[(point, lambda own, v=value: _tail(own, v))]
        )
        _, prefix = engine.forward(BASE[:, :4], LEFT[:, :4], keep_prefix=True)
        length = prefix.get_seq_length()
        for _ in range(2):
            logits = plain(
                engine,
                BASE[:, 4:].repeat(2, 1),
                attends=LEFT.repeat(2, 1),
                edits=[(point, lambda own, v=value: v[:, 4:].repeat(2, 1, 1, 1))],
                prefix=engine.repeat_prefix(prefix, 2),
            )
            torch.testing.assert_close(logits, full.repeat(2, 1), **CLOSE)
        assert prefix.get_seq_length() == length == 4
        assert "prefix" in engine.can
        gives.append(full)
    torch.testing.assert_close(*gives, **CLOSE)


def _tail(own, value):
    own = own.clone()
    own[:, 4:] = value[:, 4:]
    return own


@architectures
def test_padding_changes_nothing(architecture, hooks):
    alone = plain(hooks, BASE[1:, 2:])
    torch.testing.assert_close(plain(hooks, BASE, attends=LEFT)[1:], alone, **CLOSE)


@architectures
@pytest.mark.parametrize("layer", [1, 2])
def test_beginning_at_a_layer_gives_the_same(architecture, hooks, bridge, layer):
    """With padding and an edit; earlier layers do not run, nor do edits in them."""
    for engine in (hooks, bridge):
        if "start_at_layer" not in engine.can:
            assert (engine.name, architecture) == ("bridge", "bloom")
            continue
        point, entry = Point(2, "mlp"), Point(layer, "entry")
        edits = [(point, mix(donor(engine, point)))]
        streams, ran = [], []
        full = plain(engine, attends=LEFT, edits=[*edits, (entry, streams.append)])
        early = [(Point(0, kind), ran.append) for kind in ("embed", "entry", "mlp")]
        begun = plain(engine, attends=LEFT, edits=early + edits, entry=(layer, streams[0]))
        torch.testing.assert_close(begun, full, **CLOSE)
        assert not ran
        assert not torch.allclose(begun, plain(engine, attends=LEFT), **CLOSE)


@architectures
def test_beginning_at_a_layer_behind_a_prefix_gives_the_same(architecture, hooks):
    full = plain(hooks, attends=LEFT)
    _, prefix = hooks.forward(BASE[:, :4], LEFT[:, :4], keep_prefix=True)
    streams = []
    seen = [(Point(2, "entry"), lambda own: streams.append(own.clone()))]
    plain(hooks, BASE[:, 4:], attends=LEFT, edits=seen, prefix=prefix)
    begun = plain(
        hooks,
        BASE[:, 4:].repeat(2, 1),
        attends=LEFT.repeat(2, 1),
        prefix=hooks.repeat_prefix(prefix, 2, 2),
        entry=(2, streams[0].repeat(2, 1, 1)),
    )
    torch.testing.assert_close(begun, full.repeat(2, 1), **CLOSE)


@architectures
def test_reading_at_a_column_gives_the_logits_there(architecture, hooks, bridge):
    reads = torch.tensor([2, 4])
    read = [plain(engine, reads=reads) for engine in (hooks, bridge)]
    torch.testing.assert_close(*read, **CLOSE)
    for row, column in enumerate(reads.tolist()):
        alone = plain(hooks, BASE[row : row + 1, : column + 1])
        torch.testing.assert_close(read[0][row : row + 1], alone, **CLOSE)


# -- sites write all there is


@architectures
def test_heads_and_mlps_write_all_that_the_stream_gains(architecture, hooks, bridge):
    for engine in (hooks, bridge):
        assert additive_gap(engine, BASE, SOURCE) < 1e-5
        assert dead_sites(engine, BASE, SOURCE) == ()


def test_a_site_that_is_missed_opens_a_gap():
    engine = hooks_engine("llama")
    del engine._sites.places[Point(1, "mlp")]
    assert additive_gap(engine, BASE, SOURCE) > 1e-2


def test_a_site_at_a_wrong_place_opens_a_gap():
    engine = hooks_engine("bloom")
    places = engine._sites.places
    whole = engine._sites.blocks[1].mlp  # gives the whole stream
    places[Point(1, "mlp")] = replace(places[Point(1, "mlp")], module=whole)
    assert additive_gap(engine, BASE, SOURCE) > 1e-2


def test_dead_heads_and_mlps_are_found():
    engine = hooks_engine("llama")
    layer: Any = engine.model.get_submodule("model.layers.1")
    with torch.no_grad():
        layer.self_attn.o_proj.weight[:, 8:16] = 0
        layer.mlp.down_proj.weight.zero_()
    assert dead_sites(engine, BASE, SOURCE) == ((Point(1, "heads"), 1), (Point(1, "mlp"), None))


def test_prompts_that_do_not_fit_are_refused():
    engine = made("hooks", "llama")
    with pytest.raises(ValueError, match=r"same shape; got \(2, 6\) and \(2, 5\)"):
        additive_gap(engine, BASE, SOURCE[:, 1:])
    with pytest.raises(ValueError, match="Take other tokens"):
        additive_gap(engine, BASE, BASE)


def test_what_is_looked_at_stays_where_the_model_writes_over_it():
    """Falcon adds its heads' output to its MLP's in place."""
    engine, point, kept = made("hooks", "falcon"), Point(1, "mlp"), []
    plain(engine, edits=[(point, kept.append)])
    torch.testing.assert_close(kept[0], donor(engine, point, BASE), **EXACT)
    given = torch.ones_like(kept[0])
    plain(engine, edits=[(point, lambda own: given)])
    assert bool((given == 1).all())


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3", "olmo2"])
def test_heads_before_a_norm_do_not_add_up_one_by_one(architecture, hooks):
    """A norm behind the output projection mixes heads: the law holds of all of them together."""
    point, leaves = Point(2, "heads"), Point(3, "entry")
    value, moved = donor(hooks, point), []
    keep = (leaves, lambda own: moved.append(own.clone()))
    frozen = (Point(2, "mlp"), lambda own: torch.zeros_like(own))
    for edit in (
        lambda own: None,
        one_head(value, 0),
        one_head(value, 1),
        lambda own: _two(own, value),
    ):
        plain(hooks, edits=[(point, edit), frozen, keep])
    base, first, second, both = moved
    assert (both - first - second + base).abs().max() > 1e-2


def _two(own, value):
    own = own.clone()
    own[:, :, :2] = value[:, :, :2]
    return own


# -- gradients


@architectures
@pytest.mark.parametrize("kind", ["heads", "mlp"])
def test_gradients_are_finite_differences(architecture, hooks, bridge, kind):
    point = Point(1, kind)
    slopes = []
    for engine in (hooks, bridge):
        value = donor(engine, point)

        def lead(gate, engine=engine, value=value):
            edits = [(point, lambda own: torch.lerp(own, value, gate))]
            logits, _ = engine.forward(BASE, edits=edits)
            return (logits[:, 3] - logits[:, 5]).sum()

        gate = torch.tensor(0.5, requires_grad=True)
        (slope,) = torch.autograd.grad(lead(gate), gate)
        with torch.no_grad():
            step = (lead(torch.tensor(0.52)) - lead(torch.tensor(0.48))) / 0.04
        torch.testing.assert_close(slope, step, atol=2e-3, rtol=1e-2)
        assert slope.abs() > 1e-3
        assert "gradients" in engine.can
        assert not any(weight.requires_grad for weight in engine.weights().values())
        slopes.append(slope)
    torch.testing.assert_close(*slopes, **CLOSE)


# -- queries, keys, values, patterns


@with_interface
@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_queries_keys_and_values_of_another_row_do_the_same_in_both(
    architecture, hooks, bridge, kind
):
    """Before the rotation or after it; all of them, and one head's alone."""
    point, changed, alone = Point(1, kind), [], []
    values = [donor(engine, point) for engine in (hooks, bridge)]
    assert values[0].shape == values[1].shape
    for engine, value in zip((hooks, bridge), values, strict=True):
        changed.append(plain(engine, edits=[(point, mix(value, 1.0))]))
        last = value.shape[2] - 1  # k and v may have one head only
        alone.append(plain(engine, edits=[(point, one_head(value, last))]))
    if architecture == "olmo2" and kind != "v":
        # Its norm is over all heads at once: behind it, as hooks are, a head is by itself.
        assert not torch.allclose(*alone, **CLOSE)
    else:
        torch.testing.assert_close(*alone, **CLOSE)
    torch.testing.assert_close(*changed, **CLOSE)
    assert not torch.allclose(changed[0], plain(hooks), **CLOSE)
    assert "qkv" in hooks.can & bridge.can


@with_interface
@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_only_new_tokens_are_shown_behind_a_prefix(architecture, hooks, kind):
    point = Point(1, kind)
    value = donor(hooks, point)
    full = plain(hooks, edits=[(point, lambda own: _tail(own, value))])
    _, prefix = hooks.forward(BASE[:, :4], keep_prefix=True)
    behind = plain(hooks, BASE[:, 4:], edits=[(point, lambda own: value[:, 4:])], prefix=prefix)
    torch.testing.assert_close(behind, full, **CLOSE)
    torch.testing.assert_close(plain(hooks, BASE[:, 4:], prefix=prefix), plain(hooks), **CLOSE)


@with_interface
def test_patterns_are_shares_and_the_same_in_both(architecture, hooks, bridge):
    seen = []
    for engine in (hooks, bridge):
        seen.append([])
        for layer in range(N_LAYERS):
            plain(engine, attends=LEFT, edits=[(Point(layer, "pattern"), seen[-1].append)])
        assert "pattern" in engine.can
    for ours, theirs in zip(*seen, strict=True):
        assert ours.shape == (2, N_HEADS, 6, 6)
        torch.testing.assert_close(ours.sum(-1), torch.ones(2, N_HEADS, 6), **CLOSE)
        torch.testing.assert_close(ours[0], theirs[0], **CLOSE)
        torch.testing.assert_close(ours[1, :, 2:], theirs[1, :, 2:], **CLOSE)
        assert not ours[1, :, 2:, :2].any()


@pytest.mark.parametrize("architecture", sorted(APART))
def test_attention_outside_the_interface_has_no_queries(architecture, hooks):
    assert not any(hooks.has(Point(1, kind)) for kind in ("q", "k", "v", "pattern"))
    assert hooks.can - {"branches"} == {"gradients", "prefix", "start_at_layer", "shortlist"}


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_sdpa_gives_what_eager_gives(architecture):
    """Within rounding; patterns are shown by attending eagerly in such a pass alone."""
    eager, fast = made("hooks", architecture), hooks_engine(architecture, "sdpa")
    assert (eager.attention, fast.attention) == ("eager", "sdpa")
    loose: Any = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(plain(fast, attends=LEFT), plain(eager, attends=LEFT), **loose)
    for kind in ("q", "k", "v"):
        value = donor(eager, Point(1, kind))
        edits = [(Point(1, kind), one_head(value, 0))]
        torch.testing.assert_close(plain(fast, edits=edits), plain(eager, edits=edits), **loose)
    patterns = [donor(engine, Point(2, "pattern")) for engine in (fast, eager)]
    torch.testing.assert_close(*patterns, **loose)
    assert fast.attention == "sdpa"
    assert fast.can == eager.can


def test_another_model_attends_as_ever_while_one_is_edited():
    one, other = made("hooks", "llama"), made("hooks", "mistral")
    expected, inner = plain(other), []
    edits = [(Point(1, "q"), lambda own: inner.append(plain(other)))]
    plain(one, edits=edits)
    torch.testing.assert_close(inner[0], expected, **EXACT)


# -- nothing is left behind


def state(engine):
    """All that a pass might leave behind in the model; in transformers nothing is."""
    assert AttentionInterface._global_mapping == ATTENTION
    model = engine.model if isinstance(engine, HooksEngine) else engine.bridge
    counts = [
        (len(part._forward_hooks), len(part._forward_pre_hooks), sorted(vars(part)))
        for part in model.modules()
        if "original_component" not in vars(part)
    ]
    return counts, [vars(part.config).copy() for part in model.modules() if _has_config(part)]


def _has_config(part):
    return hasattr(vars(part).get("config"), "_attn_implementation")


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["entry", "q", "k", "v", "pattern", "heads", "mlp_in", "mlp"])
@pytest.mark.parametrize("name", ["hooks", "bridge"])
def test_nothing_is_left_behind_after_trouble(name, kind, trouble):
    engine = made(name, "llama")
    stream = donor(engine, Point(1, "entry"), BASE)
    expected, before = plain(engine), state(engine)

    def fail(own):
        raise trouble("inside an edit")

    with pytest.raises(trouble):
        engine.forward(BASE, edits=[(Point(2, kind), fail)], entry=(1, stream))
    assert state(engine) == before
    torch.testing.assert_close(plain(engine), expected, **EXACT)


@architectures
def test_nothing_is_left_behind_after_a_pass(architecture, hooks):
    expected, before = plain(hooks), state(hooks)
    every = [
        (point, lambda own: None)
        for layer in range(N_LAYERS)
        for kind in ("entry", "q", "k", "v", "pattern", "heads", "mlp_in", "mlp")
        if hooks.has(point := Point(layer, kind))
    ]
    torch.testing.assert_close(plain(hooks, edits=every), expected, **EXACT)
    assert state(hooks) == before
    torch.testing.assert_close(plain(hooks), expected, **EXACT)


@pytest.mark.parametrize("name", ["hooks", "bridge"])
def test_a_stream_of_another_width_leaves_nothing_behind(name):
    engine = made(name, "llama")
    expected, before = plain(engine), state(engine)
    with pytest.raises(RuntimeError):
        engine.forward(BASE, entry=(2, torch.ones(2, 6, 33)))
    assert state(engine) == before
    torch.testing.assert_close(plain(engine), expected, **EXACT)


# -- what is refused


@pytest.mark.parametrize("name", ["hooks", "bridge"])
def test_a_point_that_is_not_there_is_refused(name):
    engine = made(name, "llama")
    for point in (Point(N_LAYERS, "heads"), Point(1, "embed"), Point(0, "scent")):
        assert not engine.has(point)
        with pytest.raises(ValueError, match=f"expected points .* got {point}"):
            engine.forward(BASE, edits=[(point, lambda own: own)])


@pytest.mark.parametrize("name", ["hooks", "bridge"])
def test_a_new_value_for_a_pattern_is_refused(name):
    with pytest.raises(ValueError, match="only looks at a pattern"):
        made(name, "llama").forward(BASE, edits=[(Point(1, "pattern"), lambda own: own * 0)])


def test_a_module_without_layers_is_refused():
    with pytest.raises(ValueError, match="expected a causal language model"):
        HooksEngine(nn.Linear(3, 3))
    model: Any = tiny_module("llama")
    model.model.layers = nn.ModuleList()
    model.config.num_hidden_layers = 0
    with pytest.raises(ValueError, match="found none in LlamaForCausalLM"):
        HooksEngine(model)


# -- weights


@architectures
def test_both_engines_have_one_plain_digest(architecture, hooks, bridge):
    assert hooks.digest == hooks.plain_digest == bridge.plain_digest
    assert bridge.digest != bridge.plain_digest
    other = hooks_engine(architecture)
    with torch.no_grad():
        next(iter(other.weights().values())).view(-1)[0] += 1e-3
    assert other.digest != hooks.digest


def test_the_bridges_digest_is_the_one_that_runs_are_bound_to():
    """The formula that older run folders were written with."""
    engine, sha = made("bridge", "llama"), hashlib.sha256()
    for name, weight in sorted(engine.bridge.original_model.state_dict().items()):
        sha.update(name.encode())
        sha.update(weight.numpy().tobytes())
    assert engine.digest == sha.hexdigest()


@pytest.mark.slow
@pytest.mark.smollm2
def test_smollm2_has_the_digest_of_its_stored_run():
    from circuitfind.models.loading import load_model

    root = Path(circuitfind.__file__).parent.parent
    stored = json.loads((root / "figures/runs/ioi/circuit.json").read_text(encoding="utf-8"))
    engine = load_model("smollm2-135m", device="cpu", engine="bridge").engine
    assert engine.digest in json.dumps(stored)


def test_weights_are_each_given_once():
    for engine in (made("hooks", "gpt2"), made("hooks", "llama")):
        pointers = [weight.data_ptr() for weight in engine.weights().values()]
        assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
def test_native_models_run_behind_the_bridge(direction):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    from ..planted import word_tokenizer
    from .models import WORDS

    config = TransformerBridgeConfig(
        d_model=32,
        d_head=8,
        n_layers=2,
        n_heads=4,
        n_ctx=16,
        d_mlp=48,
        d_vocab=32,
        act_fn="gelu",
        normalization_type="LN",
        attention_dir=direction,
        device="cpu",
        seed=0,
    )
    boot: Any = TransformerBridge
    bridge = boot.boot_native(config, tokenizer=word_tokenizer(WORDS))
    engine = BridgeEngine(bridge)
    with torch.no_grad():
        for weight in engine.weights().values():
            weight.copy_(
                0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
            )
    assert additive_gap(engine, BASE, SOURCE) < 1e-5
    assert engine.sizes.causal == (direction == "causal")
    assert engine.can >= {"gradients", "qkv", "pattern"}
    assert "prefix" not in engine.can
    assert len(engine.plain_digest) == 64
