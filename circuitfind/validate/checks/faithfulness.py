"""Does the circuit alone do what the model does, whichever way the rest is ablated?

Faithfulness is f(C) = (m(C) - m(empty)) / (m(M) - m(empty)): m is the mean over pairs of the logit
difference (see `ablation`), C the circuit with all else ablated, M the untouched model, and empty
the circuit of no site. It is a ratio of means and not clipped. Marks et al. 2024 (arXiv
2403.19647) have it, Hanna et al. 2024 (2403.17806), and Mueller et al. 2025 (2504.13151). They
choose one ablation; on the same circuit another gives anything from below 0 to above 1 (Miller et
al. 2024, 2407.08734), so that here four stand side by side. The claim makes one of them, and that
one decides; how the circuit fares under the others is information.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch

from desiderata import DonorChoice, name_of

from ...circuits.circuit import LOGITS
from ...objective.intervals import FEWEST, interval, ratio_interval
from ..ablation import DONORS, Outcome, ablate
from ..behaviour import NOT_NUMBERS, cannot_divide, differences, share_kept
from ..finding import GRAVEST, Finding, Verdict, gravest
from ..inputs import CheckInputs
from ..names import FAITHFULNESS
from ..power import pairs_for_interval
from ..thresholds import LEAST_KEPT, MOST_KEPT, NOISE

MOST_FLIPS = 0.2  # the fifth of LEAST_KEPT, for pairs that lose the model's right answer


def check_faithfulness(inputs: CheckInputs) -> Finding:
    """f and the share of flips under the claim's own ablation, and under zero, mean, resample and
    source.

    An ablation *holds* when the 95 % interval of f lies in [0.8, 1.2] and that of the flips does
    not go beyond 0.2; it *fails* when either lies wholly outside. It is not judged where the
    interval of m(M) - m(empty) covers 0, or where it cannot be made of these prompts. The check
    fails when any ablation fails, holds when all that are judged hold, and is inconclusive
    otherwise; as information, since the claim makes one of them at most. A flip is a pair that the
    untouched model answers as the base asks, and the circuit does not. Its value is the f that is
    farthest from 1 among the ablations that decide.

    Intervals: `intervals.ratio_interval` over pairs for f, Clopper-Pearson for flips. Up to ten of
    them decide, and their level is not corrected for that.
    """
    whole, mine = torch.ones(len(inputs.membership)), inputs.membership
    if not 0 < len(inputs.members) < len(mine):
        size = "is empty" if not inputs.members else "has every candidate site"
        return judge_faithfulness([], why=f"the circuit {size}, so that f says nothing of it")
    rows, own = [], name_of(inputs.donor)
    for donor in dict.fromkeys((inputs.donor, *DONORS)):
        try:
            made = ablate(inputs, donor)
            outcome = made.outcome(torch.stack([whole, mine, torch.zeros_like(mine)]))
        except ValueError as error:
            rows.append(_unmeasured(donor, str(error)))
        else:
            rows.append(measure_faithfulness(donor, outcome, inputs.seed, inputs.unit))
    return judge_faithfulness(rows, own)


def measure_faithfulness(
    donor: DonorChoice, outcome: Outcome, seed: int, unit: str = LOGITS
) -> dict[str, Any]:
    """A row about one ablation, of the outcomes of the model, the circuit and the empty circuit.

    The ratio of one pair has no bound, so that of those the median, the quartiles and the lowest
    percentile stand; pairs that the ablation does not touch have none.
    """
    whole, mine, empty = differences(outcome)
    if not np.isfinite((whole, mine, empty)).all():
        return _unmeasured(donor, NOT_NUMBERS)
    if len(whole) < FEWEST:
        return _unmeasured(donor, f"{len(whole)} pairs are too few; {FEWEST} are the fewest")
    flips = int((outcome.right[0] & ~outcome.right[1]).sum())
    flips_low, flips_high = interval(flips, len(whole))
    touched = np.abs(whole - empty) > NOISE
    ratios = (mine[touched] - empty[touched]) / (whole[touched] - empty[touched])
    names = ("worst_percent", "quartile_1", "median", "quartile_3")
    spread: list[float | None] = [None] * 4
    if len(ratios):
        spread = np.quantile(ratios, (0.01, 0.25, 0.5, 0.75)).tolist()
    row = (
        _unmeasured(donor, "")
        | dict(zip(names, spread, strict=True))
        | {
            "n": len(whole),
            "whole": float(whole.mean()),
            "circuit": float(mine.mean()),
            "empty": float(empty.mean()),
            "flips": flips / len(whole),
            "flips_low": flips_low,
            "flips_high": flips_high,
            "divergence": float(outcome.divergence[1].mean()),
        }
    )
    if why := cannot_divide(whole, empty, seed, unit):
        return row | {"reason": why}
    low, high = ratio_interval(mine - empty, whole - empty, seed)
    row |= {"f": float(share_kept(mine, whole, empty)), "low": low, "high": high}
    return row | {"verdict": _verdict(row)}


def judge_faithfulness(
    rows: Sequence[Mapping[str, Any]], own: str = "source", why: str = ""
) -> Finding:
    """The finding that rows about ablations give, of which `own` is the claim's; `why` says that
    there is nothing to measure."""
    about = "each in its row: " + ", ".join(row["donor"] for row in rows)
    judged = [row for row in rows if row["f"] is not None]
    if not judged:
        why = why or "no ablation can be judged: " + _reasons(rows)
        about = about if rows else "none"
        n = max((row["n"] for row in rows), default=0)
        return Finding.undecided(FAITHFULNESS, why, ablation=about, n=n, details=rows)
    by = {each: [row["donor"] for row in judged if row["verdict"] == each] for each in GRAVEST}
    verdict: Verdict = gravest([row["verdict"] for row in judged])
    worst = max((row for row in judged if row["verdict"] == verdict), key=_distance)
    words = {"fails": "fails", "inconclusive": "cannot be told", "holds": "holds"}
    told = ", ".join(f"{words[each]} under {_list(by[each], own)}" for each in GRAVEST if by[each])
    says = f"of the model's behaviour the circuit alone keeps {'; '.join(map(_told, judged))}: "
    says += "the ablations disagree, it " + told if by["fails"] and by["holds"] else f"it {told}"
    if len(judged) < len(rows):
        says += f" (not judged: {_reasons(rows)})"
    if verdict == "inconclusive":
        says += f"; {_enough(worst)}"
    return Finding(
        name=FAITHFULNESS,
        verdict=verdict,
        value=worst["f"],
        low=worst["low"],
        high=worst["high"],
        n=worst["n"],
        ablation=about,
        split="held-out",
        says=says,
        brief=f"under {_list(by[verdict], own)}, keeping {worst['f']:.2f} under {worst['donor']}",
        details=tuple(rows),
    )


def _list(donors: Sequence[str], own: str) -> str:
    """Ablations with commas between, the claim's own marked."""
    return ", ".join(f"{one} (the claim's)" if one == own else one for one in donors)


def _verdict(row: Mapping[str, Any]) -> Verdict:
    if row["low"] > MOST_KEPT or row["high"] < LEAST_KEPT or row["flips_low"] > MOST_FLIPS:
        return "fails"
    inside = (
        row["low"] >= LEAST_KEPT and row["high"] <= MOST_KEPT and row["flips_high"] <= MOST_FLIPS
    )
    return "holds" if inside else "inconclusive"


def _distance(row: Mapping[str, Any]) -> float:
    return abs(row["f"] - 1)


def _unmeasured(donor: DonorChoice, reason: str) -> dict[str, Any]:
    """A row with nothing in it, so that every row has the same columns."""
    numbers = (
        "f",
        "low",
        "high",
        "whole",
        "circuit",
        "empty",
        "median",
        "quartile_1",
        "quartile_3",
        "worst_percent",
        "flips",
        "flips_low",
        "flips_high",
        "divergence",
    )
    return {
        "donor": name_of(donor),
        "verdict": "inconclusive",
        "n": 0,
        **dict.fromkeys(numbers),
    } | {"reason": reason}


def _told(row: Mapping[str, Any]) -> str:
    flips = f", {row['flips']:.2f} of answers flip" if row["flips"] else ""
    return f"{row['f']:.2f} ({row['low']:.2f} to {row['high']:.2f}{flips}) under {row['donor']}"


def _reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{row['donor']}, {row['reason']}" for row in rows if row["reason"])


def _enough(row: Mapping[str, Any]) -> str:
    """How many pairs would decide, in words."""
    needs = []
    for value, low, high, ends in (
        (row["f"], row["low"], row["high"], (LEAST_KEPT, MOST_KEPT)),
        (row["flips"], row["flips_low"], row["flips_high"], (MOST_FLIPS,)),
    ):
        if any(low <= end <= high for end in ends):
            room = min(abs(value - end) for end in ends)
            needs.append(pairs_for_interval(row["n"], low, high, room))
    most = max(needs)
    if most > 1e5:
        return f"under {row['donor']} it lies at the limit, which no number of pairs would tell"
    return f"under {row['donor']} about {max(row['n'] + 1, ceil(most))} pairs would tell"
