"""The experiment of Davies et al. 2023 (arXiv 2307.03637) on SmolLM2, with controls.

    python -m scripts.reproduce_dcm                      # all of it: hours on two cores
    python -m scripts.reproduce_dcm --seeds 1 --n 64     # a look
    python -m scripts.reproduce_dcm --ray local          # the searches on Ray
    python -m scripts.reproduce_dcm --kept               # tables of what is there, in seconds

Which heads and MLPs at the last token retrieve the values of variables? Searches by three methods
over several seeds, one desideratum alone against both, stricter claims, random circuits of every
size, transfer without searching again, the model before fine-tuning, which sites back each other
up, and what circuits of other tasks share with this one. Every search is a run folder under
--runs, every measurement a file beside them, and both are kept (those of the published tables are
in figures/dcm/runs), so that a call that was broken off goes on; tables and figures go to --out,
with the command that made them.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from circuitfind.circuits.circuit import Circuit
from circuitfind.circuits.storage import write_text
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.runs.compare import compare, open_sides, save_comparison
from circuitfind.runs.pairs import Evidence, gather
from circuitfind.runs.pictures import write_comparison_page
from circuitfind.runs.run import discover, load_run
from circuitfind.runs.settings import Settings
from circuitfind.sweeps.plan import Point
from circuitfind.sweeps.points import run_point
from circuitfind.sweeps.running import run_points
from circuitfind.sweeps.work import Where
from desiderata import Claim, choice
from scripts.dcm_figures import draw_backups, draw_sizes
from scripts.dcm_measures import (
    compare_sizes,
    measure_backups,
    measure_band,
    measure_before,
    measure_scores,
    measure_stability,
)
from scripts.dcm_tables import write_tables
from tasks import arithmetic, binding

ROOT = Path(__file__).resolve().parent.parent
MODEL, BEFORE = "smollm2-135m-binding", "smollm2-135m"
METHODS = ("constrained", "dcm-2024", "dcm-2023")
OTHER_CLAIMS = ("arithmetic-value", "arithmetic-values", "arithmetic-x")
OVER_SEEDS = ("arithmetic-values",)  # of those, searched by every seed
SMALL = 8  # sites: as heads, 3 % of them; so many are asked of that claim, too
OTHER_TASKS = ("word-problems", "retrieval", "boxes")
BAND_PAIRS, PAIRS_BEFORE, PAIRS_COMPARED = 32, 32, 96

Found = tuple[Circuit, dict[str, Any]]
Search = tuple  # what `Plan.run` takes: task, method, seed, and a size where one is asked for


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run, with how many pairs and seeds, and where it is kept.

    The pairs of a claim and a seed are gathered once, for all methods. With `kept`, what is not
    there is not made and comes back as None.
    """

    name: str
    n: int
    seeds: int
    runs: Path
    kept: bool
    loaded: dict[str, Model] = field(default_factory=dict)
    gathered: dict[tuple[str, int], Evidence] = field(default_factory=dict)

    def model(self, name: str | None = None) -> Model:
        """The model of this name, by default the experiment's, loaded when first asked for."""
        name = name or self.name
        if name not in self.loaded:
            self.loaded[name] = load_model(name)
        return self.loaded[name]

    def settings(self, task: str, method: str, seed: int, size: int | None = None) -> Settings:
        n = min(self.n, PAIRS_COMPARED) if task in OTHER_TASKS else self.n
        return Settings(task=task, model=self.name, method=method, n=n, seed=seed, size=size)

    def gather(self, task: str, seed: int = 0) -> Evidence:
        """The pairs of an installed claim that the model solves."""
        settings = self.settings(task, "constrained", seed)
        if (task, seed) not in self.gathered:
            self.gathered[task, seed] = gather(self.model(), settings.load_claim(), settings)
        return self.gathered[task, seed]

    def path(self, task: str, method: str, seed: int, size: int | None = None) -> Path:
        return self.runs / f"{task}_{method}_seed{seed}{f'_size{size}' if size else ''}"

    def searches(self, methods: Sequence[str]) -> dict[str, list[Search]]:
        """The searches of each row of the table, by the row's name."""
        made: dict[str, list[Search]] = {
            f"{method}: two desiderata": [
                ("arithmetic", method, seed) for seed in range(self.seeds)
            ]
            for method in methods
        }
        for task in OTHER_CLAIMS:
            seeds = range(self.seeds if task in OVER_SEEDS else 1)
            made[f"constrained: {task}"] = [(task, "constrained", seed) for seed in seeds]
        for task in OVER_SEEDS:
            row = [(task, "constrained", seed, SMALL) for seed in range(self.seeds)]
            made[f"constrained, {SMALL} sites: {task}"] = row
        return made

    def run_all(self, methods: Sequence[str], where: Where) -> None:
        """Make every search that is not there yet, and those of other tasks, on Ray.

        Raises:
            ValueError, Crash: one of them cannot be made.
        """
        wanted = [search for row in self.searches(methods).values() for search in row]
        wanted += [(task, "constrained", 0) for task in OTHER_TASKS]
        points = [
            Point(path.name, {}, self.settings(*search))
            for search in wanted
            if not ((path := self.path(*search)) / "report.json").is_file()
        ]
        work = partial(run_point, str(self.runs.resolve()))
        for number, ended in run_points(points, work, where):
            print(points[number].name, ended.value().message, flush=True)

    def run(self, task: str, method: str, seed: int, size: int | None = None) -> Found | None:
        """The circuit and the report of one search, made now or before."""
        path = self.path(task, method, seed, size)
        if (path / "report.json").is_file():
            made = load_run(path)
        elif self.kept:
            return None
        else:
            print(path.name, flush=True)
            settings, evidence = self.settings(task, method, seed, size), self.gather(task, seed)
            made = discover(settings, path, resume=True, model=self.model(), evidence=evidence)
        return made.circuit, dict(made.report)

    def measure(self, name: str, circuit: Circuit, make: Callable[[], Any]) -> Any:
        """A measurement of a circuit, made now or before for this very circuit."""
        path = self.runs / f"{name}.json"
        stands_for = {"n": self.n, "sites": [str(site) for site in circuit.sites]}
        if path.is_file() and (kept := json.loads(path.read_text()))["of"] == stands_for:
            return kept["found"]
        if self.kept:
            return None
        print(name, flush=True)
        found = make()
        write_text(path, json.dumps({"of": stands_for, "found": found}, indent=1) + "\n")
        return found


def describe(name: str, circuit: Circuit, report: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of searches, all scores on held-out pairs."""
    checks = {check["name"]: check for check in report["checks"]}
    beaten = checks["random circuits"]
    return {
        "search": name,
        "seed": circuit.seed,
        "heads": 0,
        "mlps": 0,
        **{glyph.plural.lower(): count for glyph, count in circuit.counts},
        "of": report["size"]["of"],
        "holds": report["success"],
        "desiderata": {
            row["name"]: {
                k: row[k]
                for k in ("satisfaction", "low", "high", "need", "null", "ceiling", "n", "holds")
            }
            for row in report["desiderata"]
        },
        "random beaten": f"{round(beaten['value'] * beaten['n'])}/{beaten['n']}",
        "sites": [str(site) for site in circuit.sites],
        "flops": report["cost"]["stages"]["search"]["flops"],
        "message": report["message"],
    }


def transfer_claims() -> dict[str, Claim]:
    """Claims that search has not seen, from near to far."""
    template = arithmetic.model.narrowed({"template": choice((arithmetic.HELD_OUT_TEMPLATE,))})
    dcm = {"at": "last", "keeps": ["op"], "crossed": False}
    return {
        "arithmetic, unseen letters": arithmetic.dcm,
        "arithmetic, unseen template": template.carries("x", **dcm),
        "word problems": binding.word_problems_dcm,
        **{
            f"{name}": binding.FAMILIES[name].carries("answer", at="last", keeps=[])
            for name in ("retrieval 2", "retrieval 3", "boxes 2", "boxes 3", "boxes 5")
        },
    }


def measure_transfer(plan: Plan, circuit: Circuit) -> list[dict[str, Any]]:
    """The circuit on each of those claims' held-out pairs; what cannot be measured says why."""
    settings = plan.settings("arithmetic", "constrained", 0)
    settings = replace(settings, n=min(plan.n, PAIRS_COMPARED), force=True)
    rows: list[dict[str, Any]] = []
    for name, claim in transfer_claims().items():
        try:
            evidence = gather(plan.model(), claim, settings)
        except ValueError as error:
            rows.append({"claim": name, "desideratum": "-", "says": str(error)})
            continue
        scores = measure_scores(plan.model(), circuit, evidence.held_out)
        rows += [{"claim": name, **row} for row in scores]
    return rows


def compare_tasks(plan: Plan, out: Path) -> dict[str, Any] | None:
    """Circuits of several tasks side by side, and one circuit for all of them."""
    paths = [plan.path(task, "constrained", 0) for task in ("arithmetic", *OTHER_TASKS)]
    if any(plan.run(task, "constrained", 0) is None for task in OTHER_TASKS):
        return None
    if plan.kept and not (out / "compare.json").is_file():
        return None
    if not (out / "compare.json").is_file():
        print("compare", flush=True)
        model, sides = open_sides(paths, plan.model(), min(plan.n, PAIRS_COMPARED))
        made = compare(model, sides, shared=True)
        save_comparison(replace(made, command="python -m scripts.reproduce_dcm"), out)
    write_comparison_page(out)
    return json.loads((out / "compare.json").read_text())


def collect(plan: Plan, n_random: int, methods: list[str], out: Path) -> dict[str, Any]:
    """All that the tables and figures show."""

    searches = {
        name: [run for search in row if (run := plan.run(*search))]
        for name, row in plan.searches(methods).items()
    }
    made = {method: searches[f"{method}: two desiderata"] for method in methods}
    alone = searches["constrained: arithmetic-value"]
    if not made["constrained"] or not alone:
        raise SystemExit("--kept: the searches by constrained, seed 0, are not there yet")
    chosen, n_sites = made["constrained"][0][0], made["constrained"][0][1]["size"]["of"]
    loose = alone[0][0]

    def held_out(task: str = "arithmetic") -> tuple:
        return plan.gather(task).held_out

    return {
        "command": "python -m scripts.reproduce_dcm " + " ".join(sys.argv[1:]),
        "model": plan.name,
        "sites": n_sites,
        "searches": [describe(name, *run) for name, found in searches.items() for run in found],
        "stability": {
            name: measure_stability([circuit for circuit, _ in found], n_sites)
            for name, found in searches.items()
            if len(found) > 1
        },
        "sizes": compare_sizes(made),
        # What value dependence alone finds, on both desiderata.
        "value dependence alone": plan.measure(
            "alone", loose, lambda: measure_scores(plan.model(), loose, held_out())
        ),
        # What both together leave open: whether it is x alone that is carried.
        "strict": plan.measure(
            "strict",
            chosen,
            lambda: measure_scores(plan.model(), chosen, held_out("arithmetic-x")),
        ),
        "band": plan.measure(
            "band", chosen, lambda: measure_band(plan.model(), held_out(), n_random, BAND_PAIRS)
        ),
        "frontiers": {method: found[0][1]["frontier"] for method, found in made.items() if found},
        "backups": plan.measure(
            "backups", chosen, lambda: measure_backups(plan.model(), chosen, held_out())
        ),
        "transfer": plan.measure("transfer", chosen, lambda: measure_transfer(plan, chosen)),
        "before": plan.measure(
            "before",
            chosen,
            lambda: measure_before(plan.model(BEFORE), arithmetic.dcm, chosen, PAIRS_BEFORE),
        ),
        "tasks": compare_tasks(plan, out),
        "versions": chosen.provenance["versions"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="DCM's experiment on SmolLM2.")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n", type=int, default=192, help="pairs of each desideratum")
    parser.add_argument("--n-random", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--kept", action="store_true", help="run nothing; what is there")
    parser.add_argument("--ray", help="make searches on Ray: local, or a cluster's address")
    parser.add_argument("--workers", type=int, help="searches at once, with --ray")
    parser.add_argument("--runs", type=Path, default=ROOT / "figures/dcm/runs")
    parser.add_argument("--out", type=Path, default=ROOT / "figures/dcm")
    arguments = parser.parse_args()
    plan = Plan(
        name=arguments.model,
        n=arguments.n,
        seeds=arguments.seeds,
        runs=arguments.runs,
        kept=arguments.kept,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.ray and not plan.kept:
        where = Where(ray=arguments.ray, workers=arguments.workers)
        plan.run_all(arguments.methods, where)
    found = collect(plan, arguments.n_random, arguments.methods, arguments.out)
    write_text(arguments.out / "dcm.json", json.dumps(found, indent=1) + "\n")
    write_text(arguments.out / "README.md", write_tables(found))
    if found["band"]:
        draw_sizes(found, arguments.out / "sizes.svg")
    if found["backups"]:
        draw_backups(found["backups"], arguments.out / "backups.svg")


if __name__ == "__main__":
    main()
