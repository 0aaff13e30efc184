"""From text to tokens: positions, answers, padding, and what is refused."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from dataclasses import replace

import pytest
import torch

from circuitfind.models.model import Tokens
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode, token_of
from circuitfind.objective.fitting import fit_to_tokenizer
from circuitfind.objective.precheck import Solved, keep_known, keep_solved, precheck, solves
from desiderata import CausalModel, Claim, Desideratum, Pair, Prompt, Span, choice, fill, pool_of

from .. import planted as wired
from ..tiny import random_desideratum


def desideratum(*pairs, at=("last",), **options):
    return Desideratum(
        name="d", part="inside", sense="follows", pairs=tuple(pairs), at=at, **options
    )


def pair(base, source, expected=" v1", own=" v2", theirs=None):
    def prompt(text):
        return text if isinstance(text, Prompt) else Prompt(text)

    return Pair(
        base=prompt(base),
        source=prompt(source),
        expected=expected,
        base_answer=own,
        source_answer=theirs,
    )


def test_prompts_end_in_the_last_column_whatever_their_length(planted):
    batch = encode(planted, [desideratum(pair("k1 v1 k1", "k2"), pair("k3", "k1 v2 k3 v4 k1"))])[0]
    assert batch.base.tokens.shape == (2, 3)
    assert batch.source.tokens.shape == (2, 5)
    assert batch.base.attends.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.base.columns["last"].tolist() == [2, 2]
    assert batch.source.columns["last"].tolist() == [4, 4]
    words = planted.tokenizer.convert_ids_to_tokens(batch.base.tokens[:, -1].tolist())
    assert words == ["k1", "k3"]
    ids = batch.expected.spelling.ids
    assert ids.shape == (2, 1, 1) and batch.continued is None
    assert planted.tokenizer.convert_ids_to_tokens(ids[:, 0, 0].tolist()) == ["v1", "v1"]
    assert batch.expected.known.tolist() == [True, True]
    assert batch.source_answer.known.tolist() == [False, False]


def test_a_span_is_its_last_token_in_every_row(planted):
    rows = [
        pair(fill("k1 {x} k1", x="v1 v2"), fill("{x} k1", x="v3")),
        pair(fill("{x}", x="k5"), fill("k9 k9 k9 {x} k2", x="v7")),
    ]
    batch = encode(planted, [desideratum(*rows, at=("x", "last"))])[0]

    def words(prompts, name):
        ids = prompts.tokens[torch.arange(2), prompts.columns[name]].tolist()
        return planted.tokenizer.convert_ids_to_tokens(ids)

    assert words(batch.base, "x") == ["v2", "k5"]
    assert words(batch.source, "x") == ["v3", "v7"]


def test_a_span_is_the_tokens_that_cover_it_and_not_their_neighbours(planted):
    """Where tokens touch, as in "k1v1": a neighbour ends where the span begins."""
    prompt = Prompt("k1v1k2", (Span("a", 0, 2), Span("b", 2, 4), Span("c", 3, 5), Span("d", 4, 6)))
    touching = Tokens((1, 2, 3), ((0, 2), (2, 4), (4, 6)))
    assert [token_of(prompt, touching, name) for name in "abcd"] == [0, 1, 2, 2]
    spaced = Tokens((1, 2), ((0, 2), (4, 6)))
    with pytest.raises(LookupError, match="no token covers the span 'b'"):
        token_of(prompt, spaced, "b")


def test_an_answer_is_read_at_the_index_that_is_named(planted):
    rows = [pair("k1 v1 k2", "k2 v2", theirs=" v3"), pair("k3 k4", "k1 v2 k3 v4 k1")]
    batch = encode(planted, [desideratum(*rows, read="1")])[0]
    assert batch.base.reads is not None and batch.source.reads is not None
    assert batch.base.reads.tolist() == [1, 2]  # the second prompt is padded by one
    assert batch.source.reads.tolist() == [4, 1]
    taken = batch.take([1])
    assert taken.base.reads is not None
    assert taken.base.reads.tolist() == [1]
    assert batch.source_answer.known.tolist() == [True, False]
    ids = batch.source_answer.spelling.ids[0, 0].tolist()
    assert planted.tokenizer.convert_ids_to_tokens(ids) == ["v3"]
    last = encode(planted, [desideratum(*rows)])[0]
    assert last.base.reads is None and last.source.reads is None


def test_an_answer_is_spelled_after_the_token_that_it_is_read_at(planted):
    """After "k1" it would be "k1v2", and not after the whole prompt, which ends in a space."""
    rows = [pair("k1 v1 ", "k2 v2 ", expected="v2")]
    with pytest.raises(ValueError, match="'v2' merges with the end of its prompt"):
        encode(planted, [desideratum(*rows, read="0")])
    batch = encode(planted, [desideratum(*rows)])[0]
    ids = batch.expected.spelling.ids[0, 0].tolist()
    assert planted.tokenizer.convert_ids_to_tokens(ids) == ["v2"]


def test_an_answer_is_read_after_a_span(planted):
    rows = [
        pair(fill("k1 {x} k2", x="v1"), fill("{x} k2", x="k2 v2")),
        pair(fill("{x} k3 k4", x="k3"), fill("k1 {x}", x="v5")),
    ]
    batch = encode(planted, [desideratum(*rows, read="x")])[0]
    assert batch.base.reads.tolist() == [1, 0] and batch.source.reads.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"no span 'y' .* its spans are: x"):
        encode(planted, [desideratum(*rows, read="y")])


def test_a_prompt_without_the_token_to_read_is_refused(planted):
    rows = [pair("k1 v1", "k2 v1 k3", theirs=" v2"), pair("k1 v1 k3", "k2")]
    with pytest.raises(ValueError, match="read at token 2 of 'k1 v1', which has 2 tokens"):
        encode(planted, [desideratum(*rows, read="2")])
    encode(planted, [desideratum(rows[1], read="2")])  # the source's own answer is not asked for


@pytest.mark.parametrize("read", ["", "all"])
def test_read_is_one_place(read):
    with pytest.raises(ValueError, match="read must be 'last', a span's name, or the index"):
        desideratum(pair("k1", "k2"), read=read)


def test_pairs_that_the_model_solves_are_solved_where_the_answer_is_read(planted):
    """Here the first key is asked for again after the second value: "k1 v1 k2 v2 k1" -> v1."""
    text = "k1 v1 k2 v2 k1 k2 k2"
    rows = [pair(text, "k3 v3 k4 v4 k3 k4 k3", " v1", own, " v3") for own in (" v1", " v2")]
    batch = encode(planted, [desideratum(*rows, read="4")])[0]
    assert solves(planted, batch, Cost()).tolist() == [True, False]
    # The source counts too, where its answer is given.
    rows = [replace(rows[0], source_answer=theirs) for theirs in (" v3", " v4", None)]
    batch = encode(planted, [desideratum(*rows, read="4")])[0]
    assert solves(planted, batch, Cost()).tolist() == [True, False, True]


def test_a_mean_at_all_needs_prompts_of_one_length(planted):
    def made(*texts):
        return desideratum(
            pair("k1 v1", "k2 v2"), at=("all",), donor="mean", mean_over=tuple(map(Prompt, texts))
        )

    batch = encode(planted, [made("k1 v1", "k5 v3", "k6 v6")])[0]
    assert batch.donated.tokens.shape == (3, 2)
    assert batch.take([0]).donated is batch.donated
    with pytest.raises(ValueError, match="needs prompts of one length in tokens; they have 1, 2"):
        encode(planted, [made("k1 v1", "k5")])


def test_taking_rows_drops_columns_that_only_padding_filled(planted):
    batch = encode(planted, [desideratum(pair("k1 v1 k1", "k2"), pair("k3", "k1 v2 k3 v4 k1"))])[0]
    alone = batch.take([1])
    assert alone.base.tokens.shape == (1, 1)
    assert alone.source.tokens.shape == (1, 5)
    assert alone.base.columns["last"].tolist() == [0]
    assert alone.desideratum.pairs == batch.desideratum.pairs[1:]
    turned = batch.take([1, 0])
    assert turned.base.tokens.shape == (2, 3) and turned.source.tokens.shape == (2, 5)
    assert turned.base.tokens[1].tolist() == batch.base.tokens[0].tolist()
    assert turned.base.attends.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert turned.base.columns["last"].tolist() == [2, 2]


def test_every_problem_is_told_at_once(planted):
    rows = [
        pair("k1 zebra k1", "k2", expected="1"),
        pair(fill("k1 {x}", x="v1"), "k2", own="2"),
    ]
    with pytest.raises(ValueError) as error:
        encode(planted, [desideratum(*rows, at=("y",))])
    for words in (
        "does not know the word(s) 'zebra'",
        "'1' merges with the end of its prompt",
        "'2' merges with the end of its prompt",
        "no span 'y'",
    ):
        assert words in str(error.value)


def test_an_answer_that_merges_with_its_prompt_is_refused(planted):
    with pytest.raises(ValueError, match="merges with the end of its prompt"):
        encode(planted, [desideratum(pair("k1", "k2", expected="5"))])


def test_all_needs_even_lengths(planted):
    with pytest.raises(ValueError, match="1 of 2 pairs differ, such as 'k1 k2' and 'k3'"):
        encode(planted, [desideratum(pair("k1 k2", "k3"), pair("k1", "k2"), at=("all",))])
    with pytest.raises(ValueError, match="2 of 2 pairs differ, such as 'k3' and 'k1 k2'"):
        encode(planted, [desideratum(pair("k3", "k1 k2"), pair("k1 v1", "k2"), at=("all",))])


def test_a_donor_at_all_needs_prompts_as_long_as_the_bases(planted):
    """Two sources of lengths of their own take each other's: one longer, one shorter."""
    rows = pair("k1 k2", "k3 k4"), pair("k1", "k2")
    with pytest.raises(ValueError, match="for 2 of 2 pairs there is none"):
        encode(planted, [desideratum(*rows, at=("all",), donor="resample")])
    encode(planted, [desideratum(*rows, rows[0], rows[1], at=("all",), donor="resample")])


def test_unknown_spans_list_the_known(planted):
    prompt = fill("k1 {x} k2 {y}", x="v1", y="v2")
    tokens = planted.tokenize([prompt.text])[0]
    assert token_of(prompt, tokens, "x") == 1
    with pytest.raises(LookupError, match="its spans are: x, y"):
        token_of(prompt, tokens, "z")


def test_items_that_are_not_one_token_are_left_out_where_asked(tiny):
    """Words that the tokenizer splits: here, those with a space inside."""

    def answer(name):
        return name

    def claim(items, **options):
        task = CausalModel(
            inputs={"name": choice(items, **options), "other": choice(["w1", "w2"])},
            mechanisms=[answer],
            prompt="w3 {name} {other}",
            completion=" {answer}",
        )
        return task.carries("name")

    model = tiny("llama")
    items = ["w5", "w6 w7", "w8"]
    fitted, notes = fit_to_tokenizer(model, claim(items, one_token=True))
    assert isinstance(fitted, Claim)
    assert pool_of(fitted.model.inputs["name"]) == choice(["w5", "w8"], one_token=True)
    assert notes == ("name: left out, not one token here: w6 w7",)
    kept, notes = fit_to_tokenizer(model, claim(items))
    assert isinstance(kept, Claim)
    assert (pool_of(kept.model.inputs["name"]), notes) == (choice(items), ())
    with pytest.raises(ValueError, match="only 1 of 2 items are one token"):
        fit_to_tokenizer(model, claim(["w5", "w6 w7"], one_token=True))


def test_only_pairs_that_the_model_solves_are_kept(planted):
    train, _ = wired.claim.sample(12, 0)
    good = train[0]
    bad = tuple(
        replace(made, base_answer=made.expected, expected=made.base_answer)
        for made in good.pairs[:5]
    )
    mixed = replace(good, pairs=(*good.pairs[5:], *bad))
    batch = encode(planted, [mixed])[0]
    assert solves(planted, batch, Cost()).tolist() == [True] * 7 + [False] * 5
    kept, counts = keep_solved(planted, [batch], 4, Cost())
    assert kept[0].desideratum.pairs == good.pairs[5:9]
    assert (counts[0].solved, counts[0].n) == (7, 12)
    # Looked at are no more than it takes: a turn of 16, of 36 pairs.
    many = encode(planted, [replace(good, pairs=good.pairs * 3)])[0]
    kept_of_many, counts = keep_solved(planted, [many], 4, Cost())
    assert (counts[0].solved, counts[0].n, len(kept_of_many[0])) == (16, 16, 4)
    kept, counts = keep_solved(planted, [batch], 4, Cost())
    # What is known of the pairs gives the same without a run, the unsolved ones first too.
    order = [11, 0, 10, 1, 2, 9, 3, 8, 7, 4, 5, 6]
    shuffled = batch.take(order)
    kept, counts = keep_solved(planted, [shuffled], 6, Cost())
    again, same = keep_known([shuffled], 6, counts)
    assert counts[0].missed == (0, 2, 5, 7, 8) and same == counts
    assert again[0].desideratum == kept[0].desideratum
    assert again[0].desideratum.pairs == tuple(mixed.pairs[n] for n in (0, 1, 2, 3, 4, 5))


def test_a_task_that_the_model_fails_is_refused_with_its_interval(tiny):
    model = tiny("llama")
    batch = encode(model, [random_desideratum(("last",), n=12)])[0]
    _, counts = keep_solved(model, [batch], 12, Cost())
    problems = precheck(model, counts)
    assert len(problems) == 1
    assert "there is no behaviour to explain" in problems[0]
    assert precheck(model, [Solved("d", 10, 9)]) == []
    # A half is enough, and less is not, however few the pairs are.
    assert precheck(model, [Solved("d", 10, 5)]) == []
    assert len(precheck(model, [Solved("d", 10, 4), Solved("e", 10, 1)])) == 2
