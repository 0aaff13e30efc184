"""Engines: which model runs, and where in its pass an activation can be read or changed."""

from .bridge import BridgeEngine
from .engine import Edit, Engine, Feature, Point, Sizes
from .hooks import HooksEngine
from .laws import additive_gap, dead_sites

__all__ = [
    "BridgeEngine",
    "Edit",
    "Engine",
    "Feature",
    "HooksEngine",
    "Point",
    "Sizes",
    "additive_gap",
    "dead_sites",
]
