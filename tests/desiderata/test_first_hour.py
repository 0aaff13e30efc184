"""Claims as new users write them, from the README alone, and what lint says of each."""

import pytest

from desiderata import CausalModel, choice, distinct, integers, item_of, lint

SINGULAR = ["key", "teacher", "picture", "car", "dog", "book", "author", "farmer", "tree", "boat"]
PLURAL = [word + "s" for word in SINGULAR]
MEN = ["John", "Paul", "Mark", "James", "Peter", "David", "Robert", "Michael", "Thomas", "Henry"]
WOMEN = ["Mary", "Anna", "Sarah", "Emma", "Alice", "Laura", "Susan", "Lisa", "Jane", "Rachel"]
COUNTRY = {"Paris": "France", "Rome": "Italy", "Berlin": "Germany", "Tokyo": "Japan"}
COUNTRY |= {"Madrid": "Spain", "Moscow": "Russia", "London": "England", "Cairo": "Egypt"}
LANGUAGE = {"France": "French", "Italy": "Italian", "Germany": "German", "Japan": "Japanese"}
LANGUAGE |= {"Spain": "Spanish", "Russia": "Russian", "England": "English", "Egypt": "Arabic"}
CAPITALS = {country: city for city, country in COUNTRY.items()}
CAPITALS |= {"Austria": "Vienna", "Greece": "Athens", "Ireland": "Dublin", "Cuba": "Havana"}
LETTERS = ["apple", "river", "stone", "music", "paper", "green", "seven", "north", "table", "glass"]


def number(subject):
    return "plural" if subject in PLURAL else "singular"


def verb(number):
    return "are" if number == "plural" else "is"


def gender(name):
    return "male" if name in MEN else "female"


def pronoun(gender):
    return {"male": "he", "female": "she"}[gender]


def capital(country):
    return CAPITALS[country]


def country(city):
    return COUNTRY[city]


def language(country):
    return LANGUAGE[country]


def later(decade):
    return [d for d in range(10) if d > decade]


def place(words, query):
    return words.index(query)


def following(words, place):
    return words[(place + 1) % 4]


def agreement(at="last"):
    nouns = choice(SINGULAR + PLURAL)
    return CausalModel(
        inputs={"subject": nouns, "attractor": nouns},
        mechanisms=[number, verb],
        prompt="The {subject} near the {attractor}",
        completion=" {verb}",
    ).carries("number", at=at)


def pronouns():
    places = choice(["school", "work", "church", "town", "bed"])
    return CausalModel(
        inputs={"name": choice(MEN + WOMEN), "place": places},
        mechanisms=[gender, pronoun],
        prompt="{name} went to {place} because",
        completion=" {pronoun}",
    ).carries("gender", at="last")


def capitals(countries=tuple(CAPITALS)):
    return CausalModel(
        inputs={"country": choice(countries)},
        mechanisms=[capital],
        prompt="The capital of {country} is the city of",
        completion=" {capital}",
    ).carries("capital", at="last")


def greater_than():
    return CausalModel(
        inputs={
            "noun": choice(["war", "strike", "siege"]),
            "century": integers(11, 19),
            "decade": integers(2, 7),
            "year": integers(0, 9),
        },
        mechanisms=[later],
        prompt="The {noun} lasted from the year {century}{decade}{year} to the year {century}",
        completion="{later}",
    ).carries("later", at="last")


def two_hops(at):
    people = choice(["people", "children", "teachers"])
    return CausalModel(
        inputs={"city": choice(list(COUNTRY)), "who": people},
        mechanisms=[country, language],
        prompt="In {city}, most {who} speak",
        completion=" {language}",
    ).carries("country", at=at)


def copying(at):
    return CausalModel(
        inputs={"words": distinct([*LETTERS, "metal", "horse"], 4), "query": item_of("words")},
        mechanisms=[place, following],
        prompt="{words[0]} {words[1]} {words[2]} {words[3]} "
        "{words[0]} {words[1]} {words[2]} {words[3]} {query}",
        completion=" {following}",
    ).carries("following", at=at)


@pytest.mark.parametrize(
    "claim, answer",
    [
        (agreement(), "verb"),
        (pronouns(), "pronoun"),
        (capitals(), "capital"),
        (greater_than(), "later"),
        (two_hops("last"), "language"),
        (two_hops("city"), "language"),
        (copying("last"), "following"),
        (copying("query"), "following"),
        (copying("words[place]"), "following"),
        (copying("words[place].2"), "following"),
    ],
)
def test_first_versions_are_built_and_without_an_error(claim, answer):
    assert claim.model.answer == answer
    found = lint(claim, n=192)
    assert not [one for one in found if one.level == "error"], found
    assert len(found) <= 2
    assert sum("asked for" in one.says for one in found) <= 1


def test_too_few_values_are_said_once_with_what_to_do():
    (problem,) = lint(capitals(), n=192)
    assert problem.level == "warning"
    assert problem.where == "follows capital and crossed capital"
    assert problem.says.startswith("only 12 different pairs of 192 asked for (search: follows cap")
    assert "; add values" in problem.says


def test_later_years_are_sets_of_right_answers():
    (follows, *_), _ = greater_than().sample(40)
    for pair in follows.pairs:
        decade = pair.source_inputs["decade"]
        right = tuple(str(digit) for digit in range(decade + 1, 10))
        assert pair.expected == (right[0] if len(right) == 1 else right)


def test_a_missing_value_names_file_line_function_and_inputs():
    (problem,) = lint(capitals(("France", "Italy", "Peru")), n=192)
    assert problem.level == "error"
    line = capital.__code__.co_firstlineno + 1
    where = f"test_first_hour.py, line {line}: "
    assert problem.says == f"{where}capital(country='Peru') raised KeyError: 'Peru'"


def test_a_misspelt_span_is_said_once_with_those_there_are():
    errors = [one for one in lint(agreement("subjekt"), n=192) if one.level == "error"]
    assert [one.says for one in errors] == [
        "the prompts have no span 'subjekt'; the spans are: subject, attractor (besides last and "
        "all)"
    ]
