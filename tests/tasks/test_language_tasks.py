"""The tasks for language models: known answers, answers read back from the prompts, the split."""

import ast
import re
from importlib import import_module

import pytest

from circuitfind.claims import load_claim
from circuitfind.models.loading import load_model
from circuitfind.models.smollm2 import cached_smollm2
from circuitfind.objective.encoding import encode
from circuitfind.objective.fitting import fit_to_tokenizer
from desiderata import CausalModel, Claim, alternatives, lint, texts_of

N = 40
SINGULAR, PLURAL = {" is", " was", " has", " does"}, {" are", " were", " have", " do"}
CAPITALS = {"France": " Paris", "Poland": " Warsaw", "Wales": " Cardiff", "Turkey": " Ankara"}
WORDS = ("river", "stone", "music", "paper")
ARGUMENTS = ("load", "size", "file", "last")
SMOLLM2 = [
    pytest.mark.smollm2,
    pytest.mark.skipif(
        cached_smollm2() is None, reason="SmolLM2 is not in the cache; make smollm2 fetches it"
    ),
]


def claim_of(task: str) -> Claim:
    claim = load_claim(task)
    assert isinstance(claim, Claim)
    return claim


def model_of(task: str) -> CausalModel:
    model = claim_of(task).model
    assert isinstance(model, CausalModel)
    return model


def ioi_like(io, s):
    return {
        "io": io, "s": s, "place": "park", "object": "book", "order": "s first",
        "template": import_module("tasks.ioi").TEMPLATES[0],
    }  # fmt: skip


# A task's claim, inputs by hand, the prompt that they make, and the right answers.
KNOWN = [
    ("agreement-simple", {"opening": "Today the", "subject": "kings"}, "Today the kings", PLURAL),
    ("agreement-simple", {"opening": "The", "subject": "actor"}, "The actor", SINGULAR),
    (
        "agreement-phrase",
        {"opening": "The", "subject": "teachers", "preposition": "near", "attractor": "farmer"},
        "The teachers near the farmer",
        PLURAL,
    ),
    (
        "agreement-clause",
        {"opening": "The", "subject": "girl", "attractor": "boys", "love": "know"},
        "The girl that the boys know",
        SINGULAR,
    ),
    (
        "agreement-clause",
        {"opening": "The", "subject": "girls", "attractor": "boy", "love": "know"},
        "The girls that the boy knows",
        PLURAL,
    ),
    (
        "greater-than",
        {"building": "church", "century": 17, "decade": 4, "year": 3},
        "The church was built in 1743 and was rebuilt in 17",
        {"5", "6", "7", "8", "9"},
    ),
    (
        "greater-than",
        {"building": "mill", "century": 19, "decade": 7, "year": 9},
        "The mill was built in 1979 and was rebuilt in 19",
        {"8", "9"},
    ),
    (
        "pronouns",
        {"name": "Helen", "place": "park", "reason": "because"},
        "Helen went to the park because",
        {" she"},
    ),
    (
        "pronouns",
        {"name": "Kevin", "place": "park", "reason": "so that"},
        "Kevin went to the park so that",
        {" he"},
    ),
    (
        "capitals",
        {"country": "Norway", "template": "The capital of {country} is the city of"},
        "The capital of Norway is the city of",
        {" Oslo"},
    ),
    (
        "copying",
        {"words": WORDS, "query": "stone"},
        "river stone music paper river stone music paper stone",
        {" music"},
    ),
    (
        "copying-middle",
        {"words": WORDS, "query": "music"},
        "river stone music paper river stone music paper music and so on",
        {" paper"},
    ),
    (
        "docstrings",
        {"method": "update", "arguments": ARGUMENTS, "place": 2},
        'def update(self, load, size, file, last):\n    """update\n\n'
        "    :param load: the load\n    :param size: the size\n    :param",
        {" file"},
    ),
    (
        "long-names",
        ioi_like("Beatrice", "Gareth"),
        "When Gareth and Beatrice went to the park, Gareth gave a book to",
        {" Beatrice"},
    ),
]


def read_agreement(text):
    subject = text.removeprefix("However, ").removeprefix("In town ").removeprefix("Today ").split()
    return PLURAL if subject[1].endswith("s") else SINGULAR


def read_years(text):
    found = re.search(r"built in (\d\d)(\d)\d and was rebuilt in (\d\d)$", text)
    assert found is not None and found[1] == found[3]
    return {digit for digit in "0123456789" if digit > found[2]}


def read_pronoun(text):
    women = "Mary Sarah Karen Lisa Nancy Emily Laura Rebecca Rachel Anna Helen Maria".split()
    return {" she"} if text.split()[0] in women else {" he"}


def read_copy(text):
    words = text.removesuffix(" and so on").split()
    return {" " + words[words.index(words[-1]) + 1]}


def parsed(text):
    """The function of a docstring's prompt, once what is cut off is put back, and its docstring."""
    assert text.endswith("    :param")
    (function,) = ast.parse(f'{text} x: the x\n    """\n').body
    assert isinstance(function, ast.FunctionDef)
    return function, ast.get_docstring(function) or ""


def read_docstring(text):
    function, documented = parsed(text)
    *done, _ = re.findall(r":param (\w+): the (\w+)", documented)
    names = [argument.arg for argument in function.args.args]
    assert [name for name, _ in done] == names[1 : 1 + len(done)]
    assert documented.startswith(function.name)
    return {f" {names[1 + len(done)]}"}


def read_capital(text):
    country = next(word for word in text.split() if word[0].isupper() and word != "The")
    return {CAPITALS[country]} if country in CAPITALS else None


def read_name(text):
    first, second, giver = re.findall(r"When (\w+) and (\w+) .*, (\w+) gave", text)[0]
    return {f" {first if giver == second else second}"}


# How a reader finds the answer in the text alone, the spans, and the words that are divided.
TASKS = {
    "agreement-simple": (read_agreement, "opening subject", "subject"),
    "agreement-phrase": (
        read_agreement,
        "opening subject preposition attractor",
        "subject attractor",
    ),
    "agreement-clause": (read_agreement, "opening subject attractor liking", "subject attractor"),
    "greater-than": (read_years, "building century decade year century.2", "building"),
    "pronouns": (read_pronoun, "name place reason", "name"),
    "capitals": (read_capital, "country", "country"),
    "copying": (read_copy, "first.0 first.3 second.0 second.3 query", "words"),
    "copying-middle": (read_copy, "first.0 first.3 second.0 second.3 query", "words"),
    "docstrings": (read_docstring, "method arguments.0 arguments.3", "arguments"),
    "long-names": (read_name, "io s place object s.2", "io s place object"),
}


@pytest.mark.parametrize(
    ("task", "inputs", "text", "answers"),
    KNOWN,
    ids=[f"{row[0]}-{n}" for n, row in enumerate(KNOWN)],
)
def test_known_prompts_have_their_known_answers(task, inputs, text, answers):
    model = model_of(task)
    values = model.run(inputs)
    assert model.meets_conditions(values)
    assert model.render(values).text == text
    assert set(texts_of(model.write_answer(values))) == answers
    assert TASKS[task][0](text) in (answers, None)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("side", [0, 1], ids=["search", "held out"])
def test_answers_of_pairs_are_right_as_a_reader_would_find_them(task, side):
    read, spans, _ = TASKS[task]
    claim, compared = claim_of(task), 0
    for one in claim.sample(N, 0)[side]:
        for pair in one.pairs:
            for prompt, answer in (
                (pair.base, pair.base_answer),
                (pair.source, pair.source_answer),
            ):
                if (right := read(prompt.text)) is not None:
                    assert set(texts_of(answer)) == right, prompt.text
                    compared += 1
                assert set(spans.split()) <= {span.name for span in prompt.spans}
                assert all(at == "last" or prompt.span(at) for at in claim.at)
            moved = pair.source_answer if one.sense == "follows" else pair.base_answer
            assert pair.expected == moved
    assert compared


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_held_out_word_is_in_search(task, seed):
    names = TASKS[task][2].split()
    search, held_out = (
        {
            item
            for one in side
            for pair in one.pairs
            for inputs in (pair.base_inputs, pair.source_inputs)
            for name in names
            for item in ([inputs[name]] if isinstance(inputs[name], str) else inputs[name])
        }
        for side in claim_of(task).sample(N, seed)
    )
    assert search and held_out
    assert not search & held_out


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_wrong_with_the_claim(task):
    assert [problem for problem in lint(claim_of(task), n=N) if problem.level == "error"] == []


def test_a_fault_in_a_docstring_shows():
    with pytest.raises(SyntaxError):
        parsed('def update(self, load:\n    """update\n\n    :param')


def test_what_follows_a_copied_word_is_the_same_both_times():
    model = claim_of("copying").model
    assert not model.meets_conditions(model.run({"words": WORDS, "query": "paper"}))


def test_the_middle_claim_is_read_at_the_query_and_words_follow_it():
    claim = claim_of("copying-middle")
    assert (claim.at, claim.read) == (("query",), "query")
    for one in claim.sample(8, 0)[0]:
        for pair in one.pairs:
            text, span = pair.base.text, pair.base.span("query")
            assert text[span.end :] == " and so on"
            assert text[: span.end].endswith(f" {pair.base_inputs['query']}")


def test_later_decades_are_right_and_all_digits_are_compared():
    claim = claim_of("greater-than")
    assert claim.rules[0].answer == alternatives(list("0123456789"))
    rows = {pair.base_inputs["decade"]: pair.base_answer for pair in claim.sample(N, 0)[0][0].pairs}
    assert len(rows) > 3
    for decade, answer in rows.items():
        assert list(texts_of(answer)) == [str(later) for later in range(decade + 1, 10)]


@pytest.fixture(scope="module")
def smollm2():
    return load_model("smollm2-135m", device="cpu")


class TestSmolLM2:
    pytestmark = SMOLLM2

    def test_most_long_names_are_several_tokens(self, smollm2):
        names = import_module("tasks.long_names").NAMES
        counts = [len(one.ids) for one in smollm2.tokenize([f"to {name}" for name in names])]
        before = len(smollm2.tokenize(["to"])[0].ids)
        tokens = [count - before for count in counts]
        assert sum(n > 1 for n in tokens) == 16
        assert max(tokens) == 3
        claim, _ = fit_to_tokenizer(smollm2, claim_of("long-names"))
        for side in claim.sample(8, 0):
            for batch in encode(smollm2, side):
                assert batch.continued is not None

    def test_the_middle_claim_reads_the_token_of_the_query(self, smollm2):
        claim, notes = fit_to_tokenizer(smollm2, claim_of("copying-middle"))
        assert not any("not one token" in note for note in notes)
        for batch in encode(smollm2, claim.sample(8, 0)[0]):
            for row, pair in enumerate(batch.desideratum.pairs):
                assert batch.base.reads is not None
                column = int(batch.base.reads[row])
                token = int(batch.base.tokens[row, column])
                assert smollm2.tokenizer.decode([token]).strip() == pair.base_inputs["query"]
                assert batch.base.attends[row, column + 1 :].sum() == 3

    @pytest.mark.parametrize("task", TASKS)
    def test_every_pair_can_be_asked(self, smollm2, task):
        claim, _ = fit_to_tokenizer(smollm2, claim_of(task))
        for side in claim.sample(8, 0):
            assert all(len(batch) for batch in encode(smollm2, side))
