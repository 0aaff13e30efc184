"""What search minimises and what it must satisfy: losses, satisfaction, null, ceiling, bounds."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from desiderata import Desideratum

from ..answers.answer import Answer, Need, Output, Target, rows_of
from ..mediators.site import Site
from ..models.model import Model
from .cost import Cost
from .encoding import Batch
from .graded import Graded, concatenated, losses
from .mask import gates_of
from .passes import Pass, Prepared, together
from .patching import masks_per_pass, measure, pack, prepare, run, run_pass
from .recording import record_base
from .shortlist import Wanted, wanted_of

NOISE = 0.01  # two scores differ beyond noise when a sign test on pairs says so at this level
WORTH = 1024  # entries in a vocabulary from which a shortlist saves time
MARGIN = 2.0  # the lead that search wants, in the answer's unit; more earns nothing


@dataclass(frozen=True)
class Bound:
    """What a desideratum has to reach, from its scores with no site patched and with all.

    Scores are shares of pairs that come out as expected. `null` is that
    of the empty circuit, `ceiling` that of the circuit of all sites; which is the better one
    depends on sense and part. The bound is `worst + at_least * (best - worst)`.

    Where the two do not differ beyond noise, or where no pair's expectation is one that either
    end can give (`crossed`, when the answer depends on more than the variable), the scale is
    absolute: from 0 to 1, all pairs being ones that the model solves unpatched. `vacuous` then
    says that both ends reach the bound already, `unreached` that neither end does.

    Of a desideratum with a limit, scores are the share kept of what can be lost, and `spread` is
    the standard error of such a score at its bound.
    """

    null: float
    ceiling: float
    at_least: float
    absolute: bool
    novel: bool
    spread: float | None = None

    @property
    def value(self) -> float:
        """The satisfaction to reach, a share in [0, 1]."""
        worst, best = sorted((self.null, self.ceiling))
        return self.at_least if self.absolute else worst + self.at_least * (best - worst)

    def error(self, n: int) -> float:
        """The standard error of a score at the bound, on `n` pairs."""
        return math.sqrt(self.value * (1 - self.value) / n) if self.spread is None else self.spread

    @property
    def vacuous(self) -> bool:
        """Whether the empty and the full circuit satisfy it alike, so that it tells little."""
        return self.absolute and min(self.null, self.ceiling) >= self.at_least

    @property
    def unreached(self) -> bool:
        """Whether neither end satisfies it although one of them should."""
        return self.absolute and not self.novel and max(self.null, self.ceiling) < self.at_least


def hinge(answer: Answer, output: Output, expected: Target) -> Float[Tensor, "mask pair"]:
    """By how much the expected answer falls short of a lead of `MARGIN`; 0 beyond it."""
    return (MARGIN - answer.lead(output, expected)).clamp(min=0)


def surprise(answer: Answer, output: Output, expected: Target) -> Float[Tensor, "mask pair"]:
    """Minus the log of the expected answer's share, in nats: the cross-entropy for a token."""
    return answer.surprise(output, expected)


Loss = Callable[[Answer, Tensor, Target], Tensor]


class NotANumber(FloatingPointError):
    """A loss, a gradient or a score is NaN or infinite; `cost` is what was spent until then."""

    def __init__(self, words: str, cost: Cost) -> None:
        super().__init__(words)
        self.cost = cost


class Piece(NamedTuple):
    """Some pairs of the desideratum with this index, and their output under each membership.

    `expected` is what the output is scored for: an output may have few entries of the vocabulary.
    `number` counts the pieces of one desideratum.
    """

    index: int
    batch: Batch
    output: Output
    expected: Target
    number: int = 0


Places = tuple[tuple[int, int], ...]  # of pieces: the desideratum and the number among its own


class Objective:
    """Desiderata on a model, ready to be scored under any membership of their sites.

    Args:
        decided: sites whose membership is not open, with what it is, 0 or 1. They are patched
            accordingly whatever the membership of the others, which alone are `sites` here.
        like: one with the same base prompts, of which that is used that needs no new run.
    """

    def __init__(
        self,
        model: Model,
        batches: Sequence[Batch],
        sites: Sequence[Site],
        cost: Cost | None = None,
        decided: Mapping[Site, float] | None = None,
        like: "Objective | None" = None,
    ) -> None:
        self.model = model
        self.cost = cost or Cost()
        self.decided = dict(decided or {})
        self.every = tuple(sites)
        self.open = torch.tensor([n for n, s in enumerate(sites) if s not in self.decided]).long()
        self.sites = tuple(self.every[n] for n in self.open.tolist())
        self.batches = tuple(batches)
        self._untouched: dict[tuple[int, int], Tensor] = {}
        self._graded: dict[int, Graded] = {}
        self._passes: dict[tuple[tuple[int, ...], int], list[tuple[Places, Pass]]] = {}
        self._columns: list[Tensor] = []
        self._prepared: list[list[Prepared]] = []
        for index, batch in enumerate(batches):
            columns = [n for n, site in enumerate(sites) if site.position in batch.desideratum.at]
            mine = [sites[column] for column in columns]
            pieces = torch.arange(len(batch)).split(model.pairs_at_once)
            self._columns.append(torch.tensor(columns))
            ready = like._prepared[index] if like else [None] * len(pieces)
            self._prepared.append(
                [
                    prepare(model, batch.take(piece), mine, cost=self.cost, like=other)
                    for piece, other in zip(pieces, ready, strict=True)
                ]
            )

    @property
    def desiderata(self) -> tuple[Desideratum, ...]:
        """The desiderata, in the order of every score and loss here."""
        return tuple(batch.desideratum for batch in self.batches)

    def first(self, n: int) -> "Objective":
        """The same desiderata on their first pieces, as many as have up to `n` pairs together and
        one at least. Nothing is prepared again."""
        made = copy(self)
        made._prepared, made._graded, made._untouched, made._passes = [], {}, {}, {}
        for pieces in self._prepared:
            ends = accumulate(len(piece.batch) for piece in pieces)
            kept = sum(end <= n for end in ends)
            made._prepared.append(pieces[: max(1, kept)])
        made.batches = tuple(
            batch.take(range(sum(len(piece.batch) for piece in pieces)))
            for batch, pieces in zip(self.batches, made._prepared, strict=True)
        )
        return made

    @property
    def masks_at_once(self) -> int:
        """How many masks go through the model in one pass of any desideratum."""
        return min(masks_per_pass(piece) for pieces in self._prepared for piece in pieces)

    def passes(
        self,
        indices: Iterable[int],
        membership: Float[Tensor, "mask site"],
        need: Need | None = None,
    ) -> Iterator[list[Piece]]:
        """Pass by pass, pieces of these desiderata's pairs with their logits under each membership.

        A caller that wants gradients goes backward after each pass, so that no graph outlives it.
        A pass holds as many desiderata as fit.

        Args:
            need: what is read of the outputs, where that is not all: they then have those entries
                of the vocabulary alone that it depends on, where the answers say which.
        """
        for places, joined in self._packed(tuple(indices), len(membership)):
            yield self._run(places, joined, membership, need)

    def _packed(self, indices: tuple[int, ...], n_masks: int) -> list[tuple[Places, Pass]]:
        """The passes that so many masks on these desiderata take, with the pieces in each; the
        same ones at every step."""
        if (indices, n_masks) in self._passes:
            return self._passes[indices, n_masks]
        places = [(index, n) for index in indices for n in range(len(self._prepared[index]))]
        every = [self._prepared[index][number] for index, number in places]
        made: list[tuple[Places, Pass]] = []
        for group in pack(every, n_masks):
            joined = together([every[place] for place in group])
            if joined is not None:
                made.append((tuple(places[place] for place in group), joined))
            else:
                made += [((places[place],), every[place].alone) for place in group]
        if n_masks == 1:  # joined prefixes take memory; steps and single masks come again
            self._passes[indices, n_masks] = made
        return made

    def _run(
        self, places: Places, joined: Pass, membership: Tensor, need: Need | None
    ) -> list[Piece]:
        parts = [self._prepared[index][number] for index, number in places]
        # For each piece by itself: a backward pass may free what the gates came through.
        gates = [self._gates(index, membership) for index, _ in places]
        batches = [part.batch for part in parts]
        expected = [batch.expected for batch in batches]
        wanted = None if need is None else self._wanted(batches, expected, need)
        if wanted is None and len(parts) == 1:
            made = [run(parts[0], gates[0])]  # in turns, where masks are many
        else:
            made = run_pass(joined, gates, wanted=wanted)
        if wanted is not None:
            expected = [wanted.narrowed(number) for number in range(len(parts))]
        return [
            Piece(index, batch, output, target, number)
            for (index, number), batch, output, target in zip(
                places, batches, made, expected, strict=True
            )
        ]

    def _wanted(
        self, batches: Sequence[Batch], targets: Sequence[Target], need: Need
    ) -> Wanted | None:
        """What is wanted of outputs that are read for this alone; None for whole outputs."""
        engine = self.model.engine
        if engine.sizes.d_vocab < WORTH or "shortlist" not in engine.can:
            return None
        return wanted_of(batches, targets, need)

    def undecided(self) -> "Objective":
        """The same with the membership of every site open, so that all are in `sites`."""
        made = copy(self)
        made.decided, made.sites = {}, self.every
        made.open = torch.arange(len(self.every))
        return made

    def complete(self, membership: Float[Tensor, "mask site"]) -> Float[Tensor, "mask every"]:
        """The membership of every site, the decided ones too, in the order of `every`."""
        if not self.decided:
            return membership
        made = torch.tensor([self.decided.get(site, 0.0) for site in self.every])
        made = made.repeat(len(membership), 1)
        made[:, self.open] = membership
        return made

    def untouched(self, index: int) -> Float[Tensor, "1 site"]:
        """The membership under which this desideratum patches nothing."""
        outside = self.desiderata[index].part == "outside"
        return torch.full((1, len(self.sites)), float(outside))

    def _gates(self, index: int, membership: Float[Tensor, "mask site"]) -> Tensor:
        part, columns = self.batches[index].desideratum.part, self._columns[index]
        membership = self.complete(membership)
        if len(columns) < len(self.every):
            membership = membership[:, columns]
        return gates_of(membership, part)

    def graded(self, index: int) -> Graded | None:
        """What a desideratum with a limit may lose on these pairs; None where it has no limit."""
        limit = self.desiderata[index].limit
        if limit is None:
            return None
        if index not in self._graded:
            free, worst = self.undecided(), 1 - self.untouched(index)[0, 0]
            everything = torch.full((1, len(self.every)), float(worst))
            self._graded[index] = Graded(limit, free.losses(index, everything)[0])
        return self._graded[index]

    @torch.no_grad()
    def losses(
        self, index: int, membership: Float[Tensor, "mask site"]
    ) -> Float[Tensor, "mask pair"]:
        """What each pair of a desideratum with a limit loses, under each membership.

        Raises:
            NotANumber: a loss is not finite.
        """
        gates = self._gates(index, membership)
        found = []
        for piece, prepared in enumerate(self._prepared[index]):
            before = self._before(index, piece)
            found.append(measure(prepared, gates, partial(_lost, prepared.batch, before)))
        lost = concatenated(found)
        self.require_finite(lost, f"the loss of {self.desiderata[index].name!r}")
        return lost

    @torch.no_grad()
    def _before(self, index: int, piece: int) -> Output:
        """The output of a piece of a desideratum's pairs with nothing patched."""
        if (index, piece) not in self._untouched:
            prepared = self._prepared[index][piece]
            closed = torch.zeros(1, len(prepared.sites))
            self._untouched[index, piece] = run(prepared, closed)
        return self._untouched[index, piece]

    @torch.no_grad()
    def hits(
        self,
        index: int,
        membership: Float[Tensor, "mask site"],
        expected: Target | None = None,
    ) -> Bool[Tensor, "mask pair"]:
        """Which of one desideratum's pairs come out as expected, under each membership; of one with
        a limit, which lose no more than may be lost.

        Args:
            expected: other answers than the batch expects.
        """
        if (graded := self.graded(index)) is not None:
            return graded.over(self.losses(index, membership)) <= 0
        expected = self.batches[index].expected if expected is None else expected
        answer = self.batches[index].answer
        found = self._read(index, membership, expected, answer.hit, "hit")
        return torch.cat(found, 1).cpu()

    def _read(
        self,
        index: int,
        membership: Float[Tensor, "mask site"],
        expected: Target,
        read: Callable[[Output, Target], Tensor],
        need: Need,
    ) -> list[Tensor]:
        """What is read of the outputs of each piece of a desideratum's pairs."""
        gates, pieces, found = self._gates(index, membership), self._prepared[index], []
        targets = rows_of(expected, [len(piece.batch) for piece in pieces])
        for prepared, target in zip(pieces, targets, strict=True):
            wanted = self._wanted([prepared.batch], [target], need)
            found.append(measure(prepared, gates, partial(_scored, read, wanted, target), wanted))
        return found

    def scores(
        self, membership: Float[Tensor, "mask site"], only: Sequence[int] | None = None
    ) -> Float[Tensor, "mask desideratum"]:
        """The satisfaction of each desideratum under each membership: shares of pairs, or of what
        can be lost where it has a limit.

        Args:
            only: the desiderata to score; the others come back as NaN.
        """
        made = torch.full((len(membership), len(self.batches)), float("nan"))
        for index in range(len(self.batches)) if only is None else only:
            graded = self.graded(index)
            made[:, index] = (
                self.hits(index, membership).float().mean(dim=1)
                if graded is None
                else graded.satisfaction(self.losses(index, membership))
            )
        return made

    def backward(
        self,
        weights: Mapping[int, float],
        membership: Float[Tensor, " site"],
        loss_of: Loss = hinge,
    ) -> dict[int, tuple[float, float]]:
        """Add the gradient of the weighted losses of some desiderata to the membership's.

        A loss is the mean over pairs; by default of max(0, MARGIN - lead), in the answer's unit. Of
        a desideratum with a limit it is the mean of what pairs lose.

        Args:
            weights: of each desideratum, by its index.

        Returns:
            The loss and the satisfaction of each, both unweighted, at this membership.

        Raises:
            NotANumber: a loss is not finite.
        """
        plain = all(self.desiderata[index].limit is None for index in weights)
        need: Need | None = "lead" if loss_of is hinge and plain else None
        sums: list[Tensor] = []
        whose: list[int] = []
        for pieces in self.passes(weights, membership[None], need):
            total = torch.zeros((), device=pieces[0].output.device)
            for piece in pieces:
                loss, score = self._loss(piece, loss_of)
                total = total + weights[piece.index] * loss / len(self.batches[piece.index])
                sums.append(torch.stack([loss.detach(), score.to(loss)]))
                whose.append(piece.index)
            total.backward()
        found = dict.fromkeys(weights, (0.0, 0.0))
        # Read once a step: each reading waits for the device.
        for index, (loss, score) in zip(whose, torch.stack(sums).tolist(), strict=True):
            n_pairs, (before, reached) = len(self.batches[index]), found[index]
            found[index] = before + loss / n_pairs, reached + score / n_pairs
        for index, (loss, _) in found.items():
            if not math.isfinite(loss):
                name = self.desiderata[index].name
                raise NotANumber(f"the loss of {name!r} is {loss}; try --dtype float32", self.cost)
        return found

    def _loss(self, piece: Piece, loss_of: Loss) -> tuple[Tensor, Tensor]:
        """The sums over a piece's pairs of the loss and of the satisfaction."""
        batch, output, expected = piece.batch, piece.output, piece.expected
        if (graded := self.graded(piece.index)) is None and loss_of is hinge:
            lead = batch.answer.lead(output, expected)
            hit = (lead.detach() > 0) & expected.known.to(lead.device)
            return (MARGIN - lead).clamp(min=0).sum(), hit.sum()
        if graded is None:
            hit = batch.answer.hit(output.detach(), expected)
            return loss_of(batch.answer, output, expected).sum(), hit.sum()
        lost = losses(batch, output, self._before(piece.index, piece.number))
        kept = len(batch) * graded.satisfaction(lost.detach().cpu())[0]
        return lost.clamp(min=0).sum(), kept

    @torch.no_grad()
    def pair_leads(
        self, index: int, membership: Float[Tensor, "mask site"]
    ) -> Float[Tensor, "mask pair"]:
        """Each pair's lead of the expected answer under each membership, in its unit.

        Raises:
            NotANumber: a lead is not finite.
        """
        batch = self.batches[index]
        found = self._read(index, membership, batch.expected, batch.answer.lead, "lead")
        leads = concatenated(found)
        self.require_finite(leads, f"the lead of {self.desiderata[index].name!r}")
        return leads

    def leads(self, index: int, membership: Float[Tensor, "mask site"]) -> Float[Tensor, " mask"]:
        """One desideratum's mean lead of the expected answer under each membership, in its unit.

        Raises:
            NotANumber: a lead is not finite.
        """
        return self.pair_leads(index, membership).mean(dim=1)

    def require_finite(self, values: Tensor | None, what: str) -> None:
        """Let only numbers pass.

        Raises:
            NotANumber: some of the values are NaN or infinite; the message names what they are.
        """
        if values is not None and not bool(values.isfinite().all()):
            bad = int((~values.isfinite()).sum())
            raise NotANumber(
                f"{what} is not a number ({bad} of {values.numel()} values); try --dtype float32",
                self.cost,
            )

    def activations(self) -> list[Float[Tensor, "sample width"]]:
        """What each site writes in the base prompts of all desiderata, a row per pair and token."""
        pieces: list[list[Tensor]] = [[] for _ in self.every]
        for columns, prepared in zip(self._columns, self._prepared, strict=True):
            for piece in prepared:
                own = record_base(piece.model, piece.batch.base, piece.sites, self.cost)
                for column, written in zip(columns.tolist(), own, strict=True):
                    pieces[column].append(written)
        kept = [pieces[column] for column in self.open.tolist()]
        return [torch.cat(rows) if rows else torch.zeros(1, 1) for rows in kept]

    def bounds(self) -> tuple[Bound, ...]:
        """What each desideratum has to reach on these pairs, from its null and its ceiling.

        They are those of the circuits of no site and of every site, whatever is decided.
        """
        ends, free = torch.tensor([[0.0], [1.0]]).repeat(1, len(self.every)), self.undecided()
        return tuple(
            _graded_bound(self.desiderata[index], graded)
            if (graded := self.graded(index)) is not None
            else _bound(desideratum, *free.hits(index, ends))
            for index, desideratum in enumerate(self.desiderata)
        )


def _scored(
    read: Callable[[Output, Target], Tensor], wanted: Wanted | None, target: Target, output: Output
) -> Tensor:
    return read(output, target if wanted is None else wanted.narrowed())


def _lost(batch: Batch, before: Tensor, output: Tensor) -> Tensor:
    return losses(batch, output, before)


def _graded_bound(desideratum: Desideratum, graded: Graded) -> Bound:
    """The bound of a desideratum with a limit: with nothing patched all is kept."""
    worst = float(graded.satisfaction(graded.worst[None])[0])
    inside = desideratum.part == "inside"
    return Bound(
        null=1.0 if inside else worst,
        ceiling=worst if inside else 1.0,
        at_least=graded.need,
        absolute=True,
        novel=False,
        spread=graded.spread,
    )


def _bound(
    desideratum: Desideratum, empty: Bool[Tensor, " pair"], full: Bool[Tensor, " pair"]
) -> Bound:
    better, worse = int((empty & ~full).sum()), int((full & ~empty).sum())
    differ = better + worse > 0 and stats.binomtest(better, better + worse).pvalue < NOISE
    return Bound(
        null=float(empty.float().mean()),
        ceiling=float(full.float().mean()),
        at_least=desideratum.at_least,
        absolute=desideratum.is_novel or not differ,
        novel=desideratum.is_novel,
    )


def slack(
    scores: Float[Tensor, "mask desideratum"], bounds: Sequence[Bound], margin: Sequence[float]
) -> Float[Tensor, " mask"]:
    """By how much the worst-off desideratum clears its bound and margin; NaN scores are left out.

    Each distance is a share of pairs. At 0 or above, every desideratum holds.
    """
    return gaps(scores, bounds, margin).amin(dim=1)


def gaps(
    scores: Float[Tensor, "mask desideratum"], bounds: Sequence[Bound], margin: Sequence[float]
) -> Float[Tensor, "mask desideratum"]:
    """By how much each desideratum clears its bound and margin; infinity where it has no score.

    The margin never asks for more than the better of the empty and the full circuit reaches, nor,
    on the absolute scale, for more than all pairs: a circuit as good as that is good enough.
    """
    need = torch.tensor([bound.value for bound in bounds]) + torch.tensor(margin)
    most = [1.0 if bound.absolute else max(bound.null, bound.ceiling) for bound in bounds]
    return (scores - need.minimum(torch.tensor(most))).nan_to_num(nan=float("inf"))
