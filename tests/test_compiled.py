"""The models that Tracr compiled, as they ship: what they say, what is idle, what is true."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from circuitfind.model import BUILT_IN, load_model, native_shapes
from circuitfind.native import read_native
from desiderata.saved import Saved
from scripts.compile_tracr import FOLDERS, reachable, wrong_outputs

from .oracle import Oracle, read_oracle

# What each program says, in plain Python: neither Tracr nor the weights have a part in it.
SAYS = {
    "tracr-reverse": lambda words: words[::-1],
    "tracr-frac-prevs": lambda words: [
        str(Fraction(words[: n + 1].count("x"), n + 1)) for n in range(len(words))
    ],
    "tracr-sort-unique": sorted,
    "tracr-recall": lambda words: [_after(words, word) for word in words],
    "tracr-half": lambda words: [
        "yes" if 2 * words.count(word) >= len(words) else "no" for word in words
    ],
}
MOST_BYTES = 300_000


def _after(words: list[str], word: str) -> str:
    return next(b for a, b in pairwise(words) if a == word)


@pytest.fixture(scope="module")
def oracles() -> dict[str, Oracle]:
    return {name: read_oracle(FOLDERS / name) for name in SAYS}


def read_rows(name: str) -> tuple[Saved, ...]:
    return read_native(FOLDERS / name, native_shapes).inputs


def _live(oracle: Oracle) -> list[str]:
    found = reachable(dict(oracle.weights), oracle.n_layers, oracle.n_heads)
    return [name for name in oracle.components if name in found]


def test_every_compiled_folder_is_here():
    assert {name for name in BUILT_IN if name.startswith("tracr-")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_a_model_says_what_its_program_says(name):
    model = load_model(name, device="cpu")
    rows = read_rows(name)
    assert 60 <= len(rows) <= 120
    for row in rows:
        words = row.text.split()[1:]
        assert list(row.outputs) == list(range(1, len(words) + 1))
        assert list(row.outputs.values()) == SAYS[name](words)
    assert wrong_outputs(model, rows) == []
    assert sum(path.stat().st_size for path in (FOLDERS / name).iterdir()) < MOST_BYTES


def test_a_changed_weight_is_noticed():
    model, rows = load_model("tracr-half", device="cpu"), read_rows("tracr-half")
    with torch.no_grad():
        model.bridge.original_model.get_parameter("layers.1.mlp.fc_out.weight").neg_()
    assert wrong_outputs(model, rows)


@pytest.mark.parametrize("name", SAYS)
def test_numpy_and_the_model_agree_in_every_logit(name, oracles):
    model = load_model(name, device="cpu")
    with torch.no_grad():
        logits = model.bridge(torch.tensor(oracles[name].tokens)).double().numpy()
    assert np.abs(logits - oracles[name].run()[0]).max() < 1e-2


@pytest.mark.parametrize("name", SAYS)
def test_distractors_are_busy_and_change_no_logit(name, oracles):
    oracle = oracles[name]
    distractors = sorted(set(oracle.components) - set(_live(oracle)))
    logits, gave = oracle.run()
    assert len(distractors) >= oracle.n_layers
    for each in distractors:
        assert gave[each][:, 1:].std(0).mean() > 0.01, f"{each} hardly depends on the input"
    for ablation in ("zero", "mean", "resample"):
        changed, _ = oracle.run(distractors, oracle.donors(ablation))
        assert np.array_equal(changed, logits) or np.abs(changed - logits).max() < 1e-9


def test_nothing_that_is_reachable_is_called_a_distractor(oracles):
    oracle = oracles["tracr-recall"]
    head = next(name for name in oracle.components if name not in _live(oracle) and "h" in name)
    layer, index = int(head[1]), int(head[-1])
    weights = dict(oracle.weights)
    key = f"layers.{layer}.attn.o.weight"
    weights[key] = weights[key].copy()
    d_head = weights[key].shape[1] // oracle.n_heads
    read = int(np.flatnonzero(weights["head.weight"].any(0))[0])
    weights[key][read, index * d_head] = 1.0
    assert head in _live(replace(oracle, weights=weights))
