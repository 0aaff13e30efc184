"""The validator: it re-checks a circuit on held-out pairs and tries to break it."""

from collections.abc import Sequence

from desiderata import Desideratum

from ..circuit import Circuit
from ..cost import Cost
from ..encoding import Batch, encode
from ..mask import membership_of
from ..model import Model
from ..objective import Objective
from ..precheck import keep_solved
from ..search import Progress, candidate_sites
from .card import Card, DesideratumScore, Finding, card_from_json
from .leave_one_out import check_leave_one_out
from .random_circuits import check_random_circuits
from .satisfaction import check_satisfaction, score_desiderata

# Of each desideratum, for comparing circuits: so many tell them apart, and a hundred random
# circuits on more would cost as much as the search.
PAIRS_COMPARED = 64

__all__ = ["Card", "DesideratumScore", "Finding", "card_from_json", "validate"]


def validate(
    model: Model,
    circuit: Circuit,
    desiderata: Sequence[Desideratum] | Sequence[Batch],
    *,
    seed: int = 0,
    n_random: int = 100,
    progress: Progress | None = None,
) -> Card:
    """The card of a circuit on held-out desiderata.

    Args:
        desiderata: as sampled (then the pairs that the model does not solve are left out), or
            encoded batches, which are taken as they are.
        n_random: random circuits of the same make-up to compare with.

    Raises:
        ValueError: desiderata that cannot be encoded, or of which the model solves no pair.
        LookupError: a member of the circuit that the desiderata's positions do not offer.
    """
    progress, cost = progress or Progress(), Cost()
    batches = tuple(item for item in desiderata if isinstance(item, Batch))
    if len(batches) < len(desiderata):
        encoded = encode(model, [item for item in desiderata if isinstance(item, Desideratum)])
        batches, counts = keep_solved(model, encoded, max(map(len, encoded)), cost)
        if unsolved := [count.name for count in counts if not count.solved]:
            raise ValueError(f"{model.name} solves no pair of {', '.join(unsolved)}")
    sites = candidate_sites(model, [batch.desideratum for batch in batches])
    membership = membership_of(sites, circuit.sites)
    objective = Objective(model, batches, sites, cost)
    progress.report("validate", 1, 3, {"size": len(circuit)})
    bounds = objective.bounds()
    scores = score_desiderata(objective, bounds, membership)
    findings = [check_satisfaction(scores)]
    progress.report("validate", 2, 3, {"size": len(circuit)})
    compared = objective
    if max(map(len, batches)) > PAIRS_COMPARED:
        few = [batch.take(range(min(len(batch), PAIRS_COMPARED))) for batch in batches]
        compared = Objective(model, few, sites, cost)
    findings.append(check_random_circuits(compared, bounds, membership, n_random, seed))
    progress.report("validate", 3, 3, {"size": len(circuit)})
    findings.append(check_leave_one_out(objective, bounds, membership))
    return Card(scores, tuple(findings), cost.report())
