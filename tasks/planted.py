"""Variable binding in made-up words, "k0 v5 k3 v9 k6 v2 k3" -> "v9", for the `planted` models.

Their circuits are known by construction (circuitfind/planted.py), and what each claim makes of
them is said there. The claims, all about the last token:

- `claim`: the answer is carried, and nothing else carries it;
- `inside`: the answer is carried; others may carry it too;
- `alone`: the circuit alone gives the answer, with everything else there ablated to zero.

Base accuracy: 1.00 for every `planted` model (tests/circuitfind/test_planted.py).
"""

from desiderata import CausalModel, choice, distinct, item_of

KEYS = tuple(f"k{n}" for n in range(16))
VALUES = tuple(f"v{n}" for n in range(25))
BINDINGS = 3


def position(keys: tuple[str, ...], query: str) -> int:
    return keys.index(query)


def answer(values: tuple[str, ...], position: int) -> str:
    return values[position]


def prompt(keys: tuple[str, ...], values: tuple[str, ...], query: str) -> str:
    return " ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True)) + f" {query}"


model = CausalModel(
    inputs={
        "keys": distinct(choice(KEYS, split=False), BINDINGS),
        "values": distinct(choice(VALUES, split=False), BINDINGS),
        "query": item_of("keys"),
    },
    mechanisms=[position, answer],
    prompt=prompt,
    completion=" {answer}",
)

claim = model.carries("answer", at="last", complete=True)
inside = model.carries("answer", at="last")
alone = model.suffices(at="last", donor="zero")
