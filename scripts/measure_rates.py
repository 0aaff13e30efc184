"""How often intervals cover and verdicts err, by simulation: docs/rates.md.

    python -m scripts.measure_rates

Every rate is measured on draws whose truth is known, through the functions that the checks
themselves judge by. `tests/test_rates.py` measures a part again and holds it against `most` and
`least` here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuitfind.objective.intervals import interval, ratio_interval
from circuitfind.runs.compare_cards import drifted
from circuitfind.validate.ablation import Outcome
from circuitfind.validate.checks.completeness import judge_size
from circuitfind.validate.checks.equivalence import judge_equivalence
from circuitfind.validate.checks.faithfulness import measure_faithfulness
from circuitfind.validate.checks.groups import judge_groups
from circuitfind.validate.checks.independence import judge_independence
from circuitfind.validate.checks.inflated import judge_inflated
from circuitfind.validate.checks.leave_one_out import judge_removals
from circuitfind.validate.checks.necessity import judge_answers, judge_effect
from circuitfind.validate.checks.satisfaction import judge
from circuitfind.validate.checks.selectivity import judge_row
from circuitfind.validate.finding import DesideratumScore
from circuitfind.validate.thresholds import judge_wins

PAGE = Path(__file__).parent.parent / "docs" / "rates.md"
SIZES = (8, 16, 64, 192)
Rng = np.random.Generator
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A distribution of what pairs score, and the true mean or ratio; `rare` where few pairs
    decide, so that no interval of a mean can know of them."""

    name: str
    draw: Callable[[Rng, int], tuple[Values, Values]]
    true: float
    rare: bool = False


def _plain(draw: Callable[[Rng, int], Any]) -> Callable[[Rng, int], tuple[Values, Values]]:
    return lambda rng, n: ((values := draw(rng, n)), np.ones_like(values))


def _ratio(rng: Rng, n: int, mean: float, noise: float) -> tuple[Values, Values]:
    whole = rng.normal(mean, 2, n)
    return 0.8 * whole + rng.normal(0, noise, n), whole


TRUTHS = (
    Truth(name="normal", draw=_plain(lambda rng, n: rng.normal(1, 1, n)), true=1.0),
    Truth(name="heavy tails (t, 3)", draw=_plain(lambda rng, n: rng.standard_t(3, n)), true=0.0),
    Truth(name="exponential", draw=_plain(lambda rng, n: rng.exponential(1, n)), true=1.0),
    Truth(name="lognormal", draw=_plain(lambda rng, n: rng.lognormal(0, 1, n)), true=np.exp(0.5)),
    Truth(
        name="half of the pairs lose 4",
        draw=_plain(lambda rng, n: 4.0 * (rng.random(n) < 0.5)),
        true=2.0,
    ),
    Truth(
        name="a tenth of the pairs lose 4",
        draw=_plain(lambda rng, n: 4.0 * (rng.random(n) < 0.1) + rng.normal(0, 0.01, n)),
        true=0.4,
        rare=True,
    ),
    Truth(name="ratio of means", draw=lambda rng, n: _ratio(rng, n, 5, 1), true=0.8),
    Truth(name="ratio, noisy", draw=lambda rng, n: _ratio(rng, n, 3, 2), true=0.8),
)


def coverage(truth: Truth, n: int, draws: int = 300) -> float:
    """How often the 95 % interval on `n` pairs has the true value in it."""
    hits = 0
    for seed in range(draws):
        low, high = ratio_interval(*truth.draw(np.random.default_rng([seed, n]), n), seed)
        hits += low - 1e-9 <= truth.true <= high + 1e-9
    return hits / draws


def share_coverage(share: float, n: int, draws: int = 3000) -> float:
    """The same of the exact interval of a share."""
    counts = np.random.default_rng(n).binomial(n, share, draws)
    inside = {k: interval(k, n)[0] <= share <= interval(k, n)[1] for k in set(counts.tolist())}
    return float(np.mean([inside[k] for k in counts.tolist()]))


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A check on a truth: the verdict that would be wrong there, or is right, and how often it may
    come at most or should come at least."""

    check: str
    truth: str
    verdict: str
    n: int
    draw: Callable[[Rng], str]
    most: float | None = None
    least: float | None = None

    def rate(self, draws: int = 300) -> float:
        """How often the verdict comes."""
        found = Counter(self.draw(np.random.default_rng([seed, self.n])) for seed in range(draws))
        return found[self.verdict] / draws


def _score(hits: int, n: int, name: str) -> DesideratumScore:
    low, high = interval(hits, n)
    return DesideratumScore(
        name=name,
        part="inside",
        sense="follows",
        n=n,
        null=0.0,
        ceiling=1.0,
        satisfaction=hits / n,
        low=low,
        high=high,
        at_least=0.95,
        need=0.95,
        holds=hits / n >= 0.95,
        vacuous=False,
        ablation="a",
        split="held-out",
    )


def _satisfaction(n: int, shares: Sequence[float]) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        hits = rng.binomial(n, shares)
        return judge([_score(int(k), n, str(i)) for i, k in enumerate(hits)]).verdict

    return draw


def _groups(n: int, shares: Sequence[float]) -> Callable[[Rng], str]:
    """Groups of equal size, each with its own true share."""

    def draw(rng: Rng) -> str:
        size, rows = n // len(shares), []
        for number, share in enumerate(shares):
            k = int(rng.binomial(size, share))
            low, high = interval(k, size)
            p = float(_binom(k, size))
            rows.append(
                {
                    "desideratum": "d",
                    "by": "g",
                    "group": str(number),
                    "n": size,
                    "satisfaction": k / size,
                    "low": low,
                    "high": high,
                    "need": 0.95,
                    "p": p,
                }
            )
        return judge_groups(rows).verdict

    return draw


def _binom(k: int, n: int) -> float:
    from scipy import stats

    return float(stats.binom.cdf(k, n, 0.95))


def _members(n: int, losses: Sequence[float]) -> Callable[[Rng], str]:
    """Members whose removal loses this share of pairs; a hundredth more is lost and won by chance,
    in each of three desiderata, of which the loss is in the first."""

    def draw(rng: Rng) -> str:
        changes = {}
        for number, loss in enumerate(losses):
            first = (loss + 0.01, 0.01, max(0.0, 0.98 - loss))
            tables = [rng.multinomial(n, p) for p in (first, (0.01, 0.01, 0.98), (0, 0.01, 0.99))]
            changes[f"s{number}"] = {
                str(d): (int(lost), int(won), n) for d, (lost, won, _) in enumerate(tables)
            }
        return judge_removals(changes).verdict

    return draw


def _faithful(n: int, kept: float, flips: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        whole, empty = rng.normal(4, 2, n), rng.normal(-4, 2, n)
        mine = empty + kept * (whole - empty) + rng.normal(0, 1, n)
        scores = torch.tensor(np.stack([whole, mine, empty]))
        right = torch.ones(3, n, dtype=torch.bool)
        right[1] = torch.tensor(rng.random(n) >= flips)
        made = Outcome(scores, torch.zeros(3, n), right, right)
        return measure_faithfulness("source", made, int(rng.integers(2**31)))["verdict"]

    return draw


def _effect(n: int, effect: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        whole = rng.normal(4, 2, n)
        without = whole - effect - rng.normal(0, 2, n)
        return judge_effect(
            np.stack([whole, without, without]), 0, int(rng.integers(2**31))
        ).verdict

    return draw


def _completeness(n: int, gap: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        range_ = rng.normal(8, 2, n)
        low, high = ratio_interval(gap * range_ + rng.normal(0, 1, n), range_, 0)
        ends = (0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)))
        return judge_size(*ends)

    return draw


def _equivalence(n: int, shift: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        model = rng.normal(4, 2, n)
        return judge_equivalence(model, model + shift + rng.normal(0, 1, n), model - 8).verdict

    return draw


def _independence(n: int, depends: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        model, empty = rng.normal(4, 2, n), rng.normal(-4, 1, n)
        without = empty + depends * model + rng.normal(0, 0.5, n)
        return judge_independence(model, without, empty, int(rng.integers(2**31))).verdict

    return draw


def _inflated(members: int, references: int, worth: float) -> Callable[[Rng], str]:
    """Members that all lose this much when they go; what random sites lose is exponential."""

    def draw(rng: Rng) -> str:
        losses = rng.exponential(1, members + references)
        losses[:members] = worth
        names = [str(n) for n in range(members + references)]
        return judge_inflated(names, losses, members).verdict

    return draw


def _selectivity(own: float, other: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        counts = (int(k) for k in rng.binomial(32, (other, own)))
        rows: list[dict[str, Any]] = [
            {"low": low, "high": high} for low, high in (interval(k, 32) for k in counts)
        ]
        return judge_row(rows[0], rows[1])

    return draw


def _report(rng: Rng, n: int, share: float, solved: float, drawn: int) -> dict[str, Any]:
    missed = np.flatnonzero(rng.random(drawn) > solved)
    wrong = np.flatnonzero(rng.random(n) > share).tolist()
    score = _score(n - len(wrong), n, "follows x")
    row = {"name": "follows x", "split": "held-out", "n": drawn, "solved": drawn - len(missed)}
    row |= {"missed": missed.tolist(), "drawn": "d"}
    return {"desiderata": [{**vars(score), "wrong": wrong}], "checks": [], "solved": [row]}


def _drift(n: int, before: float, after: float) -> Callable[[Rng], str]:
    def draw(rng: Rng) -> str:
        sides = [_report(rng, n, share, 0.95, round(1.25 * n)) for share in (before, after)]
        return "drift" if drifted(*sides) else "none"

    return draw


def rates() -> Iterator[Verdicts]:
    """Every verdict that rests on a test: how often it is wrong, and how often it is found."""

    def made(check: str, truth: str, verdict: str, n: int, draw: Any, **bounds: float) -> Verdicts:
        return Verdicts(check=check, truth=truth, verdict=verdict, n=n, draw=draw, **bounds)

    for n in (16, 64, 192):
        for k in (1, 5):
            draw = _satisfaction(n, [0.95] * k)
            yield made("satisfaction", f"{k} at the bound", "fails", n, draw, most=0.05)
            draw = _satisfaction(n, [0.95] + [1.0] * (k - 1))
            yield made("satisfaction", f"one of {k} at the bound", "holds", n, draw, most=0.05)
        yield made("satisfaction", "0.8", "fails", n, _satisfaction(n, [0.8]))
        yield made("satisfaction", "five of 0.99", "holds", n, _satisfaction(n, [0.99] * 5))
        yield made("groups", "8 at the bound", "fails", n, _groups(n, [0.95] * 8), most=0.05)
        draw = _groups(n, [0.5] + [0.99] * 7)
        yield made("groups", "one of 8 at 0.5", "fails", n, draw)
        draw = _members(n, [0.2] * 7 + [0.0])
        yield made("leave one out", "one of 8 idle", "holds", n, draw, most=0.05)
        draw = _members(n, [0.2] * 7 + [0.06])
        yield made("leave one out", "the least worth 0.06", "fails", n, draw, most=0.05)
        draw = _members(n, [0.3] * 8)
        yield made("leave one out", "8 worth 0.3", "holds", n, draw)
        yield made("drift", "0.96 twice", "drift", n, _drift(n, 0.96, 0.96), most=0.05)
        yield made("drift", "0.99 twice", "drift", n, _drift(n, 0.99, 0.99), most=0.05)
        yield made("drift", "0.98, then 0.85", "drift", n, _drift(n, 0.98, 0.85))
    for wins, name, verdict in ((0.9, "0.9 beaten", "holds"), (0.9, "0.9 beaten", "fails")):
        yield made("random circuits", name, verdict, 100, _wins(100, wins), most=0.05)
    yield made("random circuits", "0.97 beaten", "holds", 100, _wins(100, 0.97))
    for n in (16, 64):
        draw = _faithful(n, 0.8, 0.0)
        yield made("faithfulness", "f at its limit", "holds", n, draw, most=0.05)
        yield made("faithfulness", "f at its limit", "fails", n, draw, most=0.05)
        yield made("faithfulness", "f = 1", "holds", n, _faithful(n, 1.0, 0.0))
        yield made("faithfulness", "f = 0.5", "fails", n, _faithful(n, 0.5, 0.0))
        yield made("completeness", "at 0.2", "holds", n, _completeness(n, 0.2), most=0.05)
        yield made("completeness", "at 0.5", "fails", n, _completeness(n, 0.5), most=0.05)
        yield made("equivalence", "the model itself", "fails", n, _equivalence(n, 0.0), most=0.05)
        yield made("equivalence", "3 of 8 less", "fails", n, _equivalence(n, -3.0))
    yield made("necessity", "no effect", "holds", 32, _effect(32, 0.0), most=0.05)
    yield made("necessity", "an effect of 2", "holds", 32, _effect(32, 2.0))
    for verdict in ("holds", "fails"):
        draw = _kept(32, 0.5)
        yield made("necessity", "half of the answers stay", verdict, 32, draw, most=0.05)
        draw = _selectivity(0.8, 0.4)
        yield made("selectivity", "half as much changes", verdict, 32, draw, most=0.05)
    yield made("independence", "nothing is left", "fails", 64, _independence(64, 0.0), most=0.05)
    yield made("independence", "0.5 is left", "fails", 64, _independence(64, 0.5))
    draw = _inflated(6, 100, np.log(10))  # greater than 0.9 of random sites' losses
    yield made("inflated circuits", "outweigh 0.9 of all", "fails", 100, draw, most=0.05)
    draw = _inflated(6, 100, np.log(2))
    yield made("inflated circuits", "outweigh 0.5 of all", "fails", 100, draw)


def _wins(n: int, share: float) -> Callable[[Rng], str]:
    return lambda rng: judge_wins(int(rng.binomial(n, share)), n)


def _kept(n: int, share: float) -> Callable[[Rng], str]:
    return lambda rng: judge_answers(int(rng.binomial(n, share)), n).verdict


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The tables as Markdown."""
    lines = [*HEAD, "| what is drawn | " + " | ".join(f"n = {n}" for n in SIZES) + " |"]
    lines.append("|---|" + "---|" * len(SIZES))
    for truth in TRUTHS:
        cells = " | ".join(f"{coverage(truth, n):.3f}" for n in SIZES)
        lines.append(f"| {truth.name} | {cells} |")
    for share in (0.5, 0.95):
        cells = " | ".join(f"{share_coverage(share, n):.3f}" for n in SIZES)
        lines.append(f"| share of {share:g}, exact | {cells} |")
    lines += [*VERDICTS]
    for one in rates():
        bound = f"at most {one.most:g}" if one.most is not None else "power"
        lines.append(
            f"| {one.check} | {one.truth} | {one.verdict} | {one.n} | {one.rate():.3f} | {bound} |"
        )
    return "\n".join([*lines, *TAIL]) + "\n"


HEAD = (
    "# How often intervals cover and verdicts err",
    "",
    "Written by `python -m scripts.measure_rates`: 300 draws a row (4,000 for shares), whose",
    "standard error at 0.05 is 0.013. A part is measured again by `tests/test_rates.py`.",
    "",
    "## Intervals",
    "",
    "How often the 95 % interval has the true value in it. Means and ratios of means have the",
    "wider of Student's and the studentised bootstrap's on each side (`objective/intervals.py`);",
    "fewer than 8 pairs get none. Where a few pairs decide, as in *a tenth of the pairs lose 4*,",
    "samples without one of them cannot know of it: such an interval needs some 50 pairs.",
    "Lognormal losses are covered less often than stated below 64 pairs.",
    "",
)
VERDICTS = (
    "",
    "## Verdicts",
    "",
    "How often a verdict comes where it is wrong, and how often it is found where it is right",
    "(power). `n` is pairs of each desideratum, random circuits, or prompts. The truths are the",
    "hardest ones: a share at its bound, a member just worth its place.",
    "",
    "| check | truth | verdict | n | rate | |",
    "|---|---|---|---|---|---|",
)
TAIL = (
    "",
    "`pairs`, `rival`, `stability` and `controls` have no rate of this kind: the first two are",
    "exact about the pairs and circuits at hand, stability compares a mean with 0.8 and says what",
    "it is, controls compare with a bound far off. The curve's p value is a rank among random",
    "orders, exact by its making.",
)

if __name__ == "__main__":
    main()
