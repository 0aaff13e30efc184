"""Conformance suites: the laws of each noun, for this package's own kinds and for anybody's.

>>> from circuitfind.testing import check_mediator
>>> check_mediator(MyNeurons(layer=3), model)    # raises Nonconforming with every reason
"""

from .answer import check_answer
from .check import check_check
from .donor import check_donor
from .engine import check_engine
from .mediator import check_mediator
from .method import check_method
from .nonconforming import Nonconforming

__all__ = [
    "Nonconforming",
    "check_answer",
    "check_check",
    "check_donor",
    "check_engine",
    "check_mediator",
    "check_method",
]
