"""`activation-norm`, a baseline: sites by the mean norm of what they write in the base prompts.

It looks at no desideratum and no source. A head's activation is its slice of `hook_z`, before the
output projection, an MLP's its output, so that the two kinds are not quite on one scale.
"""

import torch

from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult


def search_activation_norm(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by norm that satisfies the desiderata."""
    norms = torch.stack([rows.norm(dim=1).mean() for rows in problem.fit.activations()])
    return finish("activation-norm", problem, ranked(norms, config), (), config, progress)
