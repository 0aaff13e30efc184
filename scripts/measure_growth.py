"""How CPU time and memory grow with pairs, length, masks, sites and desiderata, as a table.

    python -m scripts.measure_growth                              # binder, every axis
    python -m scripts.measure_growth --model smollm2-135m --pairs 1024 --only
    python -m scripts.measure_growth --plan --model binder --pairs 256

Each point runs in a process of its own, on random tokens with sites at the last one. CPU seconds
are medians of three; memory is the greatest resident set beyond that of the loaded model. What is
fitted is `constant + factor * size ** exponent`. `--plan` runs the passes of a search and prints
its plan (`circuitfind.runs.memory`) beside what it took.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuitfind.mediators.site import Site
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.objective.encoding import Batch
from circuitfind.objective.memory import measure_pairs
from circuitfind.objective.objective import Objective
from circuitfind.runs.memory import plan_memory
from circuitfind.search import SearchProblem, candidate_sites
from circuitfind.search.methods.constrained import PAIRS
from circuitfind.search.problem import minibatches

from .bench_step import random_batch

POINT = {"pairs": 32, "tokens": 15, "masks": 16, "sites": 36, "desiderata": 2}
AXES = {
    "pairs": (16, 64, 256, 1024),
    "tokens": (15, 30, 60, 120),
    "masks": (4, 16, 64, 256),
    "sites": (4, 12, 36),
    "desiderata": (1, 2, 4, 8),
}
MEASURES = ("prepare", "step", "trials", "memory")
REPEATS = 3
FLAT = 1.6  # what a busy machine does to a constant
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(name: str) -> int:
    """Bytes of VmRSS, what is resident now, or of VmHWM, the most since `forget_most`."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"expected {name} in {STATUS}")


def forget_most() -> int:
    """Let the most that is resident count from now; returns what is resident."""
    CLEAR.write_text("5")
    return resident("VmRSS")


def opened(name: str, point: dict[str, int]) -> tuple[Model, list[Batch], list[Site]]:
    model = load_model(name)
    batches = [
        random_batch(model, point["pairs"], point["tokens"], "last", seed=seed)
        for seed in range(point["desiderata"])
    ]
    every = candidate_sites(model, [batches[0].desideratum])
    few = min(point["sites"] or len(every), len(every))
    return model, batches, [every[n * len(every) // few] for n in range(few)]


def timed(do: Callable[[], Any]) -> float:
    spent = []
    for _ in range(REPEATS):
        before = time.process_time()
        do()
        spent.append(time.process_time() - before)
    return statistics.median(spent)


def measure(name: str, point: dict[str, int]) -> dict[str, float]:
    """CPU seconds of getting ready, a step and some masks, and bytes beyond the loaded model."""
    model, batches, sites = opened(name, point)
    measure_pairs(model, batches[:1], sites)  # warms up
    masks = torch.rand(point["masks"], len(sites)).round()
    weights = dict.fromkeys(range(len(batches)), 1.0)
    gates = torch.full((len(sites),), 0.5, requires_grad=True)
    before = forget_most()
    began = time.process_time()
    objective = Objective(model, batches, sites)
    found = {"prepare": time.process_time() - began}
    found["step"] = timed(lambda: objective.backward(weights, gates))
    found["trials"] = timed(lambda: objective.scores(masks))
    return found | {"memory": float(resident("VmHWM") - before)}


def measure_plan(name: str, point: dict[str, int]) -> dict[str, Any]:
    """The plan of a search and the bytes that its passes took beyond the loaded model."""
    model, batches, sites = opened(name, point | {"sites": 0})
    needs = measure_pairs(model, batches, sites)
    plan = plan_memory(model, needs, [len(batch) for batch in batches], n_sites=len(sites))
    before = forget_most()
    problem = SearchProblem.open(model, batches)
    gates = torch.full((len(sites),), 0.5, requires_grad=True)
    for objective in minibatches(problem, PAIRS):
        objective.backward(dict.fromkeys(problem.live, 1.0), gates)
    problem.trials().slacks([frozenset({n}) for n in range(len(sites))])
    return {"plan": plan.needed, "measured": resident("VmHWM") - before, "words": str(plan)}


def apart(name: str, point: dict[str, int], *options: str) -> dict[str, Any]:
    """The measures of a point, made in another process."""
    command = [sys.executable, "-m", "scripts.measure_growth", "--model", name, *options]
    made = subprocess.run(
        [*command, "--point", json.dumps(point)], capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout.splitlines()[-1])


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent of `constant + factor * size ** exponent` that is nearest to these values, each
    relative to itself; constant and factor are at least 0."""
    x, y = np.array(sizes, float), np.array(values, float)
    best = (float("inf"), 0.0)
    for power in np.arange(0.05, 3.0, 0.05):
        columns = np.stack([np.ones_like(x), (x / x[0]) ** power], axis=1) / y[:, None]
        for kept in ([0, 1], [1]):
            found = np.linalg.lstsq(columns[:, kept], np.ones_like(y), rcond=None)[0]
            if (found >= 0).all():
                off = float(((columns[:, kept] @ found - 1) ** 2).sum())
                best = min(best, (off, float(power)))
    return best[1]


def growth(sizes: Sequence[int], values: Sequence[float]) -> str:
    """The exponent in words; "flat" where the greatest value is less than FLAT times the least."""
    if max(values) < FLAT * min(values):
        return "flat"
    return f"{exponent(sizes, values):.2f}"


def table(name: str, base: dict[str, int], axes: dict[str, Sequence[int]]) -> list[str]:
    """The table, in Markdown."""
    lines = ["| axis | sizes | measure | values | exponent |", "|---|---|---|---|---|"]
    for axis, sizes in axes.items():
        found = [apart(name, base | {axis: size}) for size in sizes]
        for what in MEASURES:
            own = [one[what] for one in found]
            unit, scale = ("MiB", 2**20) if what == "memory" else ("ms", 0.001)
            values = ", ".join(f"{value / scale:.0f}" for value in own)
            shown = ", ".join(map(str, sizes))
            lines.append(f"| {axis} | {shown} | {what}, {unit} | {values} | {growth(sizes, own)} |")
        print("\n".join(lines[-len(MEASURES) :]), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="How time and memory grow.")
    parser.add_argument("--model", default="binder")
    parser.add_argument("--pairs", type=int, default=POINT["pairs"])
    parser.add_argument("--axis", choices=tuple(AXES), help="only this one")
    parser.add_argument("--only", action="store_true", help="only the point itself")
    parser.add_argument("--plan", action="store_true", help="a search's plan and what it took")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    base = POINT | {"pairs": arguments.pairs}
    if arguments.point is not None:
        measured = measure_plan if arguments.plan else measure
        print(json.dumps(measured(arguments.model, arguments.point)))
    elif arguments.plan or arguments.only:
        base |= {"sites": 0}
        print(json.dumps(apart(arguments.model, base, *["--plan"] * arguments.plan)))
    else:
        axes = {arguments.axis: AXES[arguments.axis]} if arguments.axis else AXES
        table(arguments.model, base, axes)


if __name__ == "__main__":
    main()
