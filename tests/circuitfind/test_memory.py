"""The plan of a run's memory: known byte counts, what it chooses, what it refuses."""

import json
from dataclasses import replace

import pytest
import torch

from circuitfind.engines.hooks import COPIED
from circuitfind.mediators.space import all_sites
from circuitfind.models.catalogue import locate
from circuitfind.models.loading import load_model
from circuitfind.objective import patching
from circuitfind.objective.encoding import encode
from circuitfind.objective.memory import Living, PairBytes, measure_pairs, weight_bytes
from circuitfind.objective.objective import Objective
from circuitfind.objective.patching import masks_per_pass, pack
from circuitfind.runs import memory
from circuitfind.runs.memory import Plan, fit_to_memory, free_memory, plan_memory
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings
from circuitfind.search import SearchProblem, candidate_sites
from circuitfind.search.methods.constrained import PAIRS
from circuitfind.search.problem import minibatches
from scripts.measure_growth import apart, exponent, growth
from tasks.variable_binding import claim as binding

from .. import planted as wired
from ..tiny import N_HEADS, N_LAYERS, random_desideratum
from .test_cli import call  # noqa: F401

MIB = 2**20
ONE = PairBytes(
    name="d",
    prefix=1.0 * MIB,
    donors=0.5 * MIB,
    entries=0.5 * MIB,
    untouched=0.0,
    prepare=2.0 * MIB,
    prepare_logits=0.0,
    step=4.0 * MIB,
    step_logits=0.0,
    trial=0.25 * MIB,
    trial_logits=0.0,
    tokens=1,
    shortlisted=False,
    branched=True,
)


def planned(model, room: float, n: int = 192, **options) -> Plan:
    """The plan for pairs of `ONE` where so many MiB are free."""
    free = {"cpu": (int(room * MIB), 1.0)}
    return plan_memory(model, [ONE], [n], n_sites=40, free=free, **options)


def test_bytes_are_counted_as_tensors_come_and_go():
    weight, view = torch.ones(4, 100), []
    with Living(d_vocab=7, known=[weight]) as living:
        kept = weight.t() * 2  # 1600 bytes; the weight itself is known
        view.append(kept[:2])
        with living.peak() as found:
            gone = [kept + 1, kept + 2]
            gone.clear()
            logits = torch.zeros(3, 7)
            still = torch.zeros(10)
        assert (living.others, living.logits) == (1600 + 40, 84)
        assert found.others == 3200 and found.logits == 84 and found.kept == 124
        del kept
        assert living.others == 1640  # the view holds it
        view.clear()
        assert living.others == 40
        del logits, still
    assert (living.others, living.logits) == (0, 0)


def test_what_stays_of_a_pair_is_its_keys_values_donors_and_streams(tiny):
    """`gpt2` of this size has 32 numbers a token and layer in keys, in heads, MLP and stream."""
    model = tiny("gpt2")
    batches = encode(model, [random_desideratum(("last",))])
    (found,) = measure_pairs(model, batches, all_sites(N_LAYERS, N_HEADS, ("last",)))
    width = batches[0].base.tokens.shape[1]
    a_layer = 4 * 32 * N_LAYERS
    assert found.prefix == pytest.approx(2 * (width - 1) * a_layer, rel=0.25)
    assert (found.donors, found.entries) == (2 * a_layer, a_layer)
    assert found.tokens == 1 and found.branched and not found.shortlisted
    assert found.step > found.trial > 0
    assert weight_bytes(model) == {
        torch.device("cpu"): sum(4 * w.numel() for w in model.engine.weights().values())
    }


def test_measuring_leaves_the_engine_as_it_was(tiny):
    model = tiny("llama")
    batches = encode(model, [random_desideratum(("last",))])
    measure_pairs(model, batches, all_sites(N_LAYERS, N_HEADS, ("last",)))
    assert model.engine._copied == COPIED


def test_a_plan_is_near_what_tensors_take():
    """Of a search on `binder`, by every tensor that lives while its passes run."""
    model = load_model("binder", device="cpu")
    desiderata = binding.sample(64, 0)[0]
    batches, sites = encode(model, desiderata), candidate_sites(model, desiderata)
    needs = measure_pairs(model, batches, sites)
    plan = plan_memory(model, needs, [len(one) for one in batches], n_sites=len(sites))
    with Living(model.engine.sizes.d_vocab, list(model.engine.weights().values())) as living:
        problem = SearchProblem.open(model, batches)
        gates = torch.full((len(sites),), 0.5, requires_grad=True)
        for objective in minibatches(problem, PAIRS):
            objective.backward(dict.fromkeys(problem.live, 1.0), gates)
        problem.trials().slacks([frozenset({n}) for n in range(len(sites))])
        most = living.most_others + living.most_logits
    assert most / 2 < plan.needed < 2 * most


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pairs"), [("binder", 256), ("smollm2-135m", 64)])
def test_a_plan_is_near_what_a_process_takes(name, pairs):
    try:
        locate(name)
    except (LookupError, OSError) as error:
        pytest.skip(str(error))
    point = {"pairs": pairs, "tokens": 15, "masks": 16, "sites": 0, "desiderata": 2}
    found = apart(name, point, "--plan")
    print(name, json.dumps(found))
    assert found["measured"] / 2 < found["plan"] < 2 * found["measured"]


def test_less_room_takes_width_from_trials_then_starts_then_pairs(planted):
    ample = planned(planted, 10_000)
    assert (ample.pairs, ample.tokens, ample.keeps_entries) == (256, None, True)
    assert ample.prefix == 192 * MIB and ample.donors == ample.entries == 96 * MIB
    # 64 pairs are fitted on, in batches that are made ready beside the whole.
    assert ample.joined == 64 * 1.5 * MIB
    kept = 192 + 96 + 96 + 96
    assert ample.kept == kept * MIB and ample.prepare == 256 * MIB and ample.needed > ample.kept
    seen = [planned(planted, room / 0.9) for room in range(1400, 380, -20)]
    assert all(
        plan.fits and plan.needed <= room * MIB
        for plan, room in zip(seen, range(1400, 380, -20), strict=True)
    )
    assert any(p.tokens is not None and p.keeps_entries and p.pairs == 256 for p in seen)
    assert any(not p.keeps_entries and p.pairs == 256 for p in seen)
    assert [p.pairs for p in seen] == sorted((p.pairs for p in seen), reverse=True)
    assert seen[-1].pairs < 16
    assert not planned(planted, 380).fits  # 384 stay


def test_pairs_that_are_given_are_kept(planted):
    assert planned(planted, 10_000, pairs=3).pairs == 3
    assert not planned(planted, 600, pairs=256).fits
    assert planned(planted, 600).fits


def test_each_device_needs_room_for_its_share(planted):
    def fits(one: float, other: float) -> bool:
        free = {"cuda:0": (int(one * MIB), 0.75), "cuda:1": (int(other * MIB), 0.25)}
        return plan_memory(planted, [ONE], [192], n_sites=40, free=free).fits

    assert fits(400, 150) and not fits(200, 400) and not fits(400, 90)
    unknown = plan_memory(planted, [ONE], [192], n_sites=40, free={"npu": (None, 1.0)})
    assert unknown.fits and unknown.pairs == 256 and "free" not in str(unknown)


def test_a_run_without_room_is_refused_with_numbers_and_ways_out(planted, monkeypatch, tmp_path):
    settings = Settings(task="planted", model="planted", n=24, steps=1)
    monkeypatch.setattr(memory, "free_memory", lambda model: {"cpu": (100_000, 1.0)})
    with pytest.raises(ValueError) as refused:
        discover(settings, tmp_path / "refused", model=planted)
    words = str(refused.value)
    assert "0.1 MiB free on cpu" in words and "1 pairs at once" in words
    for way in ("--n", "--sites", "--dtype bfloat16", "--force"):
        assert way in words
    assert not (tmp_path / "refused").exists()
    forced = discover(replace(settings, force=True), tmp_path / "forced", model=planted)
    assert any(note.startswith("memory: ") for note in forced.report["notes"])


def test_a_batch_that_is_too_large_is_refused_with_one_that_fits(planted):
    batches = encode(planted, wired.claim.sample(40, 0)[0])
    sites = candidate_sites(planted, [batch.desideratum for batch in batches])
    needs = measure_pairs(planted, batches, sites)
    least = plan_memory(planted, needs, [40] * len(needs), n_sites=len(sites), pairs=1)
    most = plan_memory(planted, needs, [40] * len(needs), n_sites=len(sites), pairs=256)
    room = int((least.kept + (most.prepare + least.prepare) / 2) / memory.SHARE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda model: {"cpu": (room, 1.0)})
        made, plan, _ = fit_to_memory(planted, batches, sites)
        assert plan.fits and made.pairs_at_once == plan.pairs < 256
        with pytest.raises(ValueError, match=rf"Try --batch {plan.pairs} \(fits\)"):
            fit_to_memory(planted, batches, sites, pairs=256)


def test_pairs_at_once_change_neither_circuit_nor_scores_nor_tokens(planted, tmp_path):
    made = [
        discover(
            Settings(task="planted", model="planted", n=24, n_random=5, batch=batch),
            tmp_path / str(batch),
            model=planted,
        )
        for batch in (3, 256)
    ]
    few, many = made
    assert few.circuit.sites == many.circuit.sites
    assert few.report["desiderata"] == many.report["desiderata"]
    # Validation records donors that all pairs share once for each piece.
    for stage in ("check", "search"):
        spent = [one.report["cost"]["stages"][stage] for one in made]
        for key in ("tokens_forward", "tokens_backward"):
            assert spent[0][key] == spent[1][key]
    pairs = [next(n for n in one.report["notes"] if "at once" in n) for one in made]
    assert "3 pairs at once" in pairs[0] and "256 pairs at once" in pairs[1]


@pytest.fixture
def random_objective(tiny):
    """Two desiderata of five and four pairs on a tiny model with some fields changed, and masks."""
    model, sites = tiny("llama"), all_sites(N_LAYERS, N_HEADS, ("last",))
    batches = encode(model, [random_desideratum(("last",), n=n, seed=n) for n in (5, 4)])
    masks = torch.rand(9, len(sites), generator=torch.Generator().manual_seed(0)).round()

    def make(**changes):
        return Objective(replace(model, **changes), batches, sites), masks

    return make


def test_a_pass_has_no_more_pairs_and_tokens_than_there_is_room_for(random_objective):
    (wide, masks), (narrow, _) = (
        random_objective(),
        random_objective(pairs_at_once=8, tokens_at_once=20),
    )
    found = []
    for one in (wide, narrow):
        parts = [piece for pieces in one._prepared for piece in pieces]
        found.append((len(pack(parts, 1)), masks_per_pass(parts[0])))
    n_pairs = len(wide.batches[0])
    assert found == [(1, patching.BRANCHED // n_pairs), (2, 4)]
    torch.testing.assert_close(narrow.leads(0, masks), wide.leads(0, masks))
    assert torch.equal(narrow.scores(masks), wide.scores(masks))


def test_without_streams_that_enter_layers_scores_are_the_same(random_objective):
    (keeps, masks), (lacks, _) = random_objective(), random_objective(keeps_entries=False)
    torch.testing.assert_close(keeps.leads(0, masks), lacks.leads(0, masks))
    assert keeps._prepared[0][0].entries and not lacks._prepared[0][0].entries


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/a/b\n", "a", ("memory.max", "memory.current", "inactive_file")),
        (
            "5:cpu:/\n4:memory:/a/b\n",
            "memory/a",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_the_limit_of_a_control_group_above_counts(tmp_path, line, folder, names):
    own, above = tmp_path / "own", tmp_path / folder
    own.write_text(line)
    (above / "b").mkdir(parents=True)
    (above / "b" / names[0]).write_text("max\n")
    (above / "b" / names[1]).write_text("10\n")
    (above / names[0]).write_text("1000\n")
    (above / names[1]).write_text("700\n")
    (above / "memory.stat").write_text(f"anon 300\n{names[2]} 50\n")
    left = [one for one in memory._left_in_groups(own, tmp_path) if one is not None]
    assert left == [350]


def test_what_is_free_here_is_less_than_the_machine_has(planted):
    ((device, (free, share)),) = free_memory(planted).items()
    assert device == "cpu" and share == 1.0
    assert free is None or 0 < free < 2**50


def test_a_preview_shows_the_plan(call):  # noqa: F811
    code, out, _ = call("try", "planted", "--model", "planted", "--n", "4", "--batch", "7")
    words = " ".join(out.split())
    assert code == 0 and "memory: " in words and "7 pairs at once" in words


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponents_are_found_beyond_a_constant(power):
    sizes = (16, 64, 256, 1024)
    assert exponent(sizes, [5 + 0.3 * n**power for n in sizes]) == pytest.approx(power, abs=0.06)
    assert growth(sizes, [5 + n**power for n in sizes]) == f"{power:.2f}"
    assert growth(sizes, [12.0, 10.0, 12.0, 15.0]) == "flat"
