"""Does the circuit hold for every template, every name and every value, or only on average?

The pairs of each desideratum are divided by every input of the causal model (templates, names and
values are such inputs) and by the expected answer; where nothing is known of the inputs, by the
text around the spans. A group fails when a one-sided exact binomial test says that its share of
pairs lies below what the desideratum needs, at 5 % by Holm over all groups.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from scipy import stats

from desiderata import Desideratum, Pair, words_of

from ...objective.intervals import interval
from ..finding import AS_CLAIMED, Finding, Verdict
from ..inputs import CheckInputs
from ..names import GROUPS
from ..thresholds import LEVEL, holm

FEWEST, MOST = 6, 40  # pairs in a group worth a row; groups of one kind worth a row each


def check_groups(inputs: CheckInputs) -> Finding:
    """The worst group; its value and interval are shares of the group's pairs.

    Patched as each desideratum says, on all held-out pairs.
    """
    details = []
    for index, (desideratum, bound) in enumerate(
        zip(inputs.objective.desiderata, inputs.bounds, strict=True)
    ):
        if desideratum.limit is not None:  # about a mean over all pairs
            continue
        hits = inputs.objective.hits(index, inputs.membership[None])[0]
        for kind, name, rows in _groups(desideratum):
            n, count = len(rows), int(hits[torch.tensor(rows)].sum())
            low, high = interval(count, n)
            p = stats.binomtest(count, n, bound.value, alternative="less").pvalue
            details.append(
                {
                    "desideratum": desideratum.name,
                    "by": kind,
                    "group": name,
                    "n": n,
                    "satisfaction": count / n,
                    "low": low,
                    "high": high,
                    "need": bound.value,
                    "p": float(p),
                }
            )
    return judge_groups(details)


def judge_groups(details: list[dict[str, Any]]) -> Finding:
    """The finding that the groups' rows give; without any, nothing is told."""
    if not details:
        why = f"no two groups with at least {FEWEST} pairs each; more pairs would make some"
        return Finding.undecided(GROUPS, why)
    for row, below in zip(details, holm([row["p"] for row in details], len(details)), strict=True):
        row["below"] = below
    worst = min(details, key=lambda row: (row["p"], row["satisfaction"] - row["need"]))
    failing = [row for row in details if row["below"]]
    short = [row for row in details if row["satisfaction"] < row["need"]]
    verdict: Verdict = "fails" if failing else "inconclusive" if short else "holds"
    return Finding(
        name=GROUPS,
        verdict=verdict,
        value=worst["satisfaction"],
        low=worst["low"],
        high=worst["high"],
        n=worst["n"],
        ablation=AS_CLAIMED,
        split="held-out",
        says=f"{len(failing)} of {len(details)} groups of pairs lie below what they need at "
        f"{LEVEL:g} by Holm, {len(short)} in their point estimate; the worst is "
        f"{worst['by']} = {worst['group']} of {worst['desideratum']!r}: "
        f"{worst['satisfaction']:.2f} of {worst['need']:.2f} on {worst['n']} pairs",
        brief=f"{worst['by']} = {worst['group']} of {worst['desideratum']!r} reaches "
        f"{worst['satisfaction']:.2f} of {worst['need']:.2f}",
        details=tuple(details),
    )


def _groups(desideratum: Desideratum) -> Iterator[tuple[str, str, list[int]]]:
    """Kind, name and rows of the groups that have enough pairs."""
    kinds: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, pair in enumerate(desideratum.pairs):
        kinds["answer"][words_of(pair.expected).strip()].append(row)
        for kind, value in _inputs(pair):
            kinds[kind][value].append(row)
    for kind, groups in kinds.items():
        if 1 < len(groups) <= MOST:
            yield from ((kind, name, rows) for name, rows in groups.items() if len(rows) >= FEWEST)


def _inputs(pair: Pair) -> list[tuple[str, str]]:
    if pair.base_inputs:
        return [(name, str(value)) for name, value in pair.base_inputs.items()]
    text, pieces, at = pair.base.text, [], 0
    for span in sorted(pair.base.spans, key=lambda span: span.start):
        pieces += [text[at : max(at, span.start)], f"<{span.name}>"]
        at = max(at, span.end)
    return [("template", "".join(pieces) + text[at:])] if pieces else []
