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
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

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


class _Package(ModuleType):
    """This package, whose public names are imported when they are first used."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds each imported submodule to its name here. `search` and `validate` are also
        # the names of functions, and those are what a user means.
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    from .notebook import register_views

    register_views(_shell)
