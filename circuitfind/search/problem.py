"""The part that methods share: data to fit on and data to select on, and the conclusion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits.circuit import Circuit
from ..mediators.site import Site
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch
from ..objective.mask import Mask
from ..objective.objective import Bound, NotANumber, Objective
from ..progress import Progress
from .fixed import in_the_way, put_back, with_decided
from .result import SearchConfig, SearchResult, Status
from .trials import Choice, Members, Trials

LOW, HIGH = 0.1, 0.9  # a gate between them has not decided


@dataclass(frozen=True, kw_only=True)
class Selection:
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
                f"these pairs were opened with other {' and '.join(other)}; open them anew "
                "(open_search) with those of the search"
            )
        config.check_sites(self.select.every)
        return config

    def trials(self) -> Trials:
        """An empty record of hard circuits on the selection pairs."""
        return Trials(self.select, self.bounds, self.margin, self.live)


@runtime_checkable
class Method(Protocol):
    """The one signature of every search method."""

    def __call__(
        self, selection: Selection, config: SearchConfig, progress: Progress
    ) -> SearchResult: ...


def open_selection(
    model: Model,
    batches: Sequence[Batch],
    sites: Sequence[Site],
    config: SearchConfig,
    cost: Cost | None = None,
) -> Selection:
    """The search pairs divided and made ready, with bounds measured.

    Args:
        sites: those to choose among; pins and vetoes of `config` come beside them.
        cost: the account that this and every search on it goes to; otherwise a new one.

    Raises:
        ValueError: a desideratum with fewer than three pairs.
    """
    if small := [batch.desideratum.name for batch in batches if len(batch) < 3]:
        raise ValueError(f"search needs at least three pairs of each desideratum; too few: {small}")
    cost, (every, decided) = cost or Cost(), with_decided(sites, batches, config)
    # Pairs come balanced over their answers in rounds, so that every third is a fair third. More
    # go to selection: it decides, and its noise is what makes a circuit fail on held-out pairs.
    parts = [
        [[row for row in range(len(batch)) if (row % 3 == 0) == fitted] for batch in batches]
        for fitted in (True, False)
    ]
    fit, select = (
        Objective(
            model,
            [batch.take(rows) for batch, rows in zip(batches, part, strict=True)],
            every,
            cost,
            decided,
        )
        for part in parts
    )
    bounds = select.bounds()
    margin = tuple(
        config.margin * sqrt(bound.value * (1 - bound.value) / len(batch))
        for bound, batch in zip(bounds, select.batches, strict=True)
    )
    live = tuple(index for index, bound in enumerate(bounds) if not bound.vacuous)
    return Selection(
        model=model, config=config, fit=fit, select=select, bounds=bounds, margin=margin, live=live
    )


def _plain(value: float | tuple[str, ...]) -> float | set[str]:
    return {*value} if isinstance(value, tuple) else value


def minibatches(selection: Selection, n_pairs: int) -> list[Objective]:
    """The fit pairs of all desiderata in batches of up to about this many pairs of each."""
    fit = selection.fit
    sizes = [len(batch) for batch in fit.batches]
    n_batches = max(1, min(max(sizes) // n_pairs, *sizes))
    if n_batches == 1:
        return [fit]
    return [
        Objective(
            selection.model,
            [batch.take(range(number, len(batch), n_batches)) for batch in fit.batches],
            fit.every,
            fit.cost,
            fit.decided,
        )
        for number in range(n_batches)
    ]


def conclude(
    method: str,
    selection: Selection,
    choose: Callable[[Trials], Choice],
    history: Sequence[Mapping[str, Any]],
    config: SearchConfig,
) -> SearchResult:
    """The circuit that `choose` settles on, with the verdict in words.

    Desiderata that looked vacuous join the constraints if the chosen circuit breaks them.

    Raises:
        NotANumber: the method's ranking or mask is not finite.
    """
    while True:
        trials = selection.trials()
        trials, choice = put_back(trials, choose(trials))
        scores = trials.complete([choice.members])[0].tolist()
        broken = [
            index
            for index, (score, bound) in enumerate(zip(scores, selection.bounds, strict=True))
            if index not in selection.live and score < bound.value
        ]
        if not broken:
            break
        selection = replace(selection, live=tuple(sorted({*selection.live, *broken})))
    selection.fit.require_finite(choice.ranking, f"the ranking of {method}")
    selection.fit.require_finite(choice.membership, f"the mask of {method}")
    chosen, sites = choice.members, trials.objective.sites
    # A circuit without one of its pins is scored, but is none that the search may return.
    scoring = replace(trials, seen=dict(trials.seen)) if config.pins else trials
    circuit = _circuit(method, selection, scoring, chosen, config.seed)
    success = all(
        score >= bound.value for score, bound in zip(scores, selection.bounds, strict=True)
    )
    status: Status = "holds" if success else "fails"
    names = [desideratum.name for desideratum in selection.select.desiderata]
    last = {"stage": "chosen", "step": len(history), "size": len(chosen)}
    last |= dict(zip(names, scores, strict=True))
    mask = choice.membership if choice.membership is not None else hard(chosen, len(sites))
    return SearchResult(
        mask=Mask(sites, mask.clamp(0, 1)),
        circuit=circuit,
        success=success,
        status=status,
        message=_success(selection, chosen)
        if success
        else _failure(selection, trials, chosen, scores, config.size)
        + in_the_way(trials, choice, scores, config),
        history=(*history, last),
        frontier=trials.frontier(),
        ranking=choice.ranking,
        problems=_problems(choice, sites),
        cost=selection.fit.cost.report(),
        bounds={name: bound.value for name, bound in zip(names, selection.bounds, strict=True)},
    )


def broken_off(
    selection: Selection, method: str, config: SearchConfig, error: NotANumber
) -> SearchResult:
    """The result of a search that met a loss, gradient or score that is not a number."""
    sites = selection.select.every
    nothing = torch.zeros(len(sites))
    words = f"the search broke off: {error}"
    return SearchResult(
        mask=Mask(sites, nothing),
        circuit=Circuit(
            model=selection.model.name,
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


def _problems(choice: Choice, sites: Sequence[Site]) -> tuple[str, ...]:
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
    method: str, selection: Selection, trials: Trials, chosen: Members, seed: int
) -> Circuit:
    """The chosen sites, each scored by what the live desiderata lose on average without it."""
    return Circuit(
        model=selection.model.name,
        task="",
        claim="",
        method=method,
        seed=seed,
        sites=tuple(trials.objective.sites[site] for site in sorted(chosen)),
        scores=tuple(round(float(loss), 6) for loss in trials.losses(chosen)),
    )


def _success(selection: Selection, chosen: Members) -> str:
    words = (
        f"{len(chosen)} of {len(selection.select.every)} sites satisfy every desideratum on the "
        "selection pairs"
    )
    vacuous = [
        desideratum.name
        for desideratum, bound in zip(selection.select.desiderata, selection.bounds, strict=True)
        if bound.vacuous
    ]
    if vacuous:
        words += f"; satisfied by the empty and the full circuit too: {', '.join(vacuous)}"
    return words


def _failure(
    selection: Selection,
    trials: Trials,
    chosen: Members,
    scores: Sequence[float],
    size: int | None,
) -> str:
    """Which desiderata stand in the way, how far each gets, and how far it gets elsewhere."""
    reached = torch.stack([row for _, row in trials.seen.values()]).nan_to_num(nan=-1).amax(dim=0)
    parts = []
    for index, (desideratum, bound) in enumerate(
        zip(selection.select.desiderata, selection.bounds, strict=True)
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
