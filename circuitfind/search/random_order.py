"""`random`, a baseline: the sites in a random order, seeded. What ranks no better knows nothing."""

import torch

from ..component import Site
from ..encoding import Batch
from ..model import Model
from .descent import noise_of
from .ranks import ranked
from .result import Progress, SearchConfig, SearchResult
from .selection import conclude, open_selection


def search_random(
    model: Model,
    batches: tuple[Batch, ...],
    sites: tuple[Site, ...],
    config: SearchConfig,
    progress: Progress,
) -> SearchResult:
    """The shortest prefix of a random order that satisfies the desiderata."""
    selection = open_selection(model, batches, sites, config)
    ranking = torch.rand(len(sites), generator=noise_of(config.seed, 0))
    return conclude("random", selection, ranked(ranking, config), (), config)
