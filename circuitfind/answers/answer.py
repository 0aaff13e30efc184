"""Answers: what counts as the behaviour. An answer reads a model's output and says how far it is
from what was expected."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from desiderata import Texts

from ..engines.engine import Unembed
from ..models.model import Model
from .spelling import NOTHING, Spelling

Output = Float[Tensor, "mask pair *output"]
Need = Literal["hit", "lead"]


@dataclass(frozen=True)
class Question:
    """One prompt's answer, as it is asked for.

    Args:
        context: the prompt's text up to where its answer is read.
        answer: the text that is right, or several; None where nobody gave it.
        named: the other answers that the pair names, for answers that choose among them.
        ids: the context's tokens, where the prompt was given as such.
    """

    context: str
    answer: Texts | None
    named: tuple[Texts, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """What each pair's output is scored for, as tensors with a row a pair.

    Args:
        known: False where nobody gave the answer, such as a source's that a table leaves out.
        spelling: for answers that are texts, their tokens and where in an output each is scored.
        keys: for each pair something that is equal where the same is expected; by default the
            tensors are compared.
    """

    tensors: tuple[Shaped[Tensor, " pair *_"], ...]
    known: Bool[Tensor, " pair"]
    spelling: Spelling | None = None
    keys: tuple[Hashable, ...] = ()

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: Int[Tensor, " kept"]) -> "Target":
        """The targets of these rows, in this order."""
        rows = rows.to(self.known.device)
        spelling = self.spelling and self.spelling.take(rows)
        keys = tuple(self.keys[row] for row in rows.tolist()) if self.keys else ()
        return Target(tuple(one[rows] for one in self.tensors), self.known[rows], spelling, keys)

    def differs(self, other: "Target") -> Bool[Tensor, " pair"]:
        """Which rows are scored for something else than the other target's."""
        apart = self.known != other.known
        if self.keys:
            pairs = zip(self.keys, other.keys, strict=True)
            return apart | torch.tensor([mine != its for mine, its in pairs], device=apart.device)
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            apart = apart | (mine != theirs).reshape(len(apart), -1).any(dim=1)
        return apart

    def narrowed(self, kept: Int[Tensor, " token"]) -> "Target":
        """The same targets in an output that has only these entries of the vocabulary, in rising
        order."""
        if self.spelling is None:
            return self
        ids = self.spelling.ids
        places = torch.searchsorted(kept.to(ids.device), ids.clamp(min=0))
        ids = torch.where(ids == NOTHING, ids, places)
        return replace(self, spelling=replace(self.spelling, ids=ids))

    def placed(self, places: Int[Tensor, "pair text token"]) -> "Target":
        """The same targets with the places of their tokens in an output."""
        if self.spelling is None:
            return self
        return replace(self, spelling=replace(self.spelling, places=places))


class UnusableAnswers(ValueError):
    """Answers that cannot be scored; `problems` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@runtime_checkable
class Answer(Protocol):
    """A way of answering. Every score of a claim comes from here: methods, checks, path effects and
    reports ask nothing else of an output. Frozen and hashable.

    Laws: `hit` is where `lead` is above 0; both are of each pair alone; where the target is not
    known there is no hit.
    """

    name: str
    unit: str  # of `lead` and `contrast`, such as "logits"

    def encode(self, model: Model, questions: Sequence[Question]) -> Target:
        """What the outputs after these questions' contexts are scored for.

        Raises:
            UnusableAnswers: answers that this model cannot be scored for, all at once.
        """
        ...

    def hit(self, output: Output, target: Target) -> Bool[Tensor, "mask pair"]:
        """Whether the output is the expected answer."""
        ...

    def lead(self, output: Output, target: Target) -> Float[Tensor, "mask pair"]:
        """By how much the expected answer is ahead of every other; below 0 where it trails."""
        ...

    def contrast(self, output: Output, target: Target, other: Target) -> Float[Tensor, "mask pair"]:
        """By how much one answer is ahead of one other."""
        ...

    def score(self, output: Output, target: Target) -> Float[Tensor, "mask pair"]:
        """How strongly the output is for the answer, on an open scale such as its logit."""
        ...

    def surprise(self, output: Output, target: Target) -> Float[Tensor, "mask pair"]:
        """Minus the log of the answer's share of the output, in nats, at least 0."""
        ...

    def divergence(
        self, untouched: Float[Tensor, " pair *output"], output: Output
    ) -> Float[Tensor, "mask pair"]:
        """How far the output is from the untouched one, 0 where they are equal; for a
        distribution KL(untouched || output) in nats."""
        ...

    def same(
        self, untouched: Float[Tensor, " pair *output"], output: Output, target: Target
    ) -> Bool[Tensor, "mask pair"]:
        """Whether both outputs give the same answer, right or wrong.

        Args:
            target: of the same pairs, for answers that choose among alternatives.
        """
        ...

    def words(
        self, model: Model, output: Float[Tensor, " pair *output"], target: Target
    ) -> list[str]:
        """The answer that each pair's output gives, in words, for reports."""
        ...


@runtime_checkable
class Decided(Protocol):
    """An answer that says which entries of the vocabulary its hits and leads depend on. Others get
    whole outputs."""

    def is_decided(self, target: Target) -> bool:
        """Whether `entries` can say it for this target."""
        ...

    def entries(
        self,
        streams: Float[Tensor, "shown width"],
        unembed: Unembed,
        target: Target,
        near: Int[Tensor, " token"],
        need: Need,
    ) -> Int[Tensor, " kept"]:
        """Entries of the vocabulary among which each stream has the same hit as among all, and the
        same lead where that is needed.

        Args:
            streams: what gets unembedded.
            target: of each stream.
            near: tokens that are likely to be ahead of a target, to try first.
        """
        ...


def rows_of(target: Target, sizes: Sequence[int]) -> list[Target]:
    """The target in pieces of these sizes, one after another."""
    rows = torch.arange(len(target)).split(list(sizes))
    return [target.take(piece) for piece in rows]
