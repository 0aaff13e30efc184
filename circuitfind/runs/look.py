"""A first look: what a model answers to a few pairs of each desideratum, unpatched."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import Alternatives, Desideratum, Pair, Prompt, Texts, texts_of

from ..answers.answer import Question, Target
from ..answers.top import Top
from ..models.model import Model
from ..models.prompts import Prompts
from ..objective.continuing import untouched
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.intervals import interval
from ..objective.precheck import MOST, SOLVED_AT_LEAST

LOOKED_AT = 16  # pairs of each desideratum
FEW_SETS = 4  # where a claim's pairs name no more alternatives, all are compared by all of them

Alternative = tuple[str, ...]
Logits = Float[Tensor, "pair d_vocab"]


@dataclass(frozen=True)
class Heard:
    """Pairs as a batch, and the output after each of their prompts, unpatched."""

    batch: Batch
    base: Float[Tensor, "pair *place d_vocab"]
    source: Float[Tensor, "pair *place d_vocab"]

    @property
    def next_tokens(self) -> tuple[Logits, Logits]:
        """The logits of the token after each base prompt, and after each source prompt."""
        base, source = (one if one.ndim == 2 else one[:, 0] for one in (self.base, self.source))
        return base, source

    def right(self) -> list[bool]:
        """For each pair, whether both of its prompts get their own answer."""
        batch = self.batch
        right = batch.answer.hit(self.base[None], batch.base_answer)[0]
        there = batch.answer.hit(self.source[None], batch.source_answer)[0]
        return (right & (there | ~batch.source_answer.known.to(there.device))).tolist()


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a model says to some pairs of one desideratum.

    Args:
        heard: the pairs with what the model says; None where the prompts cannot be run.
        scored: whether the answers of these pairs can be scored; if not, only the prompts count.
        solved: for each pair, whether both prompts get their own answer; empty where not scored.
        preferred: for each pair, whether both answers beat the others that the pair names; None
            where it names no others, or cannot be scored so.
        few: all alternatives that the claim's pairs name, where they are few. All pairs are then
            compared by these, in the place of those that each names.
        wanted: how many pairs there were to look at.
        available: how many pairs the claim gave.
    """

    desideratum: Desideratum
    heard: Heard | None
    scored: bool
    solved: tuple[bool, ...]
    preferred: tuple[bool | None, ...]
    few: tuple[Alternative, ...]
    wanted: int
    available: int

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that were run, or those that should have been."""
        return (self.heard.batch.desideratum if self.heard else self.desideratum).pairs

    @property
    def refused(self) -> bool:
        """Whether more pairs could not save it: the share of solved pairs is below what a run
        needs, beyond the 95 % Clopper-Pearson interval, or all pairs were looked at."""
        n, right = len(self.solved), sum(self.solved)
        if not n:
            return True
        seen_all = self.wanted == self.available and not right
        return seen_all or interval(right, n)[1] < SOLVED_AT_LEAST

    @property
    def failing(self) -> bool:
        """Whether fewer of these pairs are solved than a run needs of all."""
        return sum(self.solved) < SOLVED_AT_LEAST * max(1, len(self.solved))

    @property
    def compared(self) -> tuple[bool, ...]:
        """The preference of each pair that has one."""
        return tuple(one for one in self.preferred if one is not None)

    def row(self) -> dict[str, Any]:
        """The look as a row of the table of a preview or a refusal."""
        return {
            "name": self.desideratum.name,
            "n": len(self.solved),
            "solved": sum(self.solved),
            "compared": len(self.compared),
            "preferred": sum(self.compared),
        }


@torch.no_grad()
def look_at(
    model: Model, desiderata: Sequence[Desideratum], n: int = LOOKED_AT, cost: Cost | None = None
) -> tuple[tuple[Look, ...], tuple[str, ...]]:
    """A look at up to `n` pairs of each desideratum, and what keeps pairs from being scored.

    Pairs that cannot be scored are left out; the others are looked at all the same.
    """
    cost = Cost() if cost is None else cost
    first = [replace(one, pairs=one.pairs[:n]) for one in desiderata]
    problems: dict[str, None] = {}
    # Unknown spans are lint's to say; the pairs are looked at all the same.
    first = [replace(one, at=_known_positions(one)) for one in first]
    batches: Sequence[Batch | None]
    try:
        batches = encode(model, first)
    except (ValueError, LookupError) as error:
        batches = [_scorable(model, one) for one in first]
        problems |= dict.fromkeys(_sentences(error))
    few = _few([pair for one in first for pair in one.pairs])
    looks = [
        _look(model, one, batch, few, len(whole.pairs), cost)
        for one, batch, whole in zip(first, batches, desiderata, strict=True)
    ]
    return tuple(looks), tuple(problems)


def named_by(pair: Pair, few: tuple[Alternative, ...] = ()) -> tuple[Alternative, ...]:
    """The alternatives that a pair names: the base's answer, the source's, the expected one and
    its others. Nothing where a text belongs to two of them.

    Args:
        few: all that the claim's pairs name, where these are few.
    """
    given: list[Texts | None] = [pair.base_answer, pair.source_answer, pair.expected, *pair.others]
    sets = few or tuple(dict.fromkeys(texts_of(one) for one in given if one is not None))
    return sets if len(sets) > 1 and _apart(sets) else ()


@torch.no_grad()
def log_odds(
    model: Model,
    desideratum: Desideratum,
    prompt: Prompt,
    output: Tensor,
    sets: tuple[Alternative, ...],
) -> tuple[tuple[Alternative, float], ...]:
    """The log odds of each of these alternatives against the best other one, in nats.

    Args:
        output: the logits of the token after the prompt.
    """
    asked = [
        Pair(base=prompt, source=prompt, expected=texts, base_answer=texts, source_answer=texts)
        for texts in sets
    ]
    batch = _among(model, desideratum, asked, sets) if sets else None
    if batch is None:
        return ()
    given = output.expand(len(sets), *output.shape)
    if batch.continued is not None:
        given = _outputs(model, batch, batch.base, Cost())
    leads = batch.answer.lead(given[None], batch.expected)[0]
    return tuple(zip(sets, leads.tolist(), strict=True))


def unsolved(model: Model, looks: Iterable[Look]) -> Iterator[str]:
    """Why a run with these desiderata would be refused, where the model solves too few pairs."""
    if names := [look.desideratum.name for look in looks if look.solved and look.refused]:
        yield (
            f"{model.name} answers both prompts in too few pairs of {', '.join(names)}: the answer "
            f"asked for has to be right in at least {SOLVED_AT_LEAST:.0%} of them, unpatched"
        )


class _Unscored(Top):
    """The most likely token, of which nobody says what it should be."""

    def encode(self, model: Model, questions: Sequence[Question]) -> Target:
        return super().encode(model, [replace(one, answer=None) for one in questions])


def _look(
    model: Model,
    made: Desideratum,
    batch: Batch | None,
    few: tuple[Alternative, ...],
    available: int,
    cost: Cost,
) -> Look:
    shown = batch or _runnable(model, made)
    heard = None
    if shown is not None:
        heard = _hear(model, shown, cost)
    return Look(
        desideratum=made,
        heard=heard,
        scored=batch is not None,
        solved=tuple(heard.right()) if heard and batch else (),
        preferred=_preferred(model, heard, few, cost) if heard else (),
        few=few,
        wanted=len(made.pairs),
        available=available,
    )


def _hear(model: Model, batch: Batch, cost: Cost) -> Heard:
    base, source = (_outputs(model, batch, one, cost) for one in (batch.base, batch.source))
    return Heard(batch, base, source)


def _outputs(
    model: Model, batch: Batch, prompts: Prompts, cost: Cost
) -> Float[Tensor, "pair *place d_vocab"]:
    """The raw output where the answer to each of these prompts of a batch is read, unpatched."""
    pieces = []
    for rows in torch.arange(len(prompts.tokens)).split(min(MOST, model.pairs_at_once)):
        fed = batch.continued and batch.continued.take(rows)
        pieces.append(untouched(model, prompts.take(rows), fed, cost))
    return torch.cat(pieces)


def _preferred(
    model: Model, heard: Heard, few: tuple[Alternative, ...], cost: Cost
) -> tuple[bool | None, ...]:
    """For each pair, whether both of its prompts' answers beat the others that it names."""
    made = heard.batch.desideratum
    rows_of: dict[tuple[Alternative, ...], list[int]] = defaultdict(list)
    for row, pair in enumerate(made.pairs):
        rows_of[named_by(pair, few)].append(row)
    found: list[bool | None] = [None] * len(made.pairs)
    for sets, rows in rows_of.items():
        batch = _among(model, made, [made.pairs[row] for row in rows], sets)
        if batch is None:
            continue
        if batch.continued is None:  # what the prompts gave already is all that is needed
            base, source = (one[rows] for one in heard.next_tokens)
            again = Heard(batch, base, source)
        else:
            again = _hear(model, batch, cost)
        for row, right in zip(rows, again.right(), strict=True):
            found[row] = right
    return tuple(found)


def _few(pairs: Sequence[Pair]) -> tuple[Alternative, ...]:
    """All alternatives that these pairs name, where they are few and have no text in common."""
    given = (one for pair in pairs for one in (pair.base_answer, pair.source_answer, pair.expected))
    sets = {texts_of(one) for one in given if one is not None}
    sets |= {texts_of(one) for pair in pairs for one in pair.others}
    return tuple(sorted(sets)) if 1 < len(sets) <= FEW_SETS and _apart(sets) else ()


def _apart(sets: Iterable[Alternative]) -> bool:
    texts = [text for one in sets for text in one]
    return len(set(texts)) == len(texts)


def _among(
    model: Model, desideratum: Desideratum, pairs: Sequence[Pair], sets: tuple[Alternative, ...]
) -> Batch | None:
    """These pairs with a choice between these alternatives; None where that cannot be scored."""
    if not sets:
        return None
    answer = Alternatives(sets)
    return _tried(model, replace(_anywhere(desideratum), pairs=tuple(pairs), answer=answer))


def _scorable(model: Model, made: Desideratum) -> Batch | None:
    """The pairs of a desideratum that can be scored, as a batch; None where there are none."""
    if whole := _tried(model, made):
        return whole
    kept = tuple(one for one in made.pairs if _tried(model, replace(made, pairs=(one,))))
    return _tried(model, replace(made, pairs=kept)) if kept else None


def _runnable(model: Model, made: Desideratum) -> Batch | None:
    """The prompts of a desideratum as a batch, whatever is wrong with its answers and positions."""
    return _tried(model, replace(_anywhere(made), answer=_Unscored()))


def _known_positions(made: Desideratum) -> tuple[str, ...]:
    spans = {span.name for prompt in _prompts_of(made) for span in prompt.spans}
    return tuple(one for one in made.at if one in spans | {"last", "all"}) or ("last",)


def _prompts_of(made: Desideratum) -> Iterator[Prompt]:
    """Every base and source prompt, in turn."""
    for pair in made.pairs:
        yield from (pair.base, pair.source)


def _anywhere(made: Desideratum) -> Desideratum:
    """The same pairs where nothing is to be patched."""
    return replace(made, at=("last",), donor="source", mean_over=())


def _tried(model: Model, made: Desideratum) -> Batch | None:
    try:
        return encode(model, [made])[0]
    except (ValueError, LookupError):
        return None


def _sentences(error: Exception) -> tuple[str, ...]:
    """An error's problems, one by one where it has them so."""
    if isinstance(error, LookupError) and error.args:
        return (str(error.args[0]),)
    return tuple(getattr(error, "problems", ())) or (str(error),)
