"""Binding in a language model: arithmetic, word problems, retrieval and boxes, in plain English.

Each family is a causal model whose held-out names, letters, labels, objects and templates are
fixed, so that `smollm2-135m-binding` never learned an answer from them, and every search and
validation of these tasks agrees with that. Pairs of numbers are kept from it too (`is_trained_on`).
Held-out objects do occur in the little stories of `scripts/train_binding.py`, unbound, where the
untouched model is imitated.

Arithmetic after Davies et al. 2023 (arXiv 2307.03637), boxes after Kim & Schuster 2023 (arXiv
2305.02363) as altered by Prakash et al. 2024 (arXiv 2402.14811): the question is no literal
continuation of a statement. All answers are one token.
"""

from desiderata import CausalModel, Prompt, choice, distinct, fill, integers, item_of

from . import arithmetic as code
from .words import HELD_OUT_NAMES, HELD_OUT_OBJECTS, NAMES, OBJECTS

# fmt: off
ITEMS = ("apples", "books", "coins", "cards", "eggs", "pens", "cups", "balls", "stones", "keys")
HELD_OUT_ITEMS = ("cards", "cups", "keys")
LABELS = tuple("ABCDEFGHJKLMNPQRSTUVWXYZ")  # without I and O, which are words
HELD_OUT_LABELS = tuple("CGKPSW")
# fmt: on


def is_trained_on(x: int, y: int) -> bool:
    """Whether fine-tuning saw this ordered pair of digits; 90 of the 100."""
    return (3 * x + 7 * y) % 10 != 4


# ------------------------------------------------------------------------------- word problems

# A story's opening, and what {who} has after gaining or losing {change}.
STORIES = {
    "has": (
        "{names[0]} has {x} {item}. {names[1]} has {y}. ",
        {
            "+": "{who} gets {change} more, so {who} has ",
            "-": "{who} loses {change}, so {who} has ",
        },
    ),
    "owns": (
        "{names[0]} owns {x} {item} and {names[1]} owns {y}. ",
        {
            "+": "Then {who} buys {change} more. Now {who} owns ",
            "-": "Then {who} sells {change}. Now {who} owns ",
        },
    ),
    "bag": (
        "There are {x} {item} in the bag of {names[0]} and {y} in the bag of {names[1]}. ",
        {
            "+": "{who} puts in {change}. The number in the bag of {who} is ",
            "-": "{who} takes out {change}. The number in the bag of {who} is ",
        },
    ),
    "bought": (
        "{names[0]} bought {x} {item} and {names[1]} bought {y}. ",
        {
            "+": "Later {who} got {change} more. In the end {who} had ",
            "-": "Later {who} gave away {change}. In the end {who} had ",
        },
    ),
    "list": (
        "{names[0]}: {x} {item}. {names[1]}: {y}. ",
        {
            "+": "{who} adds {change}. Now {who}: ",
            "-": "{who} removes {change}. Now {who}: ",
        },
    ),
    "starts": (
        "{names[0]} starts with {x} {item}, {names[1]} with {y}. ",
        {
            "+": "{who} finds {change}, and ends with ",
            "-": "{who} drops {change}, and ends with ",
        },
    ),
}
HELD_OUT_STORY = "starts"


def _word_problems() -> CausalModel:
    def start(names: tuple[str, str], who: str, x: int, y: int) -> int:
        return (x, y)[names.index(who)]

    def answer(start: int, change: int, op: str) -> int:
        return start + change if op == "+" else start - change

    def prompt(
        story: str,
        names: tuple[str, str],
        item: str,
        x: int,
        y: int,
        who: str,
        change: int,
        op: str,
    ) -> Prompt:
        opening, turns = STORIES[story]
        return fill(opening + turns[op], names=names, item=item, x=x, y=y, who=who, change=change)

    return CausalModel(
        inputs={
            "names": distinct(choice(NAMES, held_out=HELD_OUT_NAMES, one_token=True), 2),
            "who": item_of("names"),
            "item": choice(ITEMS, held_out=HELD_OUT_ITEMS),
            "x": integers(0, 9),
            "y": integers(0, 9),
            "change": integers(0, 9),
            "op": choice("+-"),
            "story": choice(tuple(STORIES), held_out=(HELD_OUT_STORY,)),
        },
        mechanisms=[start, answer],
        where=lambda answer: 0 <= answer <= 9,
        prompt=prompt,
    )


# ----------------------------------------------------------------------------------- retrieval

POSSESSION = {
    "has": ("{name} has the {object}.", " {query} has the"),
    "took": ("{name} took the {object}.", " {query} took the"),
    "given": ("{name} was given the {object}.", " So {query} now has the"),
    "holds": ("{name} holds the {object}.", " {query} holds the"),
}
HELD_OUT_POSSESSION = "holds"


def retrieval(n: int) -> CausalModel:
    """Who has what, for `n` people: "Anna has the key. Bob has the map. Anna has the"."""

    def position(names: tuple[str, ...], query: str) -> int:
        return names.index(query)

    def answer(objects: tuple[str, ...], position: int) -> str:
        return objects[position]

    def prompt(
        template: str, names: tuple[str, ...], objects: tuple[str, ...], query: str
    ) -> Prompt:
        statement, question = POSSESSION[template]
        statements = (
            statement.replace("{name}", f"{{names[{i}]}}").replace("{object}", f"{{objects[{i}]}}")
            for i in range(n)
        )
        return fill(" ".join(statements) + question, names=names, objects=objects, query=query)

    return CausalModel(
        inputs={
            "names": distinct(choice(NAMES, held_out=HELD_OUT_NAMES, one_token=True), n),
            "objects": distinct(choice(OBJECTS, held_out=HELD_OUT_OBJECTS, one_token=True), n),
            "query": item_of("names"),
            "template": choice(tuple(POSSESSION), held_out=(HELD_OUT_POSSESSION,)),
        },
        mechanisms=[position, answer],
        prompt=prompt,
        completion=" {answer}",
    )


# --------------------------------------------------------------------------------------- boxes

PLACEMENT = {
    "is in": ("the {object} is in Box {label}", ", ", ". Box {query} contains the"),
    "contains": ("Box {label} contains the {object}", ". ", ". In Box {query} there is the"),
    "put": ("the {object} was put into Box {label}", " and ", ". Box {query} now contains the"),
    "lies": ("the {object} lies in Box {label}", "; ", ". The thing in Box {query} is the"),
}
HELD_OUT_PLACEMENT = "lies"


def boxes(n: int) -> CausalModel:
    """What is in which of `n` boxes: "The key is in Box F, the map is in Box Q. Box Q contains
    the"."""

    def position(labels: tuple[str, ...], query: str) -> int:
        return labels.index(query)

    def answer(objects: tuple[str, ...], position: int) -> str:
        return objects[position]

    def prompt(
        template: str, labels: tuple[str, ...], objects: tuple[str, ...], query: str
    ) -> Prompt:
        statement, between, question = PLACEMENT[template]
        statements = (
            statement.replace("{label}", f"{{labels[{i}]}}").replace(
                "{object}", f"{{objects[{i}]}}"
            )
            for i in range(n)
        )
        text = between.join(statements) + question
        return fill(text[0].upper() + text[1:], labels=labels, objects=objects, query=query)

    return CausalModel(
        inputs={
            "labels": distinct(choice(LABELS, held_out=HELD_OUT_LABELS, one_token=True), n),
            "objects": distinct(choice(OBJECTS, held_out=HELD_OUT_OBJECTS, one_token=True), n),
            "query": item_of("labels"),
            "template": choice(tuple(PLACEMENT), held_out=(HELD_OUT_PLACEMENT,)),
        },
        mechanisms=[position, answer],
        prompt=prompt,
        completion=" {answer}",
    )


word_problems = _word_problems()
code_arithmetic = code.model.narrowed(
    {"template": choice(tuple(code.TEMPLATES), held_out=(code.HELD_OUT_TEMPLATE,))}
)
FAMILIES = {
    "arithmetic": code_arithmetic,
    "word problems": word_problems,
    **{f"retrieval {n}": retrieval(n) for n in (2, 3)},
    **{f"boxes {n}": boxes(n) for n in (2, 3, 4, 5)},
}

# Claims about the last token, as `tasks/arithmetic.py` makes them about code.
word_problems_dcm = word_problems.carries("start", at="last", keeps=["op"], crossed=False)
retrieval_answer = retrieval(2).carries("answer", at="last", keeps=[])
boxes_answer = boxes(3).carries("answer", at="last", keeps=[])
