"""Is a member missed more than a site that was put in at random?

With s a pair's lead of the right answer (see `ablation`) and F(A, B) the mean over pairs of
(s(A) - s(B))^2, a member v has delta(v) = F(C, C without v). The references inflate the circuit by
one random site e outside it and remove it again: F(C with e, C). A member is flagged as not
minimal where delta(v) is greater than the references significantly less often than q = 0.9 of the
time, by an exact one-sided binomial test at 5 % by Holm over members.

Source: Shi et al. 2024 (arXiv 2410.13032), minimality test. They inflate by a random path of
edges and remove one edge of it; here sites are inflated and removed. They draw 100 references;
here each site is drawn once, up to 100, so that fewer than 100 are all that there are. A tie is
no win, and their Bonferroni is Holm.
"""

import random
from typing import Any

import numpy as np
from scipy import stats

from desiderata import DonorChoice

from ...objective.intervals import Values, interval
from ..ablation import donor_words
from ..behaviour import claimed_scores
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import INFLATED
from ..power import fewest
from ..thresholds import LEVEL, NOISE, POWER, QUANTILE, holm

REFERENCES = 100


def check_inflated(inputs: CheckInputs) -> Finding:
    """The least share of references that a member's removal outweighs, with its Clopper-Pearson
    interval; what is outside is ablated as the claim does.

    *Fails* where a member is flagged. *Holds* where none is and either every member outweighs 0.9
    of the references or there are references enough to flag one that outweighs half of them.
    """
    mine, members = inputs.membership, inputs.members
    outside = [site for site in range(len(mine)) if site not in members]
    rng = random.Random(f"inflated/{inputs.seed}")
    chosen = sorted(rng.sample(outside, min(REFERENCES, len(outside))))
    table = mine.repeat(1 + len(members) + len(chosen), 1)
    for row, site in zip(table[1:], [*members, *chosen], strict=True):
        row[site] = 1 - row[site]
    try:
        scores = claimed_scores(inputs, table)
    except ValueError as error:
        return Finding.undecided(INFLATED, str(error), ablation=donor_words(inputs.donor))
    losses = removal_losses(scores)
    names = [str(inputs.objective.sites[site]) for site in [*members, *chosen]]
    return judge_inflated(names, losses, len(members), inputs.donor)


def removal_losses(scores: Values) -> Values:
    """F of the first mask and each other one."""
    moved = scores[1:] - scores[0]
    # Rounding is no effect: of two sites that do nothing, neither is missed more.
    return (np.where(np.abs(moved) > NOISE, moved, 0.0) ** 2).mean(1)


def judge_inflated(
    names: list[str], losses: Values, n_members: int, donor: DonorChoice = "source"
) -> Finding:
    """The finding of the losses of the members, which come first, and of the references."""
    references, n = losses[n_members:], len(losses) - n_members
    rows: list[dict[str, Any]] = []
    for name, loss in zip(names[:n_members], losses[:n_members].tolist(), strict=True):
        wins = int((loss > references).sum())
        p = float(stats.binomtest(wins, n, QUANTILE, alternative="less").pvalue)
        rows.append({"site": name, "of": "member", "loss": loss, "wins": wins, "n": n, "p": p})
    for row, flag in zip(rows, holm([row["p"] for row in rows], n_members), strict=True):
        row["flagged"] = flag
    flagged = [row["site"] for row in rows if row["flagged"]]
    least = min(rows, key=lambda row: (row["wins"], row["loss"]))
    enough = flagging_power(n, n_members) >= POWER
    surpass = least["wins"] >= QUANTILE * n and flagging_power(n, n_members, 0.0) >= POWER
    verdict: Verdict = "fails" if flagged else "holds" if enough or surpass else "inconclusive"
    says = (
        f"{len(flagged)} of {n_members} members are missed no more than sites put in at random"
        f"{' (' + ', '.join(flagged) + ')' if flagged else ''}; the least missed, "
        f"{least['site']}, outweighs {least['wins']} of {n} of them, and the test asks for "
        f"{QUANTILE:g} (binomial, Holm over {n_members})"
    )
    if verdict == "inconclusive":
        needed = fewest(lambda more: flagging_power(more, n_members) >= POWER, n + 1)
        says += (
            f"; {n} sites outside are too few to flag a member that outweighs half, "
            f"{needed} would do"
        )
    others = [
        {
            "site": name,
            "of": "reference",
            "loss": loss,
            "wins": None,
            "n": n,
            "p": None,
            "flagged": None,
        }
        for name, loss in zip(names[n_members:], references.tolist(), strict=True)
    ]
    low, high = interval(least["wins"], n)
    return Finding(
        name=INFLATED,
        verdict=verdict,
        value=least["wins"] / n,
        low=low,
        high=high,
        n=n,
        ablation=donor_words(donor),
        split="held-out",
        says=says,
        brief=f"{', '.join(flagged) or least['site']} is missed no more than random sites",
        details=(*rows, *others),
    )


def flagging_power(n: int, n_members: int, share: float = 0.5) -> float:
    """How likely a member that outweighs this share of `n` references is flagged as the first of
    the members."""
    wins = np.arange(n + 1)
    flags = stats.binom.cdf(wins, n, QUANTILE) <= LEVEL / n_members
    return float(stats.binom.pmf(wins[flags], n, share).sum())
