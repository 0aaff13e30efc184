"""A claim about the conveyor: the last token but one is what it repeats."""

from desiderata import CausalModel, choice

WORDS = [f"w{n}" for n in range(12)]


def answer(first):
    return first


repeats = CausalModel(
    inputs={"first": choice(WORDS), "second": choice(WORDS)},
    mechanisms=[answer],
    prompt="{first} {second}",
    completion=" {answer}",
)
claim = repeats.carries("first", at="last")
