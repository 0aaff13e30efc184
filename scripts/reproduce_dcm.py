"""The experiment of Davies et al. 2023 (arXiv 2307.03637) on SmolLM2, with controls.

    python -m scripts.reproduce_dcm                      # all of it: hours on two cores
    python -m scripts.reproduce_dcm --seeds 1 --n 64     # a look

Which heads and MLPs at the last token retrieve the values of variables? Searches by three methods
over several seeds, one desideratum alone against both, stricter claims, random circuits of every
size, transfer without searching again, and which sites back each other up. Every search is a run
folder under --runs and is kept, so that a call that was broken off goes on; tables and figures go
to --out, with the command that made them.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from circuitfind.circuit import Circuit
from circuitfind.compare import overlap
from circuitfind.cost import Cost
from circuitfind.mask import membership_of
from circuitfind.model import Model, load_model
from circuitfind.objective import Objective, slack
from circuitfind.run import Evidence, Settings, discover, gather
from circuitfind.search import candidate_sites
from circuitfind.validate.satisfaction import score_desiderata
from desiderata import Claim, choice
from scripts.dcm_figures import draw_backups, draw_sizes
from tasks import arithmetic, binding

ROOT = Path(__file__).resolve().parent.parent
MODEL, BEFORE = "smollm2-135m-binding", "smollm2-135m"
METHODS = ("constrained", "dcm-2024", "dcm-2023")
OTHER_CLAIMS = ("arithmetic-value", "arithmetic-values", "arithmetic-x")
BAND_PAIRS = 32
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class Plan:
    """What is run, with how many pairs and seeds, and where it is kept.

    The pairs of a claim and a seed are gathered once, for all methods.
    """

    model: Model
    n: int
    seeds: int
    runs: Path
    gathered: dict[tuple[str, int], Evidence] = field(default_factory=dict)

    def settings(self, task: str, method: str, seed: int) -> Settings:
        return Settings(task, self.model.name, method, n=self.n, seed=seed)

    def gather(self, task: str, seed: int = 0) -> Evidence:
        """The pairs of an installed claim that the model solves."""
        settings = self.settings(task, "constrained", seed)
        if (task, seed) not in self.gathered:
            self.gathered[task, seed] = gather(self.model, settings.load_claim(), settings)
        return self.gathered[task, seed]

    def run(self, task: str, method: str, seed: int) -> tuple[Circuit, dict[str, Any]]:
        """The circuit and the report of one search, made now or before."""
        path = self.runs / f"{task}_{method}_seed{seed}"
        print(path.name, flush=True)
        settings = self.settings(task, method, seed)
        done = (path / "report.json").is_file()
        evidence = None if done else self.gather(task, seed)
        made = discover(settings, path, resume=True, model=self.model, evidence=evidence)
        return made.circuit, dict(made.report)


# ------------------------------------------------------------------------------------ the parts


def describe(name: str, circuit: Circuit, report: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of searches, all scores on held-out pairs."""
    checks = {check["name"]: check for check in report["checks"]}
    beaten = checks["random circuits"]
    return {
        "search": name,
        "seed": circuit.seed,
        "heads": len(circuit.heads),
        "mlps": len(circuit.mlps),
        "of": report["size"]["of"],
        "holds": report["success"],
        "desiderata": {
            row["name"]: {k: row[k] for k in ("satisfaction", "low", "high", "need", "null",
                                              "ceiling", "n", "holds")}
            for row in report["desiderata"]
        },
        "random beaten": f"{round(beaten['value'] * beaten['n'])}/{beaten['n']}",
        "sites": [str(site) for site in circuit.sites],
        "flops": report["cost"]["stages"]["search"]["flops"],
        "message": report["message"],
    }  # fmt: skip


def measure_stability(circuits: Sequence[Circuit], n_sites: int) -> dict[str, float] | None:
    """Mean pairwise Jaccard over seeds, and what random circuits of the same sizes would have."""
    pairs = [overlap(a, b, n_sites, ("", "")) for a, b in combinations(circuits, 2)]
    if not pairs:
        return None
    return {
        "jaccard": sum(pair.jaccard for pair in pairs) / len(pairs),
        "chance": sum(pair.chance for pair in pairs) / len(pairs),
        "pairs": len(pairs),
    }


def measure_band(plan: Plan, n_random: int) -> list[dict[str, Any]]:
    """Random circuits of every size, drawn from all sites: quantiles of each desideratum.

    On BAND_PAIRS held-out pairs of each, since a random circuit spares no layer.
    """
    held_out = plan.gather("arithmetic").held_out
    few = [batch.take(range(min(BAND_PAIRS, len(batch)))) for batch in held_out]
    objective = open_objective(plan.model, few)
    rng, rows = random.Random(0), []
    for size in (one for one in SIZES if one <= len(objective.sites)):
        table = torch.zeros(n_random, len(objective.sites))
        for row in table:
            row[rng.sample(range(len(objective.sites)), size)] = 1.0
        scores = objective.scores(table)
        for index, desideratum in enumerate(objective.desiderata):
            low, middle, high = scores[:, index].quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
            rows.append(
                {
                    "size": size, "desideratum": desideratum.name, "n_random": n_random,
                    "low": low, "median": middle, "high": high,
                    "best": float(scores[:, index].max()),
                }
            )  # fmt: skip
    return rows


def open_objective(model: Model, batches: Sequence[Any]) -> Objective:
    sites = candidate_sites(model, [batch.desideratum for batch in batches])
    return Objective(model, batches, sites, Cost())


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
    """The circuit on each of those claims' held-out pairs; what cannot be measured says why.

    Few solved pairs are better than none: the model before fine-tuning solves few.
    """
    rows, settings = [], replace(plan.settings("arithmetic", "constrained", 0), force=True)
    for name, claim in transfer_claims().items():
        try:
            evidence = gather(plan.model, claim, settings)
        except ValueError as error:
            rows.append({"claim": name, "desideratum": "-", "says": str(error)})
            continue
        rows += [{"claim": name, **row} for row in measure_scores(plan, circuit, evidence)]
        print(f"transfer: {name}", flush=True)
    return rows


def measure_scores(plan: Plan, circuit: Circuit, evidence: Evidence) -> list[dict[str, Any]]:
    """A row for each desideratum, on held-out pairs."""
    objective = open_objective(plan.model, evidence.held_out)
    membership = membership_of(objective.sites, circuit.sites)
    return [
        {
            "desideratum": score.name, "n": score.n, "null": score.null, "ceiling": score.ceiling,
            "need": score.need, "low": score.low, "high": score.high,
            "satisfaction": score.satisfaction, "holds": score.holds,
        }
        for score in score_desiderata(objective, objective.bounds(), membership)
    ]  # fmt: skip


def measure_backups(plan: Plan, circuit: Circuit) -> dict[str, Any]:
    """What leaving out each site, and each pair of sites, costs the desideratum hurt most.

    `extra` is what a pair costs beyond the sum of its two: above 0 they back each other up.
    """
    objective = open_objective(plan.model, plan.gather("arithmetic").held_out)
    whole = membership_of(objective.sites, circuit.sites)
    index = {site: number for number, site in enumerate(objective.sites)}
    out = [frozenset(), *({s} for s in circuit.sites), *map(set, combinations(circuit.sites, 2))]
    table = whole.repeat(len(out), 1)
    for row, left in zip(table, out, strict=True):
        row[[index[site] for site in left]] = 0.0
    clear = slack(objective.scores(table), objective.bounds(), [0.0] * len(objective.batches))
    lost = {
        frozenset(left): float(clear[0] - value) for left, value in zip(out, clear, strict=True)
    }
    singles = {str(site): lost[frozenset({site})] for site in circuit.sites}
    pairs = [
        {
            "first": str(a), "second": str(b), "lost": lost[frozenset({a, b})],
            "extra": lost[frozenset({a, b})] - lost[frozenset({a})] - lost[frozenset({b})],
        }
        for a, b in combinations(circuit.sites, 2)
    ]  # fmt: skip
    return {"n": min(map(len, objective.batches)), "sites": singles, "pairs": pairs}


# ----------------------------------------------------------------------------------- the tables


def write_tables(found: dict[str, Any], path: Path) -> None:
    """The searches, their stability, transfer and backups as Markdown."""
    lines = ["# DCM's experiment on SmolLM2-135M", "", f"Made by `{found['command']}`.", ""]
    lines += [
        "| search | seed | heads | MLPs | desiderata, held out (needed) | beats random |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["searches"]:
        cells = "; ".join(
            f"{name} {one['satisfaction']:.3f} ({one['need']:.3f})"
            + ("" if one["holds"] else " fails")
            for name, one in row["desiderata"].items()
        )
        lines.append(
            f"| {row['search']} | {row['seed']} | {row['heads']} | {row['mlps']} | {cells} "
            f"| {row['random beaten']} |"
        )
    lines += ["", "| method | seeds' mean Jaccard | by chance |", "|---|---|---|"]
    for method, one in found["stability"].items():
        if one:
            lines.append(f"| {method} | {one['jaccard']:.2f} | {one['chance']:.3f} |")
    alone = ", ".join(
        f"{row['desideratum']} {row['satisfaction']:.3f} ({row['need']:.3f})"
        for row in found["value dependence alone"]
    )
    lines += ["", f"The circuit of value dependence alone, on both (needed): {alone}."]
    for name, rows in found["transfer"].items():
        lines += ["", f"Transfer on {name}, without searching again:", "",
                  "| claim | desideratum | n | null | ceiling | needed | reached | |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for row in rows:
            if "says" in row:
                lines.append(f"| {row['claim']} | {row['says']} | | | | | | |")
                continue
            verdict = "holds" if row["holds"] else "fails"
            lines.append(
                f"| {row['claim']} | {row['desideratum']} | {row['n']} | {row['null']:.2f} "
                f"| {row['ceiling']:.2f} | {row['need']:.2f} | {row['satisfaction']:.3f} "
                f"| {verdict} |"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="DCM's experiment on SmolLM2.")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n", type=int, default=192, help="pairs of each desideratum")
    parser.add_argument("--n-random", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "dcm")
    parser.add_argument("--out", type=Path, default=ROOT / "figures" / "dcm")
    arguments = parser.parse_args()
    plan = Plan(load_model(arguments.model), arguments.n, arguments.seeds, arguments.runs)
    made = {
        method: [plan.run("arithmetic", method, seed) for seed in range(plan.seeds)]
        for method in arguments.methods
    }
    others = {task: plan.run(task, "constrained", 0) for task in OTHER_CLAIMS}
    chosen, loose = made["constrained"][0][0], others["arithmetic-value"][0]
    untuned = Plan(load_model(BEFORE), arguments.n, arguments.seeds, arguments.runs)
    found = {
        "command": "python -m scripts.reproduce_dcm " + " ".join(sys.argv[1:]),
        "model": plan.model.name,
        "searches": [
            describe(f"{method}: two desiderata", *run)
            for method, runs in made.items()
            for run in runs
        ]
        + [describe(f"constrained: {task}", *run) for task, run in others.items()],
        "stability": {
            method: measure_stability([circuit for circuit, _ in runs], runs[0][1]["size"]["of"])
            for method, runs in made.items()
        },
        # What value dependence alone finds, on both desiderata.
        "value dependence alone": measure_scores(plan, loose, plan.gather("arithmetic")),
        "band": measure_band(plan, arguments.n_random),
        "frontiers": {method: runs[0][1]["frontier"] for method, runs in made.items()},
        "backups": measure_backups(plan, chosen),
        "transfer": {
            plan.model.name: measure_transfer(plan, chosen),
            f"{BEFORE}, before fine-tuning": measure_transfer(untuned, chosen),
        },
        "versions": chosen.provenance["versions"],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "dcm.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_tables(found, arguments.out / "README.md")
    draw_sizes(found, arguments.out / "sizes.svg")
    draw_backups(found["backups"], arguments.out / "backups.svg")


if __name__ == "__main__":
    main()
