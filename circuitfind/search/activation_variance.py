"""`activation-variance`, a baseline: sites by how much what they write varies over base prompts.

The sum over a site's width of the variance over pairs and tokens. It looks at no desideratum and
no source; on its scale see `activation-norm`.
"""

import torch

from ..component import Site
from ..encoding import Batch
from ..model import Model
from .ranks import ranked
from .result import Progress, SearchConfig, SearchResult
from .selection import conclude, open_selection


def search_activation_variance(
    model: Model,
    batches: tuple[Batch, ...],
    sites: tuple[Site, ...],
    config: SearchConfig,
    progress: Progress,
) -> SearchResult:
    """The shortest prefix of the sites by variance that satisfies the desiderata."""
    selection = open_selection(model, batches, sites, config)
    variances = torch.stack(
        [rows.var(dim=0, unbiased=False).sum() for rows in selection.fit.activations()]
    )
    return conclude("activation-variance", selection, ranked(variances, config), (), config)
