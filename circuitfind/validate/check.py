"""What a check is: a line in the table of checks, and a function that finds something."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .finding import HELD_OUT, SAME, Finding, Question

if TYPE_CHECKING:
    from .inputs import CheckInputs


@dataclass(frozen=True, kw_only=True)
class Check:
    """A line of the table of checks.

    Args:
        name: the name in reports and tables; every finding of the check has it.
        about: what it looks at, for tables.
        thorough: whether it runs only when asked for.
        needs_outside: whether it is about the model without the circuit, or the circuit without
            the rest. A claim whose desiderata all patch inside the circuit leaves that open, so
            that the check cannot fail it and is only there for the record.
        searches: whether it searches again, on the pairs that search may see.
        of_mask: whether it is about the mask that search had before rounding. It is left out where
            there is none.
        question: what it belongs to (`validate.questions`); a check without one is in the card and
            in the headline where it fails, and decides only with `--strict`.
    """

    name: str
    run: "Callable[[CheckInputs], Finding]"
    about: str = ""
    thorough: bool = False
    needs_outside: bool = False
    searches: bool = False
    of_mask: bool = False
    question: Question | None = None

    def find(self, inputs: "CheckInputs") -> Finding:
        """What the check finds, under its own name."""
        found = replace(self.run(inputs), name=self.name, question=self.question)
        if found.split == HELD_OUT and inputs.nothing_held_out:
            found = replace(found, split=SAME)
        claims_rest = any(one.part == "outside" for one in inputs.objective.desiderata)
        if not self.needs_outside or claims_rest or found.verdict != "fails":
            return found
        says = f"the claim leaves this open (no desideratum is about the rest); {found.says}"
        return replace(found, verdict="inconclusive", says=says)
