"""From desiderata and a tokenizer to batches: tokens, named positions, targets.

Prompts are padded on the left, so that every prompt ends in the last column and lengths may
differ within a batch and between base and source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from desiderata import Desideratum, Pair, Prompt, Span, Texts

from ..answers.answer import Answer, Question, Target, UnusableAnswers
from ..answers.known import answer_of
from ..answers.spelling import Continuations, lay_out
from ..donors.donor import Donor
from ..donors.known import donor_of
from ..models.model import Model, Tokens
from ..models.prompts import Prompts
from ..problems import listed
from .kept import Kept

SHOWN = 8  # unknown words spelled out before the rest are counted


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A desideratum's pairs as tensors, and what its answers and its patched sites are.

    `donated` are the prompts that sites take from: a row a pair where the donor is aligned, shared
    by all pairs where it is not. `continued` are the tokens to run after each prompt, where answers
    have several; they are never patched. `kept` is what passes over these prompts have given, where
    they ran.
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
    continued: Continuations | None = None
    kept: Kept | None = field(default=None, compare=False)

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
            continued=self.continued and self.continued.take(index),
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
    tokens = _tokenize(model, prompts.values())
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
    misaligned = [problem for batch in made for problem in _misaligned(batch)]
    if not model.engine.sizes.causal and any(batch.continued is not None for batch in made):
        misaligned.append("the model attends to later tokens, so that answers must be one token")
    if misaligned:
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
        ([pair.base for pair in pairs], [pair.asked for pair in pairs]),
        ([pair.base for pair in pairs], [pair.base_answer for pair in pairs]),
        ([pair.source for pair in pairs], [pair.source_answer for pair in pairs]),
    ):
        questions = []
        for pair, prompt, text in zip(pairs, prompts, texts, strict=True):
            made = tokens[prompt.text]
            column = _read_column(prompt, made, desideratum.read)
            if isinstance(column, str):
                if text is not None:
                    problems[column] = None
                column = len(made.ids) - 1
            context, ids = prompt.text, made.ids
            if desideratum.read != "last":
                context, ids = context[: made.offsets[column][1]], ids[: column + 1]
            questions.append(Question(context, text, _named(pair), ids if prompt.ids else ()))
        try:
            found.append(answer.encode(model, questions))
        except UnusableAnswers as error:
            problems |= dict.fromkeys(error.problems)
    return tuple(found)


def _named(pair: Pair) -> tuple[Texts, ...]:
    """The answers that a pair names, each once."""
    named = [pair.asked, pair.base_answer, pair.source_answer, *pair.others]
    return tuple(dict.fromkeys(one for one in named if one is not None))


def _read_column(prompt: Prompt, tokens: Tokens, read: str) -> int | str:
    """The index of the token that an answer is read at, or why there is none in words."""
    if read == "last" or not (read.isascii() and read.isdecimal()):
        try:
            return token_of(prompt, tokens, read)
        except LookupError as error:
            return str(error)
    if int(read) < len(tokens.ids):
        return int(read)
    return (
        f"an answer is to be read at token {read} of {prompt.text!r}, "
        f"which has {len(tokens.ids)} tokens (counted from 0)"
    )


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


def _tokenize(model: Model, prompts: Iterable[Prompt]) -> dict[str, Tokens]:
    given = {prompt.text: _as_given(model, prompt) for prompt in prompts if prompt.ids}
    texts = [prompt.text for prompt in prompts if not prompt.ids]
    return given | dict(zip(texts, model.tokenize(texts), strict=True))


def _as_given(model: Model, prompt: Prompt) -> Tokens:
    """The tokens of a prompt that was given as such, each with its characters in the text."""
    ends = [len(model.tokenizer.decode(prompt.ids[:n])) for n in range(len(prompt.ids) + 1)]
    return Tokens(prompt.ids, tuple(pairwise(ends)))


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
    continued, (expected, base_answer, source_answer) = _laid_out(targets)
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
        continued=continued,
    )


def _laid_out(targets: Sequence[Target]) -> tuple[Continuations | None, Sequence[Target]]:
    """The tokens to run after each prompt, and the targets with the places of theirs."""
    spellings = [one.spelling for one in targets if one.spelling is not None]
    if len(spellings) < len(targets):
        return None, targets
    continued, places = lay_out(spellings)
    return continued, [one.placed(at) for one, at in zip(targets, places, strict=True)]


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
        found = [_read_column(prompt, tokens[prompt.text], desideratum.read) for prompt in side]
        # A source without that token has no answer there, so where it is read is all the same.
        at = [len(row) - 1 if isinstance(c, str) else c for c, row in zip(found, rows, strict=True)]
        reads = (torch.tensor(at) + pads).to(model.device)
    return Prompts(
        table.to(model.device),
        attends.to(model.device),
        {name: column.to(model.device) for name, column in named.items()},
        reads,
    )
