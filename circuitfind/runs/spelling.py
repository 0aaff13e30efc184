"""How a model's tokenizer cuts prompts and answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from desiderata import Texts, texts_of

from ..models.model import Model, Tokens


@dataclass(frozen=True)
class Spelled:
    """An answer's texts, each with the tokens that the tokenizer makes of it after its prompt."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]


def spelled(model: Model, context: str, answer: Texts) -> Spelled:
    """How the tokenizer writes an answer after this text."""
    texts = texts_of(answer)
    return Spelled(texts, tuple(map(tuple, _tokens_after(model, context, texts))))


def pieces_of(text: str, tokens: Tokens) -> tuple[str, ...]:
    """The text as its tokens cut it; a space that a token leaves out belongs to it all the same."""
    made, before = [], 0
    for _, end in tokens.offsets:
        made.append(text[before:end])
        before = max(before, end)
    return tuple(made)


def _tokens_after(model: Model, context: str, texts: Sequence[str]) -> list[list[str]]:
    return [
        [
            model.tokenizer.decode([token])
            for token, (_, end) in zip(tokens.ids, tokens.offsets, strict=True)
            if end > len(context)
        ]
        for tokens in model.tokenize([context + text for text in texts])
    ]
