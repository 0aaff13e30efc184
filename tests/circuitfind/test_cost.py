"""The account of a run, counted by hand: what is run, and what two other loops would run.

The tiny llama has 3 layers, width 32, 32 words and 23,232 weights in its layers. So a token takes
2 * 23,232 + 4 * 32 * 3 * (tokens it sees) FLOPs, and its unembedding 2 * 32 * 32. Here are 5 pairs
of bases of 5 tokens and sources of 7, patched at the last token, behind a prefix of 4.
"""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from circuitfind.mediators.space import all_sites
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.patching import prepare, run
from circuitfind.records import load_json
from circuitfind.report.text.table import print_report
from circuitfind.runs.reports import REPORT_FILE
from desiderata import Prompt

from ..test_imports import ROOT
from ..tiny import N_HEADS, N_LAYERS, random_desideratum

SOURCES = 5 * 7
A_TOKEN, AN_UNEMBEDDING = 2 * 23_232, 2 * 32 * 32
A_BASE_TOKEN = A_TOKEN + 4 * 32 * 3 * 5 + AN_UNEMBEDDING  # which sees 5 tokens, and is unembedded
A_SOURCE = 7 * (A_TOKEN + 4 * 32 * 3 * 7)
A_PREFIX = 4 * (A_TOKEN + 4 * 32 * 3 * 4)


@pytest.fixture
def llama(tiny):
    return tiny("llama")


def batch_of(model, **changes):
    made = replace(random_desideratum(("last",)), **changes)
    batch = encode(model, [made])[0]
    assert batch.base.tokens.shape == (5, 5) and batch.source.tokens.shape == (5, 7)
    return batch


def step(model, batch, cost, n_masks=1, gradients=True):
    """What a step, or so many trials, add to the account, by the names of its numbers."""
    prepared = prepare(model, batch, all_sites(N_LAYERS, N_HEADS, ("last",)), cost=cost)
    before = cost.report()
    run(prepared, torch.full((n_masks, len(prepared.sites)), 0.5, requires_grad=gradients))
    after = cost.report()
    return {name: after[name] - before[name] for name in after if name != "seconds"}


def numbers(counted, loop):
    return tuple(counted[f"{loop}_{of}"] for of in ("tokens_forward", "tokens_backward", "flops"))


def test_the_first_step_has_the_sources_and_later_ones_have_not(llama):
    cost, batch = Cost(), batch_of(llama)
    first, second = (step(llama, batch, cost) for _ in range(2))
    sources = 5 * (A_SOURCE + 7 * AN_UNEMBEDDING)
    assert sources == 1_792_000 and A_BASE_TOKEN == 50_432
    assert numbers(first, "plain") == (SOURCES + 25, 25, sources + 2 * 25 * A_BASE_TOKEN)
    assert numbers(second, "plain") == (25, 25, 2 * 25 * A_BASE_TOKEN)


def test_a_cached_step_runs_one_token_behind_sources_and_prefixes_run_once(llama):
    cost, batch = Cost(), batch_of(llama)
    first, second = (step(llama, batch, cost) for _ in range(2))
    once = 5 * (A_SOURCE + AN_UNEMBEDDING) + 5 * (A_PREFIX + AN_UNEMBEDDING)
    assert once == 1_730_560 + 970_240
    assert numbers(first, "cached") == (SOURCES + 20 + 5, 5, once + 2 * 5 * A_BASE_TOKEN)
    assert numbers(second, "cached") == (5, 5, 2 * 5 * A_BASE_TOKEN)
    assert (second["tokens_forward"], second["flops"]) == (5, second["cached_flops"])


def test_trials_go_no_way_back_and_have_no_sources(llama):
    cost, batch = Cost(), batch_of(llama)
    step(llama, batch, cost)
    trials = step(llama, batch, cost, n_masks=3, gradients=False)
    assert numbers(trials, "plain") == (75, 0, 75 * A_BASE_TOKEN)
    assert numbers(trials, "cached") == (15, 0, 15 * A_BASE_TOKEN)


def test_sources_are_run_once_for_each_desideratum_and_pair(llama):
    cost, batch = Cost(), batch_of(llama)
    step(llama, batch.take([0, 1, 2]), cost)
    added = step(llama, batch, cost)
    assert added["plain_tokens_forward"] == 2 * 7 + 25  # of the two pairs that were not there
    other = step(llama, batch_of(llama, name="other"), cost)
    assert other["plain_tokens_forward"] == SOURCES + 25
    again = step(llama, batch_of(llama), Cost())
    assert again["plain_tokens_forward"] == SOURCES + 25  # on an account of its own


def test_an_account_that_goes_on_among_steps_has_their_sources_already(llama):
    cost, batch, again = Cost(), batch_of(llama), Cost()
    step(llama, batch, cost)
    again.restore(cost.report())
    for account in (cost, again):
        step(llama, batch, account)
    for name in ("plain_tokens_forward", "plain_flops", "cached_tokens_backward"):
        assert getattr(again, name) == getattr(cost, name)
    other = batch_of(llama, name="other")  # which only trials run, as those of another split
    assert step(llama, other, again, gradients=False)["plain_tokens_forward"] == SOURCES + 25


def test_prompts_that_pairs_share_are_run_once_for_all(llama):
    mean_over = tuple(Prompt(f"w{n} w1 w2") for n in range(8))
    batch = batch_of(llama, donor="mean", mean_over=mean_over)
    assert batch.donated.tokens.shape == (8, 3)
    cost = Cost()
    assert step(llama, batch, cost)["plain_tokens_forward"] == 8 * 3 + 25
    assert step(llama, batch, cost)["plain_tokens_forward"] == 25


def test_answers_of_several_tokens_run_whole_or_behind_the_prompt(llama):
    made = random_desideratum(("last",))
    texts = (" w1 w2 w3", " w1 w2 w4", " w5 w2 w3")
    pairs = [replace(p, expected=texts, base_answer=" w9", source_answer=None) for p in made.pairs]
    batch, cost = batch_of(llama, pairs=tuple(pairs)), Cost()
    assert batch.continued is not None
    _, n_paths, n_steps = batch.continued.tokens.shape
    assert (n_paths, n_steps) == (2, 2)
    step(llama, batch, cost)
    trial = step(llama, batch, cost, gradients=False)
    assert trial["plain_tokens_forward"] == 5 * 2 * (5 + 2)
    assert trial["cached_tokens_forward"] == trial["tokens_forward"] == 5 * 1 + 5 * 2 * 2


def test_where_nothing_comes_before_the_first_patch_the_cached_loop_runs_whole_prompts(llama):
    cost, batch = Cost(), batch_of(llama)
    prepared = prepare(
        llama, batch, all_sites(N_LAYERS, N_HEADS, ("last",)), cost=cost, reuse=False
    )
    gates = torch.zeros(1, len(prepared.sites))
    run(prepared, gates)
    assert cost.cached_tokens_forward == cost.plain_tokens_forward == SOURCES + 25
    assert cost.plain_flops - cost.cached_flops == (5 * 6 + 5 * 4) * AN_UNEMBEDDING


def shown(report):
    text = io.StringIO()
    circuit = load_json(ROOT / "figures/runs/ioi/circuit.json")
    print_report(Console(file=text, width=200), circuit, report)
    return " ".join(text.getvalue().split())


def test_reports_tell_both_loops_and_older_ones_what_their_number_was():
    report = load_json(ROOT / "figures/runs/ioi/report.json")
    REPORT_FILE.read(report)  # which has no `cached_*`
    words = shown(report)
    assert "a loop that runs source and base whole at every step: " in words
    assert "Davies" not in words and "cache" not in words
    search = report["cost"]["stages"]["search"]
    search |= {"flops": 1e9, "plain_flops": 9.5e9, "cached_flops": 1.2e9}
    search |= {"cached_tokens_forward": 1, "cached_tokens_backward": 1}
    REPORT_FILE.read(report)
    words = shown(report)
    assert "the loop of Davies et al. 2023, over whole prompts: 9.5e+09 FLOPs, 9.5 times" in words
    assert "hooks with a key-value cache: 1.2e+09 FLOPs, 1.2 times as many" in words
    with pytest.raises(ValueError, match="cached_flops"):
        REPORT_FILE.read(report | {"cost": report["cost"] | {"cached_flops": "many"}})
