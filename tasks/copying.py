"""Copying: "red dog sun cup red dog sun cup dog" -> " sun", the word that came next before.

Olsson et al. 2022 (arXiv 2209.11895): induction heads find where the present word stood before and
copy what followed. Two claims: `claim`, that the word to copy passes through the circuit at the
last token; and `middle`, about the first of the two tokens that matter, read in the middle of the
prompt: after `again`, where the list comes a second time, the word after it is predicted at that
place, whatever comes behind.

Base accuracy (the right word is the most likely one, both prompts of a pair, n = 64):
SMOLLM
"""

from desiderata import CausalModel, Prompt, choice, distinct, item_of, join

WORDS = (
    "apple", "river", "stone", "music", "paper", "green", "seven", "north", "table", "glass",
    "metal", "horse", "cloud", "bread", "chair", "light", "water", "house", "tree", "road",
    "book", "hand", "star", "wind",
)  # fmt: skip


def place(words: tuple[str, ...], query: str) -> int:
    return words.index(query)


def following(words: tuple[str, ...], place: int) -> str:
    return words[(place + 1) % len(words)]


def prompt(words: tuple[str, ...], query: str) -> Prompt:
    """The list twice, then the word that asks; and the list once more, which comes too late for an
    answer that is read at the query."""
    listed: list = []
    for turn in ("first", "second"):
        for index, word in enumerate(words):
            listed += [(f"{turn}.{index}", word), " "]
    return join([*listed, ("query", query)])


def longer(words: tuple[str, ...], query: str) -> Prompt:
    parts = prompt(words, query)
    return Prompt(f"{parts.text} and so on", parts.spans)


inputs = {"words": distinct(choice(WORDS, one_token=True), 4), "query": item_of("words")}
model = CausalModel(
    inputs=inputs, mechanisms=[place, following], prompt=prompt, completion=" {following}"
)
middle_model = CausalModel(
    inputs=inputs, mechanisms=[place, following], prompt=longer, completion=" {following}"
)

claim = model.carries("following", at="last")
middle = middle_model.carries("following", at="query", read="query")
