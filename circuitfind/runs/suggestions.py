"""What to try instead, where a model fails at what a claim asks."""

from collections.abc import Iterable, Iterator, Sequence

from desiderata import texts_of
from desiderata.choices import NAMED

from ..models.model import Model
from .look import Look, named_by

LIKELIER = 2.0  # times as likely with a space as without, from where on the space is missing


def suggestions(model: Model, looks: Sequence[Look]) -> Iterator[str]:
    """A sentence for each thing to try."""
    yield from filter(None, (preference(looks), missing_space(model, looks)))


def preference(looks: Sequence[Look]) -> str | None:
    """What to ask instead, where the model mostly has the preference right and the top wrong."""
    failing = [one for one in looks if one.failing and isinstance(one.desideratum.answer, str)]
    # As many as a run would need of them.
    if not failing or any(sum(one.compared) <= len(one.preferred) / 2 for one in failing):
        return None
    right, n = (
        sum(sum(one.compared) for one in failing),
        sum(len(one.preferred) for one in failing),
    )
    few = failing[0].few
    if not few and any(len(named_by(pair)) < 2 for look in looks for pair in look.pairs):
        return None  # such a pair has nothing to be compared with
    listed = ", ".join(repr(one[0]) if len(one) == 1 else repr(one) for one in few)
    words = f"[{listed}]" if few else f'"{NAMED}"'
    return (
        f"the right answer beats the others that pairs name in {right} of {n} pairs: ask for this "
        f"preference with among={words}"
    )


def missing_space(model: Model, looks: Iterable[Look]) -> str | None:
    """What to change where the model fails, and answers lack their leading space or prompts end
    with one."""
    n = better = trailing = 0
    shown = []
    for look in looks:
        if not look.failing or look.heard is None:
            continue
        for pair, output in zip(look.pairs, look.heard.next_tokens[0], strict=True):
            text = texts_of(pair.base_answer)[0]
            n += 1
            trailing += pair.base.text[-1:] == " "
            if text[:1].isspace() or pair.base.text[-1:].isspace():
                continue
            without, spaced = _first_ids(model, pair.base.text, (text, f" {text}"))
            if None in (without, spaced) or without == spaced:
                continue
            shares = output.float().softmax(-1)
            if shares[spaced] > LIKELIER * shares[without]:
                better += 1
                shown.append(text)
    if better > n / 2:
        return (
            f"in {better} of {n} prompts the model's answer begins with a space: write "
            f"{' ' + shown[0]!r}, not {shown[0]!r} (completion=' {{...}}' in a causal model)"
        )
    if trailing > n / 2:
        return (
            f"{trailing} of {n} prompts end with a space, which tokenizers put in front of the "
            "next word: move it to the start of the answer"
        )
    return None


def _first_ids(model: Model, context: str, texts: Sequence[str]) -> list[int | None]:
    """The id of the first token of each text after this context; None where they merge."""
    (before,) = model.tokenize([context])
    k = len(before.ids)
    return [
        tokens.ids[k] if tokens.ids[:k] == before.ids and len(tokens.ids) > k else None
        for tokens in model.tokenize([context + text for text in texts])
    ]
