"""The validator: it re-checks a circuit on held-out pairs and tries to break it.

One file per check. A check takes a `CheckInputs` and returns a `Finding`.
The table below lists them; installed packages may add others (`circuitfind.registry`).
"""

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
from ..registry import Registry
from ..search import positions_of
from . import names
from .card import Card, card_from_json
from .checks.completeness import check_completeness
from .checks.controls import check_controls
from .checks.curve import check_curve
from .checks.equivalence import check_equivalence
from .checks.faithfulness import check_faithfulness
from .checks.groups import check_groups
from .checks.independence import check_independence
from .checks.inflated import check_inflated
from .checks.leave_one_out import check_leave_one_out
from .checks.necessity import check_necessity
from .checks.pairs import check_pairs
from .checks.random_circuits import check_random_circuits
from .checks.rival import check_rival
from .checks.rounding import check_rounding
from .checks.satisfaction import check_satisfaction
from .checks.selectivity import check_selectivity
from .checks.stability import check_stability
from .finding import DesideratumScore, Finding
from .inputs import PAIRS_COMPARED, Check, CheckInputs
from .questions import OF_CHECK, QUESTIONS, Ruling
from .scores import score_desiderata

__all__ = [
    "CHECKS",
    "QUESTIONS",
    "Card",
    "Check",
    "CheckInputs",
    "DesideratumScore",
    "Finding",
    "Ruling",
    "card_from_json",
    "checks_named",
    "validate",
]

_ALL = (
    Check(
        name=names.SATISFACTION,
        run=check_satisfaction,
        about="every desideratum on held-out pairs",
    ),
    Check(
        name=names.PAIRS,
        run=check_pairs,
        about="do targets leak, and are answers the tokens that they stand for?",
    ),
    Check(
        name=names.GROUPS,
        run=check_groups,
        about="every template, name and value by itself",
    ),
    Check(
        name=names.ROUNDING,
        run=check_rounding,
        about="does the mask satisfy what its circuit does not?",
        of_mask=True,
    ),
    Check(
        name=names.RANDOM_CIRCUITS,
        run=check_random_circuits,
        about="a hundred circuits of the same make-up",
    ),
    Check(
        name=names.LEAVE_ONE_OUT,
        run=check_leave_one_out,
        about="is every member needed?",
    ),
    Check(
        name=names.FAITHFULNESS,
        run=check_faithfulness,
        about="the circuit alone, under four ablations",
        needs_outside=True,
    ),
    Check(
        name=names.NECESSITY,
        run=check_necessity,
        about="the model without the circuit, its members and pairs",
        needs_outside=True,
    ),
    Check(
        name=names.COMPLETENESS,
        run=check_completeness,
        about="circuit and model without the same members",
        thorough=True,
        needs_outside=True,
    ),
    Check(
        name=names.EQUIVALENCE,
        run=check_equivalence,
        about="does the circuit outscore the model half the time?",
        thorough=True,
        needs_outside=True,
    ),
    Check(
        name=names.INDEPENDENCE,
        run=check_independence,
        about="does the rest know what the model does?",
        thorough=True,
        needs_outside=True,
    ),
    Check(
        name=names.INFLATED,
        run=check_inflated,
        about="members against idle sites added at random",
        thorough=True,
        needs_outside=True,
    ),
    Check(
        name=names.CURVE,
        run=check_curve,
        about="CPR and CMD over sites",
        thorough=True,
        needs_outside=True,
    ),
    Check(
        name=names.SELECTIVITY,
        run=check_selectivity,
        about="do other tasks and ordinary text need it, too?",
        thorough=True,
    ),
    Check(
        name=names.CONTROLS,
        run=check_controls,
        about="shuffled weights, shuffled answers",
        thorough=True,
    ),
    Check(
        name=names.RIVAL,
        run=check_rival,
        about="does another circuit do the same?",
        thorough=True,
        searches=True,
    ),
    Check(
        name=names.STABILITY,
        run=check_stability,
        about="is it found again on other pairs?",
        thorough=True,
        searches=True,
    ),
)
_BUILT_IN = tuple(replace(check, question=OF_CHECK[check.name]) for check in _ALL)

CHECKS: Registry[Check] = Registry("circuitfind.checks", _BUILT_IN, "check", kind=Check)


def checks_named(
    checks: Sequence[str | Check] = (), thorough: bool = False, also: Sequence[str | Check] = ()
) -> tuple[Check, ...]:
    """These checks, or else all fast ones or, if `thorough`, all; and those of `also`.

    They come in the order of the table, checks that are not in it last.

    Raises:
        LookupError: no such check; the message lists those there are.
        ValueError: two different checks of one name.
    """
    known = CHECKS.names()
    if unknown := [one for one in (*checks, *also) if isinstance(one, str) and one not in known]:
        raise LookupError(f"no check {', '.join(unknown)}; the checks are: {', '.join(known)}")
    fast = [check for check in CHECKS if thorough or not check.thorough]
    chosen = {CHECKS.named(one) for one in (*(checks or fast), *also)}
    names = [check.name for check in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two different checks are called {', '.join(twice)}; rename one of them")
    others = dict.fromkeys(one for one in (*checks, *also) if isinstance(one, Check))
    return tuple(check for check in dict.fromkeys((*CHECKS, *others)) if check in chosen)


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
