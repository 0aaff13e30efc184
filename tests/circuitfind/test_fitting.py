"""A claim fitted to a tokenizer: the space before an answer, where no completion is given."""

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitfind.models.model import Model
from circuitfind.objective.encoding import encode
from circuitfind.objective.fitting import fit_to_tokenizer
from desiderata import CausalModel, Claim, Prompt, choice, integers, texts_of

LETTERS = "abcdefghijklm"


def words() -> Tokenizer:
    """A token a word, and none for the space between them."""
    made = Tokenizer(models.WordLevel({"[u]": 0, "=": 1, **numbered(LETTERS, 2)}, "[u]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return made


def characters() -> Tokenizer:
    """A token a character, the space included."""
    made = Tokenizer(models.WordLevel({"[u]": 0, " ": 1, "=": 2, **numbered(LETTERS, 3)}, "[u]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")  # type: ignore[assignment]
    return made


def spaced_words() -> Tokenizer:
    """A token a word with the space before it, as byte-pair encodings have them."""
    known = numbered([*LETTERS, *(f" {one}" for one in LETTERS)], 3)
    made = Tokenizer(models.WordLevel({"[u]": 0, " ": 1, " =": 2, "=": 40, **known}, "[u]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\S+| +"), "isolated")  # type: ignore[assignment]
    return made


@pytest.fixture
def reads_by(planted):
    """Makes a model with a tokenizer of one's own."""

    def made(tokenizer: Tokenizer) -> Model:
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[u]")
        return replace(planted, tokenizer=fast)

    return made


def numbered(items, start):
    return {item: n for n, item in enumerate(items, start)}


def answer(x):
    return x


def copying(prompt: Any = "{y} {x} =", mechanism=answer, **options: Any) -> Claim:
    return CausalModel(
        inputs={"x": choice(LETTERS), "y": choice("abc")},
        mechanisms=[mechanism],
        prompt=prompt,
        **{"answer": mechanism.__name__, **options},
    ).carries("x", crossed=False)


@pytest.mark.parametrize(
    "tokenizer, prompt, starts",
    [
        (words, "{y} {x} =", " "),  # without a space the two merge
        (words, "{y} {x} = ", ""),  # both leave the prompt as it is, which ends in a space
        (characters, "{y} {x} =", ""),  # the space would be a token of its own
        (characters, "{y} {x} = ", ""),
        (spaced_words, "{y} {x}", " "),
        (spaced_words, "{y} {x} = ", ""),  # the space before makes one token with another space
    ],
)
def test_the_space_is_what_the_tokenizer_needs(reads_by, tokenizer, prompt, starts):
    fitted, notes = fit_to_tokenizer(reads_by(tokenizer()), copying(prompt))
    assert isinstance(fitted, Claim)
    made = [pair for side in fitted.sample(20) for one in side for pair in one.pairs]
    assert {pair.base_answer for pair in made} >= {f"{starts}a", f"{starts}b"}
    if starts:
        (note,) = notes
        assert note.startswith("answers are written after a space: ' ")
    else:
        assert (fitted, notes) == (copying(prompt), ())


def test_a_completion_that_is_given_stays(reads_by):
    for completion in ("{answer}", " {answer}", "\n{answer}"):
        claim = copying(completion=completion)
        assert fit_to_tokenizer(reads_by(words()), claim) == (claim, ())


def test_answers_of_several_right_ones_are_fitted_together(reads_by):
    def either(x, y):
        return {x, y}

    fitted, notes = fit_to_tokenizer(reads_by(words()), copying(mechanism=either))
    assert isinstance(fitted, Claim)
    for pair in (pair for side in fitted.sample(9) for one in side for pair in one.pairs):
        assert all(text[0] == " " for text in texts_of(pair.expected))
    assert len(notes) == 1


def test_prompts_that_are_no_text_are_not_looked_at(reads_by):
    def as_ids(x, y):
        return Prompt(f"{y} {x} =", ids=(1, 2, 3))

    claim = copying(as_ids)
    assert fit_to_tokenizer(reads_by(words()), claim) == (claim, ())


def test_conditions_that_nothing_meets_are_left_to_sampling(reads_by):
    claim = copying(where=lambda x: x == "z")
    assert fit_to_tokenizer(reads_by(words()), claim) == (claim, ())


def test_a_claim_without_a_completion_runs_on_a_word_model(planted):
    """Its tokenizer has no token for a space, so that 'k1' and 'v1' would be the word 'k1v1'."""
    claim = CausalModel(
        inputs={"n": integers(0, 15), "m": integers(0, 15)},
        mechanisms=[value],
        prompt="k{n} v{n} k{m} v{n} k{n}",
        answer="value",
    ).carries("n", crossed=False)
    fitted, notes = fit_to_tokenizer(planted, claim)
    assert notes[0].startswith("answers are written after a space: ' v")
    with pytest.raises(ValueError, match="merge with the end of their prompt"):
        encode(planted, claim.sample(8)[0])
    assert len(encode(planted, fitted.sample(8)[0])) == 2


def value(n):
    return f"v{n}"
