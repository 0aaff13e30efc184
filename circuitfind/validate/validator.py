"""The card of a circuit: every check on held-out pairs, one after another."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

from desiderata import Desideratum

from ..circuits.circuit import Circuit
from ..mediators.space import SearchSpace
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.mask import Mask, membership_of
from ..objective.objective import Objective
from ..objective.precheck import keep_solved
from ..progress import Progress
from ..search import positions_of
from .card import Card
from .check import Check
from .inputs import PAIRS_COMPARED, CheckInputs
from .scores import score_desiderata
from .table import CHECKS, checks_named


def validate(
    model: Model,
    circuit: Circuit,
    desiderata: Sequence[Desideratum] | Sequence[Batch],
    *,
    search: Sequence[Batch] = (),
    mask: Mask | None = None,
    seed: int = 0,
    n_random: int = 100,
    checks: Sequence[str | Check] = (),
    thorough: bool = False,
    also: Sequence[str | Check] = (),
    progress: Progress | None = None,
) -> Card:
    """The card of a circuit on held-out desiderata.

    Args:
        desiderata: as sampled (then the pairs that the model does not solve are left out), or
            encoded batches, which are taken as they are.
        search: the pairs that search may see, for checks that search again.
        mask: what search had before rounding, for the check of what that cost.
        n_random: random circuits of the same make-up to compare with.
        checks: those to run, by name or as objects; by default all fast ones, or all if `thorough`.
        also: further ones, such as slow ones after the fast ones.

    Raises:
        ValueError: desiderata that cannot be encoded, or of which the model solves no pair.
        LookupError: a member of the circuit that its search space does not offer at the
            desiderata's positions; a check that does not exist.

    Warns:
        UserWarning: a check of an installed package cannot be used, and all checks were asked for.
    """
    progress, cost = progress or Progress(), Cost()
    asked = {one if isinstance(one, str) else one.name for one in (*checks, *also)}
    chosen = [
        check
        for check in checks_named(checks, thorough, also)
        if mask or not check.of_mask or check.name in asked
    ]
    for problem in () if checks else CHECKS.problems():
        warnings.warn(problem, stacklevel=2)
    batches = tuple(item for item in desiderata if isinstance(item, Batch))
    if len(batches) < len(desiderata):
        encoded = encode(model, [item for item in desiderata if isinstance(item, Desideratum)])
        batches, counts = keep_solved(model, encoded, max(map(len, encoded)), cost)
        if unsolved := [count.name for count in counts if not count.solved]:
            raise ValueError(f"{model.name} solves no pair of {', '.join(unsolved)}")
    # In pieces, the first of which serves the checks that compare many circuits on few pairs.
    model = replace(model, pairs_at_once=min(model.pairs_at_once, PAIRS_COMPARED))
    positions = positions_of([batch.desideratum for batch in batches])
    space = (circuit.space or SearchSpace(())).at(positions)
    sites = space.sites(model.engine)
    membership = membership_of(sites, circuit.sites)
    objective = Objective(model, batches, sites, cost)
    bounds = objective.bounds()
    inputs = CheckInputs(
        model=model,
        circuit=circuit,
        space=space,
        objective=objective,
        bounds=bounds,
        membership=membership,
        seed=seed,
        n_random=n_random,
        search=tuple(search),
        mask=None if mask is None else mask.on(sites),
        shown=progress,
    )
    findings = []
    for number, check in enumerate(chosen, 1):
        progress.report("validate", number, len(chosen), {"size": len(circuit)})
        findings.append(check.find(inputs))
    scores = score_desiderata(objective, bounds, membership)
    return Card(scores, tuple(findings), cost.report(), inputs.binds, space.as_json())
