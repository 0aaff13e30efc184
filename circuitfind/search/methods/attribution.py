"""`attribution`: how fast each desideratum's lead rises as a site's gate moves from its end.

Attribution patching (Nanda 2023, neelnanda.io/mechanistic-interpretability/attribution-patching;
Syed et al. 2023, arXiv 2310.10348): gradient times (donor - own), summed over a site's width and
averaged over pairs. That is the gradient with respect to the site's gate at 0, which is how it is
computed here: one pass forward and one backward a desideratum. Gates are 0 for the empty circuit
where a desideratum is about the inside, and for the circuit of all sites where it is about the
outside; in both the model is untouched, and the score is what the site's membership adds.

What had to differ: the metric is the lead of the expected answer, in its unit (theirs: a logit
difference), summed over the desiderata with their weights; signed, since a
site that works against a desideratum is not wanted.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...objective.objective import Objective
from ...progress import Progress
from ..finish import finish
from ..problem import SearchProblem
from ..ranks import ranked
from ..result import SearchConfig, SearchResult


def search_attribution(
    problem: SearchProblem, config: SearchConfig, progress: Progress
) -> SearchResult:
    """The shortest prefix of the sites by attribution that satisfies the desiderata."""
    ranking = slopes(problem.fit, problem.live, 0.0)
    progress.report("attribution", 1, 1, {})
    return finish("attribution", problem, ranked(ranking, config), (), config, progress)


def slopes(objective: Objective, live: tuple[int, ...], level: float) -> Float[Tensor, " site"]:
    """The gradient of the weighted leads with respect to each site's membership, in logits.

    Args:
        level: where all gates stand meanwhile, in [0, 1]; 0 is the untouched model.

    Raises:
        NotANumber: a gradient is not finite.
    """
    total = torch.zeros(len(objective.sites))
    for index in live:
        desideratum = objective.desiderata[index]
        inside = desideratum.part == "inside"
        membership = torch.full((len(objective.sites),), level if inside else 1 - level)
        membership.requires_grad_()
        for pieces in objective.passes([index], membership[None], "lead"):
            for piece in pieces:
                lead = piece.batch.answer.lead(piece.output, piece.expected)
                (lead.sum() / len(objective.batches[index])).backward()
        if membership.grad is not None:
            objective.require_finite(membership.grad, f"the gradient of {desideratum.name!r}")
            total += desideratum.weight * membership.grad
    return total
