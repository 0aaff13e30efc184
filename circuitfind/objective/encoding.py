"""From desiderata and a tokenizer to batches: tokens, named positions, answer ids.

Prompts are padded on the left, so that every prompt ends in the last column and lengths may
differ within a batch and between base and source.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from desiderata import Choice, Claim, Desideratum, Prompt, Sampleable, Span, pool_of

from ..models.model import Model, Tokens
from ..problems import listed

SHOWN = 8  # unknown words spelled out before the rest are counted
DRAWS_PER_ITEM = 20  # prompts drawn per item when looking for items of one token
UNKNOWN = -1  # the answer id of a source whose answer nobody gave
Ids = dict[tuple[str, str, str], int]  # of answers, by prompt, answer and where it is read


@dataclass(frozen=True)
class Prompts:
    """Prompts as left-padded tokens, and the column of every named position.

    `reads` is the column whose logits are the answer; None where it is the last one.
    """

    tokens: Int[Tensor, "pair pos"]
    attends: Int[Tensor, "pair pos"]
    columns: dict[str, Int[Tensor, " pair"]]
    reads: Int[Tensor, " pair"] | None = None

    def take(self, rows: Int[Tensor, " kept"]) -> "Prompts":
        """The prompts of these rows, without columns that only padding filled."""
        attends = self.attends[rows]
        start = int(attends.argmax(dim=1).min())
        columns = {name: column[rows] - start for name, column in self.columns.items()}
        reads = None if self.reads is None else self.reads[rows] - start
        return Prompts(self.tokens[rows][:, start:], attends[:, start:], columns, reads)

    @property
    def n_tokens(self) -> int:
        """Tokens, padding included: what a pass over these prompts costs."""
        return self.tokens.numel()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A desideratum's pairs as tensors, and the prompts that a mean is taken over, if any."""

    desideratum: Desideratum
    base: Prompts
    source: Prompts
    expected: Int[Tensor, " pair"]
    base_answer: Int[Tensor, " pair"]
    source_answer: Int[Tensor, " pair"]
    mean_over: Prompts | None = None

    def __len__(self) -> int:
        return len(self.expected)

    def take(self, rows: Sequence[int] | Int[Tensor, " kept"]) -> "Batch":
        """The batch of these rows only, in this order."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.expected.device)
        pairs = tuple(self.desideratum.pairs[row] for row in index.tolist())
        return Batch(
            desideratum=replace(self.desideratum, pairs=pairs),
            base=self.base.take(index),
            source=self.source.take(index),
            expected=self.expected[index],
            base_answer=self.base_answer[index],
            source_answer=self.source_answer[index],
            mean_over=self.mean_over,
        )


def encode(model: Model, desiderata: Sequence[Desideratum]) -> tuple[Batch, ...]:
    """One batch per desideratum.

    Raises:
        ValueError: every problem at once: answers that are not one token in their context,
            unknown words, unknown spans, `all` with prompts of different lengths, prompts
            without the token that the answer is read at.
    """
    pairs = [pair for desideratum in desiderata for pair in desideratum.pairs]
    prompts = {prompt.text: prompt for pair in pairs for prompt in (pair.base, pair.source)}
    prompts |= {prompt.text: prompt for made in desiderata for prompt in made.mean_over}
    tokens = _tokenize(model, prompts)
    problems: dict[str, None] = {}
    ids: Ids = {}
    for read in dict.fromkeys(desideratum.read for desideratum in desiderata):
        mine = [made for made in desiderata if made.read == read]
        _add_answers(model, read, mine, tokens, ids, problems)
    problems = dict.fromkeys((*_unknown_words(model, tokens), *problems))
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
        raise ValueError(f"{model.name}: {listed(problems)}")
    return tuple(_batch(model, desideratum, tokens, ids, columns) for desideratum in desiderata)


def _add_answers(
    model: Model,
    read: str,
    desiderata: Sequence[Desideratum],
    tokens: dict[str, Tokens],
    ids: Ids,
    problems: dict[str, None],
) -> None:
    """Add the ids of the answers that are read at one place, each in its context: the prompt up
    to there. The tokens of the texts that this takes join `tokens`."""
    wanted: dict[tuple[str, str], str] = {}
    for pair in (pair for desideratum in desiderata for pair in desideratum.pairs):
        answers = [(pair.base, pair.expected), (pair.base, pair.base_answer)]
        if pair.source_answer:
            answers.append((pair.source, pair.source_answer))
        for prompt, answer in answers:
            context = _context(prompt.text, tokens[prompt.text], read)
            if context is None:
                problems[
                    f"an answer is to be read at token {read} of {prompt.text!r}, which has "
                    f"{len(tokens[prompt.text].ids)} tokens (counted from 0)"
                ] = None
            else:
                wanted[prompt.text, answer] = context
    texts = [
        text for (_, answer), context in wanted.items() for text in (context, context + answer)
    ]
    tokens |= _tokenize(model, (text for text in texts if text not in tokens))
    for (text, answer), context in sorted(wanted.items()):
        made = _answer_id(tokens[context], tokens[context + answer], answer)
        if isinstance(made, str):
            problems[made] = None
        else:
            ids[text, answer, read] = made


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


def fit_to_tokenizer(model: Model, claim: Sampleable) -> tuple[Sampleable, tuple[str, ...]]:
    """The claim with only those items that this model writes as one token, where its domains
    ask for that; and in words what was left out.

    Raises:
        ValueError: too few items are left for a domain.
    """
    if not isinstance(claim, Claim):
        return claim, ()
    narrowed, notes, problems = {}, [], []
    for name, domain in claim.model.inputs.items():
        pool = pool_of(domain)
        if pool is None or not pool.one_token:
            continue
        kept = _one_token_items(model, claim, name, pool)
        left_out = [str(item) for item in pool.items if item not in kept]
        if len(kept) < 2 * getattr(domain, "n", 1):
            problems.append(
                f"{name}: only {len(kept)} of {len(pool.items)} items are one token for "
                f"{model.name}; add others"
            )
        elif left_out:
            narrowed[name] = domain.narrowed(kept)  # type: ignore[attr-defined]
            notes.append(f"{name}: left out, not one token here: {', '.join(left_out)}")
    if problems:
        raise ValueError("; ".join(problems))
    return replace(claim, model=claim.model.narrowed(narrowed)), tuple(notes)


def _one_token_items(model: Model, claim: Claim, name: str, pool: Choice) -> set:
    """The items that are one token wherever drawn prompts have them."""
    rng = random.Random(f"one token/{name}")
    drawn = (claim.model.draw(rng) for _ in range(DRAWS_PER_ITEM * len(pool.items)))
    settings = [inputs for inputs in drawn if inputs is not None]
    prompts = [claim.model.render(claim.model.run(inputs)) for inputs in settings]
    kept = set(pool.items)
    for prompt, tokens in zip(prompts, model.tokenize([p.text for p in prompts]), strict=True):
        for span in prompt.spans:
            item = prompt.text[span.start : span.end]
            if span.name.split(".")[0] == name and len(_tokens_in(tokens, span)) != 1:
                kept -= {candidate for candidate in kept if str(candidate) == item}
    return kept


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


def _answer_id(prompt: Tokens, full: Tokens, answer: str) -> int | str:
    """The answer's token id after this prompt, or what is wrong with it."""
    if full.ids[: len(prompt.ids)] != prompt.ids:
        return (
            f"the answer {answer!r} merges with the end of its prompt into one token; move the "
            "space between them from the prompt's end to the answer's start, or the reverse"
        )
    extra = full.ids[len(prompt.ids) :]
    if len(extra) != 1:
        return f"the answer {answer!r} is {len(extra)} tokens after its prompt; it must be one"
    return extra[0]


def _uneven(desiderata: Sequence[Desideratum], tokens: dict[str, Tokens]) -> Iterable[str]:
    for desideratum in desiderata:
        if "all" not in desideratum.at:
            continue
        uneven = [
            pair
            for pair in desideratum.pairs
            if len(tokens[pair.base.text].ids) != len(tokens[pair.source.text].ids)
        ]
        widths = {len(tokens[prompt.text].ids) for prompt in desideratum.mean_over}
        if desideratum.mean_over and not uneven:
            widths |= {len(tokens[pair.base.text].ids) for pair in desideratum.pairs}
        if len(widths) > 1:
            yield (
                f"{desideratum.name}: the mean at 'all' needs prompts of one length in tokens; "
                f"they have {', '.join(map(str, sorted(widths)))}"
            )
        if uneven:
            yield (
                f"{desideratum.name}: patching at 'all' needs base and source of the same length "
                f"in tokens; {len(uneven)} of {len(desideratum.pairs)} pairs differ, such as "
                f"{uneven[0].base.text!r} and {uneven[0].source.text!r}"
            )


def _batch(
    model: Model,
    desideratum: Desideratum,
    tokens: dict[str, Tokens],
    ids: Ids,
    columns: dict[tuple[str, str], int],
) -> Batch:
    def prompts(side: Sequence[Prompt]) -> Prompts:
        names = [name for name in desideratum.at if name != "all"]
        rows = [tokens[prompt.text].ids for prompt in side]
        width = max(map(len, rows))
        pads = torch.tensor([width - len(row) for row in rows])
        pad = getattr(model.tokenizer, "pad_token_id", None) or 0
        table = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        named = {
            name: torch.tensor([columns[prompt.text, name] for prompt in side]) + pads
            for name in names
        }
        attends = (torch.arange(width) >= pads[:, None]).long()
        put = {name: column.to(model.device) for name, column in named.items()}
        reads = None
        if desideratum.read != "last":
            # A source without that token has no answer there, so where it is read is all the same.
            at = [min(int(desideratum.read), len(row) - 1) for row in rows]
            reads = (torch.tensor(at) + pads).to(model.device)
        return Prompts(table.to(model.device), attends.to(model.device), put, reads)

    def answers(made: Iterable[int]) -> Tensor:
        return torch.tensor(list(made), device=model.device)

    pairs, read = desideratum.pairs, desideratum.read
    return Batch(
        desideratum=desideratum,
        base=prompts([pair.base for pair in pairs]),
        source=prompts([pair.source for pair in pairs]),
        expected=answers(ids[pair.base.text, pair.expected, read] for pair in pairs),
        base_answer=answers(ids[pair.base.text, pair.base_answer, read] for pair in pairs),
        source_answer=answers(
            ids[pair.source.text, pair.source_answer, read] if pair.source_answer else UNKNOWN
            for pair in pairs
        ),
        mean_over=prompts(desideratum.mean_over) if desideratum.mean_over else None,
    )
