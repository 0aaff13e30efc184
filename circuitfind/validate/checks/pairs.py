"""Are the pairs themselves sound? A score on pairs that leak says nothing about a circuit.

A pair that should follow leaks when the base answers as expected by itself: the empty circuit
gets it right. The released position desideratum of entity-tracking code (Prakash et al. 2024,
arXiv 2402.14811) has such targets in a seventh of its pairs. And every answer's token is looked
up again in its own context: an id taken from the bare word is another token in many tokenizers.
"""

from ...objective.encoding import encode
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import PAIRS

LEAKS = 0.02  # share of pairs that may leak before the score stands for less than it says


def check_pairs(inputs: CheckInputs) -> Finding:
    """The greatest share of leaking pairs in a desideratum, and answers with another token.

    Nothing is patched: this is about the pairs.
    """
    details = []
    for batch in inputs.batches:
        desideratum = batch.desideratum
        leaking = [
            pair.expected == pair.base_answer
            for pair in desideratum.pairs
            if desideratum.sense == "follows"
        ]
        again = encode(inputs.model, [desideratum])[0]
        wrong = again.expected.differs(batch.expected)
        wrong = wrong | again.base_answer.differs(batch.base_answer)
        details.append(
            {
                "desideratum": desideratum.name,
                "n": len(batch),
                "leaking": sum(leaking) / len(batch),
                "wrong tokens": int(wrong.sum()),
                "same prompts": sum(p.base.text == p.source.text for p in desideratum.pairs),
            }
        )
    worst = max(details, key=lambda row: row["leaking"])
    wrong = sum(row["wrong tokens"] for row in details)
    verdict: Verdict = "fails" if worst["leaking"] > LEAKS or wrong else "holds"
    says = (
        f"in {worst['leaking']:.0%} of the pairs of {worst['desideratum']!r} the base's answer is "
        f"the expected one; {wrong} answers have another token in their context than was scored"
    )
    return Finding(
        name=PAIRS,
        verdict=verdict,
        value=worst["leaking"],
        low=worst["leaking"],
        high=worst["leaking"],
        n=worst["n"],
        ablation="nothing is patched",
        split="held-out",
        says=says,
        brief=f"{worst['leaking']:.0%} of the pairs of {worst['desideratum']!r} leak"
        if worst["leaking"] > LEAKS
        else f"{wrong} answers were scored by another token",
        details=tuple(details),
    )
