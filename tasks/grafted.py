"""Two variables in one answer, "k0 a5 k3 a9 k3 b2" -> "w38", for the `grafted` models.

A key is bound to the left value (a0 to a63, six bits), the right one (b0 to b3, two bits) stands
last; the answer is the word of all eight bits. Their circuits are known by construction
(circuitfind/models/grafted.py), and what each claim makes of them is said there. The claims:

- `claim`: at the last token the left value is carried and the right one is not, which is what
  desiderata are for: the circuit of all sites does not hold;
- `complete`: moreover nothing else there carries the left value;
- `both`: the whole answer is carried;
- `two_places`, `two_places_complete`: as the first two, at the asked key's token and at the last.

Base accuracy: 1.00 for every `grafted` model (tests/circuitfind/test_grafted.py).
"""

from desiderata import CausalModel, Prompt, choice, distinct, item_of, join

KEYS = tuple(f"k{n}" for n in range(8))
LEFT = tuple(f"a{n}" for n in range(64))
RIGHT = tuple(f"b{n}" for n in range(4))
BINDINGS = 2
PLACES = ("query", "last")


def position(keys: tuple[str, ...], query: str) -> int:
    return keys.index(query)


def left(values: tuple[str, ...], position: int) -> str:
    return values[position]


def answer(left: str, right: str) -> str:
    return f"w{len(RIGHT) * int(left[1:]) + int(right[1:])}"


def prompt(keys: tuple[str, ...], values: tuple[str, ...], query: str, right: str) -> Prompt:
    bound = [f"{key} {value} " for key, value in zip(keys, values, strict=True)]
    return join([*bound, ("query", query), f" {right}"])


model = CausalModel(
    inputs={
        "keys": distinct(choice(KEYS, split=False), BINDINGS),
        "values": distinct(choice(LEFT, split=False), BINDINGS),
        "query": item_of("keys"),
        "right": choice(RIGHT, split=False),
    },
    mechanisms=[position, left, answer],
    prompt=prompt,
    completion=" {answer}",
)

claim = model.carries("left", at="last")
complete = model.carries("left", at="last", complete=True)
both = model.carries("answer", at="last")
two_places = model.carries("left", at=PLACES)
two_places_complete = model.carries("left", at=PLACES, complete=True)
