"""The table of checks, one file each; installed packages may add others."""

from collections.abc import Sequence
from dataclasses import replace

from ..registry import Later, Registry
from . import names
from .check import Check
from .questions import OF_CHECK

_FOLDER = f"{__package__}.checks"

# Rows are read where no model runs: what a check imports is imported when it runs.
check_completeness = Later(f"{_FOLDER}.completeness", "check_completeness")
check_controls = Later(f"{_FOLDER}.controls", "check_controls")
check_curve = Later(f"{_FOLDER}.curve", "check_curve")
check_equivalence = Later(f"{_FOLDER}.equivalence", "check_equivalence")
check_faithfulness = Later(f"{_FOLDER}.faithfulness", "check_faithfulness")
check_groups = Later(f"{_FOLDER}.groups", "check_groups")
check_independence = Later(f"{_FOLDER}.independence", "check_independence")
check_inflated = Later(f"{_FOLDER}.inflated", "check_inflated")
check_leave_one_out = Later(f"{_FOLDER}.leave_one_out", "check_leave_one_out")
check_necessity = Later(f"{_FOLDER}.necessity", "check_necessity")
check_pairs = Later(f"{_FOLDER}.pairs", "check_pairs")
check_random_circuits = Later(f"{_FOLDER}.random_circuits", "check_random_circuits")
check_rival = Later(f"{_FOLDER}.rival", "check_rival")
check_rounding = Later(f"{_FOLDER}.rounding", "check_rounding")
check_satisfaction = Later(f"{_FOLDER}.satisfaction", "check_satisfaction")
check_selectivity = Later(f"{_FOLDER}.selectivity", "check_selectivity")
check_stability = Later(f"{_FOLDER}.stability", "check_stability")

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
