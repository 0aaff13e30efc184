"""Gates' gradients, heads by their queries, and modules that are no sites: right engines, and
engines that are broken in one way each."""

from typing import Any

import pytest
import torch

from circuitfind.engines import HooksEngine, additive_gap
from circuitfind.engines.cutting import wrong_parts
from circuitfind.engines.engine import OTHER, QUERIES, Point
from circuitfind.engines.gates import gate_slopes, silent
from circuitfind.engines.laws import sites
from circuitfind.engines.mixing import mixing
from scripts.model_families import tiny_config
from scripts.model_families import tiny_module as family

from .models import N_HEADS, hooks_engine, tiny_module

BASE, SOURCE = torch.tensor([[3, 5, 7, 9, 11]]), torch.tensor([[4, 9, 3, 20, 12]])
WHERE = Point(1, "heads")


class Changed(HooksEngine):
    """Hooks whose edits at one point are changed on the way in."""

    def __init__(self, model: Any, change: Any) -> None:
        super().__init__(model)
        self.change = change

    def forward(self, inputs: Any, attends: Any = None, edits: Any = (), **options: Any) -> Any:
        edits = [(at, self.change(do) if at == WHERE else do) for at, do in edits]
        return super().forward(inputs, attends, edits, **options)


def detached(edit: Any) -> Any:
    """The right value, through which no gradient comes back."""

    def apply(own: Any) -> Any:
        new = edit(own)
        return None if new is None else new.detach()

    return apply


def doubled(edit: Any) -> Any:
    """The right value, with twice its gradient."""

    def apply(own: Any) -> Any:
        new = edit(own)
        return None if new is None else 2 * new - new.detach()

    return apply


def ignored(edit: Any) -> Any:
    """No edit at all."""

    def apply(own: Any) -> None:
        edit(own)

    return apply


def shuffled(edit: Any) -> Any:
    """The heads in another order than the model's."""

    def apply(own: Any) -> Any:
        new = edit(own.roll(1, 2))
        return None if new is None else new.roll(-1, 2)

    return apply


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral", "bloom", "gemma2"])
def test_gradients_of_all_gates_are_those_of_finite_differences(architecture):
    slopes = gate_slopes(hooks_engine(architecture), BASE, SOURCE)
    assert slopes.gap < 1e-3
    assert slopes.none == ()


def test_a_gradient_that_does_not_arrive_is_named():
    engine = Changed(tiny_module("llama"), detached)
    slopes = gate_slopes(engine, BASE, SOURCE)
    assert slopes.none == tuple((WHERE, head) for head in range(N_HEADS))
    assert silent(engine, BASE, slopes.none) == ()  # they change the logits all the same


def test_a_gradient_of_another_size_is_seen():
    assert gate_slopes(Changed(tiny_module("llama"), doubled), BASE, SOURCE).gap > 1e-2


def test_a_site_that_does_nothing_is_named():
    engine = Changed(tiny_module("llama"), ignored)
    slopes = gate_slopes(engine, BASE, SOURCE)
    assert slopes.none == tuple((WHERE, head) for head in range(N_HEADS))
    assert silent(engine, BASE, slopes.none) == slopes.none


def test_a_head_whose_output_weights_are_zero_is_silent():
    module: Any = tiny_module("llama")
    with torch.no_grad():
        module.model.layers[1].self_attn.o_proj.weight[:, 8:16] = 0
    engine = HooksEngine(module)
    assert gate_slopes(engine, BASE, SOURCE).none == ((WHERE, 1),)
    everything = [(WHERE, head) for head in range(N_HEADS)]
    assert silent(engine, BASE, everything) == ((WHERE, 1),)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "qwen3"])
def test_heads_are_the_models_heads(architecture):
    assert wrong_parts(hooks_engine(architecture), BASE) == {}


def test_heads_in_another_order_are_seen():
    wrong = wrong_parts(Changed(tiny_module("llama"), shuffled), BASE)
    assert wrong.keys() == {1}
    assert "other queries in head" in wrong[1]


def test_halves_of_heads_are_seen():
    engine = hooks_engine("llama")
    for point, place in engine._sites.places.items():
        if point.kind == "heads":
            engine._sites.places[point] = type(place)(place.module, place.side, 2 * N_HEADS)
    assert wrong_parts(engine, BASE)[0] == "its heads have 8 parts and the model says 4 heads"


def test_another_number_of_heads_than_the_model_attends_with_is_seen():
    module: Any = tiny_module("llama")
    module.config.num_attention_heads = 2
    wrong = wrong_parts(HooksEngine(module), BASE)
    assert wrong == dict.fromkeys(range(3), "it attends with 4 heads and the model says 2")


def test_a_norm_over_all_heads_is_no_wrong_cut():
    """BitNet scales all heads together before its output projection."""
    for dtype in (torch.float32, torch.bfloat16):
        assert wrong_parts(HooksEngine(family(tiny_config("bitnet")).to(dtype)), BASE) == {}


def test_halves_of_differential_heads_are_seen():
    """DiffLlama subtracts heads in pairs, outside transformers' attention interface: what comes out
    is half as many heads of twice the width."""
    wrong = wrong_parts(HooksEngine(family(tiny_config("diffllama"))), BASE)
    assert wrong.keys() == {0, 1, 2}


@pytest.mark.parametrize("name", ["xglm", "trocr"])
def test_heads_outside_the_interface_are_tried_by_the_map_to_queries(name):
    engine = HooksEngine(family(tiny_config(name)))
    assert not engine.has(Point(1, "q")) and engine.has(Point(1, QUERIES))
    assert wrong_parts(engine, BASE) == {}


HYBRID = {
    "qwen3_next": "linear_attn",
    "lfm2": "conv",
    "jamba": "mamba",
    "falcon_h1": "mamba",
    "nemotron_h": "mixer",
}


@pytest.mark.parametrize("name", HYBRID)
def test_modules_of_hybrid_models_that_are_no_sites_are_known(name):
    engine = HooksEngine(family(tiny_config(name)))
    assert {at.kind for at in engine.others} == {OTHER + HYBRID[name]}
    assert additive_gap(engine, BASE, SOURCE) < 1e-5
    assert additive_gap(engine, BASE, SOURCE, list(engine.others)) > 1e-2
    mixers = {at.layer for at in engine.others}
    if name == "nemotron_h":  # each of its layers holds one thing
        assert mixers.isdisjoint(at.layer for at in sites(engine))


@pytest.mark.parametrize("architecture", ["llama", "opt", "bloom", "mixtral"])
def test_models_of_heads_and_mlps_have_no_others(architecture):
    assert hooks_engine(architecture).others == {}


def test_only_what_hands_on_from_token_to_token_mixes():
    module: Any = family(tiny_config("qwen3_next"))
    linear, mlp = module.model.layers[0].linear_attn, module.model.layers[0].mlp
    assert mixing(module, [linear, mlp]) == {id(linear)}


@pytest.mark.parametrize("name", ["deepseek_v3", "qwen3_next", "falcon_h1"])
def test_a_patched_head_is_the_head_that_is_patched_by_hand(name):
    """Latent attention and hybrids: a slice of what enters the output projection, as the model
    itself lays heads out."""
    module: Any = family(tiny_config(name))
    engine = HooksEngine(module)
    at = next(point for point in sites(engine) if point.kind == "heads")
    block = engine._sites.blocks[at.layer]
    ends = ("o_proj", "out_proj")
    projection: Any = next(
        part
        for path, part in block.named_modules()
        if path.endswith(ends) and "attn" in path and "linear" not in path
    )
    seen: list[Any] = []
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        module(SOURCE)
        handle.remove()
        width = seen[0].shape[-1] // N_HEADS
        for head in range(N_HEADS):
            part = slice(head * width, (head + 1) * width)

            def by_hand(_: Any, args: Any, part: slice = part) -> Any:
                own = args[0].clone()
                own[..., part] = seen[0][..., part]
                return (own,)

            def by_engine(own: Any, head: int = head, part: slice = part) -> Any:
                own = own.clone()
                own[:, :, head] = seen[0][..., part]
                return own

            handle = projection.register_forward_pre_hook(by_hand)
            wanted = module(BASE).logits[:, -1]
            handle.remove()
            got, _ = engine.forward(BASE, edits=[(at, by_engine)])
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
            assert not torch.allclose(got, module(BASE).logits[:, -1], atol=1e-5)
