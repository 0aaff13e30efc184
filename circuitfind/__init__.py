"""circuitfind: from a causal claim to the smallest circuit that satisfies it, checked.

>>> claim = binding.carries("x", at="last")                      # a desiderata.CausalModel
>>> train, held_out = claim.sample(n=256, seed=0)                # disjoint by content
>>> model = load_model("binder")
>>> result = search(model, train, method="constrained")
>>> card = validate(model, result.circuit, held_out)

Names are imported when they are first used, so that `import circuitfind` loads neither torch nor
matplotlib.
"""

import sys
from typing import TYPE_CHECKING

from .lazy import import_when_used

if TYPE_CHECKING:
    from .circuits.circuit import Circuit, load_circuit
    from .mediators.site import Component, Site
    from .models.loading import load_model
    from .models.model import Model
    from .objective.mask import Mask
    from .report.figures.plots import draw_search
    from .runs.preview import Preview, preview
    from .search import search
    from .search.result import SearchConfig, SearchResult
    from .validate import validate
    from .validate.card import Card

_HOME = {
    "Card": "validate.card",
    "Circuit": "circuits.circuit",
    "Component": "mediators.site",
    "Mask": "objective.mask",
    "Model": "models.model",
    "Preview": "runs.preview",
    "SearchConfig": "search.result",
    "SearchResult": "search.result",
    "Site": "mediators.site",
    "draw_search": "report.figures.plots",
    "load_circuit": "circuits.circuit",
    "load_model": "models.loading",
    "preview": "runs.preview",
    "search": "search",
    "validate": "validate",
}

__all__ = [
    "Card",
    "Circuit",
    "Component",
    "Mask",
    "Model",
    "Preview",
    "SearchConfig",
    "SearchResult",
    "Site",
    "draw_search",
    "load_circuit",
    "load_model",
    "preview",
    "search",
    "validate",
]


import_when_used(__name__, _HOME)


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    from .notebook import register_views

    register_views(_shell)
