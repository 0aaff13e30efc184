"""From desiderata and a tokenizer to batches: tokens, named positions, targets.

Prompts are padded on the left, so that every prompt ends in the last column and lengths may
differ within a batch and between base and source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from desiderata import Desideratum, Prompt, Span

from ..answers.answer import Answer, Target, UnusableAnswers
from ..answers.known import answer_of
from ..donors.donor import Donor
from ..donors.known import donor_of
from ..models.model import Model, Tokens
from ..models.prompts import Prompts
from ..problems import listed

SHOWN = 8  # unknown words spelled out before the rest are counted


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A desideratum's pairs as tensors, and what its answers and its patched sites are.

    `donated` are the prompts that sites take from: a row a pair where the donor is aligned, shared
    by all pairs where it is not.
    """

    desideratum: Desideratum
    base: Prompts
    source: Prompts
    expected: Target
    base_answer: Target
    source_answer: Target
    answer: Answer
    donor: Donor
    donated: Prompts

    def __len__(self) -> int:
        return len(self.expected)

    def take(self, rows: Sequence[int] | Int[Tensor, " kept"]) -> "Batch":
        """The batch of these rows only, in this order; each keeps what its sites take."""
        index = torch.as_tensor(rows, dtype=torch.long)
        pairs = tuple(self.desideratum.pairs[row] for row in index.tolist())
        return replace(
            self,
            desideratum=replace(self.desideratum, pairs=pairs),
            base=self.base.take(index),
            source=self.source.take(index),
            expected=self.expected.take(index),
            base_answer=self.base_answer.take(index),
            source_answer=self.source_answer.take(index),
            donated=self.donated.take(index) if self.donor.aligned else self.donated,
        )

    def taking(self, donor: Donor) -> "Batch":
        """The same pairs with another donor, made of these pairs alone."""
        desideratum = replace(self.desideratum, donor=donor, mean_over=())
        donated = donor.prompts(self.base, self.source, None)
        return replace(self, desideratum=desideratum, donor=donor, donated=donated)


def encode(model: Model, desiderata: Sequence[Desideratum]) -> tuple[Batch, ...]:
    """One batch per desideratum.

    Raises:
        ValueError: every problem at once: answers that cannot be scored in their context,
            unknown words, unknown spans, `all` with prompts of different lengths, prompts
            without the token that the answer is read at.
        LookupError: an unknown answer or donor.
    """
    pairs = [pair for desideratum in desiderata for pair in desideratum.pairs]
    prompts = {prompt.text: prompt for pair in pairs for prompt in (pair.base, pair.source)}
    prompts |= {prompt.text: prompt for made in desiderata for prompt in made.mean_over}
    tokens = _tokenize(model, prompts)
    unusable: dict[str, None] = {}
    targets = [_targets(model, desideratum, tokens, unusable) for desideratum in desiderata]
    problems = dict.fromkeys([*_unknown_words(model, tokens), *sorted(unusable)])
    positions = {name for desideratum in desiderata for name in desideratum.at}
    columns = {}
    for text, prompt in prompts.items():
        for name in sorted(positions - {"all"}):
            try:
                columns[text, name] = token_of(prompt, tokens[text], name)
            except LookupError as error:
                problems[str(error)] = None
    problems |= dict.fromkeys(_uneven(desiderata, tokens))
    if problems:
        raise ValueError(f"{model.name}: {listed(list(problems))}")
    made = tuple(
        _batch(model, desideratum, tokens, scored, columns)
        for desideratum, scored in zip(desiderata, targets, strict=True)
    )
    if misaligned := [problem for batch in made for problem in _misaligned(batch)]:
        raise ValueError(f"{model.name}: {listed(misaligned)}")
    return made


def _targets(
    model: Model, desideratum: Desideratum, tokens: dict[str, Tokens], problems: dict[str, None]
) -> tuple[Target, ...]:
    """What a desideratum's outputs are scored for: the expected, base's and source's answers, each
    in its context, the prompt up to where it is read. What is wrong joins `problems`."""
    pairs, found = desideratum.pairs, []
    answer = answer_of(desideratum)
    for prompts, texts in (
        ([pair.base for pair in pairs], [pair.expected for pair in pairs]),
        ([pair.base for pair in pairs], [pair.base_answer for pair in pairs]),
        ([pair.source for pair in pairs], [pair.source_answer or None for pair in pairs]),
    ):
        contexts = []
        for prompt, text in zip(prompts, texts, strict=True):
            context = _context(prompt.text, tokens[prompt.text], desideratum.read)
            if context is None and text is not None:
                problems[
                    f"an answer is to be read at token {desideratum.read} of {prompt.text!r}, "
                    f"which has {len(tokens[prompt.text].ids)} tokens (counted from 0)"
                ] = None
            contexts.append(prompt.text if context is None else context)
        try:
            found.append(answer.encode(model, contexts, texts))
        except UnusableAnswers as error:
            problems |= dict.fromkeys(error.problems)
    return tuple(found)


def _context(text: str, tokens: Tokens, read: str) -> str | None:
    """The text up to the token that an answer is read at; None where there is no such token."""
    if read == "last":
        return text
    return text[: tokens.offsets[int(read)][1]] if int(read) < len(tokens.ids) else None


def token_of(prompt: Prompt, tokens: Tokens, position: str) -> int:
    """The index of the token that a position name stands for: a span's last token, or `last`.

    Raises:
        LookupError: no such span, or a span that no token covers.
    """
    if position == "last":
        return len(tokens.ids) - 1
    inside = _tokens_in(tokens, prompt.span(position))
    if not inside:
        raise LookupError(f"no token covers the span {position!r} of {prompt.text!r}")
    return inside[-1]


def _tokens_in(tokens: Tokens, span: Span) -> list[int]:
    """The indices of the tokens that cover some of a span's characters."""
    return [
        index
        for index, (start, end) in enumerate(tokens.offsets)
        if start < span.end and end > span.start
    ]


def _tokenize(model: Model, texts: Iterable[str]) -> dict[str, Tokens]:
    texts = list(dict.fromkeys(texts))
    return dict(zip(texts, model.tokenize(texts), strict=True))


def _unknown_words(model: Model, tokens: dict[str, Tokens]) -> Iterable[str]:
    unk = getattr(model.tokenizer, "unk_token_id", None)
    words = {
        text[start:end].strip()
        for text, made in tokens.items()
        for index, (start, end) in zip(made.ids, made.offsets, strict=True)
        if index == unk and end > start
    }
    if words:
        shown = ", ".join(repr(word) for word in sorted(words)[:SHOWN])
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        yield f"the model does not know the word(s) {shown}{more}; write prompts in its words"


def _uneven(desiderata: Sequence[Desideratum], tokens: dict[str, Tokens]) -> Iterable[str]:
    """Why patching at `all` cannot be done, where tokens do not correspond."""
    for desideratum in desiderata:
        if "all" not in desideratum.at:
            continue
        uneven = [
            pair
            for pair in desideratum.pairs
            if len(tokens[pair.base.text].ids) != len(tokens[pair.source.text].ids)
        ]
        if uneven:
            yield (
                f"{desideratum.name}: patching at 'all' needs base and source of the same length "
                f"in tokens; {len(uneven)} of {len(desideratum.pairs)} pairs differ, such as "
                f"{uneven[0].base.text!r} and {uneven[0].source.text!r}"
            )
            continue
        if donor_of(desideratum).placed:
            shared = [*desideratum.mean_over, *(pair.base for pair in desideratum.pairs)]
            widths = sorted({len(tokens[prompt.text].ids) for prompt in shared})
            if len(widths) > 1:
                yield (
                    f"{desideratum.name}: the mean at 'all' needs prompts of one length in tokens; "
                    f"they have {', '.join(map(str, widths))}"
                )


def _misaligned(batch: Batch) -> Iterable[str]:
    """Why a donor cannot serve at `all`, where its prompts are aligned with the pairs."""
    if "all" in batch.desideratum.at and batch.donor.aligned:
        lengths = batch.base.attends.sum(dim=1), batch.donated.attends.sum(dim=1)
        if n := int((lengths[0] != lengths[1]).sum()):
            yield (
                f"{batch.desideratum.name}: the donor {batch.donor.name} at 'all' needs prompts as "
                f"long as the bases in tokens; for {n} of {len(batch)} pairs there is none"
            )


def _batch(
    model: Model,
    desideratum: Desideratum,
    tokens: dict[str, Tokens],
    targets: tuple[Target, ...],
    columns: dict[tuple[str, str], int],
) -> Batch:
    def prompts(side: Sequence[Prompt]) -> Prompts:
        return _prompts(model, desideratum, side, tokens, columns)

    base = prompts([pair.base for pair in desideratum.pairs])
    source = prompts([pair.source for pair in desideratum.pairs])
    mean_over = prompts(desideratum.mean_over) if desideratum.mean_over else None
    donor = donor_of(desideratum)
    expected, base_answer, source_answer = targets
    return Batch(
        desideratum=desideratum,
        base=base,
        source=source,
        expected=expected,
        base_answer=base_answer,
        source_answer=source_answer,
        answer=answer_of(desideratum),
        donor=donor,
        donated=donor.prompts(base, source, mean_over),
    )


def _prompts(
    model: Model,
    desideratum: Desideratum,
    side: Sequence[Prompt],
    tokens: dict[str, Tokens],
    columns: dict[tuple[str, str], int],
) -> Prompts:
    """These prompts, padded on the left, with the columns that a desideratum names."""
    rows = [tokens[prompt.text].ids for prompt in side]
    width = max(map(len, rows))
    pads = torch.tensor([width - len(row) for row in rows])
    pad = getattr(model.tokenizer, "pad_token_id", None) or 0
    table = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    named = {
        name: (torch.tensor([columns[prompt.text, name] for prompt in side]) + pads)
        for name in desideratum.at
        if name != "all"
    }
    attends = (torch.arange(width) >= pads[:, None]).long()
    reads = None
    if desideratum.read != "last":
        # A source without that token has no answer there, so where it is read is all the same.
        at = [min(int(desideratum.read), len(row) - 1) for row in rows]
        reads = (torch.tensor(at) + pads).to(model.device)
    return Prompts(
        table.to(model.device),
        attends.to(model.device),
        {name: column.to(model.device) for name, column in named.items()},
        reads,
    )
