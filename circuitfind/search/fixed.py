"""Sites that a person decided on: pins are in every circuit, vetoed sites in none.

A method does not see them. It gets the other sites, and an objective that fills in the memberships
of the fixed ones (`Objective.decided`), so that pins and vetoes hold exactly whatever it does. A
desideratum that patches what is outside the circuit patches vetoed sites and leaves pins alone.
Null and ceiling are still those of no site and of every site. `restore_fixed` puts a method's
circuit among all sites again. `explain_conflict` says whether pins or vetoes are why it fails.
"""

from collections.abc import Sequence

import torch

from ..mediators.known import parse_site
from ..mediators.site import Site
from ..objective.encoding import Batch
from ..progress import Progress
from .local_search import polish, swap
from .ranks import ordered
from .result import SearchConfig
from .trials import ChosenCircuit, Members, Trials


def with_fixed(
    sites: Sequence[Site], batches: Sequence[Batch], config: SearchConfig
) -> tuple[tuple[Site, ...], dict[Site, float]]:
    """All sites, the fixed ones at their places among the others; and the membership of the fixed
    ones: 1 for pins, 0 for vetoes. The other sites keep their order."""
    decided = {parse_site(name): 1.0 for name in config.pins}
    decided |= {parse_site(name): 0.0 for name in config.vetoes}
    names = dict.fromkeys(name for batch in batches for name in batch.desideratum.at)
    places = {name: place for place, name in enumerate(names)}

    def key(site: Site) -> tuple:
        return places.get(site.position, len(places)), site.component

    every = list(sites)
    for site in sorted(decided, key=key):
        later = (place for place, other in enumerate(every) if key(other) > key(site))
        every.insert(next(later, len(every)), site)
    return tuple(every), decided


def restore_fixed(trials: Trials, choice: ChosenCircuit) -> tuple[Trials, ChosenCircuit]:
    """The same trials and circuit over all sites. Pins are in every circuit and rank first; vetoed
    sites are in none and rank last."""
    objective = trials.objective
    if not objective.decided:
        return trials, choice
    places = objective.open.tolist()
    pins = frozenset(n for n, site in enumerate(objective.every) if objective.decided.get(site))

    def whole(members: Members) -> Members:
        return pins | {places[member] for member in members}

    values = torch.cat([choice.ranking, torch.zeros(1)])
    ends = {1.0: float(values.max()) + 1, 0.0: float(values.min()) - 1}
    ranking = torch.tensor(
        [ends.get(objective.decided.get(site, -1.0), 0.0) for site in objective.every]
    )
    ranking[objective.open] = choice.ranking
    mask = choice.membership
    membership = None if mask is None else objective.complete(mask[None])[0]
    seen = {whole(members): found for members, found in trials.seen.items()}
    made = Trials(objective.undecided(), trials.bounds, trials.margin, trials.live, seen)
    return made, ChosenCircuit(whole(choice.members), ranking, membership)


def explain_conflict(
    trials: Trials, choice: ChosenCircuit, scores: Sequence[float], config: SearchConfig
) -> str:
    """Which pins and vetoes stand in the way of the desiderata that the chosen circuit breaks, in
    words; nothing where none is known to.

    Among all sites, the vetoed ones first, the discrete moves look for a circuit that does what
    the chosen one does not. Decisions that it can comply with after all are put back; those that
    it then still overrules are the ones named.
    """
    sites = trials.objective.sites
    pins = [n for n, site in enumerate(sites) if str(site) in config.pins]
    vetoes = [n for n, site in enumerate(sites) if str(site) in config.vetoes]
    if not pins and not vetoes:
        return ""
    free = [n for n in ordered(choice.ranking) if n not in {*pins, *vetoes}]
    tried = Trials(trials.objective, trials.bounds, trials.margin, trials.live, dict(trials.seen))
    other: Members = frozenset()
    for order in ([*vetoes, *pins, *free], [*vetoes, *free, *pins]):
        if config.size is None:
            wanted = frozenset(order[: len(choice.members) + len(vetoes)])
            other = polish(tried, wanted, order, config, Progress())
        else:
            other = swap(tried, order, config.size, config, Progress())
        if tried.holds(other):
            break
    needs = [bound.value for bound in tried.bounds]
    mended = [
        n
        for n, score in enumerate(tried.complete([other])[0].tolist())
        if scores[n] < needs[n] <= score
    ]
    for site in [n for n in pins if n not in other] + [n for n in vetoes if n in other]:
        # With a size, another site comes or goes in its stead.
        others = (
            [other ^ {site}]
            if config.size is None
            else [other ^ {site, one} for one in free if (one in other) == (site not in other)]
        )
        for compliant in others[: config.reach]:
            reached = tried.complete([compliant])[0].tolist()
            if all(reached[n] >= needs[n] for n in mended):
                other = compliant
                break
    overruled = [f"the veto of {sites[n]}" for n in vetoes if n in other]
    overruled += [f"the pin of {sites[n]}" for n in pins if n not in other]
    if not mended or not overruled:
        return ""
    reached = tried.complete([other])[0].tolist()
    named = ", ".join(
        f"{tried.objective.desiderata[n].name!r} ({reached[n]:.2f}, otherwise {scores[n]:.2f})"
        for n in mended
    )
    stand, them = ("stands", "it") if len(overruled) == 1 else ("stand", "them")
    return (
        f"; {' and '.join(overruled)} {stand} in the way: a circuit of {len(other)} sites that "
        f"overrules {them} satisfies {named}"
    )
