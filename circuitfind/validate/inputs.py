"""What checks look at: a circuit on held-out pairs, made ready once for all of them."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from .finding import HELD_OUT, SAME, Finding, Question

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


@dataclass(frozen=True, kw_only=True)
class Check:
    """A line of the table of checks.

    Args:
        name: the name in reports and tables; every finding of the check has it.
        about: what it looks at, for tables.
        thorough: whether it runs only when asked for.
        needs_outside: whether it is about the model without the circuit, or the circuit without
            the rest. A claim whose desiderata all patch inside the circuit leaves that open, so
            that the check cannot fail it and is only there for the record.
        searches: whether it searches again, on the pairs that search may see.
        of_mask: whether it is about the mask that search had before rounding. It is left out where
            there is none.
        question: what it belongs to (`validate.questions`); a check without one is in the card and
            in the headline where it fails, and decides only with `--strict`.
    """

    name: str
    run: Callable[[CheckInputs], Finding]
    about: str = ""
    thorough: bool = False
    needs_outside: bool = False
    searches: bool = False
    of_mask: bool = False
    question: Question | None = None

    def find(self, inputs: CheckInputs) -> Finding:
        """What the check finds, under its own name."""
        found = replace(self.run(inputs), name=self.name, question=self.question)
        if found.split == HELD_OUT and inputs.nothing_held_out:
            found = replace(found, split=SAME)
        claims_rest = any(one.part == "outside" for one in inputs.objective.desiderata)
        if not self.needs_outside or claims_rest or found.verdict != "fails":
            return found
        says = f"the claim leaves this open (no desideratum is about the rest); {found.says}"
        return replace(found, verdict="inconclusive", says=says)


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
