"""Arithmetic on bound digits, mod 10: "BOS a 3 c 1 b 7 c + a" -> "4".

Three letters are bound to digits; the first one asked for plus or minus the second, last digit.
This is the causal model that `siit-arithmetic` was trained to have as its circuit, by strict
interchange training (Gupta et al. 2024, arXiv 2407.14494; `scripts/train_siit.py`), a component
for each of `ALIGNED`: so what search should find is known. `claim` is the usual faithful circuit;
`left`, `right` and `first` ask what carries one variable to the last token.

Base accuracy: `siit-arithmetic` 1.000 (n = 7776 prompts that training never saw).
"""

from desiderata import CausalModel, choice, distinct

LETTERS, DIGITS, OPS = "abc", "0123456789", "+-"

# Variable -> the component that training gave it. `places` and `op` are what the prompt says of
# them, moved to where they are needed; so is `first`.
ALIGNED = {
    "places": "a0.h1",
    "first": "a0.h2",
    "left": "a1.h0",
    "right": "a1.h3",
    "op": "a2.h1",
    "answer": "m2",
}


def places(letters: tuple[str, ...]) -> tuple[int, ...]:
    """Where a, b and c stand."""
    return tuple(letters.index(letter) for letter in LETTERS)


def left(places: tuple[int, ...], digits: tuple[str, ...], first: str) -> int:
    return int(digits[places[LETTERS.index(first)]])


def right(places: tuple[int, ...], digits: tuple[str, ...], second: str) -> int:
    return int(digits[places[LETTERS.index(second)]])


def answer(left: int, right: int, op: str) -> int:
    return (left + right if op == "+" else left - right) % 10


model = CausalModel(
    inputs={
        "letters": distinct(LETTERS, 3),
        "digits": distinct(DIGITS, 3),
        "first": choice(LETTERS),
        "op": choice(OPS),
        "second": choice(LETTERS),
    },
    mechanisms=[places, left, right, answer],
    prompt="BOS {letters[0]} {digits[0]} {letters[1]} {digits[1]} {letters[2]} {digits[2]} "
    "{first} {op} {second}",
    completion=" {answer}",
)

claim = model.suffices()
carries_left = model.carries("left", at="last")
carries_right = model.carries("right", at="last")
carries_first = model.carries("first", at="last")
