"""Engines: which model runs, and where in its pass an activation can be read or changed.

Names are imported when they are first used: points and sizes are plain data, which need no torch.
"""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .bridge import BridgeEngine
    from .engine import Edit, Engine, Feature
    from .hooks import HooksEngine
    from .laws import additive_gap, dead_sites
    from .points import Point, Sizes

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

import_when_used(
    __name__,
    {
        "BridgeEngine": "bridge",
        "Edit": "engine",
        "Engine": "engine",
        "Feature": "engine",
        "HooksEngine": "hooks",
        "Point": "points",
        "Sizes": "points",
        "additive_gap": "laws",
        "dead_sites": "laws",
    },
)
