"""Search: which sites make every desideratum hold. One file per method, one signature for all.

Names are imported when they are first used: the table of methods is read where no model runs.
"""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .config import FrontierPoint, SearchConfig, unknown_sites
    from .finish import finish
    from .method import Method, MethodSpec
    from .methods import METHODS
    from .problem import SearchProblem, candidate_sites, positions_of
    from .result import SearchResult
    from .rivals import search_rival
    from .solving import method_named, search, solve

__all__ = [
    "METHODS",
    "FrontierPoint",
    "Method",
    "MethodSpec",
    "SearchConfig",
    "SearchProblem",
    "SearchResult",
    "candidate_sites",
    "finish",
    "method_named",
    "positions_of",
    "search",
    "search_rival",
    "solve",
    "unknown_sites",
]

import_when_used(
    __name__,
    {
        "METHODS": "methods",
        "FrontierPoint": "config",
        "Method": "method",
        "MethodSpec": "method",
        "SearchConfig": "config",
        "SearchProblem": "problem",
        "SearchResult": "result",
        "candidate_sites": "problem",
        "finish": "finish",
        "method_named": "solving",
        "positions_of": "problem",
        "search": "solving",
        "search_rival": "rivals",
        "solve": "solving",
        "unknown_sites": "config",
    },
)
