"""The binding tasks for language models, read back from their prompts by other means."""

import random
import re

import pytest

from desiderata import texts_of
from desiderata.sampling import split_content
from tasks import binding
from tasks.arithmetic import HELD_OUT_TEMPLATE, TEMPLATES
from tasks.words import HELD_OUT_LETTERS, HELD_OUT_NAMES, HELD_OUT_OBJECTS

N = 60
NAME = r"[A-Z][a-z]+"
TURN = rf"(?P<who>{NAME}) (?P<verb>[a-z]+(?: in| out| away)?) (?P<z>\d)"
STORIES = (
    rf"^(?P<a>{NAME}) has (?P<x>\d) \w+\. (?P<b>{NAME}) has (?P<y>\d)\. {TURN}",
    rf"^(?P<a>{NAME}) owns (?P<x>\d) \w+ and (?P<b>{NAME}) owns (?P<y>\d)\. Then {TURN}",
    rf"^There are (?P<x>\d) \w+ in the bag of (?P<a>{NAME}) and (?P<y>\d) in the bag of "
    rf"(?P<b>{NAME})\. {TURN}",
    rf"^(?P<a>{NAME}) bought (?P<x>\d) \w+ and (?P<b>{NAME}) bought (?P<y>\d)\. Later {TURN}",
    rf"^(?P<a>{NAME}): (?P<x>\d) \w+\. (?P<b>{NAME}): (?P<y>\d)\. {TURN}",
    rf"^(?P<a>{NAME}) starts with (?P<x>\d) \w+, (?P<b>{NAME}) with (?P<y>\d)\. {TURN}",
)


def rows(model, seed=0):
    rng, made = random.Random(seed), []
    while len(made) < N:
        if (inputs := model.draw(rng)) is not None:
            values = model.run(inputs)
            (answer,) = texts_of(model.write_answer(values))
            made.append((model.render(values).text, answer))
    return made


@pytest.mark.parametrize("name", binding.FAMILIES)
@pytest.mark.parametrize("side", ["search", "held_out"])
def test_answers_are_right_as_a_reader_would_find_them(name, side):
    for text, answer in rows(getattr(split_content(binding.FAMILIES[name], 0), side)):
        assert answer.strip() == read(name, text), text


def read(name: str, text: str) -> str:
    """The answer, found in the text alone."""
    if name == "arithmetic":
        values = dict(re.findall(r"\b([a-z]) :?= (\d)", text))
        left, op, right = re.findall(r"([a-z]) ([+-]) ([a-z])", text)[0]
        return str(eval(f"{values[left]} {op} {values[right]}"))
    if name == "word problems":
        found = next(found for story in STORIES if (found := re.search(story, text)))
        has = {found["a"]: int(found["x"]), found["b"]: int(found["y"])}
        more = found["verb"] in ("gets", "buys", "puts in", "finds", "got", "adds")
        return str(has[found["who"]] + (1 if more else -1) * int(found["z"]))
    if name.startswith("retrieval"):
        *statements, question = re.split(r"\. ", text)
        who = question.removeprefix("So ").split()[0]
        return next(s for s in statements if s.startswith(who)).split()[-1]
    label = re.findall(r"Box ([A-Z])", text)[-1]
    pairs = re.findall(r"[Tt]he (\w+) (?:is in|was put into|lies in) Box ([A-Z])", text)
    pairs += [(o, b) for b, o in re.findall(r"Box ([A-Z]) contains the (\w+)", text)]
    return {box: item for item, box in pairs}[label]


@pytest.mark.parametrize("name", binding.FAMILIES)
def test_the_trained_side_shows_nothing_that_is_held_out(name):
    split = split_content(binding.FAMILIES[name], 0)
    hidden = {*HELD_OUT_NAMES, *HELD_OUT_OBJECTS, *binding.HELD_OUT_ITEMS}
    for text, answer in rows(split.search):
        words = set(re.findall(r"[A-Za-z]+", text + answer))
        assert not words & hidden, text
        if name == "arithmetic":
            assert not words & set(HELD_OUT_LETTERS), text
            assert ":=" not in text
        if name.startswith("boxes"):
            assert not words & set(binding.HELD_OUT_LABELS), text
            assert "lies" not in text
        assert "starts" not in words
        assert "holds" not in words
    assert ":=" in TEMPLATES[HELD_OUT_TEMPLATE]


def test_a_few_pairs_of_numbers_are_kept_from_training():
    kept = [(x, y) for x in range(10) for y in range(10) if not binding.is_trained_on(x, y)]
    assert len(kept) == 10
    assert len({x for x, _ in kept}) == len({y for _, y in kept}) == 10
