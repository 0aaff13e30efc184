"""Search: which sites make every desideratum hold. One file per method, one signature for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from desiderata import Desideratum

from ..component import Site, all_sites
from ..encoding import Batch, encode
from ..model import Model
from .constrained import search_constrained
from .dcm_2023 import search_dcm_2023
from .dcm_2024 import search_dcm_2024
from .result import FrontierPoint, Method, Progress, SearchConfig, SearchResult

__all__ = [
    "METHODS", "FrontierPoint", "Progress", "SearchConfig", "SearchResult", "candidate_sites",
    "method_named", "search",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A line of the table of methods."""

    name: str
    run: Method
    idea: str
    source: str


METHODS = (
    Entry(
        "constrained",
        search_constrained,
        "fewest sites such that every desideratum reaches its bound; no penalty weight to tune",
        "here; multipliers after Cotter et al. 2019, arXiv 1804.06500",
    ),
    Entry(
        "dcm-2023",
        search_dcm_2023,
        "clamped gates, two alternating Adam steps, square-root penalty, rounding",
        "Davies et al. 2023, arXiv 2307.03637, as released",
    ),
    Entry(
        "dcm-2024",
        search_dcm_2024,
        "clamped gates, target logit, linear penalty, the rounded mask that validates best",
        "Prakash et al. 2024, arXiv 2402.14811, as released",
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
        ValueError: desiderata that cannot be encoded for this model.
    """
    run = method_named(method).run
    batches = tuple(
        item if isinstance(item, Batch) else encode(model, [item])[0] for item in desiderata
    )
    if sites is None:
        sites = candidate_sites(model, [batch.desideratum for batch in batches])
    return run(model, batches, tuple(sites), config or SearchConfig(), progress or Progress())
