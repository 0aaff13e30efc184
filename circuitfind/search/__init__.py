"""Search: which sites make every desideratum hold. One file per method, one signature for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from desiderata import Desideratum

from ..mediators.site import Site
from ..mediators.space import all_sites
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.objective import NotANumber
from ..progress import Progress
from .methods.activation_norm import search_activation_norm
from .methods.activation_variance import search_activation_variance
from .methods.attribution import search_attribution
from .methods.attribution_ig import search_attribution_ig
from .methods.budget import search_budget
from .methods.constrained import search_constrained
from .methods.dcm_2023 import search_dcm_2023
from .methods.dcm_2024 import search_dcm_2024
from .methods.exhaustive import search_exhaustive
from .methods.greedy import search_greedy
from .methods.hard_concrete import search_hard_concrete
from .methods.random_order import search_random
from .methods.sigmoid import search_sigmoid
from .problem import Method, Selection, broken_off, conclude, open_selection
from .result import FrontierPoint, SearchConfig, SearchResult, unknown_sites
from .rivals import search_rival
from .trials import Choice, Trials

__all__ = [
    "METHODS",
    "Entry",
    "FrontierPoint",
    "SearchConfig",
    "SearchResult",
    "Selection",
    "candidate_sites",
    "method_named",
    "open_search",
    "search",
    "search_on",
    "search_rival",
    "unknown_sites",
]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the table of methods. Baselines are there to be beaten; `seeded` ones draw at
    random, so that another seed may give another circuit."""

    name: str
    run: Method
    idea: str
    source: str
    baseline: bool = False
    seeded: bool = False


METHODS = (
    Entry(
        name="constrained",
        run=search_constrained,
        idea=(
            "fewest sites such that every desideratum reaches its bound; no penalty weight to tune"
        ),
        source="here; multipliers after Cotter et al. 2019, arXiv 1804.06500",
        seeded=True,
    ),
    Entry(
        name="dcm-2023",
        run=search_dcm_2023,
        idea="clamped gates, two alternating Adam steps, square-root penalty, rounding",
        source="Davies et al. 2023, arXiv 2307.03637, as released",
    ),
    Entry(
        name="dcm-2024",
        run=search_dcm_2024,
        idea="clamped gates, target logit, linear penalty, the rounded mask that validates best",
        source="Prakash et al. 2024, arXiv 2402.14811, as released",
    ),
    Entry(
        name="sigmoid",
        run=search_sigmoid,
        idea="gates as sigmoids whose temperature falls, small L1 (DBM)",
        source="Mueller et al. 2025, arXiv 2504.13151",
    ),
    Entry(
        name="hard-concrete",
        run=search_hard_concrete,
        idea="sampled gates, Lagrangian with a size target that ramps (Edge Pruning, on sites)",
        source="Bhaskar et al. 2024, arXiv 2406.16778",
        seeded=True,
    ),
    Entry(
        name="budget",
        run=search_budget,
        idea="gates that sum to k, k drawn anew at each step: one ranking for the whole frontier",
        source="goodfire-ai/causalab 2026, docs/methods/dbm.md",
        seeded=True,
    ),
    Entry(
        name="attribution",
        run=search_attribution,
        idea="gradient of the leads with respect to gates, at the untouched model",
        source="Nanda 2023; Syed et al. 2023, arXiv 2310.10348",
    ),
    Entry(
        name="attribution-ig",
        run=search_attribution_ig,
        idea="the same, averaged along the path of all gates",
        source="Hanna et al. 2024, arXiv 2403.17806",
    ),
    Entry(
        name="exhaustive",
        run=search_exhaustive,
        idea="each site patched alone",
        source="Vig et al. 2020, arXiv 2004.12265",
    ),
    Entry(
        name="greedy",
        run=search_greedy,
        idea="drop sites from the last layer down while the desiderata hold (ACDC, on sites)",
        source="Conmy et al. 2023, arXiv 2304.14997",
    ),
    Entry(
        name="random",
        run=search_random,
        idea="sites in a random order",
        source="baseline",
        baseline=True,
        seeded=True,
    ),
    Entry(
        name="activation-norm",
        run=search_activation_norm,
        idea="sites by the mean norm of what they write",
        source="baseline",
        baseline=True,
    ),
    Entry(
        name="activation-variance",
        run=search_activation_variance,
        idea="sites by the variance of what they write",
        source="baseline",
        baseline=True,
    ),
)


def method_named(name: str) -> Entry:
    """The line of the table with this name.

    Raises:
        LookupError: no such method; the message lists those there are.
    """
    for entry in METHODS:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in METHODS)
    raise LookupError(f"no method {name!r}; the methods are: {known}")


def candidate_sites(model: Model, desiderata: Sequence[Desideratum]) -> tuple[Site, ...]:
    """Every head and MLP at every position that the desiderata name."""
    positions = dict.fromkeys(name for desideratum in desiderata for name in desideratum.at)
    return all_sites(model.n_layers, model.n_heads, positions)


def search(
    model: Model,
    desiderata: Sequence[Desideratum] | Sequence[Batch],
    method: str = "constrained",
    *,
    sites: Sequence[Site] | None = None,
    config: SearchConfig | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """The circuit that a method finds for these desiderata.

    Args:
        desiderata: as sampled, or already encoded batches.
        sites: the candidates; by default every head and MLP at the desiderata's positions.

    Raises:
        LookupError: an unknown method.
        ValueError: desiderata that cannot be encoded for this model; a size that the sites do
            not allow; pins and vetoes that are not among them.
    """
    method_named(method)
    selection = open_search(model, desiderata, sites=sites, config=config)
    return search_on(selection, method, config, progress)


def open_search(
    model: Model,
    desiderata: Sequence[Desideratum] | Sequence[Batch],
    *,
    sites: Sequence[Site] | None = None,
    config: SearchConfig | None = None,
    cost: Cost | None = None,
) -> Selection:
    """The pairs made ready for any number of searches that differ in method, seed or size.

    Args:
        desiderata, sites: as in `search`.
        config: of it, the pins, the vetoes and the margin are used.
        cost: the account that this and all those searches go to; otherwise a new one.

    Raises:
        ValueError: as in `search`.
    """
    batches = tuple(
        item if isinstance(item, Batch) else encode(model, [item])[0] for item in desiderata
    )
    if sites is None:
        sites = candidate_sites(model, [batch.desideratum for batch in batches])
    config = config or SearchConfig()
    config.check_sites(sites)
    free = [site for site in sites if str(site) not in {*config.pins, *config.vetoes}]
    return open_selection(model, batches, free, config, cost)


def search_on(
    selection: Selection,
    method: str = "constrained",
    config: SearchConfig | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """The circuit that a method finds on pairs that are ready; the cost is what is on their
    account.

    Args:
        config: by default what the pairs were opened with; its pins, vetoes and margin have to be.

    Raises:
        LookupError: an unknown method.
        ValueError: pairs that the method cannot use; other pins, vetoes or margin; a size that
            the sites do not allow.
    """
    run, config = method_named(method).run, selection.agreed(config)
    try:
        if not selection.sites or config.left == 0:
            return _nothing_left(selection, method, config)
        return run(selection, config, progress or Progress())
    except NotANumber as error:
        return broken_off(selection, method, config, error)


def _nothing_left(selection: Selection, method: str, config: SearchConfig) -> SearchResult:
    """The result where pins and vetoes leave a method nothing to choose: the pins."""

    def choose(trials: Trials) -> Choice:
        trials.slacks([frozenset()])
        return Choice(frozenset(), torch.zeros(len(selection.sites)))

    return conclude(method, selection, choose, (), config)
