"""The laws of a check."""

from collections.abc import Iterable
from math import isfinite

from ..claims import load_claim
from ..models.loading import load_model
from ..objective.encoding import encode
from ..search import SearchConfig, search
from ..validate import Check, Finding, validate
from .method import CLAIM, MODEL, PAIRS, STEPS
from .nonconforming import examine

VERDICTS = ("holds", "fails", "inconclusive")


def check_check(check: Check) -> None:
    """Examine a check of the validator on the circuit of a planted model: it gives one finding
    under its own name, with a verdict, an interval around its value and a sentence, and the same
    one the second time.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    model = load_model(MODEL)
    train, held_out = load_claim(CLAIM).sample(PAIRS)
    circuit = search(model, train, config=SearchConfig(steps=STEPS, rounds=2)).circuit

    def findings() -> tuple[Finding, ...]:
        batches = encode(model, train)
        card = validate(model, circuit, held_out, search=batches, n_random=8, checks=[check])
        return card.findings

    first = findings()

    def one_finding() -> Iterable[str]:
        if len(first) != 1:
            yield f"it gives {len(first)} findings, not one"

    def form() -> Iterable[str]:
        for found in first:
            if found.verdict not in VERDICTS:
                yield f"its verdict is {found.verdict!r}, none of {', '.join(VERDICTS)}"
            if not all(map(isfinite, (found.value, found.low, found.high))):
                yield "its value or interval is not a number"
            # Not that the value lies between them: for some checks they are the extremes over
            # members, and the sentence says so.
            elif not found.low <= found.high:
                yield f"its interval is empty: {found.low} to {found.high}"
            if not found.says:
                yield "it says nothing"

    def again() -> Iterable[str]:
        if findings() != first:
            yield "the second time it finds something else"

    examine(f"the check {first[0].name if first else ''}", [one_finding, form, again])
