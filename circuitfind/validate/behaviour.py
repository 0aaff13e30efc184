"""The model's behaviour in numbers: the lead of the right answer per pair, and the share of it that
is kept.

Several checks measure a circuit so, each under ablations of its own; see `ablation`.
"""

from jaxtyping import Float
from torch import Tensor

from ..objective.intervals import FEWEST, Statistic, Values, mean_interval
from .ablation import Outcome, ablate
from .inputs import PAIRS_COMPARED, CheckInputs
from .thresholds import NOISE

NOT_NUMBERS = "some scores are not numbers; float32 may help"


def differences(outcome: Outcome) -> Values:
    """The leads of the right answer, per mask and pair, in double precision."""
    return outcome.difference.double().numpy()


def share_kept(circuit: Values, whole: Values, empty: Values, *, axis: int = -1) -> Statistic:
    """The share f of the model's behaviour that a circuit keeps: a ratio of means over pairs."""
    lowest = empty.mean(axis)
    return (circuit.mean(axis) - lowest) / (whole.mean(axis) - lowest)


def cannot_divide(whole: Values, empty: Values, seed: int, unit: str) -> str:
    """Why m(M) - m(empty) is nothing to divide by; "" where it differs from 0."""
    if len(whole) < FEWEST:
        return f"{len(whole)} pairs are too few for an interval; {FEWEST} are the fewest"
    low, high = mean_interval(whole - empty, seed)
    value = float((whole - empty).mean())
    if (low > 0 or high < 0) and abs(value) > NOISE:
        return ""
    return (
        f"ablating every site changes the lead of the right answer by {-value:+.3f} {unit} "
        f"({-high:+.3f} to {-low:+.3f}), which cannot be told from 0 on {len(whole)} pairs"
    )


def claimed_scores(inputs: CheckInputs, membership: Float[Tensor, "mask site"]) -> Values:
    """The leads of the right answer per mask and pair, with all outside each mask ablated as
    claimed.

    Raises:
        ValueError: there is nothing to measure, with the reason.
    """
    return differences(claimed_outcome(inputs, membership))


def claimed_outcome(
    inputs: CheckInputs, membership: Float[Tensor, "mask site"], n: int = PAIRS_COMPARED
) -> Outcome:
    """What each mask keeps on up to `n` pairs, with all outside it ablated as claimed.

    Raises:
        ValueError: there is nothing to measure, with the reason.
    """
    if not 0 < len(inputs.members) < len(inputs.membership):
        size = "is empty" if not inputs.members else "has every candidate site"
        raise ValueError(f"the circuit {size}, so that there is nothing to compare it with")
    outcome = ablate(inputs, inputs.donor, n).outcome(membership)
    if not bool(outcome.difference.isfinite().all()):
        raise ValueError(NOT_NUMBERS)
    if (n := outcome.difference.shape[1]) < FEWEST:
        raise ValueError(f"{n} pairs are too few for an interval; {FEWEST} are the fewest")
    return outcome
