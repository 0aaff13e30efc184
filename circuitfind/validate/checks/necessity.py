"""Does the behaviour go when the circuit goes, and more so than with other sites?

With s a pair's lead of the right answer (see `ablation`), the effect of knocking out sites K, the
rest untouched, is the mean over pairs of s(M) - s(M\\K). The circuit is knocked out as a whole, its
members one by one, and two at a time. The joint effect less the sum of the single ones is the
excess: above 0, members back each other up, as the name movers of Wang et al. 2022 (arXiv
2211.00593) do. So the whole decides, and single effects are only reported.

Partial necessity is that of Shi et al. 2024 (arXiv 2410.13032): F(M, M\\C) > F(M, M\\R) for more
than q = 0.9 of random circuits R, F the mean of squared differences of s, by an exact one-sided
binomial test. R is as large as C and, their stricter choice, drawn from outside it. Here R also
has as many sites of each kind as C in each layer at each position, and where a layer has too few
others, more of the same kind from other layers, or else of any. They draw paths of edges, here
sites are drawn, and a tie is no win. Where fewer sites are outside than inside, R is drawn from
everywhere; sharing members with C, such circuits may tie with it and cannot make it fail.
"""

import random
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from math import ceil
from typing import Any, NamedTuple

import torch

from ...circuits.circuit import LOGITS
from ...objective.intervals import Values, interval, mean_interval
from ..ablation import donor_words
from ..behaviour import claimed_outcome, differences
from ..finding import Finding, Verdict, gravest
from ..inputs import CheckInputs
from ..makeup import circuits_outside, random_circuits
from ..names import NECESSITY
from ..power import FAR, pairs_for_interval, trials_for_share
from ..thresholds import LEVEL, NOISE, QUANTILE, judge_wins
from ..twin import find_twin, names_of

MOST_PAIRS = 66  # of members: all of those of twelve
# Half of what other checks take: 140 knock-outs of SmolLM2 on 64 take a minute of one core.
FEW = 32
MOST_RIGHT = 0.5  # of the answers; a behaviour that is mostly still there was not knocked out

Knocked = tuple[str, frozenset[int]]  # what kind of set was knocked out, and its sites


class Judgement(NamedTuple):
    """The verdict of one number, a sentence on it, the n that would decide where it is open, and
    what it says against the circuit in a few words."""

    verdict: Verdict
    says: str
    need: str = ""
    brief: str = ""


def check_necessity(inputs: CheckInputs) -> Finding:
    """The joint effect of knocking out the circuit, in the answer's unit, with its interval over
    pairs; what is knocked out is ablated as the claim does.

    *Holds* where the effect's interval is above 0, that of the share of right answers that stay
    right is not above one half, and the circuit outweighs random ones (left out where there are
    none). *Fails* where one of these is the other way round: something else does the same, so that
    the circuit is not the only one. Where most answers stay right, the sites that have to go before
    they go are sought and named (`twin.find_twin`).
    """
    sites, members = inputs.objective.sites, inputs.members
    apart = 2 * len(members) <= len(sites)
    draw = circuits_outside if apart else random_circuits
    drawn = draw(sites, inputs.membership, inputs.n_random, inputs.seed)
    knocked: list[Knocked] = [
        ("circuit", frozenset(members)),
        ("every site", frozenset(range(len(sites)))),
        *(("member", frozenset({member})) for member in members),
        *(("pair", frozenset(pair)) for pair in _some_pairs(members, inputs.seed)),
        *(("random", chosen) for chosen in dict.fromkeys(drawn)),
    ]
    table = torch.ones(1 + len(knocked), len(sites))
    for row, (_, out) in zip(table[1:], knocked, strict=True):
        row[sorted(out)] = 0.0
    refuse = partial(Finding.undecided, NECESSITY, ablation=donor_words(inputs.donor))
    try:
        outcome = claimed_outcome(inputs, table, FEW)
    except ValueError as error:
        return refuse(str(error))
    scores, right = differences(outcome), outcome.right.numpy()
    if not right[0].any():
        return refuse("the model answers none of these pairs right")
    names = [" ".join(str(sites[site]) for site in sorted(out)) for _, out in knocked]
    rows = _rows(knocked, names, scores, right[1:, right[0]].mean(1), drawn)
    stays = judge_answers(int((right[0] & right[1]).sum()), int(right[0].sum()))
    if stays.verdict == "fails":
        stays, row = _named(inputs, stays)
        rows.append({**dict.fromkeys(rows[0]), **row})
    judgements = [
        judge_effect(scores, len(members), inputs.seed, inputs.unit),
        stays,
        judge_random(rows, apart),
    ]
    return _finding(inputs, scores, rows, judgements)


def _named(inputs: CheckInputs, stays: Judgement) -> tuple[Judgement, dict[str, Any]]:
    """The judgement that most answers stay right, with the sites that keep them so."""
    sites, mine = inputs.objective.sites, frozenset(inputs.members)

    def kills(others: frozenset[int]) -> bool:
        table = torch.ones(2, len(sites))
        table[1, sorted(mine | others)] = 0.0
        right = claimed_outcome(inputs, table, FEW).right
        return int((right[0] & right[1]).sum()) <= MOST_RIGHT * int(right[0].sum())

    twin = find_twin(frozenset(range(len(sites))) - mine, kills)
    if twin is None:
        words, names = "they stay right with every site knocked out, too", ""
    else:
        names = " ".join(str(sites[site]) for site in sorted(twin))
        listed = names_of([sites[site] for site in sorted(twin)])
        words = f"they go only when {listed} {'goes' if len(twin) == 1 else 'go'} too"
    said = stays._replace(says=f"{stays.says}; {words}", brief=f"most answers stay, and {words}")
    return said, {"of": "twin", "sites": names}


def judge_effect(scores: Values, n_members: int, seed: int, unit: str = LOGITS) -> Judgement:
    """What the joint effect decides, of the scores of the model, without the circuit, without
    any site, and without each member."""
    joint, every = scores[0] - scores[1], scores[0] - scores[2]
    singles = (scores[0] - scores[3 : 3 + n_members]).sum(0)
    low, high = mean_interval(joint, seed)
    excess = joint - singles
    least, most = mean_interval(excess, seed)
    says = f"knocking out the circuit costs {joint.mean():.3f} of {scores[0].mean():.3f} {unit}"
    if every.mean() > NOISE:
        says += f", {joint.mean() / every.mean():.2f} of what every site does"
    if n_members > 1:
        says += f"; its members alone cost {singles.mean():.3f} together"
    if least > NOISE:
        says += f", {excess.mean():.3f} less ({least:.3f} to {most:.3f}): they back each other up"
    elif most < -NOISE:
        says += f", {-excess.mean():.3f} more: what they do overlaps"
    if low > NOISE:
        return Judgement("holds", says)
    if high <= NOISE:
        return Judgement("fails", says, brief="removing it costs nothing")
    n = pairs_for_interval(len(joint), low, high, abs(float(joint.mean())))
    need = (
        f"about {ceil(n)} pairs would tell the effect from 0"
        if n < FAR
        else (f"more than {FAR} pairs would be needed to tell the effect from 0")
    )
    return Judgement("inconclusive", says, need, need)


def judge_answers(kept: int, n: int) -> Judgement:
    """What it decides that so many of `n` right answers stay right."""
    low, high = interval(kept, n)
    verdict: Verdict = (
        "fails" if low > MOST_RIGHT else "holds" if high <= MOST_RIGHT else "inconclusive"
    )
    need = trials_for_share(kept / n, n, MOST_RIGHT, 0.025)
    return Judgement(
        verdict,
        f"{kept} of {n} right answers stay right",
        f"{need} pairs would tell whether most answers stay right",
        f"without it {kept} of {n} answers stay right",
    )


def judge_random(rows: Sequence[dict[str, Any]], apart: bool) -> Judgement:
    """What the random circuits among the rows decide, drawn apart from the circuit or not;
    without any, nothing is against it."""
    drawn = [row for row in rows if row["of"] == "random"]
    n = sum(row["drawn"] for row in drawn)
    wins = sum(row["drawn"] for row in drawn if row["outweighed"])
    if not n:
        return Judgement("holds", "there is no other circuit of its make-up to compare with")
    verdict = judge_wins(wins, n)
    if verdict == "fails" and not apart:
        verdict = "inconclusive"
    return Judgement(
        verdict,
        f"it outweighs {wins} of {n} random circuits as large, drawn "
        f"{'outside it' if apart else 'from everywhere'} ({len(drawn)} different ones)",
        f"{trials_for_share(wins / n, n, QUANTILE, LEVEL)} random circuits would tell whether it "
        f"outweighs more than {QUANTILE:g}"
        if apart
        else "more sites outside it would tell whether it outweighs others",
        f"{n - wins} of {n} random circuits are missed as much"
        + (f", such as {most['sites']}" if (most := _most_missed(drawn)) else ""),
    )


def _most_missed(drawn: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The random circuit that is missed most of those that the circuit does not outweigh."""
    equals = [row for row in drawn if not row["outweighed"]]
    return max(equals, key=lambda row: row["loss"], default=None)


def _some_pairs(members: Sequence[int], seed: int) -> list[tuple[int, ...]]:
    pairs = list(combinations(members, 2))
    return sorted(random.Random(f"pairs/{seed}").sample(pairs, min(MOST_PAIRS, len(pairs))))


def _rows(
    knocked: Sequence[Knocked],
    names: Sequence[str],
    scores: Values,
    right: Values,
    drawn: Sequence[frozenset[int]],
) -> list[dict[str, Any]]:
    """What each set's knock-out does, all rows with the same columns."""
    effects = scores[0] - scores[1:]
    means, losses = effects.mean(1).tolist(), (effects**2).mean(1).tolist()
    single = {out: mean for (of, out), mean in zip(knocked, means, strict=True) if of == "member"}
    rows = []
    for (of, out), name, mean, loss, kept in zip(
        knocked, names, means, losses, right.tolist(), strict=True
    ):
        joint, other = of in ("circuit", "pair"), of == "random"
        rows.append(
            {
                "of": of,
                "sites": name,
                "effect": mean,
                "loss": loss,
                "right": kept,
                "excess": mean - sum(single[frozenset({site})] for site in out) if joint else None,
                # By the roots, in the answer's unit, so that rounding is no win.
                "outweighed": losses[0] ** 0.5 > loss**0.5 + NOISE if other else None,
                "drawn": drawn.count(out) if other else None,
            }
        )
    return rows


def _finding(
    inputs: CheckInputs,
    scores: Values,
    rows: Sequence[dict[str, Any]],
    judgements: Sequence[Judgement],
) -> Finding:
    verdict = gravest([one.verdict for one in judgements])
    says = "; ".join(one.says for one in judgements)
    pairs = [row for row in rows if row["of"] == "pair"]
    members = sum(row["of"] == "member" for row in rows)
    if members > 2:
        most = max(pairs, key=lambda row: row["excess"])
        says += (
            f"; of {len(pairs)} of {members * (members - 1) // 2} pairs of members, "
            f"{most['sites']} has the most excess, {most['excess']:+.3f}"
        )
    if verdict == "inconclusive":
        says += "".join(f"; {one.need}" for one in judgements if one.verdict == "inconclusive")
    joint = scores[0] - scores[1]
    low, high = mean_interval(joint, inputs.seed)
    return Finding(
        name=NECESSITY,
        verdict=verdict,
        value=float(joint.mean()),
        low=low,
        high=high,
        n=len(joint),
        ablation=donor_words(inputs.donor),
        split="held-out",
        says=says,
        brief=" and ".join(one.brief for one in judgements if one.verdict == verdict),
        details=tuple(rows),
    )
