"""What answers that are tokens share: token ids in their context, and a distribution's numbers."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from ..models.model import Model, Tokens


def next_ids(model: Model, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int | str]:
    """The token id of each answer after its context, or what is wrong with it in words."""
    wanted = list(dict.fromkeys(wanted))
    texts = list(dict.fromkeys(text for one in wanted for text in (one[0], one[0] + one[1])))
    tokens = dict(zip(texts, model.tokenize(texts), strict=True))
    return {
        (context, answer): _next_id(tokens[context], tokens[context + answer], answer)
        for context, answer in wanted
    }


def _next_id(context: Tokens, whole: Tokens, answer: str) -> int | str:
    if whole.ids[: len(context.ids)] != context.ids:
        return (
            f"the answer {answer!r} merges with the end of its prompt into one token; move the "
            "space between them from the prompt's end to the answer's start, or the reverse"
        )
    extra = whole.ids[len(context.ids) :]
    if len(extra) != 1:
        return f"the answer {answer!r} is {len(extra)} tokens after its prompt; it must be one"
    return extra[0]


def kl(
    untouched: Float[Tensor, "pair d_vocab"], output: Float[Tensor, "mask pair d_vocab"]
) -> Float[Tensor, "mask pair"]:
    """KL(untouched || output) of the next token's distribution, in nats."""
    before, after = untouched.log_softmax(-1), output.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).clamp(min=0)


def most_likely(model: Model, output: Float[Tensor, "pair d_vocab"]) -> list[str]:
    """The most likely next token of each pair, as the tokenizer writes it."""
    return [model.tokenizer.decode([token]) for token in output.argmax(-1).tolist()]
