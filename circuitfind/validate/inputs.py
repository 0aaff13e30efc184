"""What checks look at: a circuit on held-out pairs, made ready once for all of them."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from desiderata import DonorChoice, name_of

from ..circuits.circuit import Circuit
from ..mediators.space import SearchSpace
from ..models.model import Model
from ..objective.encoding import Batch
from ..objective.objective import Bound, Objective
from ..progress import Progress
from ..search import SearchConfig, SearchProblem

# Of each desideratum, for comparing circuits: so many tell them apart, and a hundred random
# circuits on more would cost as much as the search.
PAIRS_COMPARED = 64
# Of each desideratum, for searching again: six searches or more on all pairs of a language model
# would take hours on two cores.
PAIRS_SEARCHED = 48


@dataclass(frozen=True, kw_only=True)
class CheckInputs:
    """A circuit, the model, and the held-out pairs that the model solves.

    `space` is what the sites are chosen from, and what random circuits are drawn from. `membership`
    is 1 for the circuit's sites among `objective.sites`, the candidates. `search`
    are the pairs that search may see, for checks that search again; empty where there are none.
    `mask` is the membership that search had before rounding, where that is known.
    """

    model: Model
    circuit: Circuit
    space: SearchSpace
    objective: Objective
    bounds: tuple[Bound, ...]
    membership: Float[Tensor, " site"]
    seed: int = 0
    n_random: int = 100
    search: tuple[Batch, ...] = ()
    mask: Float[Tensor, " site"] | None = None
    shown: Progress = field(default_factory=Progress)
    # What `ablation.ablate` has made already; the one thing here that grows.
    ablated: dict[tuple[DonorChoice, int], Any] = field(default_factory=dict)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The held-out pairs of each desideratum."""
        return self.objective.batches

    @property
    def nothing_held_out(self) -> bool:
        """Whether these pairs are those that search saw, because none could be held out."""
        return all(one.exhaustive for one in self.objective.desiderata)

    @property
    def unit(self) -> str:
        """The unit of what `ablation` measures: that of the first desideratum's answer."""
        return self.batches[0].answer.unit

    @property
    def members(self) -> list[int]:
        """The indices of the circuit's sites among the candidates."""
        return self.membership.nonzero()[:, 0].tolist()

    @cached_property
    def compared(self) -> Objective:
        """The same desiderata on few pairs, on which many circuits can be compared."""
        if max(map(len, self.batches)) <= PAIRS_COMPARED:
            return self.objective
        return self.objective.first(PAIRS_COMPARED)

    @cached_property
    def searched(self) -> tuple[Batch, ...]:
        """Random pairs to search again on: up to PAIRS_SEARCHED of each desideratum."""
        rng = random.Random(f"searched/{self.seed}")
        return tuple(
            batch.take(sorted(rng.sample(range(len(batch)), min(len(batch), PAIRS_SEARCHED))))
            for batch in self.search
        )

    @cached_property
    def opened(self) -> SearchProblem:
        """Those pairs, ready to be searched on."""
        return self.open(self.searched)

    def open(self, batches: Sequence[Batch]) -> SearchProblem:
        """Pairs ready to be searched on as the circuit was, on the card's account."""
        config, cost = self.config(self.seed), self.objective.cost
        return SearchProblem.open(self.model, batches, sites=self.space, config=config, cost=cost)

    @property
    def pairs_searched(self) -> str:
        """Of each desideratum how many pairs those are, in words."""
        some, every = (max(map(len, batches)) for batches in (self.searched, self.search))
        return f"{some} search pairs" if some == every else f"{some} of {every} search pairs"

    @property
    def donor(self) -> DonorChoice:
        """What ablated sites take by the claim: by its first desideratum about the rest of the
        model, or else by its first."""
        every = self.objective.desiderata
        return next((one for one in every if one.part == "outside"), every[0]).donor

    def config(self, seed: int) -> SearchConfig:
        """What the circuit was searched with, as far as its provenance tells, by another seed."""
        told, known = self.circuit.provenance.get("config", {}), {*map(str, self.objective.sites)}
        numbers = {
            name: told[name]
            for name in ("steps", "learning_rate", "margin")
            if isinstance(told.get(name), int | float)
        }
        pins, vetoes = (
            tuple(site for site in told.get(name, ()) if site in known)
            for name in ("pins", "vetoes")
        )
        size = len(self.circuit) if told.get("size") else None
        return SearchConfig(seed=seed, size=size, pins=pins, vetoes=vetoes, **numbers)

    @property
    def binds(self) -> dict[str, str]:
        """Digests of what a card is about: circuit, weights and pairs."""
        return {
            "circuit": self.circuit.digest,
            "model": self.model.digest,
            "pairs": digest_pairs(self.batches),
        }


def digest_pairs(batches: tuple[Batch, ...]) -> str:
    """SHA-256 over the texts and answers of all pairs, and what each desideratum asks of them."""
    told = [
        [
            one.name,
            one.part,
            one.sense,
            name_of(one.donor),
            one.read,
            list(one.at),
            one.at_least,
            # Earlier digests had none of these.
            *([name_of(one.answer)] if one.answer != "top" else []),
            *([str(one.limit)] if one.limit else []),
        ]
        + [
            [p.base.text, p.source.text, p.expected]
            + ([p.base_answer, p.source_answer, *p.others] if one.answer != "top" else [])
            for p in one.pairs
        ]
        for one in (batch.desideratum for batch in batches)
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
