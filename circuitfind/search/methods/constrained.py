"""`constrained`: the fewest sites such that every desideratum reaches its bound.

First tried: the sites by one gradient (`attribution`), cut where it falls off most steeply; and
all sites, from which blocks of the least wanted are left out. Where such a circuit holds, it is
where local search begins, and no mask is learned.

Else relaxed: gates in [0, 1] under projected Adam, the number of open gates minimised with a
multiplier for each desideratum that rises while its satisfaction is below the bound and falls
while it is not. Satisfaction (a share of pairs) has no gradient, so descent follows a hinge on
logits while the multipliers follow the true constraint: Cotter et al. 2019 (arXiv 1804.06500,
proxy-Lagrangian). A step is on a few pairs of each desideratum. Every few steps the gates that are
more than half open are tried as a circuit. Descent ends once they hold and are few, or once every
desideratum has held for some steps on end while no gate changed sides.

Then discrete: the gates that are open, or the sites in the order of their mean openness, are where
local search begins, on selection pairs.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...progress import Progress
from ..descent import Descent, Row, descend
from ..finish import finish
from ..local_search import leave_out
from ..problem import SearchProblem, minibatches
from ..ranks import members_by_rank, ordered
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Members, Trials
from .attribution import slopes

STEPS, LEARNING_RATE, PAIRS = 60, 0.08, 8
RISE, FALL = 1.12, 0.94  # of a multiplier at each step that its desideratum is broken, or holds
PRICE = 0.02  # logits of lead that a site must earn at the start to stay open
START = 0.5
MEMORY = 0.9  # of the mean openness, at each step
SETTLED, UNHELD = 10, 0.5  # steps without a change that end a descent; what one counts that breaks
CUTS = 2  # of the order by one gradient that are tried
EVERY = 3  # steps between trials of the open gates

Tried = Callable[[Float[Tensor, " site"]], bool]


def search_constrained(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The fewest sites such that every desideratum holds; see the module's text.

    Where `config.steps` is given, a mask is learned in any case.
    """
    trials = problem.trials()
    if config.polish and config.steps is None:
        ranking = slopes(problem.fit, problem.live, 0.0)
        progress.report("attribution", 1, 1, {})
        if (found := _first_holding(trials, ranking, config)) is not None:
            return _finish_at(found, ranking, trials, problem, config, progress)

    def tried(gates: Float[Tensor, " site"]) -> bool:
        members = _open(gates)
        few = len(members) <= config.reach
        # A record of its own: what a resumed search no longer knows must not change its cost.
        return few and bool(problem.trials().reaching([members]))

    early = config.polish and config.left is None
    openness, history = relax(problem, config, progress, tried=tried if early else None)

    def choose(found: Trials) -> ChosenCircuit:
        # Local search makes a circuit smaller that holds; a prefix would take more trials.
        if config.polish and config.left is None and found.holds(_open(openness)):
            return ChosenCircuit(_open(openness), openness, openness)
        return ChosenCircuit(members_by_rank(found, openness, config), openness, openness)

    return finish("constrained", problem, choose, history, config, progress)


def _open(gates: Float[Tensor, " site"]) -> Members:
    return frozenset((gates > 0.5).nonzero()[:, 0].tolist())


def _first_holding(
    trials: Trials, ranking: Float[Tensor, " site"], config: SearchConfig
) -> Members | None:
    """The circuit that holds of those that cuts of a ranking make, the steepest cut first, or what
    is left of all sites without the least wanted ones; None where none of them holds.

    Of the size that is asked for, it is the first sites of the ranking.
    """
    order = ordered(ranking)
    sizes = cuts(ranking[order], config.reach) if config.left is None else [config.left]
    for size in sizes:
        if found := trials.reaching([frozenset(order[:size])]):
            return found[0]
    if config.left is not None:
        return None
    left = leave_out(trials, frozenset(order), order[::-1])
    return left if trials.holds(left) else None


def cuts(falling: Float[Tensor, " site"], most: int) -> list[int]:
    """After how many of these scores to cut: where the next one is the smallest part of the one
    before, the smallest part first.

    Args:
        falling: scores, the greatest first; what is not above 0 is not wanted.
        most: of the sizes.

    >>> cuts(torch.tensor([9.0, 8.0, 0.5, 0.4, -0.3]), 16)
    [2, 4]
    """
    wanted = int((falling > 0).sum())
    after = torch.cat([falling[1:], torch.zeros(1)]).abs()
    shares = (after / falling)[: min(wanted, most)]
    return [int(place) + 1 for place in shares.argsort(stable=True)[:CUTS]]


def _finish_at(
    members: Members,
    ranking: Float[Tensor, " site"],
    tried: Trials,
    problem: SearchProblem,
    config: SearchConfig,
    progress: Progress,
) -> SearchResult:
    """How the search ends that begins at a circuit that holds, with nothing learned."""

    def choose(trials: Trials) -> ChosenCircuit:
        if trials.live == tried.live:
            trials.seen |= tried.seen
        return ChosenCircuit(members, ranking)

    return finish("constrained", problem, choose, (), config, progress)


def relax(
    problem: SearchProblem,
    config: SearchConfig,
    progress: Progress,
    prices: Float[Tensor, " site"] | float = 1.0,
    tried: Tried | None = None,
) -> tuple[Float[Tensor, " site"], list[dict]]:
    """How open each site was on average over the last steps of the descent, and the history.

    Args:
        prices: what an open gate costs, in units of the usual price.
        tried: whether the descent may end at these gates, which are then what comes back.
    """
    divided, live = minibatches(problem, PAIRS), problem.live
    generator = torch.Generator().manual_seed(config.seed)
    n_sites = len(problem.sites)
    gates = (START + 0.05 * torch.randn(n_sites, generator=generator)).requires_grad_()
    weights = [problem.fit.desiderata[index].weight for index in live]
    multipliers = torch.tensor(weights, dtype=torch.float64)
    openness, settled = gates.detach().clone(), torch.zeros(())
    last = gates.detach() > 0.5  # the open gates that were tried last

    def gradients(step: int) -> dict[str, float]:
        (PRICE * (prices * gates).sum()).backward()
        scores, weights = {}, dict(zip(live, multipliers.tolist(), strict=True))
        objective, held = divided[step % len(divided)], True
        for place, (index, (_, score)) in enumerate(objective.backward(weights, gates).items()):
            need = problem.bounds[index].value + problem.margin[index]
            holds = score >= min(need, 1.0)
            multipliers[place] *= FALL if holds else RISE
            scores[objective.desiderata[index].name], held = score, held and holds
        settled.add_(1.0 if held else UNHELD)
        return scores

    def after(step: int, scores: Row) -> Row:
        gates.data.clamp_(0, 1)
        before = openness > 0.5
        openness.mul_(MEMORY).add_((1 - MEMORY) * gates.detach())
        if bool((before != (openness > 0.5)).any()):
            settled.zero_()
        here = gates.detach() > 0.5
        if tried is not None and step % EVERY == EVERY - 1 and not torch.equal(here, last):
            last.copy_(here)
            if tried(gates.detach()):
                openness.copy_(gates.detach())
                settled.fill_(SETTLED)
        return {"size": float(gates.detach().sum()), **scores}

    descent = Descent(
        stage="relax",
        objective=problem.fit,
        parameters={"gates": gates},
        memory={"multipliers": multipliers, "openness": openness, "settled": settled, "last": last},
        optimiser=torch.optim.Adam([gates], lr=config.learning_rate or LEARNING_RATE),
        steps=config.steps or STEPS,
        gradients=[gradients],
        after=after,
        done=lambda: bool(settled >= SETTLED),
    )
    history = descend(descent, progress)
    return openness, history
