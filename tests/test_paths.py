"""Path patching: equal to brute force on tiny models of several architectures in both engines,
known effects on the planted model, and what is refused."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitfind.circuits.circuit import Circuit, Edge, load_circuit
from circuitfind.donors.constant import Zero
from circuitfind.edges import direct_effects as paths
from circuitfind.edges.direct_effects import find_edges
from circuitfind.engines.engine import Point
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED, mlp
from circuitfind.models.loading import load_model
from circuitfind.models.planted import Planted
from circuitfind.models.planted_weights import LOUD
from circuitfind.objective.encoding import encode
from circuitfind.objective.intervals import FEWEST, mean_interval
from circuitfind.progress import Progress
from desiderata import Desideratum, Pair, Prompt

from . import planted as wired
from .planted import VALUES
from .tiny import N_HEADS, N_LAYERS, NATIVE, bridge_of, random_desideratum, tiny_model

# Those whose norms and weights brute force goes through by hand.
ARCHITECTURES = ("gpt2", "llama", "neox", "qwen2", "gemma", "mistral")
ON_BRIDGE = tuple(f"{architecture} on bridge" for architecture in ARCHITECTURES)

EXACT = 1e-5  # logits; of a lead of about ten


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """The tiny model of an architecture, by name, loud enough for attention to turn on its input.
    Without normalisation it is so already, and more would only round more."""
    made = {}

    def get(name: str):
        if name not in made:
            scale = 1.3 if name == "native, bidirectional" else 2.0
            made[name] = tiny_model(name, tmp_path_factory.mktemp("loud"), scale)
        return made[name]

    return get


def circuit_of(*sites: Site) -> Circuit:
    return Circuit(
        model="m", task="t", claim="c", method="x", seed=0, sites=sites, scores=(0.0,) * len(sites)
    )


def batch_of(model, at=("last",), n=5, **options):
    """Random pairs whose source has another answer than the base."""
    desideratum = random_desideratum(at, n=n, **options)
    pairs = tuple(
        replace(pair, base_answer=f" w{index}", source_answer=f" w{index + 9}")
        for index, pair in enumerate(desideratum.pairs)
    )
    return encode(model, [replace(desideratum, pairs=pairs)])[0]


def by_path(edges: tuple[Edge, ...]) -> dict[tuple[str, str, str], Edge]:
    return {
        (str(edge.sender), str(edge.receiver or "answer"), edge.channel): edge for edge in edges
    }


class BruteForce:
    """Each path by three runs and explicit algebra, with the bridge's own hooks: the sender's
    change goes through the output projection, is added to the base's residual stream, and passes
    the receiver's own norm and weights, head by head as far as the model lets it."""

    def __init__(self, bridge, batch, mlps):
        self.bridge, self.batch, self.mlps = bridge, batch, mlps
        self.n_layers, self.n_heads = bridge.cfg.n_layers, bridge.cfg.n_heads
        targets = batch.base_answer, batch.source_answer
        self.own, self.other = (one.spelling.ids[:, 0, 0] for one in targets)
        self.base_cache = self._cached(batch.base)
        self.source_cache = self._cached(batch.source)
        self.rows = torch.arange(len(batch))
        self.base = self.run([])

    def _cached(self, prompts):
        with torch.no_grad():
            return self.bridge.run_with_cache(prompts.tokens, attention_mask=prompts.attends)[1]

    def at(self, prompts, site):
        return (
            (slice(None), slice(None))
            if site.position == "all"
            else (
                self.rows,
                prompts.columns[site.position],
            )
        )

    def run(self, hooks):
        base = self.batch.base
        with torch.no_grad(), self.bridge.hooks(fwd_hooks=hooks):
            logits = self.bridge(base.tokens, attention_mask=base.attends)
        at = logits.shape[1] - 1 if base.reads is None else base.reads
        logits = logits[self.rows, at].double()
        return logits[self.rows, self.own] - logits[self.rows, self.other]

    def sent(self, sender):
        """The run with the sender patched and the rest frozen: hooks, and the stream by name."""
        part, hooks, streams = sender.component, [], {}
        here, there = self.at(self.batch.base, sender), self.at(self.batch.source, sender)

        def put(name, slot=()):
            value = self.base_cache[name].clone()
            value[(*here, *slot)] = self.source_cache[name][(*there, *slot)]
            return value

        def fix(name, value):
            hooks.append((name, lambda own, hook: value))

        for layer in range(self.n_layers):
            z, out = f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"
            mine = part.layer == layer
            fix(z, put(z, (part.index,)) if mine and part.kind == "head" else self.base_cache[z])
            if mine and part.kind == "mlp":
                fix(out, put(out))
            elif self.mlps == "frozen":
                fix(out, self.base_cache[out])
        if part.kind == "embed":
            fix("hook_embed", put("hook_embed"))

        def keep(own, hook):
            streams[hook.name] = own

        hooks += [(f"blocks.{n}.hook_in", keep) for n in range(self.n_layers)]
        hooks += [(f"blocks.{n}.hook_mlp_out", keep) for n in range(self.n_layers)]
        return hooks, streams

    def change(self, sender, receiver):
        """What the sender adds to the stream that the receiver reads, by the weights alone."""
        part = sender.component
        here, there = self.at(self.batch.base, sender), self.at(self.batch.source, sender)
        name = {
            "head": f"blocks.{part.layer}.attn.hook_z",
            "mlp": f"blocks.{part.layer}.hook_mlp_out",
            "embed": "hook_embed",
        }[part.kind]
        slot = (part.index,) if part.kind == "head" else ()
        sent = self.source_cache[name][(*there, *slot)] - self.base_cache[name][(*here, *slot)]
        if part.kind == "head":
            sent = sent @ self.bridge.blocks[part.layer].attn.W_O[part.index]
        total = torch.zeros_like(self.base_cache["blocks.0.hook_in"])
        total[here] = sent
        return total

    def effect(self, sender, receiver, channel):
        if receiver is None:
            return (self.base - self.run(self.sent(sender)[0])).mean()
        block = self.bridge.blocks[receiver.component.layer]
        before = f"blocks.{receiver.component.layer}.hook_in"
        if self.mlps == "frozen":
            stream = self.base_cache[before] + self.change(sender, receiver)
        else:
            hooks, streams = self.sent(sender)
            self.run(hooks)
            stream = streams[before]
        here = self.at(self.batch.base, receiver)
        part = receiver.component
        hooks = []
        if part.kind == "mlp":
            hooks = self.mlp_hooks(sender, part, here, stream)
        else:
            with torch.no_grad():
                normed = block.ln1(stream) if hasattr(block, "ln1") else stream
            name = f"blocks.{part.layer}.attn"
            group = part.index
            if channel != "q":  # keys and values may be shared by several heads
                shared = self.base_cache[f"{name}.hook_{channel}"].shape[2]
                group = part.index * shared // self.n_heads
            z = f"{name}.hook_z"

            def give(own, hook):
                own = own.clone()
                own[:, :, group] = self.project(block, channel, normed)[:, :, group]
                return own

            def keep_others(own, hook):
                kept = self.base_cache[z].clone()
                kept[(*here, part.index)] = own[(*here, part.index)]
                return kept

            hooks = [(f"{name}.hook_{channel}", give), (z, keep_others)]
        return (self.base - self.run(hooks)).mean()

    def project(self, block, channel, normed):
        """Every head's queries, keys or values of this input."""
        weight, bias = getattr(block.attn, f"W_{channel.upper()}"), None
        found = torch.einsum("bsd,hde->bshe", normed, weight)
        bias = getattr(block.attn, f"b_{channel.upper()}", None)
        return found if bias is None else found + bias

    def mlp_hooks(self, sender, part, here, stream):
        block, name = self.bridge.blocks[part.layer], f"blocks.{part.layer}.hook_mlp_out"
        same_layer_heads = self.base_cache[f"blocks.{part.layer}.hook_attn_out"]
        apart = getattr(self.bridge.cfg, "parallel_attn_mlp", False)
        if not apart:
            stream = stream + same_layer_heads
            if self.mlps == "recomputed" and _same_layer_head(sender, part):
                stream = stream + self.change(sender, None)
        with torch.no_grad():
            out = block.mlp(block.ln2(stream) if hasattr(block, "ln2") else stream)

        def give(own, hook):
            own = own.clone()
            own[here] = out[here]
            return own

        return [(name, give)]


def _same_layer_head(sender, part):
    return (sender.component.layer, sender.component.kind) == (part.layer, "head")


def same_as_brute_force(loud, name, batch, sites, mlps):
    """The paths in this model's engine, by brute force in the bridge around the same weights."""
    edges = find_edges(loud(name), circuit_of(*sites), batch, mlps=mlps)
    oracle = name if name in NATIVE or name in ON_BRIDGE else f"{name} on bridge"
    brute = BruteForce(bridge_of(loud(oracle)), batch, mlps)
    for edge in edges:
        expected = brute.effect(edge.sender, edge.receiver, edge.channel)
        assert edge.effect == pytest.approx(float(expected), abs=EXACT), str(edge)
        assert (edge.mlps, edge.n) == (mlps, len(batch))
        assert edge.low <= edge.effect <= edge.high
    return edges


def greatest(edges):
    """The greatest effect by channel."""
    return {
        channel: max(abs(edge.effect) for edge in edges if edge.channel == channel)
        for channel in {edge.channel for edge in edges}
    }


SITES = (
    Site(head(0, 1), "x"),
    Site(mlp(0), "x"),
    Site(head(0, 3), "last"),
    Site(head(1, 2), "last"),
    Site(mlp(1), "last"),
    Site(head(2, 0), "last"),
    Site(mlp(2), "last"),
)


EVERY = (*ARCHITECTURES, *ON_BRIDGE, *NATIVE)


# Each model with MLPs of one kind, and Llama with both; the others are slow ones.
@pytest.mark.parametrize(
    ("name", "mlps"),
    [
        pytest.param(name, mlps, marks=pytest.mark.slow if (m + n) % 2 and name != "llama" else ())
        for m, name in enumerate(EVERY)
        for n, mlps in enumerate(("frozen", "recomputed"))
    ],
)
def test_effects_are_those_of_brute_force(loud, name, mlps):
    """Over positions: a sender before its receivers, and at the same token."""
    model = loud(name)
    batch = batch_of(model, ("x", "last"))
    before = model.engine.forward(batch.base.tokens, batch.base.attends)[0]
    edges = same_as_brute_force(loud, name, batch, SITES, mlps)
    named = by_path(edges)
    assert ("a0.h1@x", "a1.h2@last", "k") in named
    assert ("a0.h1@x", "a1.h2@last", "q") not in named  # a query is made at the last token
    # What runs beside the heads of its layer does not read them.
    assert (("a2.h0@last", "m2@last", "in") in named) == ("neox" not in name)
    found = greatest(edges)
    assert found.keys() == {"q", "k", "v", "in", "answer"}
    assert min(found.values()) > 500 * EXACT, found
    after = model.engine.forward(batch.base.tokens, batch.base.attends)[0]
    torch.testing.assert_close(after, before, atol=0.0, rtol=0.0)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma on bridge", "native, bidirectional"])
def test_effects_at_all_positions_and_of_the_embedding_are_those_of_brute_force(loud, name):
    batch = batch_of(loud(name), ("all",))
    parts = (EMBED, head(0, 1), mlp(0), head(1, 0), head(1, 1), mlp(2))
    sites = [Site(part, "all") for part in parts]
    edges = same_as_brute_force(loud, name, batch, sites, "recomputed")
    # Two heads that share a key are changed one by one.
    first, second = (by_path(edges)["embed@all", f"a1.h{n}@all", "k"].effect for n in (0, 1))
    assert abs(first - second) > 100 * EXACT


@pytest.mark.parametrize("name", ["llama", "llama on bridge", "native, bidirectional"])
def test_the_answer_may_be_read_elsewhere(loud, name):
    """Where attention is causal, nothing after that place has a path to it."""
    batch = batch_of(loud(name), ("x", "last"), read="1")
    sites = [Site(head(0, 1), "last"), Site(head(1, 2), "x"), Site(mlp(2), "x")]
    named = by_path(same_as_brute_force(loud, name, batch, sites, "frozen"))
    assert ("m2@x", "answer", "answer") in named
    assert ("a0.h1@last", "answer", "answer") not in named
    assert (("a0.h1@last", "a1.h2@x", "k") in named) == ("llama" not in name)


class Told(Progress):
    """Progress that remembers how many were done, of how many."""

    def __init__(self):
        self.seen = []

    def report(self, stage, done, total, row):
        assert stage == "paths"
        self.seen.append((done, total))


def test_dividing_the_work_changes_nothing(loud, monkeypatch):
    model = loud("qwen2")
    batch = batch_of(model, ("x", "last"), n=7)
    whole = find_edges(model, circuit_of(*SITES), batch)
    monkeypatch.setattr(paths, "masks_per_pass", lambda prepared: 4)
    told = Told()
    few = replace(model, pairs_at_once=3)
    parts = find_edges(few, circuit_of(*SITES), batch, progress=told)
    every = 3 * len(whole)  # in three parts of the pairs
    assert told.seen == sorted(set(told.seen)) and len(told.seen) > 3 * len(SITES)
    assert told.seen[-1] == (every, every) and {total for _, total in told.seen} == {every}
    assert by_path(whole).keys() == by_path(parts).keys()
    for one, other in zip(whole, parts, strict=True):
        assert one.effect == pytest.approx(other.effect, abs=EXACT)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=EXACT)


def test_without_norms_the_paths_to_the_answer_add_up_to_the_source(loud):
    """The logits are then a sum over the embedding, heads and MLPs: all of them together are the
    whole difference between the source and the base."""
    model = loud("native, bidirectional")
    batch = batch_of(model, ("all",))
    sites = (*all_sites(N_LAYERS, N_HEADS, ("all",)), Site(EMBED, "all"))
    edges = find_edges(model, circuit_of(*sites), batch)
    base, source = (
        batch.answer.contrast(logits[None], batch.base_answer, batch.source_answer)
        for logits, _ in (
            model.engine.forward(prompts.tokens, prompts.attends)
            for prompts in (batch.base, batch.source)
        )
    )
    total = sum(edge.effect for edge in edges if edge.receiver is None)
    assert total == pytest.approx(float((base - source).mean()), abs=1e-4)
    assert abs(total) > 0.1


# The planted model. Bindings in another order and with other values, and another query.
BOUND = (
    ("k0 v5 k3 v9 k6 v2 k3", "k3 v7 k6 v11 k0 v16 k6"),
    ("k1 v24 k2 v3 k4 v12 k1", "k2 v0 k1 v6 k4 v18 k4"),
    ("k9 v8 k7 v14 k5 v21 k5", "k5 v2 k9 v20 k7 v13 k9"),
)


class Bound:
    """One prompt: its keys, its values as numbers, its query."""

    def __init__(self, written):
        *bindings, self.query = written.split()
        self.keys = bindings[::2]
        self.values = [int(value[1:]) for value in bindings[1::2]]
        self.prompt = Prompt(written)
        self.answer = self.values[self.keys.index(self.query)]


def planted_batch(model, at):
    pairs = []
    for base, source in BOUND:
        base, source = Bound(base), Bound(source)
        own, other = f" v{base.answer}", f" v{source.answer}"
        pairs.append(
            Pair(
                base=base.prompt,
                source=source.prompt,
                expected=other,
                base_answer=own,
                source_answer=other,
            )
        )
    return encode(
        model,
        [Desideratum(name="by hand", part="inside", sense="follows", pairs=tuple(pairs), at=at)],
    )[0]


def lost_by_pair(fetched, parts=(0, 1)):
    """What the lead loses in each pair of BOUND when the carriers of these digits fetch another
    value, which `fetched` gives for a base and a source."""
    code, lost = Planted().digits, []
    for base, source in ((Bound(base), Bound(source)) for base, source in BOUND):
        own, other, new = code(base.answer), code(source.answer), code(fetched(base, source))
        votes = [
            [(digit[part] == own[part]) - (digit[part] == other[part]) for part in parts]
            for digit in (own, new)
        ]
        lost.append(LOUD * (sum(votes[0]) - sum(votes[1])))
    return lost


def digits_lost(fetched, parts=(0, 1)):
    """The same as a mean over pairs."""
    return float(np.mean(lost_by_pair(fetched, parts)))


def where_the_sources_keys_point(base, source):
    return base.values[source.keys.index(base.query)]


def where_the_sources_query_points(base, source):
    return base.values[base.keys.index(source.query)]


def what_the_source_holds_there(base, source):
    return source.values[base.keys.index(base.query)]


def test_the_paths_of_the_planted_model_are_those_that_were_wired(planted):
    before, carriers = head(0, 0), (head(1, 0), head(1, 1))
    idle = (head(0, 1), head(1, 2), mlp(0), mlp(1))
    sites = [Site(part, "all") for part in (EMBED, before, *carriers, *idle)]
    found = by_path(find_edges(planted, circuit_of(*sites), planted_batch(planted, ("all",))))
    expected = {
        ("embed@all", "a0.h0@all", "v"): digits_lost(where_the_sources_keys_point),
    }
    for part in (0, 1):
        name = f"a1.h{part}@all"
        expected |= {
            ("a0.h0@all", name, "k"): digits_lost(where_the_sources_keys_point, (part,)),
            ("embed@all", name, "q"): digits_lost(where_the_sources_query_points, (part,)),
            ("embed@all", name, "v"): digits_lost(what_the_source_holds_there, (part,)),
            (name, "answer", "answer"): digits_lost(lambda base, source: source.answer, (part,)),
        }
    assert expected.keys() <= found.keys()
    assert min(map(abs, expected.values())) > 1
    for path, edge in found.items():
        assert edge.effect == pytest.approx(expected.get(path, 0.0), abs=1e-4), path


def test_an_mlp_between_carries_or_is_frozen():
    """Votes reach the output only through the last MLP of this model."""
    model = load_model("planted:mlps=carry,decoys=0", device="cpu")
    parts = (head(1, 0), head(1, 1), mlp(1))
    circuit = circuit_of(*(Site(part, "last") for part in parts))
    batch = planted_batch(model, ("last",))
    frozen, recomputed = (
        by_path(find_edges(model, circuit, batch, mlps=mlps)) for mlps in ("frozen", "recomputed")
    )
    whole = digits_lost(lambda base, source: source.answer)
    for part in (0, 1):
        name, lost = f"a1.h{part}@last", digits_lost(lambda base, source: source.answer, (part,))
        assert abs(lost) > 1
        for found in (frozen, recomputed):
            assert found[name, "m1@last", "in"].effect == pytest.approx(lost, abs=1e-4)
        assert frozen[name, "answer", "answer"].effect == pytest.approx(0, abs=1e-4)
        assert recomputed[name, "answer", "answer"].effect == pytest.approx(lost, abs=1e-4)
    assert frozen["m1@last", "answer", "answer"].effect == pytest.approx(whole, abs=1e-4)


def test_the_interval_is_over_pairs_and_on_few_of_them_their_range(planted):
    circuit, batch = circuit_of(Site(head(1, 0), "last")), planted_batch(planted, ("last",))
    lost = np.asarray(lost_by_pair(lambda base, source: source.answer, (0,)), dtype=np.float64)
    (edge,) = find_edges(planted, circuit, batch, seed=3)
    assert (edge.low, edge.high) == pytest.approx((lost.min(), lost.max()), abs=1e-3)
    assert edge.n == len(BOUND) < FEWEST
    rows = [*range(len(BOUND))] * 4
    (many,) = find_edges(planted, circuit, batch.take(rows), seed=3)
    expected = mean_interval(lost[rows], 3)
    assert (many.low, many.high) == pytest.approx(expected, abs=1e-3)
    assert edge.low < many.low < many.effect < many.high < edge.high


def test_the_seed_fixes_the_interval(loud):
    batch = batch_of(loud("gpt2"), ("last",), n=12)
    circuit = circuit_of(Site(mlp(2), "last"))
    one, same, other = (find_edges(loud("gpt2"), circuit, batch, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert one[0].effect == other[0].effect


def test_pairs_without_a_lead_are_left_out(planted):
    circuit, batch = circuit_of(Site(head(1, 0), "last")), planted_batch(planted, ("last",))
    target, own = batch.source_answer, batch.base_answer
    assert target.spelling is not None
    ids = target.spelling.ids.clone()
    ids[0] = own.spelling.ids[0]  # the first pair's answers are one
    spelling = replace(target.spelling, ids=ids)
    same = replace(target, spelling=spelling, keys=(own.keys[0], *target.keys[1:]))
    mixed = replace(batch, source_answer=same)
    (edge,) = find_edges(planted, circuit, mixed)
    expected = lost_by_pair(lambda base, source: source.answer, (0,))[1:]
    assert (edge.n, edge.effect) == (2, pytest.approx(np.mean(expected), abs=1e-4))
    known = torch.tensor([True, False, True])
    mixed = replace(mixed, source_answer=replace(mixed.source_answer, known=known))
    with pytest.raises(ValueError, match=r"paths need two pairs or more .* 1 of 3 do"):
        find_edges(planted, circuit, mixed)


def test_senders_take_the_sources_activation_whatever_the_batch_says(planted):
    circuit, batch = circuit_of(Site(head(1, 0), "last")), planted_batch(planted, ("last",))
    zero = batch.taking(Zero())
    assert find_edges(planted, circuit, zero) == find_edges(planted, circuit, batch)


@pytest.mark.parametrize(("point", "words"), [("q", "have no q to change"), ("heads", "no heads")])
def test_an_engine_without_what_paths_need_is_refused(planted, monkeypatch, point, words):
    has = planted.engine.has
    monkeypatch.setattr(planted.engine, "has", lambda at: at != Point(1, point) and has(at))
    with pytest.raises(ValueError, match=f"no paths: .*layer 1 .*{words}"):
        find_edges(planted, circuit_of(Site(head(1, 0), "last")), planted_batch(planted, ("last",)))


def test_what_is_not_there_is_refused(planted):
    batch = planted_batch(planted, ("last",))
    sites = Site(head(1, 4), "last"), Site(mlp(2), "last"), Site(mlp(1), "x")
    with pytest.raises(ValueError) as error:
        find_edges(planted, circuit_of(*sites), batch)
    for words in ("no a1.h4", "no m2", "no position x"):
        assert words in str(error.value)
    assert find_edges(planted, circuit_of(), batch) == ()


def test_a_model_whose_hooks_pass_nothing_is_refused(planted, monkeypatch):
    """A path of no effect and one that could not be measured must not look the same."""
    sites = Site(head(0, 0), "last"), Site(head(1, 0), "last")
    forward = planted.engine.forward

    def deaf(inputs, attends, edits, **options):
        heard = [(point, edit) for point, edit in edits if point.kind != "k"]
        return forward(inputs, attends, heard, **options)

    monkeypatch.setattr(planted.engine, "forward", deaf)
    with pytest.raises(ValueError, match=r"no paths: nothing passes k\.1"):
        find_edges(planted, circuit_of(*sites), planted_batch(planted, ("last",)))


EDGES = (
    Edge(
        sender=Site(head(0, 1), "x.2"),
        receiver=Site(head(1, 0), "last"),
        channel="k",
        effect=0.5,
        low=-0.1,
        high=1.0,
        n=32,
    ),
    Edge(
        sender=Site(head(1, 0), "last"),
        receiver=None,
        channel="answer",
        effect=-2.0,
        low=-3.0,
        high=-1.0,
        n=32,
        mlps="recomputed",
    ),
)


def test_a_circuit_with_edges_is_read_back(tmp_path):
    sites = Site(head(0, 1), "x.2"), Site(head(1, 0), "last")
    plain, path = circuit_of(*sites), tmp_path / "circuit.json"
    circuit = replace(plain, edges=EDGES)
    circuit.save(path)
    assert load_circuit(path) == circuit
    assert circuit.digest == plain.digest
    told = json.loads(path.read_text())
    assert all("unit" not in edge for edge in told["edges"])  # as files of before
    nats = replace(circuit, edges=tuple(replace(edge, unit="nats") for edge in EDGES))
    nats.save(path)
    assert load_circuit(path) == nats != circuit
    assert (nats.unit, circuit.unit, plain.unit) == ("nats", "logits", "logits")
    assert nats.digest == plain.digest
    plain.save(path)
    assert "edges" not in json.loads(path.read_text())
    assert load_circuit(path) == plain


def test_edges_have_one_unit():
    sites = Site(head(0, 1), "x.2"), Site(head(1, 0), "last")
    mixed = EDGES[0], replace(EDGES[1], unit="nats")
    with pytest.raises(ValueError, match="edges must have one unit; got logits, nats"):
        replace(circuit_of(*sites), edges=mixed)


@pytest.mark.parametrize(("among", "unit"), [(None, "logits"), (VALUES, "nats")])
def test_effects_are_in_the_unit_of_the_answer(planted, among, unit):
    texts = among and [f" {value}" for value in among]
    claim = wired.task.carries("answer", at="last", among=texts)
    batch = encode(planted, claim.sample(16, 0)[1])[0]
    edges = find_edges(planted, circuit_of(*(Site(one, "last") for one in wired.CIRCUIT)), batch)
    assert edges and {edge.unit for edge in edges} == {unit}


def test_edges_join_members():
    with pytest.raises(ValueError, match=r"edges to or from other sites: a0\.h1@x\.2 -> a1\.h0"):
        replace(circuit_of(Site(head(1, 0), "last")), edges=EDGES)


def test_every_problem_of_the_edges_in_a_file_is_listed(tmp_path):
    path = tmp_path / "circuit.json"
    circuit = replace(circuit_of(Site(head(0, 1), "x.2"), Site(head(1, 0), "last")), edges=EDGES)
    good = EDGES[0].as_json()
    bad = [
        good | {"sender": "a9.h9"},
        good | {"receiver": 3},
        good | {"channel": "w"},
        good | {"channel": "answer"},
        good | {"mlps": None},
        good | {"n": 1.5},
        good | {"effect": float("nan")},
        good | {"low": True},
        {"sender": "a0.h1@x.2"},
        7,
    ]
    path.write_text(json.dumps(circuit.as_json() | {"edges": [good, *bad]}))
    with pytest.raises(ValueError) as error:
        load_circuit(path)
    for number in range(1, 11):
        assert re.search(rf"edges\.{number}\b", str(error.value)) or number > 8
    assert "edges.0" not in str(error.value) and "and 2 more" in str(error.value)
    for edge in bad[-2:]:  # those that the message counts
        path.write_text(json.dumps(circuit.as_json() | {"edges": [good, edge]}))
        with pytest.raises(ValueError, match=r"edges\.1"):
            load_circuit(path)
    path.write_text(json.dumps(circuit.as_json() | {"edges": {}}))
    with pytest.raises(ValueError, match="edges must be a list; got an object"):
        load_circuit(path)
    path.write_text(json.dumps(circuit.as_json() | {"edges": [good | {"sender": "a9.h9@last"}]}))
    with pytest.raises(ValueError, match=r"edges to or from other sites: a9\.h9@last"):
        load_circuit(path)
