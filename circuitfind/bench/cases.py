"""The benchmark: every search method on models whose circuits are known.

A case is a model, a claim, and every circuit that is right: planted models by construction,
compiled and trained ones by exhaustive search under the same ablation. Grafted models are the large
ones, of 104 and 208 sites in a trained language model with layer norm. A control is a model whose
weights are shuffled, of which the claim does not hold, or a near miss, where one of the necessary
sites cannot be patched; there a method should report failure.

A row `METHOD + local search` is of a method that ends in the moves of `search/local_search.py` and
by default does not; a row `METHOD - local search` is of one that does not and by default does. So
`random + local search` is what a learned mask has to beat.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

import torch

from desiderata import Donor, Sampleable

from ..circuits.storage import write_text
from ..claims import SAVED, load_claim
from ..mediators.known import parse_site
from ..models.catalogue import native_models
from ..models.grafted import grafted_truth, parse_grafted
from ..models.loading import load_model, load_truth
from ..models.model import Model, shuffle_weights
from ..models.planted import Circuits, parse_planted, planted_truth
from ..objective.encoding import Batch, encode
from ..objective.intervals import interval
from ..objective.mask import membership_of
from ..objective.objective import Objective, slack
from ..records import parse_json, read_record, together
from ..search import Method, MethodSpec, SearchConfig, candidate_sites, method_named, search
from ..sweeps.running import run_points
from ..sweeps.work import Where
from .truth import auroc, recovery

Kept = TypeVar("Kept")
Kind = Literal["planted", "compiled", "trained", "grafted", "control"]

PLANTED = {
    "one carrier": "planted:parts=1",
    "two carriers": "planted:parts=2,decoys=3,distractors=1",
    "three carriers": "planted:layers=3,heads=6,parts=3,decoys=4,distractors=4",
    "backups, inhibitor": "planted:layers=3,heads=6,parts=2,backups=1,inhibitors=1,decoys=3",
    "two backups": "planted:layers=3,heads=8,parts=2,backups=2,decoys=3,seed=1",
    "MLP carries": "planted:layers=3,heads=6,parts=2,mlps=carry,decoys=3",
    "six of 52, noise": (
        "planted:layers=4,heads=12,parts=3,backups=1,decoys=4,distractors=8,mlps=busy,noise=0.0005"
    ),
}
CONTROLS = ("one carrier", "two carriers")
CLAIMS = ("planted", "planted-inside")
# Claims of tasks/grafted.py; as many that ask for what is inside as complete ones.
GRAFTED = {
    "three parts": ("grafted:parts=3", ("claim", "complete")),
    "six parts": ("grafted:parts=6,seed=1", ("claim", "complete")),
    "three parts, two places": (
        "grafted:parts=3,places=2,seed=1",
        ("two_places", "two_places_complete"),
    ),
    "six parts, two places": (
        "grafted:parts=6,places=2,seed=1",
        ("two_places", "two_places_complete"),
    ),
    "three parts, mixer": ("grafted:parts=3,mixers=1,seed=1", ("claim", "complete")),
    "six parts, mixer": ("grafted:parts=6,mixers=1,seed=2", ("claim", "complete")),
}
GRAFTED_NEAR = ("three parts", "six parts, two places")  # models of near misses
LOCAL, WITHOUT = " + local search", " - local search"
PAIRS = 64  # of each desideratum; saved inputs are all taken
GRAFTED_PAIRS = 48
# Fewer steps than published in the part that is run often; the part `published` has them all.
STEPS = {"dcm-2023": 60, "sigmoid": 150, "hard-concrete": 150, "budget": 100}
GREATEST = 1e30  # number of a row, such as its FLOPs
QUICK, QUICK_SEEDS = 3, 2  # the quick part has every third case, and two seeds
Part = Literal["quick", "main", "all", "large", "published"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, a claim about it, and every circuit that is right; none where nothing is.

    `missing` names sites that cannot be patched, `published` whether methods take as many as
    published.
    """

    name: str
    kind: Kind
    model: str
    task: str
    donor: Donor | None
    truth: Circuits
    missing: tuple[str, ...] = ()
    published: bool = False

    @property
    def pairs(self) -> int:
        """How many pairs of each desideratum are drawn; saved inputs are all taken."""
        if self.task == SAVED:
            return 10**6
        return GRAFTED_PAIRS if self.model.startswith("grafted") else PAIRS

    def load(self) -> tuple[Model, Sampleable]:
        """The model and the claim about it."""
        model = load_model(self.model, device="cpu")
        if self.kind == "control" and not self.missing:
            model = shuffle_weights(model, seed=0)
        return model, load_claim(self.task, self.model, self.donor)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search: what it found, how right that is, and what it cost.

    `exact` says whether the circuit is one of the right ones; `f1` and `auroc` are the best over
    them, None where nothing is right or where there are no sites of one class; `inside` and
    `outside` are the sizes of both classes. `slack` is by how much the worst-off desideratum
    clears its bound on held-out pairs, a share of pairs.
    """

    case: str
    kind: str
    ablation: str
    method: str
    seed: int
    success: bool
    size: int
    exact: bool | None
    f1: float | None
    auroc: float | None
    inside: int
    outside: int
    slack: float
    tokens: int
    flops: int
    seconds: float
    problems: str
    sites: str


def known_cases(part: Part = "main") -> tuple[Case, ...]:
    """The cases, in the order of the tables: planted, compiled, trained, controls.

    Args:
        part: "all" has every planted model with every claim, and every other model with every
            ablation; "main" leaves out cases of a model that are right in the same way as one
            before, and all but the first of a trained model, which take longest; "quick" is every
            third case of main, and one control; "large" is the grafted models and their near
            misses; "published" is the large cases at one place, with as many steps as published.
    """
    if part in ("large", "published"):
        return _large_cases(part == "published")
    cases = [
        Case(
            name=f"{name}: {task}",
            kind="planted",
            model=model,
            task=task,
            donor=None,
            truth=planted_truth(parse_planted(model), task),
        )
        for name, model in PLANTED.items()
        for task in CLAIMS
    ]
    for name in native_models():
        for donor, circuits in load_truth(name).items():
            kind: Kind = "trained" if "siit" in name else "compiled"
            sites = tuple(frozenset(parse_site(f"{one}@all") for one in c) for c in circuits)
            cases.append(
                Case(
                    name=f"{name}: {donor}",
                    kind=kind,
                    model=name,
                    task=SAVED,
                    donor=donor,
                    truth=sites,
                )
            )
    controls = [
        Case(
            name=f"{name}: shuffled weights",
            kind="control",
            model=PLANTED[name],
            task="planted-inside",
            donor=None,
            truth=(),
        )
        for name in CONTROLS
    ]
    if part != "all":
        keys = [(case.model, () if case.kind == "trained" else case.truth) for case in cases]
        cases = [case for n, case in enumerate(cases) if keys[n] not in keys[:n]]
    if part == "quick":
        cases, controls = cases[::QUICK], controls[:1]
    return (*cases, *controls)


def _large_cases(published: bool) -> tuple[Case, ...]:
    """The grafted models, each with a claim about what is inside and a complete one, and near
    misses: models of which one necessary site cannot be patched."""
    made = []
    for name, (model, claims) in GRAFTED.items():
        grafted = parse_grafted(model)
        if published and grafted.places == 2:
            continue
        for claim in claims:
            truth = grafted_truth(grafted, claim)
            case = Case(
                name=f"{name}: {claim}",
                kind="grafted",
                model=model,
                task=f"grafted-{claim}".replace("_", "-"),
                donor=None,
                truth=truth,
                published=published,
            )
            made.append(case)
            if name in GRAFTED_NEAR and claim == claims[0]:
                # Without a site of every right circuit, and no other in its stead.
                site = min(map(str, frozenset.intersection(*truth)))
                near = f"{name}: near miss"
                made.append(replace(case, name=near, kind="control", truth=(), missing=(site,)))
    return tuple(made)


@lru_cache(maxsize=8)
def open_case(case: Case, seed: int) -> tuple[Model, tuple[Batch, ...], tuple[Batch, ...]]:
    """The model, and the pairs for search and held out; kept for the next method."""
    model, claim = case.load()
    train, held_out = claim.sample(case.pairs, seed)
    return model, encode(model, train), encode(model, held_out)


def run_case(case: Case, method: str | MethodSpec | Method, seed: int) -> Row:
    """One search on one case, scored against what is right.

    Pairs are taken as they are drawn, whether the model solves them or not: planted and compiled
    models solve all, a control those that chance gives it.
    """
    spec, polish = method_row(method)
    model, train, held_out = open_case(case, seed)
    desiderata = [batch.desideratum for batch in train]
    sites = [one for one in candidate_sites(model, desiderata) if str(one) not in case.missing]
    steps = None if case.published else STEPS.get(spec.name)
    config = SearchConfig(seed=seed, steps=steps, polish=polish)
    result = search(model, train, spec, sites=sites, config=config)
    found = result.circuit.sites
    nearest = recovery(found, case.truth) if case.truth else None
    areas = [auroc(result.ranking, sites, right) for right in case.truth]
    best = max(areas, key=lambda area: area.value or 0.0, default=None)
    objective = Objective(model, held_out, sites)
    scores = objective.scores(membership_of(sites, found)[None])
    clear = slack(scores, objective.bounds(), [0.0] * len(held_out))
    return Row(
        case=case.name,
        kind=case.kind,
        ablation=case.donor or "source",
        method=row_name(spec, polish),
        seed=seed,
        success=result.success,
        size=len(found),
        exact=nearest and nearest.exact,
        f1=nearest and nearest.f1,
        auroc=best and best.value,
        inside=best.inside if best else 0,
        outside=best.outside if best else len(sites),
        slack=float(clear[0]),
        tokens=int(result.cost["tokens_forward"] + result.cost["tokens_backward"]),
        flops=int(result.cost["flops"]),
        seconds=float(result.cost["seconds"]),
        problems="; ".join(result.problems),
        sites=" ".join(map(str, found)),
    )


def method_row(method: str | MethodSpec | Method) -> tuple[MethodSpec, bool]:
    """The method of a row, and whether it ends in local search.

    Args:
        method: as in `search`; a name may end in `+ local search`, or in `- local search` for a
            method that ends in it by default.
    """
    if isinstance(method, str):
        for ending, polish in ((LOCAL, True), (WITHOUT, False)):
            if method.endswith(ending):
                return method_named(method.removesuffix(ending)), polish
    spec = method_named(method)
    return spec, spec.polish


def row_name(method: str | MethodSpec | Method, polish: bool | None = None) -> str:
    """What a row of this method is called, with local search or without it, by default as the
    method has it."""
    spec, own = method_row(method)
    wanted = own if polish is None else polish
    if wanted == spec.polish:
        return spec.name
    return spec.name + (LOCAL if wanted else WITHOUT)


def run_cases(
    cases: Sequence[Case],
    methods: Sequence[str | MethodSpec | Method],
    seeds: int,
    *,
    kept: Sequence[Row] = (),
    workers: int = 2,
    ray: str | None = None,
    done: Callable[[Row, int, int], None] = lambda row, count, total: None,
) -> tuple[Row, ...]:
    """Every method on every case with every seed, in that order.

    Args:
        methods: as in `search`. With more than one worker, the function of a method has to be at
            the top of a module, so that the processes can import it.
        kept: rows of an earlier call, which are not made again.
        workers: processes, of one thread each; 1 runs everything here.
        ray: where to run them on Ray instead, as in `sweeps.work.Where`.
        done: told of each row as it comes, how many there are and how many there will be.
    """
    made = {(row.case, row.method, row.seed): row for row in kept}
    # A name is looked up when it is run: rows of a method that is gone may be kept.
    specs = [one if isinstance(one, str) else method_named(one) for one in methods]
    jobs = [(case, spec, seed) for case in cases for spec in specs for seed in range(seeds)]
    keys = [
        (case.name, spec if isinstance(spec, str) else spec.name, seed) for case, spec, seed in jobs
    ]
    left = [job for job, key in zip(jobs, keys, strict=True) if key not in made]
    for row in _run(left, workers, ray):
        made[row.case, row.method, row.seed] = row
        done(row, sum(key in made for key in keys), len(keys))
    return tuple(made[key] for key in keys)


def _run(
    jobs: Sequence[tuple[Case, str | MethodSpec, int]], workers: int, ray: str | None
) -> Iterator[Row]:
    if ray is not None:
        where = Where(ray=ray, workers=workers)
        yield from (ended.value() for _, ended in run_points(jobs, _run_job, where))
        return
    if workers == 1:
        yield from (run_case(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_begin) as pool:
        for future in as_completed([pool.submit(run_case, *job) for job in jobs]):
            yield future.result()


def _run_job(job: tuple[Case, str | MethodSpec, int]) -> Row:
    return run_case(*job)


def _begin() -> None:
    """Begin a worker: of one thread, and not left behind where its parent is killed."""
    torch.set_num_threads(1)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each method, over all cases and seeds: exact recovery with its 95 % interval,
    median AUROC, mean F1, median cost, successes claimed on controls, and whether it lies on the
    frontier: no other method is as exact for fewer FLOPs."""
    made = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        known = [row for row in mine if row.exact is not None]
        controls = [row for row in mine if row.kind == "control"]
        hits = sum(bool(row.exact) for row in known)
        areas = [row.auroc for row in known if row.auroc is not None]
        claimed = sum(row.success for row in controls)
        made.append(
            {
                "method": method,
                "n": len(known),
                "exact": hits / len(known) if known else None,
                "interval": interval(hits, len(known)) if known else None,
                "median auroc": median(areas) if areas else None,
                "mean f1": sum(row.f1 or 0.0 for row in known) / len(known) if known else None,
                "said to hold": sum(row.success for row in known),
                "median flops": median(row.flops for row in mine),
                "median tokens": median(row.tokens for row in mine),
                "seconds": round(sum(row.seconds for row in mine), 1),
                "controls": len(controls),
                "successes on controls": claimed,
                "their interval": interval(claimed, len(controls)) if controls else None,
            }
        )
    for row in made:
        row["frontier"] = row["exact"] is not None and not any(
            other["exact"] is not None and _dominates(other, row) for other in made
        )
    return made


def _dominates(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a method is as exact for fewer FLOPs, or more exact for no more."""
    mine, its = ((row["exact"], -row["median flops"]) for row in (one, other))
    return mine != its and all(a >= b for a, b in zip(mine, its, strict=True))


def read_rows(path: str | Path, kind: type[Kept] = Row) -> tuple[Kept, ...]:
    """The rows that an earlier call kept, one JSON object a line; a line that was cut off by a
    kill is left out.

    Args:
        kind: the dataclass that a line is read as.

    Raises:
        ValueError: lines that hold something else, all at once.
    """
    if not Path(path).is_file():
        return ()
    rows, problems = [], []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            content = parse_json(line, path)
        except ValueError:
            continue
        try:
            row = read_record(kind, content, where=f"line {number}")
            numbers = {k: v for k, v in asdict(row).items() if isinstance(v, int | float)}
            if huge := [name for name, value in numbers.items() if abs(value) > GREATEST]:
                raise ValueError(f"line {number}: {', '.join(huge)} must be up to {GREATEST:g}")
            rows.append(row)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            f"{together(str(path), problems)}; remove the lines, or name another folder"
        )
    return tuple(rows)


def mend_rows(path: str | Path, rows: Sequence[Any]) -> None:
    """Write these rows in place of what a file of rows holds, where a kill cut a line off: the
    next row would be written on the same line."""
    text = "".join(map(row_line, rows))
    if Path(path).is_file() and Path(path).read_bytes() != text.encode():
        write_text(path, text)


def row_line(row: Any) -> str:
    """A row as a line of the file that `read_rows` reads."""
    return json.dumps(asdict(row)) + "\n"
