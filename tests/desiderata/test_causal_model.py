"""Causal models and domains: known answers, and what a model that cannot work is told."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from desiderata import (
    CausalModel,
    Prompt,
    TaskError,
    choice,
    distinct,
    fill,
    integers,
    item_of,
    join,
    pool_of,
)

from .language_cases import CASES, WORDS, wide_boxes

BASE = {"labels": ("A", "B", "C"), "objects": ("apple", "bread", "candle"), "query": "A"}
SOURCE = {"labels": ("D", "E", "C"), "objects": ("drum", "egg", "flag"), "query": "C"}


def double(x: int) -> int:
    return 2 * x


def doubling(prompt: str | Callable[..., Prompt | str] = "{x}", **options: Any) -> CausalModel:
    options = {"answer": "double", "completion": "{double}", **options}
    return CausalModel(inputs={"x": integers(1, 9)}, mechanisms=[double], prompt=prompt, **options)


@pytest.mark.parametrize(
    "variables, at_position, at_answer",
    [
        ((), 0, "apple"),
        ("position", 2, "candle"),
        ("objects", 0, "drum"),
        (("objects", "position"), 2, "flag"),
        ("answer", 0, "flag"),
        (("labels", "query"), 2, "candle"),
    ],
)
def test_interchange_on_inputs_and_on_what_they_lead_to(variables, at_position, at_answer):
    values = wide_boxes().interchange(BASE, SOURCE, variables)
    assert (values["position"], values["answer"]) == (at_position, at_answer)


@pytest.mark.parametrize(
    "variables, at_answer", [("x", 5), ("y", 8), ("op", 1), (("x", "y"), 10), ("answer", -2)]
)
def test_interchange_in_arithmetic(variables, at_answer):
    base = {"x": 2, "y": 1, "op": "+", "style": "one"}
    source = {"x": 4, "y": 6, "op": "-", "style": "two"}
    values = CASES["arithmetic"].model.interchange(base, source, variables)
    assert values["answer"] == at_answer


def test_run_gives_every_variable_and_forcing_one_reaches_what_reads_it():
    model = wide_boxes()
    assert model.run(BASE) == {**BASE, "position": 0, "answer": "apple"}
    assert model.run(BASE, forced={"position": 1})["answer"] == "bread"
    assert model.run(BASE, forced={"query": "B"})["answer"] == "bread"


@pytest.mark.parametrize(
    "variable, cut, behind",
    [
        ("answer", (), {"labels", "objects", "query"}),
        ("position", (), {"labels", "query"}),
        ("answer", ("position",), {"objects"}),
        ("answer", ("position", "objects"), set()),
        ("answer", ("answer",), set()),
        ("query", (), {"query"}),
    ],
)
def test_inputs_behind_a_variable(variable, cut, behind):
    assert wide_boxes().inputs_behind(variable, cut) == behind


def test_allows_asks_domains_and_conditions():
    model = CASES["arithmetic"].model
    good = {"x": 1, "y": 1, "op": "-", "style": "one"}
    assert model.allows(good)
    assert not model.allows({**good, "x": 4})
    assert not model.allows({**good, "y": 2})
    assert not wide_boxes().allows({**SOURCE, "query": "A"})
    assert not wide_boxes().allows({**BASE, "labels": ("A", "B", "B")})


def test_a_draw_with_a_base_changes_only_what_varies():
    model, rng = wide_boxes(), random.Random(0)
    drawn = [model.draw(rng, BASE, {"labels"}) for _ in range(50)]
    kept = [inputs for inputs in drawn if inputs is not None]
    assert kept, "some draws must keep the query among the labels"
    assert len(kept) < len(drawn), "some draws must lose it"
    assert all(inputs["query"] == "A" in inputs["labels"] for inputs in kept)
    assert {inputs["objects"] for inputs in kept} == {BASE["objects"]}


def test_a_prompt_may_be_a_function_that_gives_a_prompt_or_text():
    def by_parts(x):
        return join(["x = ", ("x", x)])

    assert doubling(by_parts).render({"x": 3, "double": 6}) == fill("x = {x}", x=3)
    assert doubling(lambda x, double: f"{x}/{double}").render({"x": 3, "double": 6}) == Prompt(
        "3/6"
    )
    assert doubling(completion=" {double}").write_answer({"x": 3, "double": 6}) == " 6"


def test_a_variable_may_have_any_name():
    def answer(template):
        return template

    model = CausalModel(
        inputs={"template": choice("abcdef")}, mechanisms=[answer], prompt="{template} is"
    )
    (follows, *_), _ = model.carries("template").sample(4)
    assert all(pair.base.text == f"{pair.base_answer} is" for pair in follows.pairs)


def test_an_unknown_variable_is_named_together_with_those_there_are():
    message = "no variable 'place', 'box' in this causal model; its variables are: .*position"
    with pytest.raises(LookupError, match=message):
        wide_boxes().interchange(BASE, SOURCE, ["place", "box", "query"])


@pytest.mark.parametrize(
    "options, says",
    [
        ({"answer": "sum"}, r"there is no variable 'sum' to answer with; known: x, double"),
        ({"prompt": "{x} {z}"}, r"the prompt reads unknown variable\(s\) z; known: x, double"),
        ({"prompt": lambda z: z}, r"the prompt reads unknown variable\(s\) z"),
        ({"completion": "{z[0]}"}, r"the completion reads unknown variable\(s\) z"),
        ({"where": lambda z: z}, r"condition 1 reads unknown variable\(s\) z"),
        ({"where": [lambda x: x, lambda z: z]}, r"condition 2 reads unknown variable\(s\) z"),
    ],
)
def test_a_model_that_reads_what_it_does_not_have(options, says):
    with pytest.raises(ValueError, match=f"^this causal model cannot work: {says}"):
        doubling(**options)


def test_names_used_twice():
    def x(double):
        return double

    with pytest.raises(ValueError, match="the name 'x' is used 2 times"):
        CausalModel(inputs={"x": integers(1, 2)}, mechanisms=[double, x], prompt="{x}", answer="x")


def test_variables_that_form_a_cycle():
    def up(down):
        return down

    def down(up):
        return up

    with pytest.raises(ValueError, match=r"form a cycle: (up <- down <- up|down <- up <- down)"):
        CausalModel(inputs={}, mechanisms=[up, down], prompt="{up}", answer="up")


def test_every_problem_of_a_model_is_in_one_message():
    def answer(answer, box):
        return answer

    with pytest.raises(ValueError) as caught:
        CausalModel(
            inputs={"x": integers(1, 2), "answer": integers(1, 2), "item": item_of("labels")},
            mechanisms=[answer],
            prompt="{y}",
            where=lambda w: w,
            answer="result",
        )
    for problem in (
        "'answer' is used 2 times",
        "'answer' reads unknown variable(s) box",
        "'item' reads unknown variable(s) labels",
        "the prompt reads unknown variable(s) y",
        "condition 1 reads unknown variable(s) w",
        "no variable 'result'",
        "form a cycle",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: choice([]), "needs at least one item and got none"),
        (lambda: choice("abcab"), "given twice: a, b"),
        (lambda: choice("abc", held_out=["d"]), r"these are not: \['d'\]"),
        (lambda: choice("ab", held_out="ab"), "leaves no item for search"),
        (lambda: choice("aa", held_out=["a", "z"]), r"twice: a; .*\['z'\]; .*no item for search"),
        (lambda: integers(3, 1), "needs low <= high; got 3 and 1"),
        (lambda: distinct("abc", 4), "1 <= n <= the pool's size, 3; got n=4"),
        (lambda: distinct("abc", 0), "1 <= n <= the pool's size, 3; got n=0"),
    ],
)
def test_domains_that_cannot_be(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    "domain, is_split",
    [
        (choice(WORDS), True),
        (choice(WORDS[:11]), False),
        (choice(WORDS[:3], split=True), True),
        (choice(WORDS, split=False), False),
        (choice(WORDS, held_out=["egg"]), False),
        (choice(range(50)), False),
        (integers(1, 50), False),
        (integers(1, 5, split=True), True),
        (distinct(WORDS, 2), True),
    ],
)
def test_which_pools_are_split_unless_told_otherwise(domain, is_split):
    pool = pool_of(domain)
    assert pool is not None
    assert pool.split is is_split


def test_integers_include_both_ends():
    assert integers(-1, 2).items == (-1, 0, 1, 2)
    assert integers(4, 4).items == (4,)


# Which variable is the answer.


def named(name, function=lambda x: x):
    """A mechanism of this name that reads x."""

    def mechanism(x):
        return function(x)

    mechanism.__name__ = name
    return mechanism


@pytest.mark.parametrize(
    "names, options, answer, written",
    [
        (["number", "verb"], {"completion": " {verb}"}, "verb", " {verb}"),
        (["number", "verb"], {"completion": " {number}"}, "number", " {number}"),
        (["verb", "answer"], {}, "answer", "{answer}"),
        (["verb", "answer"], {"completion": " {verb} {x}"}, "answer", " {verb} {x}"),
        (["verb", "answer"], {"completion": " {verb}"}, "answer", " {verb}"),
        (["verb"], {"answer": "verb"}, "verb", "{verb}"),
        (["verb"], {"completion": " {x}"}, "x", " {x}"),
        (["verb"], {"completion": " {verb} {verb}."}, "verb", " {verb} {verb}."),
    ],
)
def test_the_answer_is_inferred_from_its_name_or_the_completion(names, options, answer, written):
    model = CausalModel(
        inputs={"x": integers(1, 9)}, mechanisms=[*map(named, names)], prompt="{x}", **options
    )
    assert (model.answer, model.written) == (answer, written)
    narrower = model.narrowed({"x": integers(1, 3)})
    assert (narrower.answer, narrower.completion) == (answer, model.completion)


@pytest.mark.parametrize("completion", ["", " {verb} {number}", " yes"])
def test_an_answer_that_is_not_clear_says_what_to_pass(completion):
    with pytest.raises(ValueError) as caught:
        CausalModel(
            inputs={"x": integers(1, 9)},
            mechanisms=[named("number"), named("verb")],
            prompt="{x}",
            completion=completion,
        )
    assert str(caught.value) == (
        "this causal model cannot work: it is not clear which variable is the answer; pass "
        "answer='verb', or call the function `answer`. Its variables are: x, number, verb"
    )


@pytest.mark.parametrize(
    "options, says",
    [
        ({"inputs": {"x": ["a", "b"]}}, "the input 'x' needs a domain: choice.*; got list"),
        ({"mechanisms": [partial(max, 1)]}, r"def verb\(number\): ...; got functools.partial"),
        ({"mechanisms": ["answer"]}, r"def verb\(number\): ...; got 'answer'"),
        ({"prompt": "{x"}, "the prompt is no template: expected '}'"),
        ({"prompt": "{} {x}"}, "the prompt has a field without a name"),
        ({"completion": " {answer"}, "the completion is no template"),
    ],
)
def test_what_is_no_domain_no_function_and_no_template(options, says):
    usual = {"inputs": {"x": integers(1, 9)}, "mechanisms": [named("answer")], "prompt": "{x}"}
    with pytest.raises(ValueError, match=f"^this causal model cannot work: .*{says}"):
        CausalModel(**{**usual, **options})


# Several right answers.


@pytest.mark.parametrize(
    "completion, value, written",
    [
        ("{answer}", [3, 1, 2, 1], ("1", "2", "3")),
        (" {answer}.", {"b", "a"}, (" a.", " b.")),
        (" {answer}", (5,), " 5"),
        (" {answer}", frozenset({7}), " 7"),
        (" {answer}", [], ()),
        (" {answer:02d}", [3, 11], (" 03", " 11")),
        (" {answer} and {answer}", [1, 2], (" 1 and 1", " 2 and 2")),
        (" {answer} of {x}", [1, 2], (" 1 of 4", " 2 of 4")),
        (" {answer[1]}", [1, 2], " 2"),
        (" {answer!r}", "a", " 'a'"),
    ],
)
def test_a_list_or_set_in_the_completion_is_several_right_answers(completion, value, written):
    model = CausalModel(
        inputs={"x": integers(1, 9)},
        mechanisms=[named("answer", lambda x: value)],
        prompt="{x}",
        completion=completion,
    )
    assert model.write_answer(model.run({"x": 4})) == written


# What goes wrong in a task's own functions.


def at(function, more=1):
    return f"test_causal_model.py, line {function.__code__.co_firstlineno + more}: "


def capital(country):
    return {"France": "Paris"}[country]


def test_a_mechanism_that_raises_is_named_with_file_line_and_inputs():
    model = CausalModel(
        inputs={"country": choice(["France", "Spain"])},
        mechanisms=[capital],
        prompt="{country}",
        answer="capital",
    )
    with pytest.raises(TaskError) as caught:
        model.run({"country": "Spain"})
    assert str(caught.value) == f"{at(capital)}capital(country='Spain') raised KeyError: 'Spain'"
    with pytest.raises(TaskError, match=r"raised KeyError: 'Spain'$"):
        model.carries("capital", crossed=False).sample(8)


def test_the_line_is_the_last_one_in_the_functions_own_file():
    def inner(x):
        return 1 / x

    def answer(x):
        return inner(x)

    with pytest.raises(TaskError) as caught:
        CausalModel(inputs={"x": integers(0, 1)}, mechanisms=[answer], prompt="{x}").run({"x": 0})
    assert str(caught.value).startswith(f"{at(inner)}answer(x=0) raised ZeroDivisionError")


def test_conditions_and_prompts_that_raise():
    def condition(double):
        raise RuntimeError("no")

    with pytest.raises(TaskError, match=r"line \d+: condition\(double=2\) raised RuntimeError: no"):
        doubling(where=condition).allows({"x": 1})

    def prompt(x) -> Any:
        return None if x == 1 else x.upper()

    values = {"x": 2, "double": 4}
    with pytest.raises(TaskError, match=r"prompt\(x=2\) raised AttributeError"):
        doubling(prompt).render(values)
    with pytest.raises(TaskError, match=r"prompt\(x=1\) gives None; a prompt is text"):
        doubling(prompt).render({**values, "x": 1})
    with pytest.raises(TaskError, match=r"'\{x\[3\]\}' cannot be written for x=\(1,\): IndexError"):
        doubling("{x[3]}").render({**values, "x": (1,)})
    with pytest.raises(TaskError, match="span 'x' must lie inside the prompt and not be empty"):
        doubling("a{x}").render({**values, "x": ""})


def test_functions_without_a_file_and_long_inputs():
    made: dict[str, Any] = {}
    exec("def answer(x):\n    return x.name", made)
    model = CausalModel(inputs={"x": integers(1, 9)}, mechanisms=[made["answer"]], prompt="{x}")
    with pytest.raises(TaskError, match=r"^answer\(x=1\) raised AttributeError: 'int' object"):
        model.run({"x": 1})
    with pytest.raises(TaskError) as caught:
        model.run({"x": list(range(10_000))})
    assert len(str(caught.value)) < 200


def test_a_condition_on_inputs_keeps_from_mechanisms_what_they_cannot_take():
    def answer(x, y):
        return y // x

    model = CausalModel(
        inputs={"x": integers(0, 3), "y": integers(0, 9)},
        mechanisms=[answer],
        prompt="{y} over {x}",
        where=lambda x: x != 0,
    )
    assert not model.allows({"x": 0, "y": 1})
    for made in (one for side in model.carries("x").sample(30) for one in side):
        assert all(pair.base_inputs["x"] and pair.source_inputs["x"] for pair in made.pairs)


def test_a_domain_of_ones_own_that_raises_is_named():
    class Broken:
        parents = ()

        def draw(self, rng, values):
            raise IndexError("nothing left")

        def accepts(self, value, values):
            return True

    model = CausalModel(inputs={"x": Broken()}, mechanisms=[named("answer")], prompt="{x}")
    with pytest.raises(TaskError, match=r"'x' cannot be drawn from .*IndexError: nothing left"):
        model.draw(random.Random(0))
