"""Arithmetic on bound values: "x = 5", "y = 3", "x - y = " -> "2".

The task of Davies et al. 2023 (arXiv 2307.03637), with one-digit values so that the answer is one
token. Three claims of growing strictness about the last token:

- `dcm`: the paper's two desiderata, value dependence (follows x) and operation invariance (keeps
  op). A head that fetches x and y alike satisfies them.
- `values`: both values are carried, the operation is not, and this also holds when everything
  differs at once.
- `strict`: x alone is carried; y and op keep still.

And one that is too loose, for comparison: `value_alone`, the first of the paper's two desiderata,
which anything that brings the answer satisfies.

Base accuracy: `smollm2-135m-binding` 1.00 (n = 100, letters and template held out); `binder` 1.00
(n = 1000; its letters are not strictly held out), but 0.23 on the seven sums held out of its
training. The engine leaves out pairs that the model does not solve.
"""

from desiderata import CausalModel, Prompt, choice, distinct, fill, integers

from .words import HELD_OUT_LETTERS, LETTERS

# The paper's prompt is "lines", the one that the claims here use; tasks/binding.py uses them all.
TEMPLATES = {
    "lines": "{a} = {x}\n{b} = {y}\n{a} {op} {b} = ",
    "commas": "{a} = {x}, {b} = {y}, {a} {op} {b} = ",
    "let": "Let {a} = {x} and {b} = {y}. Then {a} {op} {b} = ",
    "python": ">>> {a} = {x}\n>>> {b} = {y}\n>>> print({a} {op} {b})\n",
    "semicolons": "{a} := {x}; {b} := {y}; {a} {op} {b} = ",
}
HELD_OUT_TEMPLATE = "semicolons"


def answer(x: int, y: int, op: str) -> int:
    return x + y if op == "+" else x - y


def prompt(template: str, letters: tuple[str, str], x: int, y: int, op: str) -> Prompt:
    first, second = letters
    return fill(TEMPLATES[template], a=first, b=second, x=x, y=y, op=op)


model = CausalModel(
    inputs={
        "letters": distinct(choice(LETTERS, held_out=HELD_OUT_LETTERS, one_token=True), 2),
        "x": integers(0, 9),
        "y": integers(0, 9),
        "op": choice("+-"),
        "template": choice(("lines",)),
    },
    mechanisms=[answer],
    where=lambda answer: 0 <= answer <= 9,
    prompt=prompt,
)

dcm = model.carries("x", at="last", keeps=["op"], crossed=False)
values = model.carries(["x", "y"], at="last", keeps=["op"])
value_alone = model.carries("x", at="last", keeps=[], crossed=False)
strict = model.carries("x", at="last", keeps=["y", "op"])
