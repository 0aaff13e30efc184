"""Is a circuit the only one? Search again for another that does the same with other sites.

First rerun the descent of `constrained` with a penalty on the members found, raised until one of
them is dropped. Then leave members out, or exchange them for other sites, wherever all desiderata
still hold.

**What counts as a rival.** It satisfies every desideratum on the selection pairs, with the same
margin as any circuit; it lacks a member of the circuit found; and what both share does not do by
itself: it falls short of a bound by more than two standard errors. So what the rival has instead
of the missing members does work that they did. Without the last condition, a circuit that merely
does without a member which is hardly missed would be called another one.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from ..mediators.site import Site
from ..objective.objective import NotANumber
from ..progress import Progress, Silent
from .finish import failed_result, finish
from .local_search import drop, grow
from .methods.constrained import relax
from .problem import SearchProblem
from .ranks import lifted, ordered
from .result import SearchConfig, SearchResult
from .trials import ChosenCircuit, Members, Trials

PENALTIES = (1.0, 4.0, 16.0)  # prices on top of a site's own that members cost, in turn
NOISE = 2.0  # standard errors by which the shared part must fall short


def search_rival(
    problem: SearchProblem,
    found: SearchResult,
    config: SearchConfig | None = None,
    progress: Progress | None = None,
    budget: float = float("inf"),
) -> SearchResult:
    """Another circuit than the one found, among the same sites: `success` says that it counts as
    a rival (see the module's text). Otherwise it is the one that differs most, and `message` says
    that none was found. Its size is its own, whatever `config.size`; pins and vetoes hold for it
    too, so that it differs in members that nobody pinned. The cost is what is on the account of
    the pairs.

    Args:
        problem: the search pairs, ready.
        config: by default what the pairs were opened with; its pins, vetoes and margin have to be.
        budget: FLOPs, past which no further penalty is tried.

    Raises:
        ValueError: what was found does not hold, so that nothing can rival it, or was not found
            among these sites; other pins, vetoes or margin.
    """
    if not found.success:
        raise ValueError(
            "a rival is sought for a circuit that satisfies every desideratum; this one does not: "
            + found.message
        )
    config = replace(problem.agreed(config), size=None, polish=False)
    sites, place = problem.sites, {site: n for n, site in enumerate(found.mask.sites)}
    if unknown := [str(site) for site in sites if site not in place]:
        raise ValueError(
            f"a rival is sought among the sites of what was found; {len(unknown)} of these pairs "
            f"are none of them: {', '.join(unknown[:4])}"
        )
    members = frozenset(n for n, site in enumerate(sites) if site in found.circuit.sites)
    if not members:
        words = "no other circuit was sought: every member is pinned"
        cost = problem.fit.cost.report()
        return replace(found, success=False, status="fails", message=words, cost=cost)
    ranking = found.ranking[[place[site] for site in sites]]
    quiet = Silent(progress or Progress())  # the checkpoint is the main search's
    try:
        rival, openness, history = _seek(problem, members, ranking, config, quiet, budget)

        def choose(trials: Trials) -> ChosenCircuit:
            return ChosenCircuit(rival, lifted(openness, trials.losses(rival), rival))

        made = finish("constrained", problem, choose, history, config)
        apart = made.success and is_rival(problem.trials(), members, rival)
    except NotANumber as error:
        return failed_result(problem, "constrained", config, error)
    return replace(
        made,
        success=apart,
        status="holds" if apart else "fails",
        message=_message(apart, {*found.circuit.sites}, {*made.circuit.sites}),
    )


def is_rival(trials: Trials, members: Members, rival: Members) -> bool:
    """Whether a circuit counts as another one than `members`; see the module's text."""
    if rival >= members or not trials.holds(rival):
        return False
    shared = members & rival
    trials.slacks([shared])
    scores = trials.seen[shared][1].tolist()
    sizes = [len(batch) for batch in trials.objective.batches]
    return any(
        scores[index] + NOISE * sqrt(bound * (1 - bound) / sizes[index]) < bound
        for index, bound in ((index, trials.bounds[index].value) for index in trials.live)
    )


def _seek(
    problem: SearchProblem,
    members: Members,
    ranking: Float[Tensor, " site"],
    config: SearchConfig,
    progress: Progress,
    budget: float,
) -> tuple[Members, Float[Tensor, " site"], list[dict]]:
    """The circuit that shares least with `members`, the openness that led to it, and history."""
    trials, history, openness = problem.trials(), [], ranking
    mine = torch.zeros(len(ranking))
    mine[list(members)] = 1.0
    most = problem.fit.cost.flops + budget
    best = _move_away(trials, members, members, ordered(ranking), config)
    for penalty in PENALTIES:
        if is_rival(trials, members, best) or problem.fit.cost.flops > most:
            break
        openness, rows = relax(problem, config, progress, 1 + penalty * mine)
        history += [row | {"penalty": penalty} for row in rows]
        order = ordered(openness)
        start = _start(trials, members, order, config, progress)
        if not trials.holds(start):
            continue
        other = _move_away(trials, start, members, order, config)
        best = min((best, other), key=lambda one: (len(one & members), len(one), sorted(one)))
    return best, openness, history


def _start(
    trials: Trials,
    members: Members,
    order: Sequence[int],
    config: SearchConfig,
    progress: Progress,
) -> Members:
    """A circuit that holds and shares little, from the first sites of an order; or the nearest."""
    reach = min(len(order), 2 * config.reach)
    prefixes = [frozenset(order[:size]) for size in range(reach + 1)]
    if holding := trials.reaching(prefixes):
        return min(holding, key=lambda prefix: (len(prefix & members), len(prefix)))
    clear = trials.slacks(prefixes)
    return grow(trials, prefixes[clear.index(max(clear))], order, config, progress)


def _move_away(
    trials: Trials,
    current: Members,
    members: Members,
    order: Sequence[int],
    config: SearchConfig,
) -> Members:
    """Leave members out of a circuit that holds, or exchange them for others, while it holds."""
    others = [site for site in order if site not in members]
    for old in sorted(current & members):
        if trials.holds(current - {old}):
            current -= {old}
            continue
        new = [site for site in others if site not in current][: 2 * config.reach]
        if moves := trials.reaching([current - {old} | {site} for site in new]):
            current = max(moves, key=lambda one: trials.slacks([one])[0])
    return drop(trials, current)


def _message(apart: bool, members: set[Site], rival: set[Site]) -> str:
    shared = len(members & rival)
    if apart:
        return (
            f"the circuit is not unique: another of {len(rival)} sites satisfies every desideratum "
            f"on the selection pairs, and shares {shared} of the {len(members)}"
        )
    return (
        f"no other circuit was found that satisfies every desideratum: the nearest shares {shared} "
        f"of the {len(members)} sites"
    )
