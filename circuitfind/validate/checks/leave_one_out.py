"""Is every member of the circuit needed?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from ...objective.intervals import interval
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import LEAVE_ONE_OUT
from ..power import fewest
from ..thresholds import LEVEL, holm, sign_p

MATERIAL = 0.05  # the least share of pairs that a member is to carry
FEW = 4  # idle members that a headline names


def check_leave_one_out(inputs: CheckInputs) -> Finding:
    """What each site's removal costs the desideratum that it hurts most, in share of pairs.

    Removal means that the site leaves the circuit: inside, it keeps the base's value; outside,
    it takes the source's with the rest. An effect counts when an exact one-sided sign test over
    the pairs that change says so, at 5 % by Holm over sites and desiderata. The finding's value
    is the share of members with an effect, `high` the share of those that are not shown idle.

    *Holds* where every member has an effect. *Fails* where one is idle: no desideratum loses by its
    removal, and none could lose more than 0.05 of its pairs. That is told by two exact intervals,
    the upper end of the pairs lost less the lower end of those won, at 95 % over all members
    together. Where the pairs are all that the claim is about, an effect is what changes, and idle
    is what changes nothing. Otherwise the check is inconclusive, and where a member looks idle, it
    says from what n on that could be told. It is inconclusive, too, where a desideratum is not
    reached: what a broken circuit does not do, no member can be missed for. Where every
    desideratum is vacuous, all members are idle.
    """
    ablation = "the site's own gate flipped; donors as in each desideratum"
    objective, bounds, membership = inputs.objective, inputs.bounds, inputs.membership
    members = membership.nonzero()[:, 0].tolist()
    live = [index for index, bound in enumerate(bounds) if not bound.vacuous]
    if not members:
        return Finding.undecided(LEAVE_ONE_OUT, "the circuit is empty", ablation=ablation)
    if not live:
        why = "every desideratum is vacuous: the empty circuit satisfies all of them"
        return replace(
            Finding.undecided(LEAVE_ONE_OUT, why, ablation=ablation), verdict="fails", high=0.0
        )
    rows = membership.repeat(len(members) + 1, 1)
    for row, site in zip(rows[1:], members, strict=True):
        row[site] = 0.0
    hits = {index: objective.hits(index, rows) for index in live}
    names = [one.name for one in objective.desiderata]
    broken = [
        names[index] for index in live if float(hits[index][0].float().mean()) < bounds[index].value
    ]
    changes = {
        str(objective.sites[site]): {
            names[index]: one for index, one in _changes(hits, number).items()
        }
        for number, site in enumerate(members, 1)
    }
    every = all(objective.desiderata[index].every for index in live)
    return replace(judge_removals(changes, broken, every), ablation=ablation)


def judge_removals(
    changes: Mapping[str, Mapping[str, tuple[int, int, int]]],
    broken: Sequence[str] = (),
    every: bool = False,
) -> Finding:
    """The finding that the members' removals give.

    Args:
        changes: of each member and desideratum, the pairs that its removal loses, those that it
            wins, and of how many.
        broken: desiderata that the circuit does not reach.
        every: the pairs are all that the claim is about.
    """
    level = 1 - LEVEL / len(changes)
    details = [effect_of_removal(site, changed, level) for site, changed in changes.items()]
    tests = sum(map(len, changes.values()))
    told = holm([row["p"] for row in details], tests)
    for row, flagged in zip(details, told, strict=True):
        row["needed"] = row["effect"] > 0 if every else flagged
        row["idle"] = row["effect"] <= 0 and (every or row["most"] <= MATERIAL)
    needed, idle = sum(row["needed"] for row in details), [r for r in details if r["idle"]]
    verdict: Verdict = "inconclusive"
    if needed == len(details):
        verdict = "holds"
    elif idle and not broken:
        verdict = "fails"
    least = min(details, key=lambda row: row["effect"])
    says = (
        f"leaving out one site lowers a desideratum for {needed} of {len(details)} sites "
        f"({'on every pair' if every else f'sign tests, Holm over {tests}'}); the least missed is "
        f"{least['site']}, which costs {least['desideratum']!r} {least['effect']:.3f}"
    )
    brief = _brief(details, broken if verdict != "holds" else ())
    if broken and verdict != "holds":
        says += f"; {brief}"
    if least["effect"] <= 0 and not least["idle"]:
        enough = pairs_to_tell(changes[least["site"]].values(), level)
        words = f"if it loses no more, {enough} pairs would tell that it is idle"
        says, brief = f"{says}; {words}", f"{brief}; of {least['site']}, {words}"
    return Finding(
        name=LEAVE_ONE_OUT,
        verdict=verdict,
        value=needed / len(details),
        low=needed / len(details),
        high=1 - len(idle) / len(details),
        n=min(n for changed in changes.values() for _, _, n in changed.values()),
        ablation="",
        split="held-out",
        says=says,
        brief=brief,
        details=tuple(details),
    )


def _brief(details: Sequence[Mapping[str, Any]], broken: Sequence[str]) -> str:
    """What speaks against the members, in the few words of a headline."""
    if broken:
        short = ", ".join(map(repr, broken))
        return f"the circuit does not reach {short}, for which no member can be missed"
    if idle := [row["site"] for row in details if row["idle"]]:
        shown = ", ".join(idle[:FEW]) + (", ..." if len(idle) > FEW else "")
        verb = "is" if len(idle) == 1 else "are"
        return f"{len(idle)} of {len(details)} sites {verb} idle ({shown})"
    unsure = sum(not row["needed"] for row in details)
    verb = "is" if unsure == 1 else "are"
    return f"{unsure} of {len(details)} sites {verb} not shown to be needed"


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
