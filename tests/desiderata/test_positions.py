"""Positions that the inputs decide: `labels[position]` in each prompt by its own values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desiderata import (
    CausalModel,
    Span,
    TaskError,
    choice,
    distinct,
    fill,
    integers,
    item_of,
    join,
    lint,
)
from desiderata.positions import with_computed

from .language_cases import WORDS, quick, wide_boxes


def words_at(claim, name):
    """For every prompt of a claim's pairs: its inputs, and the text at a position."""
    for side in claim.sample(12):
        for made in side:
            for pair in made.pairs:
                for prompt, inputs in (
                    (pair.base, pair.base_inputs),
                    (pair.source, pair.source_inputs),
                ):
                    span = prompt.span(name)
                    yield inputs, prompt.text[span.start : span.end]


@pytest.mark.parametrize("option", ["at", "read"])
@pytest.mark.parametrize("items", ["labels", "objects"])
def test_each_prompt_has_the_item_that_its_own_inputs_point_to(option, items):
    name = f"{items}[position]"
    claim = wide_boxes().carries("position", complete=True, **{option: name})
    found = list(words_at(claim, name))
    assert len(found) > 100
    for inputs, text in found:
        assert text == inputs[items][inputs["labels"].index(inputs["query"])]
    assert len({inputs["labels"].index(inputs["query"]) for inputs, _ in found}) == 3


def test_claims_keep_and_change_computed_positions():
    claim = wide_boxes().suffices(at=["labels[position]", "last"])
    assert claim.at == ("labels[position]", "last")
    moved = wide_boxes().carries("position").moved("objects[position]")
    assert all(text in inputs["objects"] for inputs, text in words_at(moved, "objects[position]"))
    assert not [one for one in lint(moved, n=20) if one.level == "error"]


def test_a_number_may_stand_for_the_index():
    found = words_at(wide_boxes().carries("position", at="labels[1]"), "labels[1]")
    assert all(text == inputs["labels"][1] for inputs, text in found)


@quick
@given(st.data())
def test_the_span_is_that_of_the_mention_asked_for(data):
    """A prompt that mentions items in any order and number, by a function."""
    items = data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True))
    order = data.draw(st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=8))
    place = data.draw(st.integers(0, len(items) - 1))
    prompt = join(part for n in order for part in (" ", (f"items.{n}", items[n])))
    mentions = [k for k, n in enumerate(order) if n == place]
    for number in range(1, 4):
        name = "items[place]" + ("" if number == 1 else f".{number}")
        if number > len(mentions):
            with pytest.raises(TaskError, match=r"there is no span 'items\."):
                with_computed(prompt, [name], {"place": place})
            continue
        made = with_computed(prompt, [name, "last", name], {"place": place})
        (span,) = set(made.spans) - set(prompt.spans)
        assert span.name == name
        assert span.start == sum(1 + len(items[n]) for n in order[: mentions[number - 1]]) + 1
        assert made.text[span.start : span.end] == items[place]


def test_a_prompt_without_computed_positions_stays_as_it_is():
    prompt = fill("{x[0]} {x[1]}", x="ab")
    assert with_computed(prompt, ["last", "all", "x.1", "3"], {}) is prompt
    assert with_computed(prompt, ["x[1]"], {}).span("x[1]") == Span("x[1]", 2, 3)


@pytest.mark.parametrize(
    "name, says",
    [
        (
            "labels[place]",
            "no variable 'place' in this causal model; its variables are: .*position",
        ),
        (
            "names[position]",
            "the prompt shows no item of 'names'; its spans are: labels.0, objects",
        ),
        ("query[position]", "the prompt shows no item of 'query'"),
    ],
)
@pytest.mark.parametrize("option", ["at", "read"])
def test_positions_that_cannot_be_are_refused_with_the_claim(name, says, option):
    with pytest.raises(LookupError, match=says):
        wide_boxes().carries("position", **{option: name})
    with pytest.raises(LookupError, match=says):
        wide_boxes().suffices(**{option: name})
    with pytest.raises(LookupError, match=says):
        wide_boxes().carries("position").moved(name)


def pointing(function):
    def place(x):
        return function(x)

    return CausalModel(
        inputs={"words": distinct(WORDS, 3), "x": integers(0, 5), "first": item_of("words")},
        mechanisms=[place],
        prompt="{words[0]} {words[1]} {words[2]} {x} {first}",
        completion=" {place}",
    )


@pytest.mark.parametrize(
    "function, says",
    [
        (lambda x: x, r"there is no span 'words.\d' in the prompt '.*'; its spans are: words.0"),
        (lambda x: x - 9, "there is no span 'words.-"),
        (lambda x: f"{x}", r"place is '\d'; it must be a whole number, which counts from 0"),
        (lambda x: x / 2, r"place is \d\.\d; it must be a whole number"),
        (lambda x: x > 2, "place is (True|False); it must be a whole number"),
    ],
)
def test_an_index_that_is_none_is_one_error_of_the_sample(function, says):
    claim = pointing(function).carries("place", at="words[place]")
    with pytest.raises(TaskError, match=rf"^at 'words\[place\]': {says}"):
        claim.sample(12)
    (problem,) = lint(claim, n=12)
    assert problem.level == "error"


def test_an_index_in_range_has_no_error():
    claim = pointing(lambda x: x % 3).carries("place", at="words[place]")
    assert not [one for one in lint(claim, n=12) if one.level == "error"]


def test_a_prompt_that_is_a_function_may_name_the_spans():
    def shown(words, x):
        return join([*((f"w.{n}", word) for n, word in enumerate(words)), f" {x}"])

    def answer(x):
        return x

    model = CausalModel(
        inputs={"words": distinct(choice(WORDS), 2), "x": integers(0, 1)},
        mechanisms=[answer],
        prompt=shown,
    )
    found = list(words_at(model.carries("x", at="w[x]", crossed=False), "w[x]"))
    assert found and all(text == inputs["words"][inputs["x"]] for inputs, text in found)
