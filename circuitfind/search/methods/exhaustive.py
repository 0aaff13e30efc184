"""`exhaustive`: patch each site alone and see what it does.

Activation patching one component at a time (Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022,
arXiv 2202.05262). A site's score is what it adds to the lead of the expected answer, in logits,
from the untouched model: inside, patched alone; outside, left out of the circuit alone, so that it
alone is patched. Summed over the desiderata with their weights. Sites that only work together look
idle: that is the known limit of the method.
"""

import torch

from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult

AT_ONCE = 64  # sites between two reports


def search_exhaustive(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by single effect that satisfies the desiderata."""
    objective, sites = problem.fit, problem.sites
    ranking = torch.zeros(len(sites))
    alone = torch.eye(len(sites))
    for number, index in enumerate(problem.live, 1):
        desideratum = objective.desiderata[index]
        inside = desideratum.part == "inside"
        untouched = torch.zeros(1, len(sites)) if inside else torch.ones(1, len(sites))
        before = objective.leads(index, untouched)[0]
        for place in torch.arange(len(sites)).split(AT_ONCE):
            rows = alone[place] if inside else 1 - alone[place]
            effect = objective.leads(index, rows) - before
            ranking[place] += desideratum.weight * (effect if inside else -effect)
            progress.report(
                f"site by site, {number} of {len(problem.live)}",
                int(place[-1]) + 1,
                len(sites),
                {},
            )
    return finish("exhaustive", problem, ranked(ranking, config), (), config, progress)
