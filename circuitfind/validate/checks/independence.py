"""Does what is left without the circuit still tell how the model scores?

With s a pair's lead of the right answer (see `ablation`), the null hypothesis is that s(M) and
s(M\\C), the circuit ablated and the rest untouched, are independent. HSIC = tr(K H L H) / n^2,
where K and L are Gaussian kernels exp(-d^2 / 2 sigma^2) of the two scores, sigma is the median
distance between pairs, and H = 1 - 1/n centres; p comes from 1,000 permutations of the pairs.

Sources: Shi et al. 2024 (arXiv 2410.13032); HSIC is Gretton et al. 2007 (A kernel statistical
test of independence). Ours differs in two things. The median leaves out distances of 0, which are
most of them where few scores exist. And a rejection alone is no failure: where the pair's own
source ablates, s(M\\C) depends on how far apart the pair's two prompts are, as s(M) does, even if
nothing of the behaviour is left. So the test is made again with s(M\\C) - s(empty), in which what
the pair gives when every site is ablated is taken away, and what remains has to be of some size.
"""

from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from torch import ones_like, stack, zeros_like

from desiderata import DonorChoice

from ...objective.intervals import Values
from ..ablation import donor_words
from ..behaviour import claimed_scores
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import INDEPENDENCE
from ..thresholds import LEVEL, NOISE

PERMUTATIONS = 1000
MATERIAL = 0.05  # of what ablating every site does; less left is a dependence without weight
ENOUGH = 50  # pairs; so many normal scores with a correlation of 0.5 are rejected 4 times in 5


def check_independence(inputs: CheckInputs) -> Finding:
    """HSIC of the model's scores and those without the circuit, which is ablated as the claim
    does; low and high are between which 95 % of the permutations lie.

    *Holds* where independence is not rejected at 5 % and there are pairs enough, *fails* where it
    is rejected, also after what the pair itself gives is taken away, and at least a twentieth of
    what ablating every site does is left.
    """
    mine = inputs.membership
    try:
        scores = claimed_scores(inputs, stack([ones_like(mine), 1 - mine, zeros_like(mine)]))
    except ValueError as error:
        return Finding.undecided(INDEPENDENCE, str(error), ablation=donor_words(inputs.donor))
    return judge_independence(*scores, seed=inputs.seed, donor=inputs.donor)


def judge_independence(
    model: Values, without: Values, empty: Values, seed: int = 0, donor: DonorChoice = "source"
) -> Finding:
    """The finding that the scores of the model, of the model without the circuit, and of the
    model with every site ablated give, pair by pair."""
    # Rounded, or the kernel would take noise for scores where all are alike.
    model, left = np.round(model / NOISE) * NOISE, without - empty
    published, adjusted = (
        hsic_test(model, np.round(values / NOISE) * NOISE, seed) for values in (without, left)
    )
    moved = float(np.abs(model - empty).mean())
    share = float(np.abs(left).mean()) / moved if moved > NOISE else 0.0
    n, rejected = len(model), published["p"] < LEVEL
    verdict: Verdict = "inconclusive"
    says = f"HSIC {published['hsic']:.2g}, p = {published['p']:.2g}: "
    if np.ptp(model) == 0:
        says += "the model scores the same on every pair, so that nothing could depend on it"
    elif rejected and adjusted["p"] < LEVEL:
        verdict = "fails" if share >= MATERIAL else "inconclusive"
        says += (
            f"without the circuit, scores on {n} pairs still depend on the model's "
            f"(r = {published['r']:+.2f}), also when what the pairs give with every site ablated "
            f"is taken away (p = {adjusted['p']:.2g}, r = {adjusted['r']:+.2f}); that is "
            f"{share:.2g} of what ablating every site does"
            f"{'' if share >= MATERIAL else f', less than {MATERIAL:g}'}"
        )
    elif rejected:
        says += (
            f"without the circuit, scores on {n} pairs depend on the model's, but not when what "
            f"the pairs give with every site ablated is taken away (p = {adjusted['p']:.2g}); the "
            "pairs themselves may be the reason, and more of them would not tell"
        )
    elif n < ENOUGH:
        says += f"no dependence is seen on {n} pairs, which are too few; {ENOUGH} would do"
    else:
        verdict = "holds"
        says += f"without the circuit, scores on {n} pairs tell nothing of the model's"
    return Finding(
        name=INDEPENDENCE,
        verdict=verdict,
        value=published["hsic"],
        low=published["low"],
        high=published["high"],
        n=n,
        ablation=donor_words(donor),
        split="held-out",
        says=says,
        brief="without it, scores still depend on the model's",
        details=(
            {"of": "without the circuit", **published},
            {"of": "less the empty circuit", **adjusted},
        ),
    )


def gaussian_kernel(scores: Values) -> Values:
    """exp(-d^2 / 2 sigma^2) of every two scores, sigma being the median of distances above 0."""
    distances = pdist(scores[:, None])
    above = distances[distances > 0]
    sigma = np.median(above) if len(above) else 1.0
    return np.exp(-(squareform(distances) ** 2) / (2 * sigma**2))


def hsic_test(x: Values, y: Values, seed: int) -> dict[str, float]:
    """HSIC of two scores, its p value and 95 % of its permutations, and their correlation."""
    first, second = gaussian_kernel(x), gaussian_kernel(y)
    # H K H: each row and each column centred.
    first = first - first.mean(0) - first.mean(1)[:, None] + first.mean()

    def hsic(order: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        return float((first * second[np.ix_(order, order)]).mean())

    found = stats.permutation_test(
        (np.arange(len(x)),),
        hsic,
        permutation_type="pairings",
        vectorized=False,
        n_resamples=PERMUTATIONS,
        alternative="greater",
        random_state=np.random.default_rng(seed),  # pyright: ignore[reportCallIssue]
    )
    low, high = np.quantile(found.null_distribution, (0.025, 0.975))
    varies = np.ptp(x) > 0 and np.ptp(y) > 0
    return {
        "hsic": float(found.statistic),
        "p": float(found.pvalue),
        "low": float(low),
        "high": float(high),
        "r": float(np.corrcoef(x, y)[0, 1]) if varies else 0.0,
    }
