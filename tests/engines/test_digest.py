"""Digests of weights: their values stay, each tensor is read once, and no change is missed."""

import os
from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.engines import BridgeEngine, HooksEngine, digest
from circuitfind.engines.digest import digest_of, known_digests, put_back, raw_bytes
from circuitfind.models.loading import load_model
from circuitfind.models.model import weights_shuffled as shuffled
from circuitfind.models.model import wrap
from circuitfind.runs.run import discover
from circuitfind.runs.settings import Settings

from ..planted import word_tokenizer
from ..tiny import WORDS
from .models import bridge_engine, hooks_engine

# What version 0.1 gave for `of_every_kind`.
STORED = "e767733de1b6b9dfc9e9a6abc7878c1609d463b2fb9eee6438e810608e36c41c"


def of_every_kind() -> dict[str, torch.Tensor]:
    grid = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    tied = grid[:, :3]
    return {
        "a": grid,
        "b": grid.to(torch.bfloat16),
        "c": tied,
        "d": tied,
        "e": grid.T,
        "f": torch.tensor(2.5, dtype=torch.float64),
        "g": torch.zeros(0, 3),
        "h": torch.arange(5),
        "i": grid > 1,
    }


@pytest.fixture
def read(monkeypatch):
    """The places of the tensors that are read for a digest, in their order."""
    places, own = [], digest.raw_bytes

    def counted(weight):
        places.append(digest._place(weight))
        return own(weight)

    monkeypatch.setattr(digest, "raw_bytes", counted)
    return places


def test_the_digest_has_the_value_that_runs_are_bound_to(read):
    weights = of_every_kind()
    assert digest_of(weights) == STORED
    assert len(read) == len(weights) - 1  # `c` and `d` are one
    assert digest_of(weights) == digest_of(dict(reversed(weights.items()))) == STORED
    assert len(read) == len(weights) - 1
    assert digest_of(of_every_kind()) == STORED and len(read) > len(weights)


@pytest.mark.parametrize("name", sorted(of_every_kind().keys() - {"g"}))
def test_a_value_a_name_and_a_shape_change_it(name):
    weights = of_every_kind()
    assert digest_of({("z" if key == name else key): one for key, one in weights.items()}) != STORED
    assert digest_of(weights | {name: weights[name][None]}) != STORED
    weights[name].reshape(-1)[:1].logical_not_() if name == "i" else weights[name].add_(1)
    assert digest_of(weights) != STORED


def test_bytes_of_weights_in_order_are_no_copy():
    weight = torch.arange(4, dtype=torch.bfloat16)
    seen = raw_bytes(weight)
    assert seen.nbytes == 8 and bytes(seen[:2]) == b"\0\0"
    weight[0] = 1
    assert bytes(seen[:2]) == b"\x80\x3f"


def test_writes_by_any_way_that_torch_counts_are_seen():
    weight = torch.nn.Parameter(torch.zeros(3))
    weights = {"w": weight}
    found = [digest_of(weights)]
    for change in (
        lambda: weight.add_(1),
        lambda: weight.detach()[1].fill_(5),
        lambda: weight.view(-1)[:1].copy_(torch.ones(1) * 9),
        lambda: setattr(weight, "data", torch.full((3,), 7.0)),
    ):
        with torch.no_grad():
            change()
        found.append(digest_of(weights))
    assert len(set(found)) == len(found)
    assert found[-1] == digest_of({"w": torch.full((3,), 7.0)})


def test_weights_of_inference_mode_are_hashed_each_time():
    with torch.inference_mode():
        weights = {"w": torch.zeros(3)}
        before = digest_of(weights)
        weights["w"].add_(1)
        assert digest_of(weights) != before


@pytest.mark.parametrize("make", [hooks_engine, bridge_engine])
def test_copies_of_a_model_ask_for_nothing_to_be_read_again(make, read):
    model = wrap(make("llama"), "tiny", tokenizer=word_tokenizer(WORDS))
    first = model.digest
    assert read and len(read) == len(set(read))
    count = len(read)
    copy = replace(model, pairs_at_once=2, name="copy")
    assert copy.digest == replace(copy, prepend_bos=True).digest == first
    assert copy.is_known_as(first) and len(read) == count
    engine: Any = model.engine
    again = type(engine)(getattr(engine, "bridge", None) or engine.model)
    assert again.plain_digest == first and len(read) == count


@pytest.mark.parametrize("make", [hooks_engine, bridge_engine])
def test_no_digest_is_stale_while_weights_are_shuffled(make, read):
    model = wrap(make("llama"), "tiny", tokenizer=word_tokenizer(WORDS))
    own, listed = model.digest, model.engine.digest
    with shuffled(model, seed=0) as other:
        meanwhile = other.digest, other.engine.digest
        assert model.digest == meanwhile[0]  # its weights are those now
    count = len(read)
    assert {own, listed}.isdisjoint(meanwhile)
    assert (model.digest, model.engine.digest) == (own, listed)
    assert len(read) == count  # what was put back is known still


def test_only_what_was_known_is_put_back():
    weight = torch.zeros(3)
    digest_of({"w": weight})
    weight.add_(1)
    assert known_digests([weight]) == [None]
    put_back([weight], [None])
    assert digest_of({"w": weight}) == digest_of({"w": torch.ones(3)})


def test_a_run_reads_each_tensor_once(read, tmp_path):
    settings = Settings(task="planted", model="planted:parts=1", n=8, n_random=2, method="greedy")
    made = discover(settings, tmp_path / "run")
    assert made.report["binds"]["model"] == made.circuit.provenance["model_digest"]
    assert read and len(read) == len(set(read))


@pytest.mark.parametrize("kind", [HooksEngine, BridgeEngine])
def test_loading_with_its_examination_reads_each_tensor_once(kind, tiny, read, tmp_path):
    folder = tmp_path / "model"
    own = tiny("llama")
    own.engine.model.save_pretrained(folder)
    own.tokenizer.save_pretrained(folder)
    model = load_model(str(folder), engine=kind.name)
    assert isinstance(model.engine, kind)
    assert model.digest and len(read) == len(set(read)) == len(own.engine.weights())


def test_many_tensors_are_hashed_by_several_threads(monkeypatch):
    from threading import Barrier

    together = Barrier(2, timeout=20)

    def waits(weight):
        together.wait()  # no thread comes past it alone
        return memoryview(b"")

    monkeypatch.setattr(digest, "raw_bytes", waits)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    digest_of({"a": torch.zeros(1), "b": torch.ones(1)})
