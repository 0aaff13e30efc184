"""`random`, a baseline: the sites in a random order, seeded. What ranks no better knows nothing."""

import torch

from ...progress import Progress
from ..descent import noise_of
from ..problem import Selection, conclude
from ..ranks import ranked
from ..result import SearchConfig, SearchResult


def search_random(selection: Selection, config: SearchConfig, progress: Progress) -> SearchResult:
    """The shortest prefix of a random order that satisfies the desiderata."""
    ranking = torch.rand(len(selection.sites), generator=noise_of(config.seed, 0))
    return conclude("random", selection, ranked(ranking, config), (), config)
