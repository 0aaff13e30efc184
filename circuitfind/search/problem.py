"""What every method is given, pairs to fit on and pairs to select on, and how every search ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import Desideratum

from ..circuits.circuit import Circuit
from ..mediators.site import Site, all_sites
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.mask import Mask
from ..objective.objective import Bound, NotANumber, Objective
from .fixed import explain_conflict, restore_fixed, with_fixed
from .result import SearchConfig, SearchResult, Status
from .trials import ChosenCircuit, Members, Trials

LOW, HIGH = 0.1, 0.9  # a gate between them has not decided


@dataclass(frozen=True, kw_only=True)
class SearchProblem:
    """Search pairs in two parts: a third to fit on, the rest to select hard circuits on.

    `bounds` are measured on the selection pairs; `margin` is by how much each must be cleared
    there; `live` are the desiderata that are not vacuous. `config` is what they were opened with:
    its pins, vetoes and margin are those of every search on these pairs.
    """

    model: Model
    config: SearchConfig
    fit: Objective
    select: Objective
    bounds: tuple[Bound, ...]
    margin: tuple[float, ...]
    live: tuple[int, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites to choose among."""
        return self.fit.sites

    def agreed(self, config: SearchConfig | None) -> SearchConfig:
        """The settings of a search on these pairs, by default those that they were opened with.

        Raises:
            ValueError: other pins, vetoes or margin; a size that the sites do not allow.
        """
        if config is None:
            return self.config
        other = [
            name
            for name in ("pins", "vetoes", "margin")
            if _plain(getattr(config, name)) != _plain(getattr(self.config, name))
        ]
        if other:
            raise ValueError(
                f"these pairs were opened with other {' and '.join(other)}; open them again "
                "(SearchProblem.open) with those of the search"
            )
        config.check_sites(self.select.every)
        return config

    def trials(self) -> Trials:
        """An empty record of hard circuits on the selection pairs."""
        return Trials(self.select, self.bounds, self.margin, self.live)

    @classmethod
    def open(
        cls,
        model: Model,
        desiderata: Sequence[Desideratum] | Sequence[Batch],
        *,
        sites: Sequence[Site] | None = None,
        config: SearchConfig | None = None,
        cost: Cost | None = None,
    ) -> "SearchProblem":
        """The pairs made ready for any number of searches that differ in method, seed or size.

        Args:
            desiderata: as sampled, or already encoded batches.
            sites: the candidates; by default every head and MLP at the desiderata's positions.
            config: its pins, vetoes and margin are those of every search on these pairs.
            cost: the account that this and all those searches go to; otherwise a new one.

        Raises:
            ValueError: desiderata that cannot be encoded for this model, or with fewer than three
                pairs; a size that the sites do not allow; pins and vetoes that are not among them.
        """
        batches = tuple(
            item if isinstance(item, Batch) else encode(model, [item])[0] for item in desiderata
        )
        if sites is None:
            sites = candidate_sites(model, [batch.desideratum for batch in batches])
        config, cost = config or SearchConfig(), cost or Cost()
        config.check_sites(sites)
        if small := [batch.desideratum.name for batch in batches if len(batch) < 3]:
            raise ValueError(
                f"search needs at least three pairs of each desideratum; too few: {small}"
            )
        free = [site for site in sites if str(site) not in {*config.pins, *config.vetoes}]
        every, fixed = with_fixed(free, batches, config)
        fit, select = (
            Objective(model, part, every, cost, fixed) for part in _fit_and_select(batches)
        )
        bounds = select.bounds()
        return cls(
            model=model,
            config=config,
            fit=fit,
            select=select,
            bounds=bounds,
            margin=tuple(
                config.margin * sqrt(bound.value * (1 - bound.value) / len(batch))
                for bound, batch in zip(bounds, select.batches, strict=True)
            ),
            live=tuple(index for index, bound in enumerate(bounds) if not bound.vacuous),
        )


def candidate_sites(model: Model, desiderata: Sequence[Desideratum]) -> tuple[Site, ...]:
    """Every head and MLP at every position that the desiderata name."""
    positions = dict.fromkeys(name for desideratum in desiderata for name in desideratum.at)
    return all_sites(model.n_layers, model.n_heads, positions)


def _fit_and_select(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """A third of each desideratum's pairs to fit on, and the rest to select on.

    Pairs come balanced over their answers in rounds, so that every third is a fair third. More are
    for selection, which decides: its noise is what makes a circuit fail on held-out pairs.
    """
    fit, select = (
        [
            batch.take([row for row in range(len(batch)) if (row % 3 == 0) == fitted])
            for batch in batches
        ]
        for fitted in (True, False)
    )
    return fit, select


def _plain(value: float | tuple[str, ...]) -> float | set[str]:
    return {*value} if isinstance(value, tuple) else value


def minibatches(problem: SearchProblem, n_pairs: int) -> list[Objective]:
    """The fit pairs of all desiderata in batches of up to about this many pairs of each."""
    fit = problem.fit
    sizes = [len(batch) for batch in fit.batches]
    n_batches = max(1, min(max(sizes) // n_pairs, *sizes))
    if n_batches == 1:
        return [fit]
    return [
        Objective(
            problem.model,
            [batch.take(range(number, len(batch), n_batches)) for batch in fit.batches],
            fit.every,
            fit.cost,
            fit.decided,
        )
        for number in range(n_batches)
    ]


def finish(
    method: str,
    problem: SearchProblem,
    choose: Callable[[Trials], ChosenCircuit],
    history: Sequence[Mapping[str, Any]],
    config: SearchConfig,
) -> SearchResult:
    """The circuit that `choose` settles on, with the verdict in words.

    Desiderata that looked vacuous join the constraints if the chosen circuit breaks them.

    Raises:
        NotANumber: the method's ranking or mask is not finite.
    """
    while True:
        trials = problem.trials()
        trials, choice = restore_fixed(trials, choose(trials))
        scores = trials.complete([choice.members])[0].tolist()
        broken = [
            index
            for index, (score, bound) in enumerate(zip(scores, problem.bounds, strict=True))
            if index not in problem.live and score < bound.value
        ]
        if not broken:
            break
        problem = replace(problem, live=tuple(sorted({*problem.live, *broken})))
    problem.fit.require_finite(choice.ranking, f"the ranking of {method}")
    problem.fit.require_finite(choice.membership, f"the mask of {method}")
    chosen, sites = choice.members, trials.objective.sites
    # A circuit without one of its pins is scored, but is none that the search may return.
    scoring = replace(trials, seen=dict(trials.seen)) if config.pins else trials
    circuit = _circuit(method, problem, scoring, chosen, config.seed)
    success = all(score >= bound.value for score, bound in zip(scores, problem.bounds, strict=True))
    status: Status = "holds" if success else "fails"
    names = [desideratum.name for desideratum in problem.select.desiderata]
    last = {"stage": "chosen", "step": len(history), "size": len(chosen)}
    last |= dict(zip(names, scores, strict=True))
    mask = choice.membership if choice.membership is not None else hard(chosen, len(sites))
    return SearchResult(
        mask=Mask(sites, mask.clamp(0, 1)),
        circuit=circuit,
        success=success,
        status=status,
        message=_success(problem, chosen)
        if success
        else _failure(problem, trials, chosen, scores, config.size)
        + explain_conflict(trials, choice, scores, config),
        history=(*history, last),
        frontier=trials.frontier(),
        ranking=choice.ranking,
        problems=_problems(choice, sites),
        cost=problem.fit.cost.report(),
        bounds={name: bound.value for name, bound in zip(names, problem.bounds, strict=True)},
    )


def failed_result(
    problem: SearchProblem, method: str, config: SearchConfig, error: NotANumber
) -> SearchResult:
    """The result of a search that met a loss, gradient or score that is not a number."""
    sites = problem.select.every
    nothing = torch.zeros(len(sites))
    words = f"the search broke off: {error}"
    return SearchResult(
        mask=Mask(sites, nothing),
        circuit=Circuit(
            model=problem.model.name,
            task="",
            claim="",
            method=method,
            seed=config.seed,
            sites=(),
            scores=(),
        ),
        success=False,
        status="fails",
        message=words,
        history=(),
        frontier=(),
        ranking=nothing,
        problems=(words, "the circuit is empty"),
        cost=error.cost.report(),
    )


def hard(members: Members, n_sites: int) -> Float[Tensor, " site"]:
    """1 for members, 0 for the other sites."""
    made = torch.zeros(n_sites)
    made[list(members)] = 1.0
    return made


def _problems(choice: ChosenCircuit, sites: Sequence[Site]) -> tuple[str, ...]:
    """What is wrong with a circuit or with the mask that it comes from."""
    problems = []
    if not choice.members:
        problems.append("the circuit is empty")
    if choice.membership is not None:
        gates = choice.membership
        open_gates = ((gates > LOW) & (gates < HIGH)).nonzero()[:, 0].tolist()
        if not bool((gates > 0.5).any()):
            problems.append("the mask is empty: no gate is more than half open before rounding")
        if open_gates:
            shown = ", ".join(f"{sites[site]} {float(gates[site]):.2f}" for site in open_gates[:4])
            problems.append(
                f"the mask has not decided on {len(open_gates)} of {len(gates)} gates, which lie "
                f"between {LOW} and {HIGH} before rounding: {shown}"
                + (", ..." if len(open_gates) > 4 else "")
            )
    return tuple(problems)


def _circuit(
    method: str, problem: SearchProblem, trials: Trials, chosen: Members, seed: int
) -> Circuit:
    """The chosen sites, each scored by what the live desiderata lose on average without it."""
    return Circuit(
        model=problem.model.name,
        task="",
        claim="",
        method=method,
        seed=seed,
        sites=tuple(trials.objective.sites[site] for site in sorted(chosen)),
        scores=tuple(round(float(loss), 6) for loss in trials.losses(chosen)),
    )


def _success(problem: SearchProblem, chosen: Members) -> str:
    words = (
        f"{len(chosen)} of {len(problem.select.every)} sites satisfy every desideratum on the "
        "selection pairs"
    )
    vacuous = [
        desideratum.name
        for desideratum, bound in zip(problem.select.desiderata, problem.bounds, strict=True)
        if bound.vacuous
    ]
    if vacuous:
        words += f"; satisfied by the empty and the full circuit too: {', '.join(vacuous)}"
    return words


def _failure(
    problem: SearchProblem,
    trials: Trials,
    chosen: Members,
    scores: Sequence[float],
    size: int | None,
) -> str:
    """Which desiderata stand in the way, how far each gets, and how far it gets elsewhere."""
    reached = torch.stack([row for _, row in trials.seen.values()]).nan_to_num(nan=-1).amax(dim=0)
    parts = []
    for index, (desideratum, bound) in enumerate(
        zip(problem.select.desiderata, problem.bounds, strict=True)
    ):
        if scores[index] >= bound.value:
            continue
        words = (
            f"{desideratum.name!r} reaches {scores[index]:.2f} of the {bound.value:.2f} it needs"
        )
        if bound.unreached:
            words += (
                f", and with every site patched {bound.ceiling:.2f} (none: {bound.null:.2f}): "
                "what it asks for does not pass through these sites"
            )
        elif reached[index] >= bound.value:
            words += f" ({float(reached[index]):.2f} in circuits that break another)"
        parts.append(words)
    tried = [members for members in trials.seen if size is None or len(members) == size]
    kind = "" if size is None else f", of the size {size} that was asked for,"
    return (
        f"no circuit of the {len(tried)} tried{kind} satisfies every desideratum; in the nearest, "
        f"of {len(chosen)} sites, {'; '.join(parts)}"
    )
