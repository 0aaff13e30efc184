"""Pairs to show: prompts as the model takes them, and what it says to them."""

from dataclasses import dataclass

from torch import Tensor

from desiderata import Pair, Prompt, Texts

from ..models.model import Model
from ..objective.encoding import token_of
from .look import Look, log_odds, named_by
from .spelling import Spelled, pieces_of, spelled

EXAMPLES, TOP_TOKENS = 2, 5


@dataclass(frozen=True, kw_only=True)
class Said:
    """A prompt as the model takes it, and what it answers.

    Args:
        tokens: in order, as the tokenizer cuts the text; a BOS is empty.
        marked: indices of the tokens at which sites would be patched, by position.
        answer: the prompt's own answer; None where nobody gave it.
        top: the most likely next tokens, with their probabilities.
        odds: log odds of each answer that the pair names against the best other one, in nats.
    """

    text: str
    tokens: tuple[str, ...]
    marked: dict[str, int]
    answer: Spelled | None
    top: tuple[tuple[str, float], ...]
    odds: tuple[tuple[tuple[str, ...], float], ...]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A pair, with what has to be answered under the patch."""

    base: Said
    source: Said
    expected: Spelled


def different(look: Look) -> list[int]:
    """The rows of the pairs to show: the first, and the next one with another answer."""
    pairs = look.pairs
    order = sorted(range(1, len(pairs)), key=lambda row: pairs[row].expected == pairs[0].expected)
    return [0, *order][:EXAMPLES]


def example_of(model: Model, look: Look, row: int) -> Example:
    """A pair that was looked at, with what the model says to it."""
    pair, heard = look.pairs[row], look.heard
    return Example(
        base=_said(
            model, look, pair, pair.base, pair.base_answer, heard.base[row] if heard else None
        ),
        source=_said(
            model, look, pair, pair.source, pair.source_answer, heard.source[row] if heard else None
        ),
        expected=spelled(model, pair.base.text, pair.expected),
    )


def _said(
    model: Model,
    look: Look,
    pair: Pair,
    prompt: Prompt,
    answer: Texts | None,
    output: Tensor | None,
) -> Said:
    (tokens,) = model.tokenize([prompt.text])
    marked = {}
    for name in look.desideratum.at:
        try:
            marked[name] = -1 if name == "all" else token_of(prompt, tokens, name)
        except LookupError:
            continue  # among the problems
    top: list[tuple[str, float]] = []
    odds: tuple[tuple[tuple[str, ...], float], ...] = ()
    if output is not None and bool(output.isfinite().all()):
        after_prompt = output if output.ndim == 1 else output[0]
        best = after_prompt.float().softmax(-1).topk(min(TOP_TOKENS, output.shape[-1]))
        top = [
            (model.tokenizer.decode([token]), share)
            for token, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        sets = named_by(pair, look.few)
        odds = log_odds(model, look.desideratum, prompt, output, sets)
    return Said(
        text=prompt.text,
        tokens=pieces_of(prompt.text, tokens),
        marked={name: index for name, index in marked.items() if index >= 0},
        answer=None if answer is None else spelled(model, prompt.text, answer),
        top=tuple(top),
        odds=odds,
    )
