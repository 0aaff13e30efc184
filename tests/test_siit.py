"""The model trained to have a circuit that is given: re-measured with the engine, not believed."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import random
from dataclasses import replace

import pytest
import torch

from circuitfind import load_model
from circuitfind.engines.boot import native_shapes
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.site import Site
from circuitfind.models.loading import build_native, load_saved
from circuitfind.models.native import read_native
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.patching import prepare, run
from desiderata import Desideratum, Pair, SavedInputs
from scripts.siit_net import ANSWERS, Net, Shape, all_settings, spread
from scripts.train_siit import FOLDER
from tasks.siit import ALIGNED, carries_left, model

NAME, N = "siit-arithmetic", 150
SHAPE = Shape()
SITES = tuple(Site(parse_site(f"{name}@all").component, "all") for name in SHAPE.components)
OTHERS = tuple(name for name in SHAPE.components if name not in ALIGNED.values())


@pytest.fixture(scope="module")
def trained():
    return load_model(NAME, device="cpu")


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    native = replace(read_native(FOLDER, native_shapes), weights=Net(SHAPE).state_dict())
    return build_native(native, "untrained", device="cpu")


@pytest.fixture(scope="module")
def settings():
    return all_settings()


def drawn(n, seed):
    """Settings of the inputs, two by two."""
    rng = random.Random(seed)
    made = [inputs for _ in range(2 * n) if (inputs := model.draw(rng)) is not None]
    return list(zip(made[::2], made[1::2], strict=True))


def pairs(variable=None, n=N, seed=0):
    """Pairs of prompts that differ in anything; expected is the answer under the interchange."""
    made = []
    for base, source in drawn(n, seed):
        after = model.run(base) if variable is None else model.interchange(base, source, variable)
        base, source = model.run(base), model.run(source)
        made.append(
            Pair(
                base=model.render(base),
                source=model.render(source),
                expected=model.write_answer(after),
                base_answer=model.write_answer(base),
                source_answer=model.write_answer(source),
            )
        )
    return tuple(made)


def accuracies(engine_model, circuits, variable=None):
    """The share of pairs that come out as expected, components of each set interchanged."""
    made = Desideratum(
        name="interchange", part="inside", sense="follows", pairs=pairs(variable), at=("all",)
    )
    (batch,) = encode(engine_model, [made])
    gates = torch.tensor([[float(name in each) for name in SHAPE.components] for each in circuits])
    logits = run(prepare(engine_model, batch, SITES), gates)
    return batch.answer.hit(logits, batch.expected).float().mean(1).tolist()


def test_it_is_right_on_every_saved_input(trained):
    (desideratum,) = SavedInputs(load_saved(NAME)).everything()
    (batch,) = encode(trained, [desideratum])
    assert len(batch) >= 100
    made = trained.engine.forward(batch.base.tokens)[0].argmax(-1)
    assert torch.equal(made, batch.base_answer.spelling.ids[:, 0, 0])


def test_it_is_right_on_prompts_of_its_task(trained):
    assert accuracies(trained, [()]) == [1.0]


@pytest.mark.parametrize("variable", ALIGNED)
def test_its_component_carries_each_variable(trained, variable):
    circuits = [(ALIGNED[variable],), (ALIGNED[variable], *OTHERS)]
    assert min(accuracies(trained, circuits, variable)) >= 0.99


def test_other_components_change_no_answer_alone_together_or_in_part(trained):
    rng = random.Random(0)
    parts = [tuple(name for name in OTHERS if rng.random() < 0.5) for _ in range(20)]
    assert min(accuracies(trained, [*((name,) for name in OTHERS), OTHERS, *parts])) >= 0.99


def test_other_components_are_busy(settings):
    """They write as much as the aligned ones do, within a factor: nothing in their size tells."""
    net = Net(SHAPE)
    net.load_state_dict(read_native(FOLDER, native_shapes).weights)
    with torch.no_grad():
        wrote = spread(net, net(settings.take(torch.arange(0, len(settings), 97)).tokens)[1])
    quietest = min(wrote[name] for name in ALIGNED.values())
    assert min(wrote[name] for name in OTHERS) > 0.1 * quietest


def test_an_untrained_model_meets_none_of_this(untrained):
    assert accuracies(untrained, [()])[0] < 0.4
    for variable, name in ALIGNED.items():
        assert accuracies(untrained, [(name,)], variable)[0] < 0.4


@pytest.mark.parametrize("donor", ["resample", "source"])
def test_its_truth_is_the_aligned_set(trained, donor):
    """Kept alone it keeps every output; without one of them, all else kept, outputs change."""
    native = read_native(FOLDER, native_shapes)
    assert native.truth is not None
    assert native.truth["ablations"][donor] == [sorted(ALIGNED.values())]
    batches = encode(trained, SavedInputs(native.inputs, donor).everything())
    objective = Objective(trained, batches, SITES)
    aligned = torch.tensor([float(name in ALIGNED.values()) for name in SHAPE.components])
    without = 1 - torch.eye(len(SITES))[aligned.bool()]
    hits = objective.hits(0, torch.cat([aligned[None], without]))
    assert hits[0].all()
    assert not hits[1:].all(dim=1).any()


def test_its_claims_hold_of_the_component_that_they_name_and_of_no_other(trained):
    _, held_out = carries_left.sample(n=30, seed=0)
    batches = encode(trained, held_out)
    sites = tuple(Site(site.component, "last") for site in SITES)
    objective = Objective(trained, batches, sites)
    scores = objective.scores(torch.eye(len(sites))).amin(dim=1)
    holds = {str(site.component) for site, score in zip(sites, scores, strict=True) if score > 0.9}
    assert holds == {ALIGNED["left"]}


def test_the_script_runs_the_model_that_the_engine_runs(trained, settings):
    net = Net(SHAPE)
    net.load_state_dict(read_native(FOLDER, native_shapes).weights)
    tokens = settings.take(torch.arange(0, len(settings), 997)).tokens
    with torch.no_grad():
        theirs = trained.engine.forward(tokens)[0][:, ANSWERS]
        torch.testing.assert_close(net(tokens)[0], theirs, atol=1e-3, rtol=1e-4)


def test_the_script_interchanges_variables_as_the_causal_model_does(settings):
    rows = {tuple(tokens): row for row, tokens in enumerate(settings.tokens.tolist())}
    tokenizer = {word: n for n, word in enumerate(read_native(FOLDER, native_shapes).words)}

    def row_of(inputs) -> int:
        return rows[tuple(tokenizer[word] for word in model.render(inputs).text.split())]

    rng = random.Random(1)
    chosen = drawn(200, seed=1)
    base, source = (
        settings.take(torch.tensor([row_of(pair[side]) for pair in chosen])) for side in (0, 1)
    )
    forced = [[name for name in ALIGNED if rng.random() < 0.4] for _ in chosen]
    columns = torch.tensor([[name in names for name in ALIGNED] for names in forced])
    expected = [
        model.interchange(*pair, names)["answer"]
        for pair, names in zip(chosen, forced, strict=True)
    ]
    assert base.interchange(source, columns).tolist() == expected
