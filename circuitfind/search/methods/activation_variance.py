"""`activation-variance`, a baseline: sites by how much what they write varies over base prompts.

The sum over a site's width of the variance over pairs and tokens. It looks at no desideratum and
no source; on its scale see `activation-norm`.
"""

import torch

from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult


def search_activation_variance(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by variance that satisfies the desiderata."""
    variances = torch.stack(
        [rows.var(dim=0, unbiased=False).sum() for rows in problem.fit.activations()]
    )
    return finish("activation-variance", problem, ranked(variances, config), (), config, progress)
