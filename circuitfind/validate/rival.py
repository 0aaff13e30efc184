"""Is the circuit the only one? Search again where its members cost more; see `search.rivals`."""

import torch

from ..mask import Mask
from ..search import SearchResult, search_rival
from .card import Finding
from .satisfaction import score_desiderata
from .subject import Subject

BUDGET = 1e13  # FLOPs: some two minutes of two cores


def check_rival(subject: Subject) -> Finding:
    """Whether another circuit satisfies the same desiderata, on search pairs and held-out ones.

    The value is the Jaccard index of the two circuits, 1 where none was found. The check fails
    where a rival holds on held-out pairs too: the circuit is then not *the* circuit.
    """
    ablation = "donors as in each desideratum"

    def undecided(why: str) -> Finding:
        return Finding("rival", "inconclusive", 0.0, 0.0, 1.0, 0, ablation, "held-out", why)

    if not subject.search:
        return undecided("no search pairs were given, so that no rival could be sought")
    sites = subject.objective.sites
    found = SearchResult(
        Mask(sites, subject.membership), subject.circuit, True, "holds", "", (), (),
        subject.membership, (), {},
    )  # fmt: skip
    other = search_rival(subject.opened, found, progress=subject.shown, budget=BUDGET)
    n = min(map(len, subject.batches))
    if not other.success:
        says = f"on {subject.pairs_searched}, {other.message}"
        return Finding("rival", "holds", 1.0, 1.0, 1.0, n, ablation, "search", says)
    mine, its = set(subject.circuit.sites), set(other.circuit.sites)
    membership = torch.tensor([float(site in its) for site in sites])
    scores = score_desiderata(subject.objective, subject.bounds, membership)
    overlap = len(mine & its) / len(mine | its)
    held_out = all(score.holds for score in scores)
    return Finding(
        "rival", "fails" if held_out else "inconclusive", overlap, overlap, overlap, n, ablation,
        "held-out",
        f"on {subject.pairs_searched}, {other.message}"
        + (", and on held-out ones" if held_out else ", but not on held-out ones"),
        tuple({"site": str(site), "shared": site in mine} for site in sorted(its, key=str)),
    )  # fmt: skip
