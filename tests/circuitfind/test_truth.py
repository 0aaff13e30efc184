"""Truth by trying everything, beside ways to the same answer that share nothing with it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuitfind.bench.truth import auroc, exhaustive_truth, recovery, unread
from circuitfind.engines.boot import native_shapes
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import build_native, load_model
from circuitfind.models.native import Native, full_config
from circuitfind.models.planted import heads_of, parse_planted
from circuitfind.models.planted_weights import planted_native
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.patching import prepare, run

from ..planted import claim, task
from ..tiny import NATIVE, tiny_model

SITES = tuple(Site(head(0, index), "last") for index in range(6))
A, B, C = SITES[:3]


def sites_of(model, position="last"):
    return all_sites(model.n_layers, model.n_heads, (position,))


def test_it_finds_what_trying_all_sets_without_any_shortcut_finds():
    """Two carriers of which one is enough unless the inhibitor is patched with it."""
    model = load_model("planted:parts=1,backups=1,inhibitors=1,heads=3,decoys=0", device="cpu")
    batches, sites = encode(model, claim.sample(12)[0]), sites_of(model)
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * len(sites))
    holds = (Objective(model, batches, sites).scores(rows) >= 0.95).all(dim=1)
    sets = {
        frozenset(site for site, gate in zip(sites, row, strict=True) if gate)
        for row in rows[holds].tolist()
    }
    smallest = {one for one in sets if not any(other < one for other in sets)}
    truth = exhaustive_truth(model, batches, sites, bound=0.95)
    assert set(truth.circuits) == smallest
    assert len(smallest) == 2
    assert frozenset({*max(smallest, key=str), Site(head(1, 2), "last")}) not in sets
    assert truth.tried < len(rows) / 8


def test_no_circuit_is_a_truth_too(planted):
    """The answer cannot follow the source and stay."""
    follows = task.carries("answer", crossed=False).sample(24)[0][0]
    stays = replace(
        follows,
        name="stays",
        sense="keeps",
        pairs=tuple(replace(pair, expected=pair.base_answer) for pair in follows.pairs),
    )
    truth = exhaustive_truth(planted, encode(planted, [follows, stays]), sites_of(planted))
    assert truth.circuits == ()
    assert truth.tried == 2 ** (10 - len(truth.idle))


def test_the_empty_circuit_is_the_only_truth_of_a_claim_that_it_satisfies(planted):
    keeps = task.carries("answer", complete=True).sample(24)[0][-1]
    inside = replace(keeps, part="inside")
    truth = exhaustive_truth(planted, encode(planted, [inside]), sites_of(planted))
    assert truth.circuits == (frozenset(),)
    assert truth.tried == 1


def test_a_bound_lets_more_circuits_through(planted):
    """One half of the code is right by chance for some pairs."""
    batches = encode(planted, task.carries("answer", crossed=False).sample(60)[0])
    strict, loose = (
        exhaustive_truth(planted, batches, sites_of(planted), bound=bound) for bound in (1.0, 0.02)
    )
    assert [len(circuit) for circuit in strict.circuits] == [2]
    assert {len(circuit) for circuit in loose.circuits} == {1}


def test_too_many_masks_are_refused_with_the_numbers(planted):
    batches = encode(planted, claim.sample(6)[0])
    with pytest.raises(ValueError, match=r"4 sites \(10 less 6 .* 16 subsets; at most 15 are"):
        exhaustive_truth(planted, batches, sites_of(planted), most_masks=15)


BUSY = "planted:heads=6,decoys=3,distractors=4,mlps=busy,seed=4"


def test_what_nothing_reads_changes_no_logit_by_one_bit():
    model = load_model(BUSY, device="cpu")
    dead, roles = unread(model), heads_of(parse_planted(BUSY))
    assert dead >= {*roles.distractors, mlp(0), mlp(1), roles.decoys[0], roles.decoys[2]}
    assert not dead & {roles.before, *sum(roles.carriers, ()), roles.decoys[1]}
    sites = sites_of(model, "all")
    batch = encode(model, [replace(claim.sample(12)[0][0], at=("all",))])[0]
    prepared = prepare(model, batch, sites)
    others = torch.rand(4, len(sites), generator=torch.Generator().manual_seed(0)).round()
    idle = torch.tensor([site.component in dead for site in sites])
    closed, opened = (torch.where(idle, torch.tensor(gate), others) for gate in (0.0, 1.0))
    torch.testing.assert_close(run(prepared, closed), run(prepared, opened), atol=0, rtol=0)
    alone = torch.stack([torch.zeros(len(sites)), (~idle).float()])
    assert not torch.equal(*run(prepared, alone))


def test_a_single_weight_makes_a_component_read():
    native = planted_native(parse_planted(BUSY))
    distractor = heads_of(parse_planted(BUSY)).distractors[0]
    weights = dict(native.weights)
    name = f"layers.{distractor.layer}.attn.o.weight"
    votes = int(native.weights["head.weight"].any(dim=0).nonzero()[0])
    weights[name] = weights[name].clone()
    weights[name][votes, distractor.part * 16] = 1e-6
    before, after = (
        unread(build_native(made, "busy", device="cpu"))
        for made in (native, replace(native, weights=weights))
    )
    assert distractor in before
    assert before - after == {distractor}


def test_what_only_the_unread_read_is_unread():
    """m0 writes a direction that a1.h0 alone reads; it counts once a1.h0 writes to the output."""
    native = planted_native(parse_planted("planted:decoys=0"))
    weights = {name: weight.clone() for name, weight in native.weights.items()}
    free = int((~weights["head.weight"].any(dim=0)).nonzero()[-1])
    weights["layers.0.mlp.fc_out.weight"][free, 0] = 1.0
    weights["layers.1.attn.v.weight"][3 * 16, free] = 1.0

    def dead():
        return unread(build_native(replace(native, weights=weights), "chain", device="cpu"))

    assert {mlp(0), head(1, 3)} <= dead()
    weights["layers.1.attn.o.weight"][0, 3 * 16] = 1.0
    assert {mlp(0), head(1, 3)} <= dead()  # a direction that the unembedding does not read
    read = int(weights["head.weight"].any(dim=0).nonzero()[0])
    weights["layers.1.attn.o.weight"][read, 3 * 16] = 1.0
    assert not dead() & {mlp(0), head(1, 3)}


def test_a_bias_is_written_too():
    """It is a part of what is patched: an MLP of a constant differs from an ablated one."""
    native = planted_native(parse_planted("planted"))
    weights = {name: weight.clone() for name, weight in native.weights.items()}
    read = int(weights["head.weight"].any(dim=0).nonzero()[0])
    weights["layers.1.mlp.fc_out.bias"][read] = 0.1
    model = build_native(replace(native, weights=weights), "biased", device="cpu")
    assert mlp(1) not in unread(model)
    assert mlp(0) in unread(model)


def test_heads_that_share_keys_and_gated_mlps():
    """Of four heads that share two key groups, one reads what the first MLP writes."""
    config = {
        "d_model": 8,
        "d_head": 2,
        "n_layers": 2,
        "n_heads": 4,
        "n_ctx": 4,
        "d_mlp": 3,
        "gated_mlp": True,
        "n_key_value_heads": 2,
    }
    words = ("a", "<pad>", "<unk>")
    shapes = native_shapes(full_config(config, words))
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    weights["head.weight"][0, 7] = 1.0
    weights["layers.0.mlp.out.weight"][5, 0] = 1.0
    weights["layers.1.attn.o.weight"][7, 2 * 3 + 1] = 1.0  # head 3, of the second group

    def dead(row):
        made = {**weights, "layers.1.attn.v.weight": torch.zeros(4, 8)}
        made["layers.1.attn.v.weight"][row, 5] = 1.0
        return unread(
            build_native(
                Native(about="", config=config, words=words, weights=made), "groups", device="cpu"
            )
        )

    heads = {head(layer, index) for layer in range(2) for index in range(4)} - {head(1, 3)}
    assert dead(row=1) == heads | {mlp(0), mlp(1)}  # the first group's value
    assert dead(row=2) == heads | {mlp(1)}


def test_nothing_is_claimed_of_models_with_normalisation_or_of_others(tiny, tmp_path):
    assert unread(tiny("llama")) == frozenset()
    for name in NATIVE:  # random weights: everything is read
        assert unread(tiny_model(name, tmp_path)) == frozenset()


def test_shares_are_of_all_pairs(planted):
    """At 1.0, one wrong pair of 24 is too many; at 23/24 it is just not."""
    good = task.carries("answer", crossed=False).sample(24)[0][0]
    wrong = replace(good.pairs[0], expected=" v0" if good.pairs[0].expected != " v0" else " v1")
    spoiled = replace(good, pairs=(*good.pairs[1:], wrong))
    batches = encode(planted, [spoiled])
    assert exhaustive_truth(planted, batches, sites_of(planted)).circuits == ()
    assert exhaustive_truth(planted, batches, sites_of(planted), bound=23 / 24).circuits


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 2.0, float("inf")]), min_size=6, max_size=6),
    st.sets(st.sampled_from(SITES)),
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(scores, circuit):
    made = auroc(torch.tensor(scores), SITES, circuit)
    inside = [score for score, site in zip(scores, SITES, strict=True) if site in circuit]
    outside = [score for score, site in zip(scores, SITES, strict=True) if site not in circuit]
    assert (made.inside, made.outside) == (len(inside), len(outside))
    if not inside or not outside:
        assert made.value is None
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    assert made.value == pytest.approx(wins / (len(inside) * len(outside)))


def test_auroc_of_good_bad_and_useless_rankings():
    falling = torch.arange(6).flip(0).float()
    assert auroc(falling, SITES, {A, B}).value == 1.0
    assert auroc(-falling, SITES, {A, B}).value == 0.0
    assert auroc(torch.ones(6), SITES, {A, B}).value == 0.5


def test_auroc_refuses_what_is_no_ranking():
    with pytest.raises(ValueError, match="1 of 6 scores are not numbers"):
        auroc(torch.tensor([0.0, 1, 2, 3, 4, float("nan")]), SITES, {A})
    with pytest.raises(ValueError, match="expected 6 scores, one a site; got 5"):
        auroc(torch.zeros(5), SITES, {A})
    with pytest.raises(ValueError, match="does not have the circuit's m0@last"):
        auroc(torch.zeros(6), SITES, {Site(mlp(0), "last")})


def test_recovery_counts_any_of_the_true_circuits():
    true = (frozenset({A, B}), frozenset({C}))
    assert recovery([C], true) == recovery({C}, [frozenset({C})])
    assert recovery([B, A], true).exact
    near = recovery([A, C], true)
    assert (near.exact, near.nearest) == (False, frozenset({C}))
    assert near.f1 == pytest.approx(2 / 3)
    assert recovery([SITES[5]], true).f1 == 0.0
    assert recovery([], true).f1 == 0.0
    assert recovery([], [frozenset()]).exact and recovery([], [frozenset()]).f1 == 1.0
    with pytest.raises(ValueError, match="no true circuit to recover"):
        recovery([A], [])


@given(st.sets(st.sampled_from(SITES)), st.lists(st.frozensets(st.sampled_from(SITES)), min_size=1))
def test_f1_is_one_if_and_only_if_a_circuit_is_recovered_exactly(found, circuits):
    made = recovery(found, circuits)
    assert (made.f1 == 1.0) == made.exact == (frozenset(found) in circuits)
    assert 0 <= made.f1 <= 1
    for circuit in circuits:
        hits = len(found & circuit)
        if hits:
            precision, recall = hits / len(found), hits / len(circuit)
            assert made.f1 >= 2 * precision * recall / (precision + recall) - 1e-12
