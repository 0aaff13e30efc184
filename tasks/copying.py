"""Copying: "tree road book hand tree road book hand road" -> " book", what came next before.

Olsson et al. 2022 (arXiv 2209.11895): induction heads find where the present word stood before and
copy what followed. The claims are that the word to copy passes through the circuit:

- `claim`, at the last token;
- `middle`, at the query in the middle of a prompt: words follow it, and the answer is read where
  the query stands.

The answer is a preference between the words that base and source ask for. Base accuracy (both
prompts of a pair, 64 pairs of each desideratum, for either claim): SmolLM2-135M 0.92 on the search
side, 0.85 held out (n = 128 each). The model cannot do it if asked for what it would write, which
is the right word in 0.12 and 0.15 of these pairs: it often goes on with punctuation.
"""

from collections.abc import Callable

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


def has_one_follower(words: tuple[str, ...], place: int) -> bool:
    """Whether the same word came next both times; the list's last word ends the second time."""
    return place < len(words) - 1


def prompt(words: tuple[str, ...], query: str) -> Prompt:
    """The list twice, then the word that asks."""
    listed: list[str | tuple[str, str]] = []
    for turn in ("first", "second"):
        for index, word in enumerate(words):
            listed += [(f"{turn}.{index}", word), " "]
    return join([*listed, ("query", query)])


def longer(words: tuple[str, ...], query: str) -> Prompt:
    """The same with words behind it, too late for an answer read at the query."""
    parts = prompt(words, query)
    return Prompt(f"{parts.text} and so on", parts.spans)


def _copying(written: Callable[..., Prompt]) -> CausalModel:
    return CausalModel(
        inputs={"words": distinct(choice(WORDS, one_token=True), 4), "query": item_of("words")},
        mechanisms=[place, following],
        where=has_one_follower,
        prompt=written,
        completion=" {following}",
    )


model = _copying(prompt)
middle_model = _copying(longer)

claim = model.carries("following", at="last", among="named")
middle = middle_model.carries("following", at="query", read="query", among="named")
