"""Answers of several tokens: as a plain pass over the whole text scores them, patched or not."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from dataclasses import replace
from typing import Any

import pytest
import torch

from circuitfind.answers.among import Among
from circuitfind.answers.answer import Question
from circuitfind.answers.top import Top
from circuitfind.mediators.space import all_sites
from circuitfind.objective.continuing import untouched
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.patching import prepare, run
from circuitfind.objective.precheck import solves
from circuitfind.testing import check_answer
from desiderata import Pair, Prompt, alternatives, texts_of

from ..tiny import N_HEADS, N_LAYERS, random_desideratum

CLOSE: Any = {"atol": 1e-4, "rtol": 1e-4}
CAUSAL = ["llama", "llama on bridge", "gpt2", "gpt2 on bridge", "gemma2", "qwen3", "native"]
NAMED = ((" w1 w2", " w1 w3 w4", " w9"), (" w5", " w6 w7"), (" w8 w1",))


def several(at, answer, n=5, read="last"):
    """Random pairs whose answers are sets of texts of one to three tokens."""
    made = random_desideratum(at, n=n, read=read)
    pairs = []
    for row, pair in enumerate(made.pairs):
        mine, theirs = NAMED[row % 3], NAMED[(row + 1) % 3]
        pairs.append(
            replace(pair, expected=mine, base_answer=theirs, source_answer=mine if row else None)
        )
    return replace(made, pairs=tuple(pairs), answer=answer)


def whole_text(prepared, gates, row, text):
    """The log-probability of a text after each mask's patched prompt, from one pass over prompt and
    text together without any cache, and the logits at each of its tokens."""
    batch, model = prepared.batch, prepared.model
    prompt = batch.base.tokens[row][batch.base.attends[row].bool()]
    read = len(prompt) if batch.base.reads is None else None
    if read is None:
        pads = int((batch.base.attends[row] == 0).sum())
        read = int(batch.base.reads[row]) - pads + 1
    ids = model.tokenizer.convert_tokens_to_ids(text.split())
    tokens = torch.cat([prompt[:read], torch.tensor(ids)])[None]
    alone = prepare(model, batch.take([row]), prepared.sites, reuse=False)

    def cut(edit):
        def apply(own):
            mine = edit(
                torch.cat([own[:, :read], own.new_zeros(1, len(prompt), *own.shape[2:])], 1)[
                    :, : len(prompt)
                ]
            )
            return torch.cat([mine[:, :read], own[:, read:]], 1)

        return apply

    found, steps = [], []
    for gate in gates:
        edits = [(at, cut(do)) for at, do in alone.alone.edits([gate[None]], branched=False)]
        columns = torch.arange(read - 1, read - 1 + len(ids))[None]
        logits, _ = model.engine.forward(tokens, None, edits, reads=columns)
        steps.append(logits[0])
        found.append(logits[0].log_softmax(-1)[range(len(ids)), ids].sum())
    return torch.stack(found), steps, ids


@pytest.mark.parametrize(
    ("name", "at", "reuse"),
    [
        *((name, ("x",), True) for name in CAUSAL),
        *((CAUSAL[0], at, True) for at in (("last",), ("all",))),
        (CAUSAL[1], ("x",), False),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                *((CAUSAL[1], at, True) for at in (("last",), ("all",))),
                (CAUSAL[0], ("x",), False),
            )
        ),
    ],
)
def test_a_text_is_as_probable_as_in_one_pass_over_it_all(tiny, name, at, reuse):
    model = tiny(name)
    batch = encode(model, [several(at, Among(NAMED), n=3)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, at)
    prepared = prepare(model, batch, sites, reuse=reuse)
    gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(0))
    gates[0] = 0
    check_scores(prepared, gates, run(prepared, gates))


@pytest.mark.parametrize("name", ["llama", "llama on bridge", "gpt2"])
def test_a_text_after_the_middle_of_a_prompt_sees_nothing_of_its_end(tiny, name):
    model = tiny(name)
    for read in ("1", "x"):
        batch = encode(model, [several(("x",), Among(NAMED), read=read)])[0]
        sites = all_sites(N_LAYERS, N_HEADS, ("x",))
        prepared = prepare(model, batch, sites)
        gates = torch.eye(2, len(sites))
        check_scores(prepared, gates, run(prepared, gates))


def check_scores(prepared, gates, output):
    batch = prepared.batch
    for row, pair in enumerate(batch.desideratum.pairs):
        sums, one = {}, batch.take([row])
        for texts in NAMED:
            made = [whole_text(prepared, gates, row, text)[0] for text in texts]
            sums[texts] = torch.stack(made).logsumexp(0)
        sums = {texts_of(texts): total for texts, total in sums.items()}
        mine = sums.pop(texts_of(pair.expected))
        others = torch.stack(list(sums.values())).amax(0)
        lead = batch.answer.lead(output[:, [row]], one.expected)[:, 0]
        torch.testing.assert_close(lead, mine - others, **CLOSE)
        torch.testing.assert_close(
            batch.answer.contrast(output[:, [row]], one.expected, one.base_answer)[:, 0],
            mine - sums[texts_of(pair.base_answer)],
            **CLOSE,
        )


@pytest.mark.parametrize("name", ["llama", "gpt2 on bridge"])
def test_top_is_what_greedy_decoding_writes(tiny, name):
    """For sets whose texts begin alike, and end at different lengths."""
    model = tiny(name)
    batch = encode(model, [several(("last",), "top", n=9)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("last",))
    gates = torch.rand(5, len(sites), generator=torch.Generator().manual_seed(1)).round()
    prepared = prepare(model, batch, sites)
    output = run(prepared, gates)
    hits = batch.answer.hit(output, batch.expected)
    for row, pair in enumerate(batch.desideratum.pairs):
        for mask in range(len(gates)):
            assert hits[mask, row] == written(prepared, gates[[mask]], row, pair.expected)


def written(prepared, gates, row, texts):
    """Whether greedy decoding writes one of the texts, token by token."""
    made, left = "", set(texts)
    while left:
        _, steps, _ = whole_text(prepared, gates, row, made + " w0")
        made += " " + prepared.model.tokenizer.convert_ids_to_tokens(int(steps[0][-1].argmax()))
        if made in left:
            return True
        left = {text for text in left if text.startswith(made + " ")}
    return False


def test_greedy_texts_are_hit_and_no_other(tiny):
    """Pairs made so that a text of each length is the one that is written."""
    model = tiny("llama")
    made = random_desideratum(("last",), n=6)
    plain = encode(model, [made])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("last",))
    closed, right = torch.zeros(1, len(sites)), []
    for row in range(6):
        prepared, text = prepare(model, plain, sites), ""
        for _ in range(1 + row % 3):
            _, steps, _ = whole_text(prepared, closed, row, text + " w0")
            text += " " + model.tokenizer.convert_ids_to_tokens(int(steps[0][-1].argmax()))
        right.append(text)
    assert {len(text.split()) for text in right} == {1, 2, 3}
    pairs = [
        replace(pair, expected=text, base_answer=text)
        for pair, text in zip(made.pairs, right, strict=True)
    ]
    batch = encode(model, [replace(made, pairs=tuple(pairs))])[0]
    output = run(prepare(model, batch, sites), closed)
    assert batch.answer.hit(output, batch.expected).all()
    assert batch.answer.words(model, output[0], batch.expected) == [t.strip() for t in right]
    wrong = [
        replace(pair, expected=" ".join([*text.split(" ")[:-1], other(text)]))
        for pair, text in zip(pairs, right, strict=True)
    ]
    batch = encode(model, [replace(made, pairs=tuple(wrong))])[0]
    assert not batch.answer.hit(run(prepare(model, batch, sites), closed), batch.expected).any()


def other(text):
    return "w3" if text.endswith("w4") else "w4"


@pytest.mark.parametrize("answer", ["top", Among(NAMED), alternatives("named")])
def test_answers_of_several_tokens_keep_the_laws(tiny, answer):
    made = several(("last",), answer)
    kind = encode(tiny("llama"), [made])[0].answer
    check_answer(kind, tiny("llama"), made)


def test_among_every_token_of_the_vocabulary_hits_where_top_does(tiny):
    model = tiny("llama")
    tokens = model.tokenizer.convert_ids_to_tokens(range(32))
    every = Among(tuple((f" {token}",) for token in tokens))
    made = random_desideratum(("x", "last"), n=8)
    sites = all_sites(N_LAYERS, N_HEADS, ("x", "last"))
    gates = torch.rand(20, len(sites), generator=torch.Generator().manual_seed(2)).round()
    found = [encode(model, [replace(made, answer=kind)])[0] for kind in (Top(), every)]
    hits, leads = [], []
    for batch in found:
        output = run(prepare(model, batch, sites), gates)
        hits.append(batch.answer.hit(output, batch.expected))
        leads.append(batch.answer.lead(output, batch.expected))
    assert torch.equal(*hits) and hits[0].any() and not hits[0].all()
    torch.testing.assert_close(*leads, **CLOSE)


def test_a_set_of_one_is_a_token(tiny):
    model = tiny("llama")
    made = random_desideratum(("last",))
    sets = replace(made, pairs=tuple(replace(p, expected=[p.expected]) for p in made.pairs))
    one, other_one = encode(model, [made, sets])
    assert one.continued is None and other_one.continued is None
    assert not one.expected.differs(other_one.expected).any()
    questions = [Question("w1 w2", " w3"), Question("w1 w2", (" w3",))]
    target = Top().encode(model, questions)
    assert target.keys[0] == target.keys[1] and target.spelling.ids.shape == (2, 1, 1)


def test_a_set_is_hit_by_each_of_its_texts_alone(tiny):
    model = tiny("llama")
    made = Top().encode(model, [Question("w1", (" w2", " w3"))])
    output = torch.zeros(3, 1, 32)
    for mask, word in enumerate(("w2", "w3", "w4")):
        output[mask, 0, model.tokenizer.convert_tokens_to_ids(word)] = 5
    assert Top().hit(output, made)[:, 0].tolist() == [True, True, False]
    # Two right texts that are equally likely do not stand in each other's way.
    output[0, 0, model.tokenizer.convert_tokens_to_ids("w3")] = 5
    torch.testing.assert_close(Top().lead(output, made)[:, 0], torch.tensor([5.0, 5.0, -5.0]))


def test_a_set_of_alternatives_is_compared_with_all_the_others_together(tiny):
    """Greater-than: of ten digits those above against the rest."""
    model = tiny("llama")
    digits = Among(tuple((f" w{n}",) for n in range(10)))
    above = tuple(f" w{n}" for n in range(6, 10))
    target = digits.encode(model, [Question("w11", above)])
    output = 2 * torch.randn(5, 1, 32, generator=torch.Generator().manual_seed(0))
    shares = output[:, 0].softmax(-1)
    ids = [model.tokenizer.convert_tokens_to_ids(f"w{n}") for n in range(10)]
    odds = (shares[:, ids[6:]].sum(-1) / shares[:, ids[:6]].sum(-1)).log()
    torch.testing.assert_close(digits.lead(output, target)[:, 0], odds, **CLOSE)
    with pytest.raises(ValueError, match="covers every alternative"):
        digits.encode(model, [Question("w11", tuple(f" w{n}" for n in range(10)))])


def test_named_answers_are_those_of_each_pair(tiny):
    model = tiny("llama")
    named = Among()
    target = named.encode(
        model,
        [
            Question("w11", " w1", (" w1", " w2", (" w2", " w3"))),
            Question("w11", " w2", (" w1",)),
            Question("w11", None, (" w1", " w2")),
        ],
    )
    assert target.known.tolist() == [True, True, False]
    output = torch.randn(4, 3, 32, generator=torch.Generator().manual_seed(3))
    w1, w2, w3 = (output[..., model.tokenizer.convert_tokens_to_ids(f"w{n}")] for n in (1, 2, 3))
    lead = named.lead(output, target)
    torch.testing.assert_close(lead[:, 0], w1[:, 0] - torch.logaddexp(w2, w3)[:, 0], **CLOSE)
    torch.testing.assert_close(lead[:, 1], w2[:, 1] - w1[:, 1], **CLOSE)
    assert not named.hit(output, target)[:, 2].any()
    with pytest.raises(ValueError, match="names no answer to compare ' w1' with"):
        named.encode(model, [Question("w11", " w1", (" w1",))])


def test_the_first_token_that_differs_decides_where_that_is_asked_for(tiny):
    model = tiny("llama")
    texts = ((" w1 w2 w5", " w1 w2 w6 w7"), (" w1 w3 w9",))
    first, whole = Among(texts, first=True), Among(texts)
    question = [Question("w11 w12", " w1 w2 w5")]
    target = first.encode(model, question)
    kept = {tuple(t for t in text if t >= 0) for text in target.spelling.ids[0].tolist()} - {()}
    ids = model.tokenizer.convert_tokens_to_ids
    assert kept == {tuple(ids(["w1", "w2"])), tuple(ids(["w1", "w3"]))}
    assert whole.encode(model, question).spelling.ids.shape[2] == 4


def test_an_alternative_that_begins_another_one_is_refused(tiny):
    model = tiny("llama")
    for texts in ((" w1", " w1 w2"), (" w1 w2", " w1")):
        with pytest.raises(ValueError, match="' w1' is how another alternative begins"):
            Among(((texts[0],), (texts[1],))).encode(model, [Question("w3", texts[0])])


def test_pairs_are_solved_by_their_whole_answers(tiny):
    model = tiny("llama")
    batch = encode(model, [several(("last",), Among(NAMED), n=9)])[0]
    output = untouched(model, batch.base, batch.continued)
    right = batch.answer.hit(output[None], batch.base_answer)[0]
    theirs = untouched(model, batch.source, batch.continued)
    source = batch.answer.hit(theirs[None], batch.source_answer)[0]
    solved = solves(model, batch, Cost())
    assert torch.equal(solved, right & (source | ~batch.source_answer.known))
    assert right.any() and not right.all()


@pytest.mark.parametrize("name", ["llama", "llama on bridge"])
def test_gradients_of_whole_texts_equal_finite_differences(tiny, name):
    model = tiny(name)
    batch = encode(model, [several(("x",), Among(NAMED), n=4)])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("x",))
    objective = Objective(model, [batch], sites)
    membership = torch.full((len(sites),), 0.5, requires_grad=True)
    objective.backward({0: 1.0}, membership)

    def loss(values):
        lead = objective.batches[0].answer.lead(
            run(prepare(model, batch, sites), values[None]), batch.expected
        )
        return float((2.0 - lead).clamp(min=0).mean())

    for site in range(0, len(sites), 4):
        step = torch.zeros(len(sites))
        step[site] = 1e-2
        middle = membership.detach()
        slope = (loss(middle + step) - loss(middle - step)) / 2e-2
        assert membership.grad[site] == pytest.approx(slope, abs=2e-3)


def test_an_engine_without_prefixes_scores_alike(tiny, monkeypatch):
    model = tiny("llama")
    batch = encode(model, [several(("x", "last"), Among(NAMED))])[0]
    sites = all_sites(N_LAYERS, N_HEADS, ("x", "last"))
    gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(4))
    output = run(prepare(model, batch, sites), gates)
    plain = untouched(model, batch.base, batch.continued)
    monkeypatch.setattr(type(model.engine), "can", frozenset({"gradients"}))
    torch.testing.assert_close(run(prepare(model, batch, sites), gates), output, **CLOSE)
    torch.testing.assert_close(untouched(model, batch.base, batch.continued), plain, **CLOSE)


def test_a_model_that_sees_what_comes_later_has_answers_of_one_token(tiny):
    model = tiny("native, bidirectional")
    with pytest.raises(ValueError, match=r"attends to later tokens.*one token"):
        encode(model, [several(("last",), "top")])


def test_continuations_are_counted_and_shared(tiny):
    """Only the answers' own tokens run more than once, texts that begin alike once."""
    model = tiny("llama")
    made = random_desideratum(("last",), n=4)
    texts = (" w1 w2 w3", " w1 w2 w4", " w1 w5")
    pairs = [replace(p, expected=texts, base_answer=" w9", source_answer=None) for p in made.pairs]
    batch = encode(model, [replace(made, pairs=tuple(pairs))])[0]
    assert batch.continued.tokens.shape == (4, 1, 2)  # w1 w2, on which all three go on
    cost = Cost()
    prepared = prepare(model, batch, all_sites(N_LAYERS, N_HEADS, ("last",)), cost=cost)
    before = cost.tokens_forward
    run(prepared, torch.ones(1, len(prepared.sites)))
    assert cost.tokens_forward - before == 4 * 1 + 4 * 2


def test_pairs_hold_several_answers():
    several: Any = [" x", " y"]
    one: Any = {" x"}
    made = Pair(base=Prompt("a"), source=Prompt("b"), expected=several, base_answer=one)
    assert made.expected == (" x", " y") and made.base_answer == " x"
    assert made.asked == " y"  # what is right in the base tells nothing
    with pytest.raises(ValueError, match="an answer is text"):
        replace(made, expected=[])
