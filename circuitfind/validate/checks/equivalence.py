"""Does the circuit alone score as the model does, above it as often as below?

With s a pair's lead of the right answer (see `ablation`), D = s(C) - s(M) and n pairs, the null
hypothesis is that they are equivalent: abs(P(D > 0) - 1/2) < eps. With t = abs(share(D > 0) - 1/2),
it is rejected at 5 % where p = sum of Bin(k; n, 1/2 + eps) over all k with abs(k/n - 1/2) >= t is
less.

Source: Shi et al. 2024 (arXiv 2410.13032), with eps = 0.1. Their release takes the mean of D for
the share of wins; this is the formula of the paper. Ours differs in that a tie counts as half a
win (as none, a circuit that is the model itself would be rejected), in that not rejecting is not
enough, there have to be pairs enough to reject a clear difference, and in sites for edges. And a
rejection alone is no failure: the test asks which side D is on and not how far it is from 0, so
that a circuit which always scores slightly less is rejected. So the mean of D also has to be more
than faithfulness allows: a fifth of what ablating every site does.
"""

from math import ceil, floor

import numpy as np
from scipy import stats
from torch import ones_like, stack, zeros_like

from desiderata import DonorChoice

from ...circuits.circuit import LOGITS
from ...objective.intervals import Values, interval
from ..ablation import donor_words
from ..behaviour import claimed_scores
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import EQUIVALENCE
from ..power import fewest
from ..thresholds import LEAST_KEPT, LEVEL, NOISE, POWER

EPSILON = 0.1
CLEARLY = 0.8  # wins on so many pairs are to be rejected in POWER of samples


def check_equivalence(inputs: CheckInputs) -> Finding:
    """The share of pairs, ties as half, on which the circuit alone scores above the model.

    The rest is ablated as the claim does. The interval is Clopper-Pearson, at the whole
    counts below and above where ties make a half. *Fails* where equivalence is rejected and the
    mean difference is material, *holds* where it is not rejected and there are pairs enough.
    """
    mine = inputs.membership
    try:
        scores = claimed_scores(inputs, stack([ones_like(mine), mine, zeros_like(mine)]))
    except ValueError as error:
        return Finding.undecided(EQUIVALENCE, str(error), ablation=donor_words(inputs.donor))
    return judge_equivalence(*scores, donor=inputs.donor, unit=inputs.unit)


def judge_equivalence(
    model: Values,
    circuit: Values,
    empty: Values,
    donor: DonorChoice = "source",
    unit: str = LOGITS,
) -> Finding:
    """The finding that the scores of the model, the circuit and no site give, pair by pair."""
    n, gained = len(model), circuit - model
    # Two passes in float32 differ by more than 1e-6 where they should be equal, and to one side.
    won, ties = int((gained > NOISE).sum()), int((np.abs(gained) <= NOISE).sum())
    wins = won + ties / 2
    p, power = equivalence_p(won, ties, n), equivalence_power(n)
    rejected, most = p < LEVEL, (1 - LEAST_KEPT) * abs(float((model - empty).mean()))
    material = abs(float(gained.mean())) > max(most, NOISE)
    verdict: Verdict = "inconclusive"
    if rejected and material:
        verdict = "fails"
    elif not rejected and power >= POWER:
        verdict = "holds"
    says = (
        f"the circuit alone scores above the model on {won} of {n} pairs and as high on {ties}: "
        f"a share of {wins / n:.2f} (ties as half) is {'not ' if rejected else ''}what a share "
        f"within {EPSILON:g} of one half gives (p = {p:.2g}); the mean difference is "
        f"{gained.mean():+.3f} of {model.mean():.3f} {unit}"
    )
    if rejected and not material:
        says += f", too little for a failure, which takes {most:.3f}"
    elif not rejected and power < POWER:
        enough = fewest(lambda more: equivalence_power(more) >= POWER, n + 1)
        says += f"; {n} pairs are too few to reject a share of {CLEARLY:g}, {enough} would do"
    row = {
        "won": won,
        "ties": ties,
        "n": n,
        "p": p,
        "power": power,
        "mean difference": float(gained.mean()),
        "loss": float((gained**2).mean()),
        "model": float(model.mean()),
        "circuit": float(circuit.mean()),
    }
    low, high = interval(floor(wins), n)[0], interval(ceil(wins), n)[1]
    return Finding(
        name=EQUIVALENCE,
        verdict=verdict,
        value=wins / n,
        low=low,
        high=high,
        n=n,
        ablation=donor_words(donor),
        split="held-out",
        says=says,
        brief=f"alone it scores above the model on {wins / n:.2f} of the pairs",
        details=(row,),
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
