"""Is every member of the circuit needed?"""

from collections.abc import Sequence
from itertools import count

import torch
from jaxtyping import Bool
from scipy import stats
from torch import Tensor

from ..intervals import interval
from ..objective import Objective
from .card import Finding, Verdict
from .subject import Subject

LEVEL = 0.05
MATERIAL = 0.05  # share of pairs that a member which is needed may be expected to carry


def check_leave_one_out(subject: Subject) -> Finding:
    """What each site's removal costs the desideratum that it hurts most, in share of pairs.

    Removal means that the site leaves the circuit: inside, it keeps the base's value; outside,
    it takes the source's with the rest. An effect counts when an exact one-sided sign test over
    the pairs that change says so, at 5 % by Holm over sites and desiderata. The finding's value
    is the share of members with an effect.

    *Holds* where every member has one. *Fails* where one is idle: no desideratum loses by its
    removal, and for each the 95 % interval of the pairs lost lies below 0.05. Otherwise the check
    is inconclusive, and where an idle member could not have been told, it says from what n on.
    """
    ablation = "the site's own gate flipped; donors as in each desideratum"
    objective, bounds, membership = subject.objective, subject.bounds, subject.membership
    members = membership.nonzero()[:, 0].tolist()
    live = [index for index, bound in enumerate(bounds) if not bound.vacuous]
    if not members or not live:
        why = "the circuit is empty" if live else "every desideratum is vacuous"
        return Finding("leave one out", "inconclusive", 0.0, 0.0, 1.0, 0, ablation, "held-out", why)
    rows = membership.repeat(len(members) + 1, 1)
    for row, site in zip(rows[1:], members, strict=True):
        row[site] = 0.0
    hits = {index: objective.hits(index, rows) for index in live}
    details = [
        _effect(objective, hits, number, str(objective.sites[site]))
        for number, site in enumerate(members, 1)
    ]
    flagged = holm([row["p"] for row in details], len(details) * len(live))
    for row, needed in zip(details, flagged, strict=True):
        row["needed"] = needed
    needed = sum(flagged)
    idle = [row for row in details if row["effect"] <= 0 and row["most"] <= MATERIAL]
    verdict: Verdict = "holds" if all(flagged) else "fails" if idle else "inconclusive"
    weakest = min(details, key=lambda row: row["effect"])
    n = min(len(objective.batches[index]) for index in live)
    return Finding(
        "leave one out", verdict, needed / len(details), weakest["effect"],
        max(row["effect"] for row in details), n, ablation, "held-out",
        f"leaving out one site lowers a desideratum for {needed} of {len(details)} sites "
        f"(sign tests, Holm over {len(details) * len(live)}); the least missed is "
        f"{weakest['site']}, which costs {weakest['desideratum']!r} {weakest['effect']:.3f}; "
        "low and high are the least and the greatest effect"
        + ("" if idle or weakest["effect"] > 0 else _too_few(n)),
        tuple(details),
    )  # fmt: skip


def _effect(
    objective: Objective, hits: dict[int, Bool[Tensor, "mask pair"]], number: int, site: str
) -> dict:
    """The effect of one site's removal on every desideratum, and more on where it is greatest."""
    drops = {
        index: float((table[0].float() - table[number].float()).mean())
        for index, table in hits.items()
    }
    index = max(drops, key=lambda key: drops[key])
    lost = int((hits[index][0] & ~hits[index][number]).sum())
    won = int((~hits[index][0] & hits[index][number]).sum())
    p = stats.binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    most = max(
        interval(int((table[0] & ~table[number]).sum()), table.shape[1])[1]
        for table in hits.values()
    )
    return {
        "site": site, "desideratum": objective.desiderata[index].name, "effect": drops[index],
        "lost": lost, "won": won, "n": hits[index].shape[1], "p": float(p), "most": most,
        "effects": {objective.desiderata[key].name: drop for key, drop in drops.items()},
    }  # fmt: skip


def _too_few(n: int) -> str:
    """From how many pairs on a member whose removal costs none is known to be idle, if not from
    these."""
    enough = next(n for n in count(1) if interval(0, n)[1] <= MATERIAL)
    return "" if n >= enough else f"; an idle member can be told from {enough} pairs on"


def holm(p_values: Sequence[float], n_tests: int) -> list[bool]:
    """Which tests reject at LEVEL by Holm's step-down rule, among `n_tests` in all."""
    order = torch.tensor(p_values).argsort().tolist()
    rejected, flags = True, [False] * len(p_values)
    for rank, index in enumerate(order):
        rejected = rejected and p_values[index] <= LEVEL / (n_tests - rank)
        flags[index] = rejected
    return flags
