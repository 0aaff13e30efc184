"""Is the circuit the only one? Search again where its members cost more; see `search.rivals`."""

import torch

from ...objective.mask import Mask
from ...search import SearchResult, search_rival
from ..finding import AS_CLAIMED, Finding
from ..inputs import CheckInputs
from ..names import RIVAL
from ..scores import score_desiderata

BUDGET = 1e13  # FLOPs: some two minutes of two cores


def check_rival(inputs: CheckInputs) -> Finding:
    """Whether another circuit satisfies the same desiderata, on search pairs and held-out ones.

    The value is the Jaccard index of the two circuits, 1 where none was found. The check fails
    where a rival holds on held-out pairs too: the circuit is then not *the* circuit.
    """
    if not inputs.search:
        why = "no search pairs were given, so that no rival could be sought"
        return Finding.undecided(RIVAL, why)
    sites = inputs.objective.sites
    found = SearchResult(
        mask=Mask(sites, inputs.membership),
        circuit=inputs.circuit,
        success=True,
        status="holds",
        message="",
        history=(),
        frontier=(),
        ranking=inputs.membership,
        problems=(),
        cost={},
    )
    other = search_rival(inputs.opened, found, progress=inputs.shown, budget=BUDGET)
    n = min(map(len, inputs.batches))
    if not other.success:
        says = f"on {inputs.pairs_searched}, {other.message}"
        return Finding(
            name=RIVAL,
            verdict="holds",
            value=1.0,
            low=1.0,
            high=1.0,
            n=n,
            ablation=AS_CLAIMED,
            split="search",
            says=says,
        )
    mine, its = set(inputs.circuit.sites), set(other.circuit.sites)
    membership = torch.tensor([float(site in its) for site in sites])
    scores = score_desiderata(inputs.objective, inputs.bounds, membership)
    overlap = len(mine & its) / len(mine | its)
    held_out = all(score.holds for score in scores)
    return Finding(
        name=RIVAL,
        verdict="fails" if held_out else "inconclusive",
        value=overlap,
        low=overlap,
        high=overlap,
        n=n,
        ablation=AS_CLAIMED,
        split="held-out",
        says=f"on {inputs.pairs_searched}, {other.message}"
        + (f", {'and' if held_out else 'but not'} on {_others(inputs)}"),
        brief=f"another circuit of {len(its)} sites, {len(mine & its)} of them shared, does it too",
        details=tuple({"site": str(site), "shared": site in mine} for site in sorted(its, key=str)),
    )


def _others(inputs: CheckInputs) -> str:
    """The pairs that a rival is scored on, in words."""
    return "all of them" if inputs.nothing_held_out else "held-out ones"
