"""`attribution-ig`: attribution averaged along the path from the untouched to the patched model.

Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) as Hanna et al. 2024 (EAP-IG,
arXiv 2403.17806) use them: five steps, evenly spaced, the untouched end among them and the patched
end not. At each, the gradient of the leads with respect to the gates.

What had to differ: they interpolate the input embeddings and score edges (MIB's variant, the
activations of one layer at a time); here all gates move together from 0 to 1. `config.steps` is
the number of points.
"""

import torch

from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult
from .attribution import slopes

POINTS = 5


def search_attribution_ig(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by path attribution that satisfies the desiderata."""
    points, total = config.steps or POINTS, torch.zeros(len(problem.sites))
    for point in range(points):
        total += slopes(problem.fit, problem.live, point / points)
        progress.report("path", point + 1, points, {})
    return finish("attribution-ig", problem, ranked(total / points, config), (), config, progress)
