"""Does the circuit leave out anything that takes over when its members are ablated?

Wang et al. 2022 (arXiv 2211.00593): a complete circuit C behaves as the model M does whatever part
K of it is removed, so that |F(C without K) - F(M without K)| is small for every K in C. F is the
mean logit difference; without K means that its sites are ablated: in C with all that is outside,
in M alone. Here it is divided by |F(M) - F(empty)|, so that 1 is as much as ablating every site
does. A backup outside the circuit shows as a K that the model bears and the circuit does not.

Theirs is the mean ablation at every position and K by class of heads. Here K are random parts,
the members of each layer, a part grown greedily, none (the circuit as it is: |1 - f|) and all,
whose difference is Marks et al.'s completeness f(M without C) (2024, arXiv 2403.19647; 0 is ideal).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import DonorChoice, name_of

from ...objective.intervals import FEWEST, Values, ratio_interval
from ..ablation import Ablated, ablate
from ..behaviour import NOT_NUMBERS, cannot_divide, differences
from ..finding import Finding, Verdict
from ..inputs import CheckInputs
from ..names import COMPLETENESS
from ..power import pairs_for_interval

ENOUGH, TOO_MUCH = 0.2, 0.5  # of F(M) - F(empty); the first is the fifth that faithfulness allows
RANDOM_PARTS = 20
GREEDY_STEPS = 8  # each costs two masks a member; the greatest difference comes early or never
BESIDE: DonorChoice = "mean"  # Wang et al.'s; where the claim has that itself, the source

Part = tuple[str, frozenset[int]]  # how it was chosen, and the sites
Removed = tuple[str, frozenset[int], Values, Values]  # with F of the circuit and of the model


def check_completeness(inputs: CheckInputs) -> Finding:
    """The difference at the worst part of the circuit, as a share of F(M) - F(empty).

    The worst part is chosen on every other pair and measured on the others, since the greatest of
    many numbers is too great on the pairs that it was chosen on. The check holds when the 95 %
    interval (over pairs) lies below 0.2 and fails when it lies above
    0.5. The claim's ablation decides; mean, or source where the claim has mean, stands beside
    it in the rows, and is said. A row's `difference` is signed: positive where the model without K
    does more than the circuit.
    """
    refuse = partial(Finding.undecided, COMPLETENESS, ablation=name_of(inputs.donor))
    if not 0 < len(inputs.members) < len(inputs.membership):
        size = "is empty" if not inputs.members else "has every candidate site"
        return refuse(f"the circuit {size}, so that there is nothing to complete")
    rows, reasons, decides = [], {}, inputs.donor
    beside = BESIDE if decides != BESIDE else "source"
    for donor in (decides, beside):
        try:
            rows += measure_completeness(inputs, ablate(inputs, donor))
        except ValueError as error:
            reasons[donor] = str(error)
    if decides in reasons:
        return refuse(reasons[decides], details=rows)
    worst = {row["donor"]: row for row in rows if row["worst"]}
    row, value = worst[decides], abs(worst[decides]["difference"])
    low, high = _size(row)
    verdict = judge_size(low, high)
    says = f"{_told(row, inputs.unit)}, the worst of {_count(rows, decides)}; under {beside}, " + (
        _told(worst[beside], inputs.unit) if beside in worst else f"not measured: {reasons[beside]}"
    )
    if verdict == "inconclusive":
        says += f"; {_enough(value, low, high, row['n'])}"
    return Finding(
        name=COMPLETENESS,
        verdict=verdict,
        value=value,
        low=low,
        high=high,
        n=row["n"],
        ablation=f"{decides}; in the rows also {beside}",
        split="held-out",
        says=says,
        brief=f"without {row['part'] or 'anything'} model and circuit differ by {value:.2f} of all",
        details=tuple(rows),
    )


def measure_completeness(inputs: CheckInputs, ablated: Ablated) -> list[dict[str, Any]]:
    """A row for each part of the circuit that was tried; `worst` marks the one chosen.

    Raises:
        ValueError: too few pairs, scores that are not numbers, or F(M) - F(empty) is not told
            from 0.
    """
    ends = torch.stack([torch.ones(len(inputs.membership)), torch.zeros(len(inputs.membership))])
    whole, empty = differences(ablated.outcome(ends))
    if len(whole) < 2 * FEWEST:  # a half to choose the worst part on, a half to measure it on
        raise ValueError(f"{len(whole)} pairs are too few; {2 * FEWEST} are the fewest")
    if not np.isfinite((whole, empty)).all():
        raise ValueError(NOT_NUMBERS)
    chooses, measures = slice(0, None, 2), slice(1, None, 2)
    for half in (chooses, measures):
        if why := cannot_divide(whole[half], empty[half], inputs.seed, inputs.unit):
            raise ValueError(why)
    found = remove(ablated, inputs.membership, list(_parts(inputs)))
    found += _greedy(inputs, ablated, chooses)
    rows = []
    for by, part, circuit, model in found:
        values = (model, circuit, whole, empty)
        samples = [each[measures] for each in values]
        top, bottom = samples[0] - samples[1], samples[2] - samples[3]
        low, high = ratio_interval(top, bottom, inputs.seed)
        rows.append(
            {
                "donor": ablated.donor,
                "by": by,
                "size": len(part),
                "n": len(samples[0]),
                "part": _names(inputs, part),
                "circuit": float(samples[1].mean()),
                "model": float(samples[0].mean()),
                "difference": difference(*samples),
                "low": low,
                "high": high,
                "worst": False,
                "where_chosen": difference(*(each[chooses] for each in values)),
            }
        )
    max(rows, key=lambda row: abs(row["where_chosen"]))["worst"] = True
    return rows


def difference(model: Values, circuit: Values, whole: Values, empty: Values) -> float:
    """(F(M without K) - F(C without K)) / (F(M) - F(empty)), of means over pairs."""
    return float((model - circuit).mean() / (whole - empty).mean())


def remove(
    ablated: Ablated, membership: Float[Tensor, " site"], parts: Sequence[Part]
) -> list[Removed]:
    """The right answer's leads in the circuit and in the model without each part, in one call."""
    without = torch.ones(len(parts), len(membership))
    for row, (_, part) in zip(without, parts, strict=True):
        row[list(part)] = 0.0
    found = differences(ablated.outcome(torch.cat([without * membership, without])))
    circuit, model = found[: len(parts)], found[len(parts) :]
    return [(by, part, circuit[n], model[n]) for n, (by, part) in enumerate(parts)]


def _parts(inputs: CheckInputs) -> Iterator[Part]:
    """None, all, every layer's, and random parts in which each member is with a half; of a small
    circuit, every part. None comes twice."""
    members, sites = inputs.members, inputs.objective.sites
    seen = {frozenset(), frozenset(members)}
    yield "none", frozenset()
    yield "all", frozenset(members)
    for layer in sorted({sites[index].component.layer for index in members}):
        part = frozenset(i for i in members if sites[i].component.layer == layer)
        if part not in seen:
            seen.add(part)
            yield f"layer {layer}", part
    rng = random.Random(f"completeness/{inputs.seed}")
    few = 2 ** len(members) <= RANDOM_PARTS
    drawn = (
        product((False, True), repeat=len(members))
        if few
        else ([rng.random() < 0.5 for _ in members] for _ in range(RANDOM_PARTS))
    )
    for chosen in drawn:
        part = frozenset(index for index, mine in zip(members, chosen, strict=True) if mine)
        if part not in seen:
            seen.add(part)
            yield "every" if few else "random", part


def _greedy(inputs: CheckInputs, ablated: Ablated, chooses: slice) -> list[Removed]:
    """The parts that grow by the member that adds most to the difference, while it grows."""
    steps, part, most = [], frozenset[int](), 0.0
    for number in range(1, min(GREEDY_STEPS, len(inputs.members)) + 1):
        rest = [index for index in inputs.members if index not in part]
        tried = remove(
            ablated, inputs.membership, [(f"greedy {number}", part | {index}) for index in rest]
        )
        best = max(tried, key=lambda made: abs((made[3] - made[2])[chooses].mean()))
        reached = abs(float((best[3] - best[2])[chooses].mean()))
        if reached <= most:
            break
        steps.append(best)
        part, most = best[1], reached
    return steps


def _names(inputs: CheckInputs, part: frozenset[int]) -> str:
    return ", ".join(str(inputs.objective.sites[index]) for index in sorted(part))


def _size(row: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of the difference without its sign."""
    low, high = row["low"], row["high"]
    return 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))


def judge_size(low: float, high: float) -> Verdict:
    """Whether a difference between these ends is small, large or neither."""
    return "holds" if high < ENOUGH else "fails" if low > TOO_MUCH else "inconclusive"


def _told(row: Mapping[str, Any], unit: str) -> str:
    low, high = _size(row)
    where = f"without {row['part']}" if row["part"] else "with nothing removed"
    return (
        f"{where} ({row['by']}), model and circuit differ by {abs(row['difference']):.2f} "
        f"({low:.2f} to {high:.2f}) of what ablating every site does (the right "
        f"answer leads by {row['model']:.2f} and {row['circuit']:.2f} {unit})"
    )


def _count(rows: Sequence[Mapping[str, Any]], donor: DonorChoice) -> str:
    mine = [row for row in rows if row["donor"] == donor]
    return f"{len(mine)} parts, on {mine[0]['n']} pairs that did not choose it"


def _enough(value: float, low: float, high: float, n: int) -> str:
    """How many pairs would decide, in words; between the two limits no number does."""
    if ENOUGH <= value <= TOO_MUCH:
        return f"between {ENOUGH:g} and {TOO_MUCH:g} is for the reader to judge, at any n"
    room = ENOUGH - value if value < ENOUGH else value - TOO_MUCH
    pairs = 2 * pairs_for_interval(n, low, high, room)
    return f"about {max(2 * n + 1, ceil(pairs))} pairs in all would tell"
