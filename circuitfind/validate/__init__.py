"""The validator: it re-checks a circuit on held-out pairs and tries to break it.

One file per check. A check takes a `CheckInputs` and returns a `Finding`. `table.py` lists them;
installed packages may add others (`circuitfind.registry`).

Names are imported when they are first used: the table of checks is read where no model runs.
"""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .card import Card, card_from_json
    from .check import Check
    from .finding import DesideratumScore, Finding
    from .inputs import CheckInputs
    from .questions import QUESTIONS, Ruling
    from .table import CHECKS, checks_named
    from .validator import validate

__all__ = [
    "CHECKS",
    "QUESTIONS",
    "Card",
    "Check",
    "CheckInputs",
    "DesideratumScore",
    "Finding",
    "Ruling",
    "card_from_json",
    "checks_named",
    "validate",
]

import_when_used(
    __name__,
    {
        "CHECKS": "table",
        "QUESTIONS": "questions",
        "Card": "card",
        "Check": "check",
        "CheckInputs": "inputs",
        "DesideratumScore": "finding",
        "Finding": "finding",
        "Ruling": "questions",
        "card_from_json": "card",
        "checks_named": "table",
        "validate": "validator",
    },
)
