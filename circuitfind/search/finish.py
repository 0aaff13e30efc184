"""How every search ends: with a circuit, and with the verdict on it in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits.circuit import Circuit
from ..mediators.site import Site
from ..objective.mask import Mask
from ..objective.objective import NotANumber
from ..progress import Progress
from .fixed import explain_conflict, restore_fixed
from .local_search import polished
from .problem import SearchProblem
from .result import SearchConfig, SearchResult, Status
from .trials import ChosenCircuit, Members, Trials

LOW, HIGH = 0.1, 0.9  # a gate between them has not decided


def finish(
    method: str,
    problem: SearchProblem,
    choose: Callable[[Trials], ChosenCircuit],
    history: Sequence[Mapping[str, Any]],
    config: SearchConfig,
    progress: Progress | None = None,
) -> SearchResult:
    """The circuit that `choose` settles on, after local search where `config.polish` asks for it,
    with the verdict in words.

    Desiderata that looked vacuous join the constraints if the chosen circuit breaks them.

    Raises:
        NotANumber: the method's ranking or mask is not finite.
    """
    if config.polish:
        choose = polished(choose, config, progress or Progress())
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
        space=problem.space,
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
            space=problem.space,
            donor=problem.donor,
        ),
        success=False,
        status="fails",
        message=words,
        history=(),
        frontier=(),
        ranking=nothing,
        problems=(words, "the circuit is empty"),
        cost=error.cost.report(),
        space=problem.space,
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
        space=problem.space,
        donor=problem.donor,
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
