"""`random`, a baseline: the sites in a random order, seeded. What ranks no better knows nothing."""

import torch

from ...progress import Progress
from ..descent import noise_of
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult


def search_random(problem: SearchProblem, config: SearchConfig, progress: Progress) -> SearchResult:
    """The shortest prefix of a random order that satisfies the desiderata."""
    ranking = torch.rand(len(problem.sites), generator=noise_of(config.seed, 0))
    return finish("random", problem, ranked(ranking, config), (), config, progress)
