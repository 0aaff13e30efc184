"""The laws of patching (DESIGN, section 5), on tiny random models of five architectures."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import lead
from circuitfind.objective.patching import _mixer, prepare, run
from desiderata import Prompt

from .tiny import CONFIGS, N_HEADS, N_LAYERS, NATIVE, random_desideratum

EXACT: dict[str, Any] = {"atol": 0.0, "rtol": 0.0}
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}

architectures = pytest.mark.parametrize("architecture", CONFIGS)
with_native = pytest.mark.parametrize("architecture", [*CONFIGS, *NATIVE])
positions = pytest.mark.parametrize("at", [("last",), ("x",), ("x", "last"), ("all",)])


def ready(model, at, *, reuse=True, embed=False, **options):
    batch = encode(model, [random_desideratum(at, **options)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, at)
    if embed:
        sites += tuple(Site(EMBED, position) for position in at)
    return prepare(model, batch, sites, reuse=reuse)


def plain(model, prompts):
    with torch.no_grad():
        return model.forward(prompts.tokens, prompts.attends)[0]


@with_native
@positions
def test_closed_gates_give_the_bases_logits_bit_for_bit(tiny, architecture, at):
    model = tiny(architecture)
    prepared = ready(model, at, reuse=False)
    logits = run(prepared, torch.zeros(1, len(prepared.sites)))[0]
    torch.testing.assert_close(logits, plain(model, prepared.batch.base), **EXACT)


@with_native
def test_open_gates_with_the_embedding_give_the_sources_logits(tiny, architecture):
    model = tiny(architecture)
    prepared = ready(model, ("all",), reuse=False, embed=True)
    logits = run(prepared, torch.ones(1, len(prepared.sites)))[0]
    torch.testing.assert_close(logits, plain(model, prepared.batch.source), **CLOSE)
    assert not torch.allclose(logits, plain(model, prepared.batch.base), **CLOSE)


@with_native
@positions
@pytest.mark.parametrize("part", ["inside", "outside"])
def test_reuse_equals_recomputation_in_logits_and_gradients(tiny, architecture, at, part):
    model = tiny(architecture)
    made = []
    for reuse in (True, False):
        prepared = ready(model, at, reuse=reuse, part=part)
        gates = torch.rand(1, len(prepared.sites), generator=torch.Generator().manual_seed(1))
        gates.requires_grad_()
        logits = run(prepared, gates)
        lead(logits, prepared.batch.expected).sum().backward()
        made.append((logits.detach(), gates.grad, prepared.start))
    (reused, gradient, start), (full, full_gradient, full_start) = made
    assert full_start == 0
    assert (start > 0) == model.reuses_prefix or at == ("all",)
    torch.testing.assert_close(reused, full, **CLOSE)
    torch.testing.assert_close(gradient, full_gradient, **CLOSE)
    assert gradient.abs().max() > 0.01


@with_native
@positions
def test_many_masks_at_once_equal_one_by_one(tiny, architecture, at):
    model = tiny(architecture)
    prepared = ready(model, at)
    gates = torch.rand(5, len(prepared.sites), generator=torch.Generator().manual_seed(2))
    together = run(prepared, gates)
    for row, logits in zip(gates, together, strict=True):
        torch.testing.assert_close(run(prepared, row[None])[0], logits, **CLOSE)


@with_native
def test_padding_changes_nothing(tiny, architecture):
    """A pair in a batch of longer ones comes out as it does alone."""
    model = tiny(architecture)
    prepared = ready(model, ("x", "last"), n=6)
    gates = torch.rand(1, len(prepared.sites), generator=torch.Generator().manual_seed(3))
    together = run(prepared, gates)[0]
    assert not bool(prepared.batch.base.attends.all())
    for row in range(len(prepared.batch)):
        alone = prepare(model, prepared.batch.take([row]), prepared.sites)
        torch.testing.assert_close(run(alone, gates)[0, 0], together[row], **CLOSE)


@with_native
@pytest.mark.parametrize("at", [("x",), ("last",), ("all",)])
def test_patching_equals_a_patch_written_out_by_hand(tiny, architecture, at):
    """One head, one MLP: the same as overwriting their outputs in the bridge's own hooks."""
    model = tiny(architecture)
    prepared = ready(model, at, reuse=False)
    batch, rows = prepared.batch, torch.arange(5)
    _, cache = model.engine.bridge.run_with_cache(
        batch.source.tokens, attention_mask=batch.source.attends
    )
    everywhere = at == ("all",)
    base_at = slice(None) if everywhere else batch.base.columns[at[0]]
    source_at = slice(None) if everywhere else batch.source.columns[at[0]]
    index = slice(None) if everywhere else rows

    def overwrite_head(own, hook):
        own = own.clone()
        own[index, base_at, 2] = cache["blocks.1.attn.hook_z"][index, source_at, 2]
        return own

    def overwrite_mlp(own, hook):
        own = own.clone()
        own[index, base_at] = cache["blocks.0.hook_mlp_out"][index, source_at]
        return own

    hooks = [("blocks.1.attn.hook_z", overwrite_head), ("blocks.0.hook_mlp_out", overwrite_mlp)]
    with torch.no_grad(), model.engine.bridge.hooks(fwd_hooks=hooks):
        expected = model.engine.bridge(batch.base.tokens, attention_mask=batch.base.attends)[:, -1]
    gates = torch.tensor([[str(site).split("@")[0] in ("a1.h2", "m0") for site in prepared.sites]])
    torch.testing.assert_close(run(prepared, gates.float())[0], expected, **CLOSE)
    assert not torch.allclose(expected, plain(model, batch.base), **CLOSE)


def test_donors_take_zero_the_mean_and_another_source(tiny):
    model = tiny("llama")
    of = {
        donor: ready(model, ("last",), donor=donor)
        for donor in ("source", "mean", "zero", "resample")
    }
    taken = {
        donor: prepared.edits["blocks.1.attn.hook_z"][0].donor for donor, prepared in of.items()
    }
    assert not taken["zero"].any()
    torch.testing.assert_close(
        taken["mean"], taken["source"].mean(0, keepdim=True).expand(5, -1, -1)
    )
    torch.testing.assert_close(taken["resample"], taken["source"].roll(1, dims=0), **EXACT)


def test_each_hook_fires_once_and_none_is_left_behind(tiny, monkeypatch):
    model = tiny("llama")
    prepared = ready(model, ("last",))
    points = [model.engine.bridge.hook_dict[name] for name in model.engine.bridge.hook_dict]

    def hooked():
        return sum(len(point.fwd_hooks) + len(point._forward_hooks) for point in points)

    before, fired = hooked(), []
    original = torch.lerp
    monkeypatch.setattr(torch, "lerp", lambda *args: fired.append(1) or original(*args))
    run(prepared, torch.ones(1, len(prepared.sites)))
    assert len(fired) == 2 * N_LAYERS
    assert hooked() == before


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
def test_no_hook_is_left_behind_after_trouble(tiny, monkeypatch, trouble):
    model = tiny("llama")
    prepared = ready(model, ("last",))
    expected = plain(model, prepared.batch.base)

    def fail(*args):
        raise trouble

    with monkeypatch.context() as patched, pytest.raises(trouble):
        patched.setattr(torch, "lerp", fail)
        run(prepared, torch.ones(1, len(prepared.sites)))
    torch.testing.assert_close(plain(model, prepared.batch.base), expected, **EXACT)


def test_only_gates_have_gradients(tiny):
    model = tiny("llama")
    prepared = ready(model, ("last",))
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    run(prepared, gates).sum().backward()
    assert gates.grad is not None
    assert all(
        parameter.grad is None for parameter in model.engine.bridge.original_model.parameters()
    )
    assert not any(
        parameter.requires_grad for parameter in model.engine.bridge.original_model.parameters()
    )


def test_masks_are_float32_whatever_the_model(tmp_path):
    from circuitfind.models.loading import load_model

    from .tiny import save_tiny_model

    model = load_model(str(save_tiny_model("llama", tmp_path)), device="cpu", dtype="bfloat16")
    prepared = ready(model, ("last",))
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    logits = run(prepared, gates)
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert gates.grad is not None
    assert gates.grad.dtype == torch.float32


def test_wrong_number_of_gates_is_refused(tiny):
    prepared = ready(tiny("llama"), ("last",))
    with pytest.raises(ValueError, match=r"expected 15 gates, one a site; got 3"):
        run(prepared, torch.ones(1, 3))


def test_a_cached_prefix_is_left_as_it_was(tiny):
    prepared = ready(tiny("gpt2"), ("last",))
    gates = torch.full((3, len(prepared.sites)), 0.5)
    first = run(prepared, gates)
    torch.testing.assert_close(run(prepared, gates), first, **EXACT)
    assert prepared.prefix.get_seq_length() == prepared.start


@pytest.mark.parametrize("donor", ["zero", "mean", "resample", "source"])
@positions
def test_another_donor_for_the_same_prompts_runs_only_what_differs(tiny, at, donor):
    """Prompts of several lengths, as far as patching at `all` allows; zero needs no source."""
    model = tiny("llama")
    made = random_desideratum(at, donor=donor)
    batch, other = (encode(model, [one])[0] for one in (made, replace(made, donor="source")))
    sites = all_sites(N_LAYERS, N_HEADS, at)
    first = prepare(model, other, sites)
    shared, alone = (prepare(model, batch, sites, like=like) for like in (first, None))
    same = shared.start == first.start
    if same:
        assert shared.prefix is first.prefix
        sources = batch.source.take(torch.arange(1 if donor == "zero" else len(batch)))
        assert shared.cost.tokens_forward == sources.n_tokens
    assert same or at == ("all",)
    gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(run(shared, gates), run(alone, gates), **EXACT)
    elsewhere = prepare(model, batch.take(range(len(batch) - 1)), sites, like=first)
    assert elsewhere.prefix is not first.prefix or first.prefix is None


def test_cost_counts_the_tokens_that_are_run(tiny):
    prepared = ready(tiny("llama"), ("last",))
    before = replace(prepared.cost)
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    run(prepared, gates)
    width, n = prepared.batch.base.tokens.shape[1], len(prepared.batch)
    assert prepared.width == 1
    assert prepared.cost.tokens_forward - before.tokens_forward == n
    assert prepared.cost.tokens_backward - before.tokens_backward == n
    source = prepared.batch.source.tokens.shape[1]
    assert prepared.cost.plain_tokens_forward - before.plain_tokens_forward == n * (width + source)
    assert prepared.cost.plain_flops > 5 * (prepared.cost.flops - before.flops)


@with_native
@pytest.mark.parametrize("at", [("x",), ("last",), ("all",)])
@pytest.mark.parametrize("reuse", [True, False])
def test_reading_at_an_index_equals_the_models_own_logits_there(tiny, architecture, at, reuse):
    """Whatever is patched: as the same patch gives at that column of all the logits."""
    model = tiny(architecture)
    prepared = ready(model, at, reuse=reuse, read="1")
    base = prepared.batch.base
    gates = torch.rand(3, len(prepared.sites), generator=torch.Generator().manual_seed(4))
    rows = torch.arange(len(prepared.batch))
    columns = base.tokens.shape[1] - base.attends.sum(dim=1) + 1
    torch.testing.assert_close(base.reads, columns, **EXACT)
    logits = run(prepared, gates)
    for mask, made in zip(gates, logits, strict=True):
        seen = whole_logits(model, prepared, mask)
        torch.testing.assert_close(made, seen[rows, columns], **CLOSE)
    assert not torch.allclose(logits[0], seen[:, -1], **CLOSE)
    assert prepared.start <= int(columns.min())


def whole_logits(model, prepared, gates):
    """The logits at every token under these gates, from the hooks that the engine itself uses."""
    made = prepare(model, prepared.batch, prepared.sites, reuse=False)
    hooks = [(name, _mixer(edits, gates[None])) for name, edits in made.edits.items()]
    base = made.batch.base
    wide = torch.arange(base.tokens.shape[1])
    with torch.no_grad(), model.engine.bridge.hooks(fwd_hooks=hooks):
        pieces = [
            model.forward(base.tokens, base.attends, reads=column.expand(len(base.tokens)))[0]
            for column in wide
        ]
    return torch.stack(pieces, dim=1)


@pytest.mark.parametrize("architecture", ["gpt2", "native"])
def test_a_patch_after_the_place_that_is_read_changes_nothing_if_attention_is_causal(
    tiny, architecture
):
    model = tiny(architecture)
    prepared = ready(model, ("last",), read="0")
    logits = run(prepared, torch.eye(2, len(prepared.sites)) + 1)
    closed = run(prepared, torch.zeros(1, len(prepared.sites)))
    torch.testing.assert_close(logits, closed.expand_as(logits), **CLOSE)


def test_a_patch_after_the_place_that_is_read_matters_if_attention_is_not_causal(tiny):
    prepared = ready(tiny("native, bidirectional"), ("last",), read="0")
    closed, opened = run(prepared, torch.stack([torch.zeros(15), torch.ones(15)]))
    assert not torch.allclose(closed, opened, **CLOSE)


def test_the_last_token_is_read_at_no_further_cost(tiny, monkeypatch):
    """For `last`, the model makes logits of one token, as before there were read-outs."""
    model = tiny("llama")
    prepared = ready(model, ("last",))
    asked = []
    inner = model.engine.bridge.original_model.forward

    def look(*args, **options):
        asked.append(options.get("logits_to_keep"))
        return inner(*args, **options)

    monkeypatch.setattr(model.engine.bridge.original_model, "forward", look)
    run(prepared, torch.ones(1, len(prepared.sites)))
    assert prepared.batch.base.reads is None
    assert set(asked) == {1}


@pytest.mark.parametrize("donor", ["zero", "mean"])
def test_a_mean_is_over_the_prompts_that_are_named(tiny, donor):
    """However the pairs are divided; what is not a mean stays as it is."""
    model = tiny("native, bidirectional")
    made = random_desideratum(("all",), donor=donor)
    named = replace(made, pairs=made.pairs[:1], mean_over=_same_length(made.pairs[0], 6))
    batch = encode(model, [named])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("all",))
    taken = prepare(model, batch, sites).edits["blocks.1.attn.hook_z"][0].donor
    assert batch.mean_over is not None
    tokens = batch.mean_over.tokens
    _, cache = model.engine.bridge.run_with_cache(tokens)
    mean = cache["blocks.1.attn.hook_z"].mean(dim=0, keepdim=True)
    assert len(tokens) == 6
    torch.testing.assert_close(taken, torch.zeros_like(mean) if donor == "zero" else mean)


def _same_length(pair, n):
    length = len(pair.base.text.split())
    return tuple(
        Prompt(" ".join(f"w{(index * 7 + place) % 30}" for place in range(length)))
        for index in range(n)
    )


@architectures
@positions
def test_skipped_layers_change_nothing_and_cost_nothing(tiny, architecture, at):
    """Masks that open late layers only run from there on, beside masks that open early ones."""
    model = tiny(architecture)
    reused, full = (ready(model, at, reuse=reuse) for reuse in (True, False))
    layers = torch.tensor([site.component.layer for site in reused.sites])
    gates = torch.stack([(layers >= first).float() * 0.7 for first in (2, 0, 3, 1)])
    whole = run(full, gates)
    torch.testing.assert_close(run(reused, gates), whole, **CLOSE)
    for number, mask in enumerate(gates):  # alone, each begins at its own layer
        torch.testing.assert_close(run(reused, mask[None])[0], whole[number], **CLOSE)
    assert bool(reused.entries) == (architecture in CONFIGS)
    flops = []
    for mask in gates[:2]:
        reused.cost.flops = 0
        run(reused, mask[None])
        flops.append(reused.cost.flops)
    # One layer of three, and the unembedding, which is small here.
    assert flops[0] < 0.6 * flops[1]


@architectures
def test_no_layer_stays_skipped_after_an_error(tiny, architecture):
    model = tiny(architecture)
    prepared = ready(model, ("last",))
    before = run(prepared, torch.zeros(1, len(prepared.sites)))
    tokens = prepared.batch.base.tokens
    with pytest.raises(RuntimeError):
        model.forward(tokens, entry=(2, torch.ones(*tokens.shape, model.d_model + 1)))
    torch.testing.assert_close(run(prepared, torch.zeros(1, len(prepared.sites))), before, **EXACT)
    assert not any("forward" in vars(block) for block in model.engine.bridge.blocks)
