"""Donors: what each gives by hand, and that it does not depend on how pairs are cut."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.donors.known import DONORS, donor_of
from circuitfind.donors.other_model import OtherModel, differences
from circuitfind.engines.engine import Point
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import SearchSpace, all_sites
from circuitfind.mediators.whole import EMBED
from circuitfind.models.loading import load_model, wrap_module
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.patching import prepare, run
from circuitfind.search import SearchConfig, candidate_sites, search
from circuitfind.testing import check_donor
from desiderata import Prompt
from desiderata.choices import DONORS as NAMES
from tasks.variable_binding import model as binding

from .. import planted as wired
from ..tiny import N_HEADS, N_LAYERS, random_desideratum

POINT = Point(1, "heads")
EXACT: dict[str, Any] = {"atol": 0.0, "rtol": 0.0}


@pytest.fixture(scope="module")
def other(tiny):
    """The tiny llama with other weights, but for those after a site: a head's slice goes through
    the output projection of the model that is patched, and all of it through its last norm and its
    unembedding."""
    model = tiny("llama")
    module = copy.deepcopy(model.engine.model)
    generator = torch.Generator().manual_seed(1)
    for name, weight in module.model.named_parameters():
        if "o_proj" not in name and name != "norm.weight":
            weight.copy_(0.4 * torch.randn(weight.shape, generator=generator))
    return wrap_module(module, "other", tokenizer=model.tokenizer)


def of_one_length(at, donor, n=6):
    """Pairs whose prompts all have as many tokens, as a mean at `all` needs."""
    made = random_desideratum(("all",), n=60)
    pairs = [pair for pair in made.pairs if len(pair.base.text.split()) == 4][:n]
    return replace(made, pairs=tuple(pairs), at=at, donor=donor)


def taken(model, batch, position="x"):
    """What the heads of the middle layer take at a position, without a prefix."""
    sites = all_sites(N_LAYERS, N_HEADS, (position,))
    (patch,) = prepare(model, batch, sites, reuse=False).patches[POINT]
    return patch.donor


def heads_in(model, prompts):
    """What the heads of the middle layer give in these prompts, by hand."""
    seen = []
    with torch.no_grad():
        model.engine.forward(prompts.tokens, prompts.attends, [(POINT, seen.append)])
    return seen[0]


@pytest.mark.parametrize("name", ["llama", "llama on bridge"])
def test_each_donor_by_hand(tiny, name):
    model = tiny(name)
    batches = {
        donor: encode(model, [random_desideratum(("x",), n=12, donor=donor)])[0] for donor in NAMES
    }
    source = batches["source"].source
    rows = torch.arange(12)
    own = heads_in(model, source)[rows, source.columns["x"]].unsqueeze(1)
    torch.testing.assert_close(taken(model, batches["source"]), own, **EXACT)
    assert not taken(model, batches["zero"]).any()
    mean = own.mean(dim=0, keepdim=True).expand(12, -1, -1, -1)
    torch.testing.assert_close(taken(model, batches["mean"]), mean)
    # Lengths repeat every six pairs, and pairs 0 and 5 are as long as 3 and 2.
    lengths = source.attends.sum(dim=1).tolist()
    before = [
        next(row for row in [*range(n - 1, -1, -1), *range(11, n - 1, -1)] if lengths[row] == size)
        for n, size in enumerate(lengths)
    ]
    assert all(one != other for one, other in enumerate(before))
    torch.testing.assert_close(taken(model, batches["resample"]), own[before])


def test_a_mean_at_all_is_taken_place_by_place(tiny):
    model = tiny("llama")
    batch = encode(model, [of_one_length(("all",), "mean")])[0]
    mean = heads_in(model, batch.source).mean(dim=0)
    found = taken(model, batch, "all")
    assert len(found) == len(batch) > 3 and not torch.allclose(mean[0], mean[1], atol=0.05)
    for own in found:
        torch.testing.assert_close(own, mean)


def test_resample_pairs_up_sources_of_one_length(planted):
    """A length of its own takes the one before among all such."""
    texts = ["k1", "k2 v2", "k3", "k4 v4 k4", "k5 v5", "k6", "k7 v7 k7 v7"]
    made = random_desideratum(("last",), n=len(texts), donor="resample")
    prompts = [replace(made.pairs[0].base, text=text, spans=()) for text in texts]
    pairs = tuple(
        replace(wired_pair, base=prompt, source=prompt)
        for wired_pair, prompt in zip(_planted_pairs(len(texts)), prompts, strict=True)
    )
    batch = encode(planted, [replace(made, pairs=pairs)])[0]
    rows = [
        next(n for n, one in enumerate(batch.source.tokens.tolist()) if one == donated)
        for donated in batch.donated.tokens.tolist()
    ]
    assert rows == [5, 4, 0, 6, 1, 2, 3]


def _planted_pairs(n):
    return wired.claim.sample(n, 0)[0][0].pairs


# -- the law: a pair takes the same however pairs are cut


@pytest.mark.parametrize("donor", NAMES)
@pytest.mark.parametrize("at", [("x", "last"), ("all",)])
@pytest.mark.parametrize("name", ["gpt2", "native, bidirectional"])
def test_every_donor_keeps_the_laws(tiny, donor, at, name):
    model = tiny(name)
    check_donor(DONORS.named(donor), model, of_one_length(at, donor))
    if at != ("all",):
        check_donor(DONORS.named(donor), model, random_desideratum(at, n=7))


@pytest.mark.parametrize("donor", NAMES)
def test_taking_rows_takes_what_they_took(tiny, donor):
    model = tiny("llama")
    batch = encode(model, [random_desideratum(("x",), n=12, donor=donor)])[0]
    whole = taken(model, batch)
    rows = [7, 2, 3]
    few = batch.take(rows)
    torch.testing.assert_close(taken(model, few), whole[rows], atol=1e-5, rtol=1e-5)
    again = few.take([2])
    torch.testing.assert_close(taken(model, again), whole[[3]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("donor", NAMES)
def test_how_many_pairs_run_at_once_changes_no_result(donor):
    """As in `discover --donor mean --batch 16`: null, ceiling and scores of any circuit."""
    model = load_model("binder", device="cpu")
    desiderata = binding.suffices(at="last", donor=donor).sample(24, 0)[0]
    sites = candidate_sites(model, desiderata)
    masks = torch.bernoulli(torch.full((6, len(sites)), 0.6))
    made = []
    for size in (256, 5):
        few = replace(model, pairs_at_once=size)
        objective = Objective(few, encode(few, desiderata), sites)
        made.append((objective.bounds(), objective.scores(masks), objective.leads(0, masks)))
    (bounds, scores, leads), (few_bounds, few_scores, few_leads) = made
    assert bounds == few_bounds
    torch.testing.assert_close(few_scores, scores, **EXACT)
    torch.testing.assert_close(few_leads, leads, atol=1e-3, rtol=1e-4)


def in_pieces_of(size, model, desideratum, masks):
    """All that depends on what pairs take, with so many pairs at once."""
    few = replace(model, pairs_at_once=size)
    objective = Objective(
        few, encode(few, [desideratum]), SearchSpace(desideratum.at).sites(model.engine)
    )
    gates = masks[0].clone().requires_grad_()
    loss, share = objective.backward({0: 1.0}, gates)[0]
    return {
        "bounds": objective.bounds(),
        "hits": objective.hits(0, masks),
        "share": torch.tensor(share),
        "loss": torch.tensor(loss),
        "gradient": gates.grad,
        "leads": objective.pair_leads(0, masks),
    }


@pytest.mark.parametrize("donor", [*NAMES, "another model", "another model on the source"])
@pytest.mark.parametrize("part", ["inside", "outside"])
@pytest.mark.parametrize("at", [("x", "last"), ("all",)])
def test_no_donor_depends_on_the_pieces_that_pairs_are_cut_into(tiny, other, donor, part, at):
    """Prompts of several lengths, so that a piece has another padding than the whole; at `all` of
    one length where a mean needs that."""
    model = tiny("llama")
    crossed = donor == "another model on the source"
    given = donor if donor in NAMES else OtherModel(other, crossed)
    one_length = at == ("all",) and donor == "mean"
    made = of_one_length(at, given, n=7) if one_length else random_desideratum(at, 7, donor=given)
    made = replace(made, part=part)
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, len(SearchSpace(at).sites(model.engine)), generator=generator)
    whole = in_pieces_of(256, model, made, masks)
    assert float(whole["leads"].std()) > 0.1
    cut = in_pieces_of(3, model, made, masks)  # three, three and one
    assert cut["bounds"] == whole["bounds"] and torch.equal(cut["hits"], whole["hits"])
    for name in ("share", "loss", "gradient", "leads"):
        torch.testing.assert_close(cut[name], whole[name], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("donor", ["mean", "resample"])
def test_how_many_pairs_run_at_once_changes_no_circuit(planted, donor):
    train, _ = wired.task.suffices(at="last", donor=donor).sample(24, 0)
    found = [
        search(replace(planted, pairs_at_once=size), train, "greedy", config=SearchConfig(rounds=1))
        for size in (256, 7)
    ]
    assert found[0].circuit.sites == found[1].circuit.sites
    assert found[0].success and found[1].success


# -- another model


@pytest.mark.parametrize("name", ["llama", "llama on bridge"])
@pytest.mark.parametrize("at", [("x", "last"), ("all",)])
def test_a_model_that_is_its_own_donor_changes_nothing(tiny, name, at):
    model = tiny(name)
    batch = encode(model, [random_desideratum(at, donor=OtherModel(model))])[0]
    sites = (*all_sites(N_LAYERS, N_HEADS, at), *(Site(EMBED, position) for position in at))
    gates = torch.ones(1, len(sites))
    with torch.no_grad():
        plain, _ = model.engine.forward(batch.base.tokens, batch.base.attends)
    torch.testing.assert_close(
        run(prepare(model, batch, sites), gates)[0], plain, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("crossed", [False, True])
def test_another_model_everywhere_gives_its_logits(tiny, other, crossed):
    """Of one that shares the weights behind the sites."""
    model = tiny("llama")
    donor = OtherModel(other, crossed)
    batch = encode(model, [random_desideratum(("all",), donor=donor)])[0]
    sites = (*all_sites(N_LAYERS, N_HEADS, ("all",)), Site(EMBED, "all"))
    prompts = batch.source if crossed else batch.base
    assert batch.donated is prompts
    assert donor.name == f"other on the {'source' if crossed else 'base'}"
    made = run(prepare(model, batch, sites), torch.ones(1, len(sites)))[0]
    with torch.no_grad():
        wanted, mine = (
            one.engine.forward(prompts.tokens, prompts.attends)[0] for one in (other, model)
        )
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(made, mine, atol=0.1)
    check_donor(donor, model, random_desideratum(("x", "last"), n=4))


def test_another_model_gives_its_own_where_prompts_begin_alike(tiny, other):
    """What base and source have in common is not the same in two models."""
    model, donor = tiny("llama"), OtherModel(other, crossed=True)
    made = of_one_length(("all",), donor)
    pairs = tuple(
        replace(pair, base=Prompt(f"w1 w2 w3 {pair.base.text}"), source=Prompt(f"w1 w2 w3 {text}"))
        for pair in made.pairs
        for text in [pair.source.text]
    )
    batch = encode(model, [replace(made, pairs=pairs)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("all",))
    # Where all is patched, what was computed before does not matter.
    gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(0))
    found, whole = (
        run(prepare(model, batch, sites, reuse=reuse), gates) for reuse in (True, False)
    )
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=1e-4)
    assert batch.base.tokens[:, :3].equal(batch.source.tokens[:, :3])


def test_models_that_do_not_fit_are_refused_with_every_reason(tiny, planted):
    model = tiny("llama")
    made = random_desideratum(("last",), donor=OtherModel(planted))
    batch = encode(model, [made])[0]
    with pytest.raises(ValueError) as error:
        prepare(model, batch, all_sites(N_LAYERS, N_HEADS, ("last",)))
    for words in (
        "planted cannot be a donor for llama",
        f"n_layers is {planted.n_layers} and 3",
        f"d_model is {planted.d_model} and 32",
        "d_vocab is",
        "different vocabularies",
    ):
        assert words in str(error.value)
    assert differences(model, model) == []
    assert differences(model, replace(model, prepend_bos=True)) == [
        "only one of them gets a BOS token"
    ]


def test_every_name_of_the_language_is_a_donor():
    assert set(NAMES) == {donor.name for donor in DONORS.all()}


def test_what_is_no_donor_is_refused():
    made = random_desideratum(("last",))
    assert donor_of(made) == DONORS.named("source")
    with pytest.raises(ValueError, match="donor must be one of source, mean, zero, resample"):
        replace(made, donor="sofa")

    class Named:
        name = "named only"

    with pytest.raises(TypeError, match="a donor has prompts, runs_in and value"):
        donor_of(replace(made, donor=Named()))
