"""`greedy`: from the last layer down, leave out every site that the desiderata do not miss.

ACDC's idea (Conmy et al. 2023, arXiv 2304.14997) on sites: start from the circuit of all, go
through it from the output to the input, and drop a site for good where that costs no more than a
threshold. Theirs is a rise of KL to the whole model by tau, and they drop edges; here a site goes
unless a desideratum that holds would break, or one that is broken would fall further, on the
selection pairs. The ranking is by what leaving out a site cost when its turn came, the sites that
stayed above those that went.
"""

import torch

from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import lifted, members_by_rank
from ..result import SearchConfig, SearchResult
from ..trials import ChosenCircuit, Trials


def search_greedy(problem: SearchProblem, config: SearchConfig, progress: Progress) -> SearchResult:
    """The sites that are left; with a size, the first by rank."""
    sites = problem.sites
    order = sorted(range(len(sites)), key=lambda n: (sites[n].component.depth, n), reverse=True)

    def choose(trials: Trials) -> ChosenCircuit:
        current, cost = frozenset(range(len(sites))), torch.zeros(len(sites))
        for number, site in enumerate(order, 1):
            smaller = current - {site}
            before, after = trials.gaps(current), trials.gaps(smaller)
            live = list(trials.live)
            cost[site] = (before - after)[live].mean() if live else 0.0
            if bool((after >= before.clamp(max=0)).all()):
                current = smaller
            progress.report("last to first", number, len(order), {"size": len(current)})
        ranking = lifted(cost, cost[sorted(current)], current)
        if config.left is None:
            return ChosenCircuit(current, ranking)
        return ChosenCircuit(members_by_rank(trials, ranking, config), ranking)

    return finish("greedy", problem, choose, (), config, progress)
