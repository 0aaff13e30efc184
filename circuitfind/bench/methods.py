"""Every search method on tasks whose circuit nobody knows, at equal FLOPs.

The budget of a task, seed and number of pairs is what the default method spends there. A method
that learns gets as many optimiser steps as bring its search near the budget; one without steps
spends what it spends. Each row has the FLOPs that its search really took.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import mean
from typing import Any

from ..objective.cost import Cost
from ..objective.mask import membership_of
from ..objective.objective import Objective
from ..progress import Progress
from ..runs.pairs import Evidence
from ..runs.settings import Settings, search_config
from ..search import SearchResult, method_named, search
from ..sweeps.points import evidence_of, model_of
from ..sweeps.running import run_points
from ..sweeps.work import Ended, Where
from ..validate.finding import DesideratumScore
from ..validate.scores import score_desiderata

# The model on which each task is asked. SmolLM2 does arithmetic on variables once fine-tuned.
TASKS = {
    "ioi": "smollm2-135m",
    "arithmetic": "smollm2-135m-binding",
    "agreement-phrase": "smollm2-135m",
    "greater-than": "smollm2-135m",
}
QUICK = {"variable_binding": "binder", "planted": "planted"}
DEFAULT = Settings(task="").method
FIRST = 20  # steps of the first try, from which their price is known
TRIES = 4
NEAR = 0.1  # a search spends its budget where it comes within this share of it


def tasks_named(names: Sequence[str], part: str) -> dict[str, str]:
    """Tasks by name, each with its model; those of a part where none is named.

    Args:
        names: of tasks that have a model here, or `TASK@MODEL`.

    Raises:
        LookupError: a task without a model, every one at once.
    """
    known = TASKS | QUICK
    made: dict[str, str] = {}
    problems = []
    for name in names:
        task, _, model = name.partition("@")
        if model or task in known:
            made[task] = model or known[task]
        else:
            problems.append(f"name a model for {task!r}: {task}@MODEL")
    if problems:
        raise LookupError(f"{'; '.join(problems)}; with one already: {', '.join(known)}")
    return made or (QUICK if part == "quick" else TASKS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One search to make: a method, with local search or without, with a budget in FLOPs.

    Without a budget it takes as many steps as by default, and what it spends is the budget of the
    others.
    """

    task: str
    model: str
    method: str
    polish: bool
    seed: int
    n: int
    budget: int | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the search."""
        return Settings(
            task=self.task,
            model=self.model,
            method=self.method,
            polish=self.polish,
            seed=self.seed,
            n=self.n,
        )


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """What one search found and cost.

    Args:
        steps: optimiser steps that it was allowed, None for a method without steps and where the
            default number was made.
        tries: searches made until one was near the budget.
        satisfaction: the lowest of a desideratum on held-out pairs, a share; `worst` is which.
        interchange: interchange accuracy (Davies et al. 2023, arXiv 2307.03637): the share of
            held-out pairs on which the model, with the circuit patched from the source, says what
            the causal model says; the mean over desiderata.
        holds: whether every desideratum reaches its bound on held-out pairs.
        flops, seconds: of the search alone.
    """

    task: str
    model: str
    method: str
    polish: bool
    seed: int
    n: int
    budget: int
    flops: int
    seconds: float
    steps: int | None
    tries: int
    success: bool
    holds: bool
    size: int
    of: int
    satisfaction: float
    worst: str
    interchange: float
    message: str
    sites: str

    @property
    def key(self) -> tuple:
        """What tells rows apart."""
        return (self.task, self.model, self.method, self.polish, self.seed, self.n, self.budget)


class Meter(Progress):
    """Notes after which steps a search had spent how many FLOPs."""

    def __init__(self) -> None:
        self.spent: dict[int, int] = {}

    def save(self, state: Mapping[str, Any]) -> None:
        if "step" in state:
            self.spent[state["step"]] = state["cost"]["flops"]

    @property
    def made(self) -> int:
        """How many steps were made; 0 for a method without steps."""
        return max(self.spent, default=0)

    def price(self, total: int) -> float:
        """The FLOPs of a step; where only one was noted, as if all that was spent were steps."""
        first, last = min(self.spent), max(self.spent)
        if first == last:
            return total / last
        return (self.spent[last] - self.spent[first]) / (last - first)


def measure(entry: Entry) -> MethodRow:
    """The row of one entry.

    Raises:
        ValueError, LookupError: as `discover`.
    """
    model = model_of(entry.settings)
    evidence = evidence_of(model, entry.settings)
    tries: list[tuple[SearchResult, int | None]] = []
    steps = None if entry.budget is None else FIRST
    while True:
        meter = Meter()
        found = search(
            model,
            evidence.search,
            entry.method,
            config=search_config(replace(entry.settings, steps=steps)),
            progress=meter,
        )
        tries.append((found, steps if meter.made else None))
        spent = [(_flops(result), made) for result, made in tries]
        steps = next_steps(entry.budget, spent, meter)
        if steps is None:
            break
    budget = entry.budget or _flops(found)
    result, made = min(tries, key=lambda one: abs(_flops(one[0]) - budget))
    return _row(entry, budget, result, made, len(tries), evidence)


def _flops(result: SearchResult) -> int:
    return int(result.cost["flops"])


def next_steps(
    budget: int | None, tries: Sequence[tuple[int, int | None]], meter: Meter
) -> int | None:
    """With how many steps to try again; None where the last try is near the budget, or no other
    number of steps would bring it nearer.

    Args:
        tries: what each try spent, with its steps.
        meter: of the last try.
    """
    flops, steps = tries[-1]
    if budget is None or steps is None or len(tries) == TRIES:
        return None
    if abs(flops - budget) <= NEAR * budget or (meter.made < steps and flops < budget):
        return None
    price = meter.price(flops)
    wanted = max(1, round(meter.made + (budget - flops) / price))
    return None if wanted in {made for _, made in tries} else wanted


def _row(
    entry: Entry,
    budget: int,
    result: SearchResult,
    steps: int | None,
    tries: int,
    evidence: Evidence,
) -> MethodRow:
    sites = result.mask.sites
    objective = Objective(model_of(entry.settings), evidence.held_out, sites, Cost())
    membership = membership_of(sites, result.circuit.sites)
    scores = score_desiderata(objective, objective.bounds(), membership)
    worst = min(scores, key=lambda score: score.satisfaction)
    return MethodRow(
        task=entry.task,
        model=entry.model,
        method=entry.method,
        polish=entry.polish,
        seed=entry.seed,
        n=entry.n,
        budget=budget,
        flops=_flops(result),
        seconds=float(result.cost["seconds"]),
        steps=steps,
        tries=tries,
        success=result.success,
        holds=all(score.holds for score in scores),
        size=len(result.circuit),
        of=len(sites),
        satisfaction=worst.satisfaction,
        worst=worst.name,
        interchange=interchange_accuracy(scores),
        message=result.message,
        sites=" ".join(map(str, result.circuit.sites)),
    )


def interchange_accuracy(scores: Sequence[DesideratumScore]) -> float:
    """The share of pairs that come out as the causal model says, the mean over desiderata that
    patch the circuit itself; of a desideratum with a limit, too, whose satisfaction is another
    number."""
    inside = [score for score in scores if score.part == "inside"] or list(scores)
    return mean(1 - len(score.wrong) / score.n for score in inside)


Done = Callable[[MethodRow, int, int], None]


def compare_methods(
    tasks: Mapping[str, str],
    methods: Sequence[str],
    *,
    n: int,
    seeds: int,
    flops: int | None = None,
    kept: Sequence[MethodRow] = (),
    where: Where | None = None,
    done: Done = lambda row, count, total: None,
) -> tuple[tuple[MethodRow, ...], dict[str, Ended[MethodRow]]]:
    """Rows of every method on every task with every seed, with local search and without; and, by
    its words, what could not be measured.

    Args:
        tasks: by name, each with its model.
        flops: the budget of every search; by default what the default method spends.
        kept: rows of an earlier call, which are not made again.
        done: called with each row as it comes, their number so far, and their number at the end.
    """
    made = {row.key: row for row in kept}
    rows: list[MethodRow] = []
    failed: dict[str, Ended[MethodRow]] = {}
    each = [(task, model, seed) for seed in range(seeds) for task, model in tasks.items()]
    own = method_named(DEFAULT).polish
    total = len(each) * len(methods) * 2 + (DEFAULT not in methods) * (flops is None) * len(each)

    def run(entries: Sequence[Entry], known: Mapping[Entry, MethodRow]) -> None:
        rows.extend(known.values())
        left = [entry for entry in entries if entry not in known]
        for number, ended in run_points(left, measure, where):
            if ended.result is None:
                failed[_words(left[number])] = ended
                continue
            rows.append(ended.result)
            done(ended.result, len(rows), total)

    budgets: dict[tuple[str, str, int], int] = {}
    if flops is None:
        first = [_entry(*one, DEFAULT, own, n) for one in each]
        before = {row.key[:-1]: row for row in kept if row.flops == row.budget}
        run(first, {entry: before[_key(entry)] for entry in first if _key(entry) in before})
        budgets = {(row.task, row.model, row.seed): row.budget for row in rows}
    left = [
        _entry(*one, method, polish, n, budget)
        for one, method, polish in product(each, methods, (False, True))
        if (budget := flops or budgets.get(one)) and (flops or (method, polish) != (DEFAULT, own))
    ]
    run(left, {entry: row for entry in left if (row := made.get((*_key(entry), entry.budget)))})
    return tuple(rows), failed


def _entry(
    task: str, model: str, seed: int, method: str, polish: bool, n: int, budget: int | None = None
) -> Entry:
    return Entry(
        task=task, model=model, method=method, polish=polish, seed=seed, n=n, budget=budget
    )


def _key(entry: Entry) -> tuple:
    return entry.task, entry.model, entry.method, entry.polish, entry.seed, entry.n


def _words(entry: Entry) -> str:
    ending = "with" if entry.polish else "without"
    return f"{entry.task} in {entry.model}: {entry.method} {ending} local search, seed {entry.seed}"
