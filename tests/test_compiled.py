"""The models that Tracr compiled, as they ship: what they say, what is idle, what is true."""

import json
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitfind.bench.truth import unread
from circuitfind.models.catalogue import built_in
from circuitfind.models.loading import load_model, load_saved
from scripts.compile_tracr import ABLATIONS, FOLDERS, derive_truth, write_truth, wrong_outputs

from .oracle import Oracle, read_oracle
from .tiny import bridge_of

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


def _told(name: str) -> dict[str, set[frozenset[str]]]:
    made = json.loads((FOLDERS / name / "truth.json").read_text())["ablations"]
    return {donor: set(map(frozenset, circuits)) for donor, circuits in made.items()}


def _live(name: str, oracle: Oracle) -> list[str]:
    idle = set(map(str, unread(load_model(name, device="cpu"))))
    return [each for each in oracle.components if each not in idle]


def test_every_compiled_folder_is_here():
    assert {name for name in built_in() if name.startswith("tracr-")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_a_model_says_what_its_program_says(name):
    model = load_model(name, device="cpu")
    rows = load_saved(name)
    assert 60 <= len(rows) <= 120
    for row in rows:
        words = row.text.split()[1:]
        assert list(row.outputs) == list(range(1, len(words) + 1))
        assert list(row.outputs.values()) == SAYS[name](words)
    assert wrong_outputs(model, rows) == []
    assert sum(path.stat().st_size for path in (FOLDERS / name).iterdir()) < MOST_BYTES


def test_a_changed_weight_is_noticed():
    model, rows = load_model("tracr-half", device="cpu"), load_saved("tracr-half")
    with torch.no_grad():
        bridge_of(model).original_model.get_parameter("layers.1.mlp.fc_out.weight").neg_()
    assert wrong_outputs(model, rows)


@pytest.mark.parametrize("name", SAYS)
def test_numpy_and_the_model_agree_in_every_logit(name, oracles):
    model = load_model(name, device="cpu")
    with torch.no_grad():
        logits = bridge_of(model)(torch.tensor(oracles[name].tokens)).double().numpy()
    assert np.abs(logits - oracles[name].run()[0]).max() < 1e-2


@pytest.mark.parametrize("name", SAYS)
def test_distractors_are_busy_and_change_no_logit(name, oracles):
    oracle = oracles[name]
    distractors = sorted(set(oracle.components) - set(_live(name, oracle)))
    logits, gave = oracle.run()
    assert len(distractors) >= oracle.n_layers
    for each in distractors:
        assert gave[each][:, 1:].std(0).mean() > 0.01, f"{each} hardly depends on the input"
    for ablation in ("zero", "mean", "resample"):
        changed, _ = oracle.run(distractors, oracle.donors(ablation))
        assert np.array_equal(changed, logits) or np.abs(changed - logits).max() < 1e-9


@pytest.mark.parametrize("name", SAYS)
def test_numpy_comes_to_the_same_truth(name, oracles):
    oracle, live = oracles[name], _live(name, oracles[name])
    told = _told(name)
    assert set(told) == set(ABLATIONS)
    for ablation in ABLATIONS:
        assert oracle.truth(ablation, live) == told[ablation] != set()


def test_the_truth_does_not_hang_on_which_input_is_resampled(oracles):
    for name, oracle in oracles.items():
        live, told = _live(name, oracle), _told(name)["resample"]
        for shift in (2, 3, 5, 17, 40):
            assert oracle.truth("resample", live, shift) == told


def test_leaving_distractors_out_of_the_sets_leaves_no_circuit_out(oracles):
    oracle = oracles["tracr-frac-prevs"]
    assert len(oracle.components) == 8
    for ablation in ABLATIONS:
        assert oracle.truth(ablation) == _told("tracr-frac-prevs")[ablation]


def test_the_engine_derives_the_shipped_truth_again():
    shipped = json.loads((FOLDERS / "tracr-frac-prevs" / "truth.json").read_text())
    assert derive_truth(FOLDERS / "tracr-frac-prevs") == shipped


def test_reverse_needs_four_components_under_zero_and_one_under_resample():
    sizes = {
        ablation: sorted(map(len, circuits))
        for ablation, circuits in _told("tracr-reverse").items()
    }
    assert sizes == {"zero": [4], "mean": [1], "resample": [1]}


def test_the_length_is_needed_only_where_ablating_it_changes_it():
    told = {ablation: next(iter(each)) for ablation, each in _told("tracr-half").items()}
    assert len(told["zero"] - told["resample"]) == 1
    assert told["mean"] == told["resample"] < told["zero"]


def test_a_wrong_truth_or_model_is_noticed(tmp_path, oracles):
    folder = Path(shutil.copytree(FOLDERS / "tracr-frac-prevs", tmp_path / "wrong"))
    right = _told("tracr-frac-prevs")["zero"]
    lacking = {frozenset(sorted(circuit)[1:]) for circuit in right}
    oracle = oracles["tracr-frac-prevs"]
    assert all(not oracle.holds(circuit, oracle.donors("zero")) for circuit in lacking)
    weights = load_file(folder / "model.safetensors")
    weights["layers.0.mlp.fc_out.weight"] *= 0
    save_file(weights, folder / "model.safetensors")
    assert wrong_outputs(load_model(str(folder), device="cpu"), load_saved(str(folder)))
    made = write_truth(folder)
    assert made["ablations"] == {"zero": [], "mean": [], "resample": []}
    assert read_oracle(folder).truth("zero") == set()
