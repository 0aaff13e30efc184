"""What else carries a behaviour: sites outside a circuit that have to go before the answers go."""

from collections.abc import Callable, Sequence

from ..mediators.site import Site

Kills = Callable[[frozenset[int]], bool]
SHOWN = 4  # sites that a sentence names
BUDGET = 120  # knock-outs; a twin of a few sites among three hundred takes some sixty


def find_twin(outside: frozenset[int], kills: Kills) -> frozenset[int] | None:
    """A smallest set found of sites outside a circuit that, knocked out with it, end the behaviour.

    It begins with all of them and leaves out pieces, by halves down to single sites, as long as the
    rest still ends it (delta debugging, Zeller and Hildebrandt 2002). So where the budget lasts,
    no site of it can be spared. A greedy search for it would stop at two backups of which either is
    enough.

    Args:
        kills: whether the answers go when the circuit and these sites are knocked out.

    Returns:
        None where not even all of them end it: what does it lies elsewhere.
    """
    if not kills(outside):
        return None
    kept, tries = outside, 1
    size = max(1, len(outside) // 2)
    while tries < BUDGET:
        before = kept
        order = sorted(kept)
        for start in range(0, len(order), size):
            piece = frozenset(order[start : start + size])
            # The whole set again would be the circuit alone, which is known not to end it.
            if piece < kept and tries < BUDGET:
                tries += 1
                kept = kept - piece if kills(kept - piece) else kept
        if size == 1 and kept == before:
            break
        size = max(1, size // 2)
    return kept


def names_of(sites: Sequence[Site]) -> str:
    """The first of these sites with commas between, as sentences have them."""
    return ", ".join(map(str, sites[:SHOWN])) + (", ..." if len(sites) > SHOWN else "")
