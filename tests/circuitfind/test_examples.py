"""Example pairs and attention patterns: what the page shows is what the model does."""

import pytest
import torch

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.site import Site
from circuitfind.objective.encoding import encode
from circuitfind.objective.recording import record_attention
from circuitfind.runs.find_examples import SHOWN, find_examples
from circuitfind.validate import validate

from .. import planted as wired
from ..tiny import bridge_of, random_desideratum


def circuit_of(*members):
    sites = tuple(Site(member, "last") for member in members)
    return Circuit(
        model="planted",
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=sites,
        scores=(0.0,) * len(sites),
    )


@pytest.fixture(scope="module")
def batches(planted):
    return encode(planted, wired.claim.sample(40, 3)[1])


def examples_of(planted, members, batches):
    circuit = circuit_of(*members)
    card = validate(planted, circuit, batches, checks=["satisfaction"])
    return find_examples(planted, circuit, batches, card)


@pytest.mark.parametrize("donor", ["zero", "mean", "resample"])
def test_examples_get_what_the_card_scored_whatever_the_donor(planted, donor):
    batches = encode(planted, wired.claim.ablated(donor).sample(40, 3)[1])
    for one in examples_of(planted, wired.CIRCUIT[:1], batches).sets:
        rights = [example.right for example in one.examples]
        assert rights == sorted(rights)
        assert rights.count(False) == min(SHOWN, one.n - one.right)


def test_examples_of_the_true_circuit(planted, batches):
    made = examples_of(planted, wired.CIRCUIT, batches)
    assert [one.name for one in made.sets] == [batch.desideratum.name for batch in batches]
    for one, batch in zip(made.sets, batches, strict=True):
        assert (one.n, one.right, len(one.examples)) == (40, 40, SHOWN)
        inside = batch.desideratum.part == "inside"
        for example, pair in zip(one.examples, batch.desideratum.pairs, strict=False):
            assert (example.base, example.source) == (pair.base.text, pair.source.text)
            assert (example.expected, example.base_answer) == (pair.expected, pair.base_answer)
            assert example.got == pair.expected.strip()  # as the tokenizer writes a word
            assert example.untouched == pair.base_answer.strip()
            assert example.right
            if inside and batch.desideratum.sense == "follows" and not pair.is_novel:
                assert example.source_answer == example.expected
                assert example.everything == pair.expected.strip()


def test_wrong_pairs_come_first_and_are_counted_as_the_card_counts(planted, batches):
    half = circuit_of(wired.CIRCUIT[0])
    card = validate(planted, half, batches, checks=["satisfaction"])
    for one, score in zip(
        find_examples(planted, half, batches, card).sets, card.desiderata, strict=True
    ):
        assert one.right / one.n == score.satisfaction
        rights = [example.right for example in one.examples]
        assert rights == sorted(rights)
        assert rights.count(False) == min(SHOWN, one.n - one.right)
        assert all((one.got == one.expected.strip()) == one.right for one in one.examples)


def test_the_attention_shown_is_where_the_head_looks(planted, batches):
    looks = examples_of(planted, wired.CIRCUIT, batches).attention
    text = batches[0].desideratum.pairs[0].base.text
    assert "".join(looks.tokens) == text
    assert looks.columns == {"last": len(looks.tokens) - 1}
    tokens = [token.strip() for token in looks.tokens]
    value = tokens.index(tokens[-1]) + 1  # beside its key, earlier in the prompt
    assert set(looks.weights) == {"a1.h0@last", "a1.h1@last"}
    for row in looks.weights.values():
        assert sum(row) == pytest.approx(1, abs=0.01)
        assert max(range(len(row)), key=row.__getitem__) == value


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "llama on bridge", "native"])
def test_attention_is_the_models_own_whatever_the_padding(tiny, architecture):
    model = tiny(architecture)
    plain = architecture.removesuffix(" on bridge")
    bridge = bridge_of(tiny(plain if plain == "native" else f"{plain} on bridge"))
    batch = encode(model, [random_desideratum(("last", "x"))])[0]
    sites = [parse_site(name) for name in ("a1.h2@last", "a0.h1@x", "m1@last", "a1.h0@sofa")]
    found = record_attention(model, batch.base, sites)
    assert list(map(str, found)) == ["a1.h2@last", "a0.h1@x"]
    for row in range(len(batch)):
        real = batch.base.attends[row].bool()
        _, seen = bridge.run_with_cache(batch.base.tokens[row, real][None])
        column = int(batch.base.columns["x"][row]) - int((~real).sum())
        for site, query in ((sites[0], -1), (sites[1], column)):
            name = f"blocks.{site.component.layer}.attn.hook_pattern"
            own = seen[name][0, site.component.index, query]
            torch.testing.assert_close(found[site][row, real], own, atol=1e-5, rtol=1e-4)
            assert found[site][row, ~real].sum() == 0


def test_heads_at_all_positions_are_looked_at_where_the_answer_is_read(tiny):
    model = tiny("native")
    site = Site(head(1, 2), "all")
    batch = encode(model, [random_desideratum(("all",), read="1")])[0]
    (weights,) = record_attention(model, batch.base, [site]).values()
    assert batch.base.reads is not None
    assert weights[0, int(batch.base.reads[0]) + 1 :].sum() == 0  # a later token is not seen
