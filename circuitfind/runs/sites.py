"""The sites that a person can decide about: those that a run could have chosen."""

from ..circuits.circuit import Circuit
from ..mediators.space import Decoder, space_of


def known_sites(circuit: Circuit) -> list[str]:
    """The names of the sites that the run of this circuit could have chosen, members among them;
    of the members alone where the circuit does not hold the sizes of its model."""
    facts, members = circuit.provenance, map(str, circuit.sites)
    if not {"n_layers", "n_heads", "positions"} <= facts.keys():
        return list(members)
    decoder = Decoder(facts["n_layers"], facts["n_heads"])
    space = space_of(circuit.space, facts["positions"])
    try:
        every = space.sites(decoder)
    except ValueError:  # a mediator that asks more of a model than its layers and heads
        every = ()
    return list(dict.fromkeys([*map(str, every), *members]))
