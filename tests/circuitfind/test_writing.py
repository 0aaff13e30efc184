"""Prompts given as tokens or as turns of a chat: their text, spans and BOS."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from dataclasses import replace

import pytest
import torch

from circuitfind.models.writing import Writer
from circuitfind.objective.encoding import encode
from circuitfind.objective.fitting import fit_to_tokenizer
from desiderata import GivenPairs, Pair, Prompt, Span, TokenIds, pairs_hold
from desiderata.tables.cells import prompt_of_ids, prompt_of_turns

TEMPLATE = (
    "{{ bos_token }}{% for turn in messages %}{{ turn.role }} {{ turn.content }} {% endfor %}"
    "{% if add_generation_prompt %}w9{% endif %}"
)


def fitted_pairs(model, claim):
    fitted, notes = fit_to_tokenizer(model, claim)
    assert isinstance(fitted, GivenPairs)
    return fitted, notes


class Chatty:
    """A tokenizer with a template that begins with BOS, as many have."""

    bos_token, bos_token_id, chat_template = "<s>", 1, TEMPLATE

    def __init__(self, adds_bos):
        self.adds_bos = adds_bos

    def __call__(self, text):
        return {"input_ids": [1, 5] if self.adds_bos else [5]}

    def apply_chat_template(self, turns, *, tokenize, add_generation_prompt):
        assert not tokenize and add_generation_prompt
        return self.bos_token + " ".join(f"{t['role']} {t['content']}" for t in turns) + " w9"


@pytest.mark.parametrize(("adds", "begins"), [(True, "user"), (False, "<s>user")])
def test_a_chat_has_its_bos_once(adds, begins):
    prompt = prompt_of_turns([("user", "w1 w2"), ("assistant", "w3")])
    made = Writer(Chatty(adds))(prompt)
    assert made.text == f"{begins} w1 w2 assistant w3 w9" and made.turns == ()


def test_spans_of_a_chat_stay_on_their_words():
    prompt = prompt_of_turns([("user", "w1 w2 w1"), ("assistant", "w1 w3")])
    wanted = {"second": prompt.text.rindex("w1 w3"), "third": prompt.text.index("w1\n")}
    spans = tuple(Span(name, start, start + 2) for name, start in wanted.items())
    made = Writer(Chatty(True))(replace(prompt, spans=spans))
    found = {span.name: span.start for span in made.spans}
    assert {made.text[span.start : span.end] for span in made.spans} == {"w1"}
    assert found == {"second": made.text.rindex("w1 w3"), "third": made.text.index("w1 assistant")}


def test_a_tokenizer_without_a_template_is_named(tiny):
    with pytest.raises(ValueError, match="has no chat template"):
        Writer(tiny("llama").tokenizer)(prompt_of_turns([("user", "w1")]))


def test_prompts_and_answers_given_as_tokens_are_taken_as_they_are(tiny):
    model = tiny("llama")

    def given(ids, name=None):
        prompt = prompt_of_ids(ids)
        if name is None:
            return prompt
        return replace(prompt, spans=(Span("x", len(f"{ids[0]} "), len(prompt.text)),))

    rows = [
        Pair(
            base=given([7, 9, 11], "x"),
            source=given([8, 10, 12, 13], "x"),
            expected=TokenIds([5]),
            base_answer=TokenIds([6, 4]),
            source_answer=TokenIds([5]),
        ),
        Pair(
            base=given([3, 4], "x"),
            source=given([5, 6], "x"),
            expected=TokenIds([8]),
            base_answer=TokenIds([9]),
        ),
    ]
    claim, _ = fitted_pairs(model, pairs_hold("ids", rows, sense="follows", at=("x", "last")))
    (batch,) = encode(model, claim.desiderata)
    assert batch.base.tokens[0].tolist() == [7, 9, 11]
    assert batch.source.tokens[0].tolist() == [8, 10, 12, 13]
    assert batch.base.columns["x"].tolist() == batch.base.columns["last"].tolist()
    assert batch.expected.spelling.ids[:, 0, 0].tolist() == [5, 8]
    assert batch.base_answer.spelling.ids[0, 0].tolist() == [6, 4]
    assert torch.equal(batch.source_answer.known, torch.tensor([True, False]))


def test_text_stays_as_it_is(tiny):
    write = Writer(tiny("llama").tokenizer)
    prompt = Prompt("w1 w2")
    assert write(prompt) is prompt and write(" w3") == " w3"


def test_rows_that_cannot_be_used_are_left_out_and_counted(planted):
    rows = [
        Pair(base=Prompt(f"k{n} v1 k{n}"), source=Prompt(f"k{n} v2 k{n}"), expected=" v2",
             base_answer=" v1")
        for n in range(8)
    ]  # fmt: skip
    rows.append(replace(rows[0], base=Prompt("k1"), source=Prompt("k2 v1 k2")))
    rows.append(replace(rows[1], base=Prompt("k3 v4 k3"), expected="2"))
    claim = pairs_hold("rows", rows, sense="follows", at="all")
    fitted, _ = fitted_pairs(planted, claim)
    assert len(fitted.desiderata[0].pairs) == 8
    (remark,) = fitted.remarks
    assert remark.startswith("left out 2 of 10 pairs: ")
    assert "1 differ in length" in remark and "1 have an answer that merges" in remark
    with pytest.raises(ValueError, match=r"2 of 10 pairs cannot be used.*--max-bad"):
        fit_to_tokenizer(planted, replace(claim, max_bad=0.1))
    last, _ = fitted_pairs(planted, claim.moved("last"))
    assert len(last.desiderata[0].pairs) == 9  # lengths may differ there
