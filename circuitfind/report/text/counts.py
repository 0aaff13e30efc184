"""What a circuit is made up of, in words."""

from ...circuits.circuit import Circuit


def counted(n: int, noun: str, plural: str = "") -> str:
    """Such as `1 head` and `3 heads`; without a plural, an s is added to the noun."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def makeup_words(circuit: Circuit) -> str:
    """Such as `5 heads, 1 MLP`; empty where there are no members."""
    return ", ".join(counted(n, glyph.noun, glyph.plural) for glyph, n in circuit.counts)


def size_words(circuit: Circuit, of: int | None = None) -> str:
    """Such as `6 of 72 sites (5 heads, 1 MLP)`."""
    size = counted(len(circuit), "site") if of is None else f"{len(circuit)} of {of} sites"
    makeup = makeup_words(circuit)
    return f"{size} ({makeup})" if makeup else size
