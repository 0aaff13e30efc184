"""Is every member of the circuit needed?"""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from ...objective.intervals import interval
from ..card import Finding, Verdict
from ..inputs import CheckInputs
from ..names import LEAVE_ONE_OUT
from ..power import fewest
from ..thresholds import LEVEL, holm, sign_p

MATERIAL = 0.05  # the least share of pairs that a member is to carry


def check_leave_one_out(inputs: CheckInputs) -> Finding:
    """What each site's removal costs the desideratum that it hurts most, in share of pairs.

    Removal means that the site leaves the circuit: inside, it keeps the base's value; outside,
    it takes the source's with the rest. An effect counts when an exact one-sided sign test over
    the pairs that change says so, at 5 % by Holm over sites and desiderata. The finding's value
    is the share of members with an effect.

    *Holds* where every member has one. *Fails* where one is idle: no desideratum loses by its
    removal, and none could lose more than 0.05 of its pairs. That is told by two exact intervals,
    the upper end of the pairs lost less the lower end of those won, at 95 % over all members
    together. Otherwise the check is inconclusive, and where a member looks idle, it says from what
    n on that could be told.
    """
    ablation = "the site's own gate flipped; donors as in each desideratum"
    objective, bounds, membership = inputs.objective, inputs.bounds, inputs.membership
    members = membership.nonzero()[:, 0].tolist()
    live = [index for index, bound in enumerate(bounds) if not bound.vacuous]
    if not members or not live:
        why = "the circuit is empty" if live else "every desideratum is vacuous"
        return Finding.undecided(LEAVE_ONE_OUT, why, ablation=ablation)
    rows = membership.repeat(len(members) + 1, 1)
    for row, site in zip(rows[1:], members, strict=True):
        row[site] = 0.0
    hits = {index: objective.hits(index, rows) for index in live}
    names, level = [one.name for one in objective.desiderata], 1 - LEVEL / len(members)
    changes = [_changes(hits, number) for number in range(1, len(rows))]
    details = [
        effect_of_removal(
            str(objective.sites[site]), {names[index]: one for index, one in changed.items()}, level
        )
        for changed, site in zip(changes, members, strict=True)
    ]
    flagged = holm([row["p"] for row in details], len(details) * len(live))
    for row, needed in zip(details, flagged, strict=True):
        row["needed"] = needed
    needed = sum(flagged)
    idle = [row for row in details if row["effect"] <= 0 and row["most"] <= MATERIAL]
    verdict: Verdict = "holds" if all(flagged) else "fails" if idle else "inconclusive"
    weakest = min(details, key=lambda row: row["effect"])
    words = ""
    if weakest["effect"] <= 0 and not idle:
        enough = pairs_to_tell(changes[details.index(weakest)].values(), level)
        words = f"; if it loses no more, {enough} pairs would tell that it is idle"
    n = min(len(objective.batches[index]) for index in live)
    return Finding(
        name=LEAVE_ONE_OUT,
        verdict=verdict,
        value=needed / len(details),
        low=weakest["effect"],
        high=max(row["effect"] for row in details),
        n=n,
        ablation=ablation,
        split="held-out",
        says=f"leaving out one site lowers a desideratum for {needed} of {len(details)} sites "
        f"(sign tests, Holm over {len(details) * len(live)}); the least missed is "
        f"{weakest['site']}, which costs {weakest['desideratum']!r} {weakest['effect']:.3f}; "
        f"low and high are the least and the greatest effect{words}",
        details=tuple(details),
    )


def _changes(
    hits: Mapping[int, Bool[Tensor, "mask pair"]], number: int
) -> dict[int, tuple[int, int, int]]:
    """Of each desideratum, the pairs that this row of the masks loses and those that it wins, and
    of how many."""
    return {
        index: (
            int((table[0] & ~table[number]).sum()),
            int((~table[0] & table[number]).sum()),
            table.shape[1],
        )
        for index, table in hits.items()
    }


def effect_of_removal(
    site: str, changes: Mapping[str, tuple[int, int, int]], level: float
) -> dict[str, Any]:
    """The effect of one site's removal on every desideratum, and more on where it is greatest;
    `most` is what any of them may lose at this level."""
    drops = {name: (lost - won) / n for name, (lost, won, n) in changes.items()}
    name = max(drops, key=lambda key: drops[key])
    lost, won, n = changes[name]
    return {
        "site": site,
        "desideratum": name,
        "effect": drops[name],
        "effects": drops,
        "lost": lost,
        "won": won,
        "n": n,
        "p": sign_p(lost, won),
        "most": max(
            interval(lost, n, level)[1] - interval(won, n, level)[0]
            for lost, won, n in changes.values()
        ),
    }


def pairs_to_tell(changes: Iterable[tuple[int, int, int]], level: float) -> int:
    """From how many pairs of each desideratum on these losses would be immaterial."""
    return max(
        fewest(lambda m, lost=lost: interval(lost, m, level)[1] <= MATERIAL, n)
        for lost, _, n in changes
    )
