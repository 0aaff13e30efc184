"""Does the circuit alone score as the model does, above it as often as below?

With s a pair's logit difference (see `ablation`), D = s(C) - s(M) and n pairs, the null hypothesis
is that they are equivalent: abs(P(D > 0) - 1/2) < eps. With t = abs(share(D > 0) - 1/2), it is
rejected at 5 % where p = sum of Bin(k; n, 1/2 + eps) over all k with abs(k/n - 1/2) >= t is less.

Source: Shi et al. 2024 (arXiv 2410.13032), with eps = 0.1. Their release takes the mean of D for
the share of wins; this is the formula of the paper. Ours differs in that a tie counts as half a
win (as none, a circuit that is the model itself would be rejected), in that not rejecting is not
enough, there have to be pairs enough to reject a clear difference, and in sites for edges. The
test asks which side D is on and not how far it is from 0: the mean of D stands beside it.
"""

from math import ceil, floor

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor, ones_like, stack

from ..intervals import Values, interval
from .ablation import Outcome, ablate
from .card import Finding, Verdict
from .faithfulness import ROUNDING, differences
from .leave_one_out import LEVEL
from .subject import PAIRS_COMPARED, Subject

ABLATION = "the pair's own source (counterfactual)"
EPSILON = 0.1
CLEARLY, POWER = 0.8, 0.8  # to be rejected in so many samples: wins on so many pairs


def check_equivalence(subject: Subject) -> Finding:
    """The share of pairs, ties as half, on which the circuit alone scores above the model.

    The rest is ablated with the pair's own source. The interval is Clopper-Pearson, at the whole
    counts below and above where ties make a half.
    """
    whole = ones_like(subject.membership)
    try:
        scores = source_scores(subject, stack([whole, subject.membership]))
    except ValueError as error:
        return unmeasured("equivalence", str(error))
    return judge_equivalence(scores[0], scores[1])


def judge_equivalence(model: Values, circuit: Values) -> Finding:
    """The finding that the scores of the model and of the circuit give, pair by pair."""
    n, gained = len(model), circuit - model
    # Two passes in float32 differ by more than 1e-6 where they should be equal, and to one side.
    won, ties = int((gained > ROUNDING).sum()), int((np.abs(gained) <= ROUNDING).sum())
    wins = won + ties / 2
    p, power = equivalence_p(won, ties, n), equivalence_power(n)
    verdict: Verdict = "fails" if p < LEVEL else "holds" if power >= POWER else "inconclusive"
    says = (
        f"the circuit alone scores above the model on {won} of {n} pairs and as high on {ties}: "
        f"a share of {wins / n:.2f} (ties as half) is "
        f"{'not ' if verdict == 'fails' else ''}what a share within {EPSILON:g} of one half gives "
        f"(p = {p:.2g}); the mean difference is {gained.mean():+.3f} of {model.mean():.3f} logits"
    )
    if verdict == "inconclusive":
        says += (
            f"; {n} pairs are too few to reject a share of {CLEARLY:g}, {enough_pairs(n)} would do"
        )
    row = {
        "won": won, "ties": ties, "n": n, "p": p, "power": power,
        "mean difference": float(gained.mean()), "loss": float((gained**2).mean()),
        "model": float(model.mean()), "circuit": float(circuit.mean()),
    }  # fmt: skip
    low, high = interval(floor(wins), n)[0], interval(ceil(wins), n)[1]
    return Finding(
        "equivalence", verdict, wins / n, low, high, n, ABLATION, "held-out", says, (row,)
    )


def equivalence_p(won: int, ties: int, n: int) -> float:
    """The exact p value of so many wins, and ties as half a win, in `n` pairs."""
    k = np.arange(n + 1)
    # In halves of a win, so that equally far is equal and not a matter of rounding.
    far = np.abs(2 * k - n) >= abs(2 * won + ties - n)
    return min(1.0, float(stats.binom.pmf(k[far], n, 0.5 + EPSILON).sum()))


def equivalence_power(n: int) -> float:
    """How likely `n` pairs reject where the circuit wins on a share of CLEARLY."""
    rejected = [k for k in range(n + 1) if equivalence_p(k, 0, n) < LEVEL]
    return float(stats.binom.pmf(rejected, n, CLEARLY).sum())


def enough_pairs(n: int) -> int:
    """The fewest pairs, more than `n`, that have the power."""
    while equivalence_power(n := n + 1) < POWER:
        pass
    return n


def source_scores(subject: Subject, membership: Float[Tensor, "mask site"]) -> Values:
    """Logit differences per mask and pair, with all outside each mask taking the pair's source.

    Raises:
        ValueError: there is nothing to measure: why.
    """
    return differences(source_outcome(subject, membership))


def source_outcome(
    subject: Subject, membership: Float[Tensor, "mask site"], n: int = PAIRS_COMPARED
) -> Outcome:
    """What each mask keeps on up to `n` pairs, with all outside it taking the pair's source.

    Raises:
        ValueError: there is nothing to measure: why.
    """
    if not 0 < len(subject.members) < len(subject.membership):
        size = "is empty" if not subject.members else "has every candidate site"
        raise ValueError(f"the circuit {size}, so that there is nothing to compare it with")
    outcome = ablate(subject, "source", n).outcome(membership)
    if not bool(outcome.difference.isfinite().all()):
        raise ValueError("some logits are not numbers; float32 may help")
    if outcome.difference.shape[1] < 2:
        raise ValueError("one pair is no sample")
    return outcome


def unmeasured(name: str, why: str) -> Finding:
    """The finding of a check that has nothing to measure."""
    return Finding(name, "inconclusive", 0.0, 0.0, 1.0, 0, ABLATION, "held-out", why)
