"""The laws of patching (DESIGN, section 5), on tiny random models of many architectures, each on
forward hooks and in the bridge."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.engines.engine import Point
from circuitfind.engines.laws import additive_gap, dead_sites, look
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED
from circuitfind.models.loading import load_model
from circuitfind.objective.encoding import encode
from circuitfind.objective.patching import prepare, run
from desiderata import Prompt

from .tiny import (
    CONFIGS,
    N_HEADS,
    N_LAYERS,
    NATIVE,
    bridge_of,
    random_desideratum,
    save_tiny_model,
    traces,
)

EXACT: dict[str, Any] = {"atol": 0.0, "rtol": 0.0}
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}

# Every architecture has the core laws; few have them at every position.
EVERY = [*CONFIGS, *(f"{architecture} on bridge" for architecture in CONFIGS), *NATIVE]
FEW = ["gpt2", "llama", "gemma3", "llama on bridge", "neox on bridge", *NATIVE]
BOTH = ["llama", "llama on bridge"]
WHERE = [("last",), ("x",), ("x", "last"), ("all",)]

# Of the bridge four have every law in the fast tests, the others in the slow ones: that engines
# agree is tested on all of them.
BRIDGED = [f"{architecture} on bridge" for architecture in ("gpt2", "llama", "gemma3", "bloom")]
LATER = [name for name in EVERY if name.endswith(" on bridge") and name not in BRIDGED]


def marked(name: str, *more: Any) -> Any:
    """The values of a parametrised test, slow where the model is one of the others."""
    return pytest.param(name, *more, marks=pytest.mark.slow if name in LATER else ())


every = pytest.mark.parametrize("name", [marked(name) for name in EVERY])
both = pytest.mark.parametrize("name", BOTH)
SWEEP = [
    *((name, ("x", "last")) for name in EVERY),
    *((name, at) for name in FEW for at in (("last",), ("all",))),
]
swept = pytest.mark.parametrize(("name", "at"), [marked(*one) for one in SWEEP])

BASE = torch.tensor([[3, 5, 7, 9, 11, 4], [8, 2, 6, 1, 12, 13]])
SOURCE = torch.tensor([[4, 9, 3, 20, 12, 7], [9, 1, 2, 22, 14, 15]])


def ready(model, at, *, reuse=True, embed=False, **options):
    batch = encode(model, [random_desideratum(at, **options)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, at)
    if embed:
        sites += tuple(Site(EMBED, position) for position in at)
    return prepare(model, batch, sites, reuse=reuse)


def plain(model, prompts):
    with torch.no_grad():
        return model.engine.forward(prompts.tokens, prompts.attends)[0]


def random_gates(prepared, n, seed):
    return torch.rand(n, len(prepared.sites), generator=torch.Generator().manual_seed(seed))


def slopes(prepared, gates):
    """The logits under these gates, and the gradient of each pair's lead of one token over
    another."""
    gates = gates.clone().requires_grad_()
    logits = run(prepared, gates)
    (gradient,) = torch.autograd.grad((logits[..., 3] - logits[..., 5]).sum(), gates)
    return logits.detach(), gradient


# -- what patching gives


@swept
def test_closed_gates_give_the_bases_logits_bit_for_bit(tiny, name, at):
    model = tiny(name)
    prepared = ready(model, at, reuse=False)
    logits = run(prepared, torch.zeros(1, len(prepared.sites)))[0]
    torch.testing.assert_close(logits, plain(model, prepared.batch.base), **EXACT)


@every
def test_open_gates_with_the_embedding_give_the_sources_logits(tiny, name):
    model = tiny(name)
    prepared = ready(model, ("all",), reuse=False, embed=True)
    logits = run(prepared, torch.ones(1, len(prepared.sites)))[0]
    torch.testing.assert_close(logits, plain(model, prepared.batch.source), **CLOSE)
    assert not torch.allclose(logits, plain(model, prepared.batch.base), **CLOSE)


@every
def test_heads_and_mlps_write_all_that_the_stream_gains(tiny, name):
    engine = tiny(name).engine
    assert additive_gap(engine, BASE, SOURCE) < 1e-5
    assert dead_sites(engine, BASE, SOURCE) == ()


@every
def test_with_the_embedding_closed_the_source_leaves_but_for_its_embedding(tiny, name, monkeypatch):
    """The additive law again, by gates: what leaves the last layer is the source's, minus what
    entered its first layer, plus what entered the base's."""
    model = tiny(name)
    prepared = ready(model, ("all",), reuse=False)
    batch, engine = prepared.batch, model.engine
    enters, leaves, seen = Point(0, "entry"), Point(N_LAYERS, "entry"), []
    forward = engine.forward
    with torch.no_grad():
        (base_in, base_out), (source_in, source_out) = (
            passing(engine, prompts, (enters, leaves)) for prompts in (batch.base, batch.source)
        )

    def watched(inputs, attends, edits, **options):
        return forward(inputs, attends, [*edits, (leaves, seen.append)], **options)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "forward", watched)
        run(prepared, torch.ones(1, len(prepared.sites)))
    real = batch.base.attends.bool()
    wanted, moved = source_out - source_in + base_in, source_out - base_out
    assert (seen[0] - wanted)[real].abs().max() < 1e-5 * moved[real].abs().max()


def passing(engine, prompts, points):
    """What is at these points when the prompts run."""
    seen = {}

    def keep(point):
        return lambda own: seen.update({point: own.clone()})

    engine.forward(prompts.tokens, prompts.attends, [(point, keep(point)) for point in points])
    return [seen[point] for point in points]


@every
def test_every_single_site_changes_the_logits(tiny, name):
    prepared = ready(tiny(name), ("last",))
    closed = run(prepared, torch.zeros(1, len(prepared.sites)))
    alone = run(prepared, torch.eye(len(prepared.sites)))
    moved = (alone - closed).abs().flatten(1).amax(1)
    assert moved.min() > 1e-4, dict(zip(map(str, prepared.sites), moved.tolist(), strict=True))


@every
def test_gradients_of_gates_are_finite_differences(tiny, name):
    prepared = ready(tiny(name), ("x", "last"), n=2)
    gates = random_gates(prepared, 1, 5)  # where no router of Mixtral's is about to switch
    _, gradient = slopes(prepared, gates)
    assert gradient is not None
    step = 0.003 * torch.eye(len(prepared.sites))
    up, down = (run(prepared, gates + way) for way in (step, -step))
    measured = ((up - down)[..., 3] - (up - down)[..., 5]).sum(dim=1) / 0.006
    torch.testing.assert_close(gradient[0], measured, atol=1e-3, rtol=0.02)
    assert gradient.abs().max() > 0.04


@pytest.mark.parametrize(
    ("name", "at"),
    [
        *(marked(name, ("x",)) for name in EVERY),
        *((name, at) for name in FEW for at in WHERE[::3]),
    ],
)
def test_patching_equals_a_patch_written_out_by_hand(tiny, name, at):
    """One head, one MLP: the same as overwriting their outputs in the bridge's own hooks, whichever
    engine patches."""
    prepared = ready(tiny(name), at, reuse=False)
    bridge = bridge_of(
        tiny(name if name in NATIVE else f"{name.removesuffix(' on bridge')} on bridge")
    )
    batch, rows = prepared.batch, torch.arange(5)
    _, cache = bridge.run_with_cache(batch.source.tokens, attention_mask=batch.source.attends)
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
    with torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
        expected = bridge(batch.base.tokens, attention_mask=batch.base.attends)[:, -1]
    gates = torch.tensor([[str(site).split("@")[0] in ("a1.h2", "m0") for site in prepared.sites]])
    torch.testing.assert_close(run(prepared, gates.float())[0], expected, **CLOSE)
    assert not torch.allclose(expected, plain(prepared.model, batch.base), **CLOSE)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_engines_agree_on_patched_logits_and_gradients(tiny, architecture):
    made = []
    for name in (architecture, f"{architecture} on bridge"):
        prepared = ready(tiny(name), ("x", "last"))
        made.append(slopes(prepared, random_gates(prepared, 2, 1)))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


# -- the same by other ways


@pytest.mark.parametrize(
    ("name", "at", "part"),
    [
        *(marked(name, at, "inside") for name, at in SWEEP),
        *((name, ("x", "last"), "outside") for name in FEW),
    ],
)
def test_reuse_equals_recomputation_in_logits_and_gradients(tiny, name, at, part):
    model = tiny(name)
    made = []
    for reuse in (True, False):
        prepared = ready(model, at, reuse=reuse, part=part)
        made.append((*slopes(prepared, random_gates(prepared, 1, 1)), prepared.start))
    (reused, gradient, start), (full, full_gradient, full_start) = made
    assert full_start == 0
    assert (start > 0) == ("prefix" in model.engine.can) or at == ("all",)
    torch.testing.assert_close(reused, full, **CLOSE)
    torch.testing.assert_close(gradient, full_gradient, **CLOSE)
    assert gradient.abs().max() > 0.01


@swept
def test_many_masks_at_once_equal_one_by_one(tiny, name, at):
    prepared = ready(tiny(name), at)
    gates = random_gates(prepared, 3, 2)
    together = run(prepared, gates)
    for row, logits in zip(gates, together, strict=True):
        torch.testing.assert_close(run(prepared, row[None])[0], logits, **CLOSE)


@every
def test_padding_changes_nothing(tiny, name):
    """A pair in a batch of longer ones comes out as it does alone."""
    model = tiny(name)
    prepared = ready(model, ("x", "last"), n=3)
    gates = random_gates(prepared, 1, 3)
    together = run(prepared, gates)[0]
    assert not bool(prepared.batch.base.attends.all())
    for row in range(len(prepared.batch)):
        alone = prepare(model, prepared.batch.take([row]), prepared.sites)
        torch.testing.assert_close(run(alone, gates)[0, 0], together[row], **CLOSE)


@swept
def test_skipped_layers_change_nothing_and_cost_nothing(tiny, name, at):
    """Masks that open late layers only run from there on, beside masks that open early ones."""
    model = tiny(name)
    reused, full = (ready(model, at, reuse=reuse) for reuse in (True, False))
    layers = torch.tensor([site.component.layer for site in reused.sites])
    gates = torch.stack([(layers >= first).float() * 0.3 for first in (2, 0, 3, 1)])
    whole = run(full, gates)
    torch.testing.assert_close(run(reused, gates), whole, **CLOSE)
    for number, mask in enumerate(gates):  # alone, each begins at its own layer
        torch.testing.assert_close(run(reused, mask[None])[0], whole[number], **CLOSE)
    begins = "start_at_layer" in model.engine.can
    assert bool(reused.entries) == begins
    flops = []
    for mask in gates[:2]:
        reused.cost.flops = 0
        run(reused, mask[None])
        flops.append(reused.cost.flops)
    # One layer of three, and the unembedding, which is small here.
    assert (flops[0] < 0.6 * flops[1]) == begins


def test_engines_begin_at_a_layer_where_they_can(tiny):
    lacking = {name for name in EVERY if "start_at_layer" not in tiny(name).engine.can}
    assert lacking == {"bloom on bridge", *NATIVE}


# -- nothing is left behind


@both
def test_each_hook_fires_once_and_none_is_left_behind(tiny, monkeypatch, name):
    model = tiny(name)
    prepared = ready(model, ("last",))
    before, fired = traces(model), []
    original = torch.lerp
    monkeypatch.setattr(torch, "lerp", lambda *args: fired.append(1) or original(*args))
    run(prepared, torch.ones(1, len(prepared.sites)))
    assert len(fired) == 2 * N_LAYERS
    assert traces(model) == before


@pytest.mark.parametrize("name", ["llama", "bloom", "llama on bridge", "native"])
@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_after_trouble(tiny, monkeypatch, name, trouble):
    """From the first layer on, and with layers skipped."""
    model = tiny(name)
    prepared = ready(model, ("last",))
    expected, before = plain(model, prepared.batch.base), traces(model)
    late = torch.tensor([[float(site.component.layer == 2) for site in prepared.sites]])
    run(prepared, late)

    def fail(*args):
        raise trouble

    for gates in (torch.ones_like(late), late):
        with monkeypatch.context() as patched, pytest.raises(trouble):
            patched.setattr(torch, "lerp", fail)
            run(prepared, gates)
        assert traces(model) == before
    torch.testing.assert_close(plain(model, prepared.batch.base), expected, **EXACT)


@every
def test_no_layer_stays_skipped_after_an_error(tiny, name):
    model = tiny(name)
    prepared = ready(model, ("last",))
    before, left = run(prepared, torch.zeros(1, len(prepared.sites))), traces(model)
    tokens = prepared.batch.base.tokens
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        model.engine.forward(tokens, entry=(2, torch.ones(*tokens.shape, model.d_model + 1)))
    torch.testing.assert_close(run(prepared, torch.zeros(1, len(prepared.sites))), before, **EXACT)
    assert traces(model) == left


@both
def test_only_gates_have_gradients(tiny, name):
    prepared = ready(tiny(name), ("last",))
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    run(prepared, gates).sum().backward()
    assert gates.grad is not None
    weights = prepared.model.engine.weights().values()
    assert not any(weight.requires_grad or weight.grad is not None for weight in weights)


@pytest.mark.parametrize("name", ["gpt2", "gpt2 on bridge"])
def test_a_cached_prefix_is_left_as_it_was(tiny, name):
    prepared = ready(tiny(name), ("last",))
    gates = torch.full((3, len(prepared.sites)), 0.5)
    first = run(prepared, gates)
    torch.testing.assert_close(run(prepared, gates), first, **EXACT)
    assert prepared.prefix.get_seq_length() == prepared.start


# -- masks, cost


@pytest.mark.parametrize("engine", ["hooks", "bridge"])
def test_masks_are_float32_whatever_the_model(tmp_path, engine):
    folder = str(save_tiny_model("llama", tmp_path))
    model = load_model(folder, device="cpu", dtype="bfloat16", engine=engine)
    prepared = ready(model, ("last",))
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    logits = run(prepared, gates)
    logits.float().sum().backward()
    assert model.engine.name == engine
    assert logits.dtype == torch.bfloat16
    assert gates.grad is not None
    assert gates.grad.dtype == torch.float32


def test_wrong_number_of_gates_is_refused(tiny):
    prepared = ready(tiny("llama"), ("last",))
    with pytest.raises(ValueError, match=r"expected 15 gates, one a site; got 3"):
        run(prepared, torch.ones(1, 3))


@pytest.mark.parametrize("donor", ["zero", "mean", "resample", "source"])
@pytest.mark.parametrize("at", WHERE)
def test_another_donor_for_the_same_prompts_runs_only_what_differs(tiny, at, donor):
    """Prompts of several lengths, as far as patching at `all` allows; zero needs no source."""
    model = tiny("llama")
    made = random_desideratum(at, donor=donor)
    if (at, donor) == (("all",), "mean"):
        with pytest.raises(ValueError, match="needs prompts of one length in tokens"):
            encode(model, [made])
        return
    batch, other = (encode(model, [one])[0] for one in (made, replace(made, donor="source")))
    sites = all_sites(N_LAYERS, N_HEADS, at)
    first = prepare(model, other, sites)
    shared, alone = (prepare(model, batch, sites, like=like) for like in (first, None))
    same = shared.start == first.start
    if same:
        assert shared.prefix is first.prefix
        assert shared.cost.tokens_forward == batch.donated.n_tokens
    assert len(batch.donated.tokens) == (1 if donor == "zero" else len(batch))
    assert same or at == ("all",)
    gates = random_gates(shared, 3, 0)
    torch.testing.assert_close(run(shared, gates), run(alone, gates), **EXACT)
    elsewhere = prepare(model, batch.take(range(len(batch) - 1)), sites, like=first)
    assert elsewhere.prefix is not first.prefix or first.prefix is None


@both
def test_cost_counts_the_tokens_that_are_run(tiny, name):
    prepared = ready(tiny(name), ("last",))
    before = replace(prepared.cost)
    gates = torch.full((1, len(prepared.sites)), 0.5, requires_grad=True)
    run(prepared, gates)
    width, n = prepared.batch.base.tokens.shape[1], len(prepared.batch)
    assert prepared.width == 1
    assert prepared.cost.tokens_forward - before.tokens_forward == n
    assert prepared.cost.tokens_backward - before.tokens_backward == n
    donated = prepared.batch.source.n_tokens
    assert prepared.cost.plain_tokens_forward - before.plain_tokens_forward == n * width + donated
    assert prepared.cost.plain_flops > 5 * (prepared.cost.flops - before.flops)


# -- where the answer is read


@pytest.mark.parametrize(
    ("name", "at", "reuse"),
    [
        *(marked(name, ("x",), True) for name in EVERY),
        *((name, at, True) for name in FEW for at in (("last",), ("all",))),
        *((name, at, False) for name in BOTH for at in (("last",), ("all",))),
    ],
)
def test_reading_at_an_index_equals_the_models_own_logits_there(tiny, name, at, reuse):
    """Whatever is patched: as the same patch gives at that column of all the logits."""
    model = tiny(name)
    prepared = ready(model, at, reuse=reuse, read="1", n=4)
    base = prepared.batch.base
    gates = random_gates(prepared, 2, 4)
    rows = torch.arange(len(prepared.batch))
    columns = base.tokens.shape[1] - base.attends.sum(dim=1) + 1
    torch.testing.assert_close(base.reads, columns, **EXACT)
    logits = run(prepared, gates)
    last = base.tokens.shape[1] - 1
    seen = {n: logits_of_column(prepared, gates, n) for n in {*columns.tolist(), last}}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        torch.testing.assert_close(logits[:, row], seen[column][:, row], **CLOSE)
    assert not torch.allclose(logits, seen[last], **CLOSE)
    assert prepared.start <= int(columns.min())


def logits_of_column(prepared, gates, column):
    """The logits at this token under these gates, from the edits that patching itself makes."""
    made = prepare(prepared.model, prepared.batch, prepared.sites, reuse=False)
    edits = made.alone.edits([gates], branched=False)
    base, n_masks = made.batch.base, len(gates)
    with torch.no_grad():
        logits, _ = made.model.engine.forward(
            base.tokens.repeat(n_masks, 1),
            base.attends.repeat(n_masks, 1),
            edits,
            reads=torch.full((n_masks * len(base.tokens),), column),
        )
    return logits.unflatten(0, (n_masks, -1))


@pytest.mark.parametrize("name", ["gpt2", "gpt2 on bridge", "native"])
def test_a_patch_after_the_place_that_is_read_changes_nothing_if_attention_is_causal(tiny, name):
    prepared = ready(tiny(name), ("last",), read="0")
    logits = run(prepared, torch.eye(2, len(prepared.sites)) + 1)
    closed = run(prepared, torch.zeros(1, len(prepared.sites)))
    torch.testing.assert_close(logits, closed.expand_as(logits), **CLOSE)


def test_a_patch_after_the_place_that_is_read_matters_if_attention_is_not_causal(tiny):
    prepared = ready(tiny("native, bidirectional"), ("last",), read="0")
    closed, opened = run(prepared, torch.stack([torch.zeros(15), torch.ones(15)]))
    assert not torch.allclose(closed, opened, **CLOSE)


@both
def test_the_last_token_is_read_at_no_further_cost(tiny, monkeypatch, name):
    """For `last`, the model makes logits of one token, as before there were read-outs."""
    model = tiny(name)
    prepared = ready(model, ("last",))
    asked = []
    engine: Any = model.engine
    module = engine.model if name == "llama" else engine.bridge.original_model
    inner = module.forward

    def watched(*args, **options):
        asked.append(options.get("logits_to_keep"))
        return inner(*args, **options)

    monkeypatch.setattr(module, "forward", watched)
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
    sites, point = all_sites(N_LAYERS, N_HEADS, ("all",)), Point(1, "heads")
    (patch,) = prepare(model, batch, sites).patches[point]
    if donor == "zero":
        assert patch.donor.shape[:2] == (1, 1) and not patch.donor.any()
        return
    tokens = batch.donated.tokens
    _, seen = look(model.engine, tokens, [point])
    assert len(tokens) == 6
    torch.testing.assert_close(patch.donor, seen[point].mean(dim=0, keepdim=True))


def _same_length(pair, n):
    length = len(pair.base.text.split())
    return tuple(
        Prompt(" ".join(f"w{(index * 7 + place) % 30}" for place in range(length)))
        for index in range(n)
    )
