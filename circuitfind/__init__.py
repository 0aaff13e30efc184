"""circuitfind: from a causal claim to the smallest circuit that fulfils it, checked.

>>> claim = binding.carries("x", at="last")                      # a desiderata.CausalModel
>>> train, held_out = claim.sample(n=256, seed=0)                # disjoint by content
>>> model = load_model("binder")
>>> result = search(model, train, method="constrained")
>>> card = validate(model, result.circuit, held_out)
"""

from .circuit import Circuit, load_circuit
from .component import Component, Site
from .mask import Mask
from .model import Model, load_model
from .search import SearchConfig, SearchResult, search
from .validate import Card, validate

__all__ = [
    "Card",
    "Circuit",
    "Component",
    "Mask",
    "Model",
    "SearchConfig",
    "SearchResult",
    "Site",
    "load_circuit",
    "load_model",
    "search",
    "validate",
]
