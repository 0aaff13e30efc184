"""What work takes in counts that no busy machine changes, beside the budget in tests/budget.json.

    python -m scripts.count_budget            # a table: counted, budget, how far apart
    python -m scripts.count_budget --write    # what was counted becomes the budget

Counted are tokens forward and backward, FLOPs, passes (calls of an engine's `forward`) and edits
(calls of what hooks run), on `binder` and `variable_binding`: a step and some trials on 16 pairs of
each desideratum, a search by `constrained` on 48, and the validation of its circuit. Lower the
budget with a change that saves work. Raise it only with a change that is worth what it costs, and
say so in its commit.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from circuitfind.engines.engine import Edit, Engine, Point
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.runs.pairs import gather
from circuitfind.runs.settings import Settings
from circuitfind.search import SearchConfig, candidate_sites, search
from circuitfind.validate import validate
from tasks.variable_binding import claim

BUDGET = Path(__file__).parent.parent / "tests" / "budget.json"
ALLOWED = 1.02  # times the budget
PAIRS, MASKS, SEARCHED = 16, 64, 48
COSTS = ("tokens_forward", "tokens_backward", "flops")
Counts = dict[str, int]


@contextmanager
def counting(engine: Engine) -> Iterator[Counts]:
    """How many passes and edits run until the context ends."""
    found = {"passes": 0, "edits": 0}
    forward = engine.forward

    def counted(edit: Edit) -> Edit:
        def run(own: Any) -> Any:
            found["edits"] += 1
            return edit(own)

        return run

    def count(
        inputs: Any, attends: Any = None, edits: Sequence[tuple[Point, Edit]] = (), **options: Any
    ) -> Any:
        found["passes"] += 1
        return forward(inputs, attends, [(at, counted(do)) for at, do in edits], **options)

    vars(engine)["forward"] = count
    try:
        yield found
    finally:
        del vars(engine)["forward"]


def counts_of(model: Model, do: Callable[[], Mapping[str, Any]]) -> Counts:
    """What this does, in counts; it returns its cost."""
    with counting(model.engine) as found:
        spent = do()
    return {name: int(spent[name]) for name in COSTS} | found


def count_passes() -> dict[str, Counts]:
    """The counts of a step and of some trials."""
    model = load_model("binder", device="cpu")
    desiderata = claim.sample(PAIRS, 0)[0]
    batches, sites = encode(model, desiderata), candidate_sites(model, desiderata)
    masks = torch.rand(MASKS, len(sites), generator=torch.Generator().manual_seed(0)).round()
    gates = torch.full((len(sites),), 0.5, requires_grad=True)
    objective = Objective(model, batches, sites)

    def step() -> Mapping[str, Any]:
        objective.backward(dict.fromkeys(range(len(batches)), 1.0), gates)
        return objective.cost.report()

    def trials() -> Mapping[str, Any]:
        objective.scores(masks)
        return objective.cost.report()

    found = {}
    for name, do in (("step", step), ("trials", trials)):
        do()  # what is tried once is no part of it
        objective.cost = Cost()
        for pieces in objective._prepared:
            for piece in pieces:
                object.__setattr__(piece, "cost", objective.cost)
        found[name] = counts_of(model, do)
    return found


def count_search() -> dict[str, Counts]:
    """The counts of a search and of the validation of its circuit."""
    model = load_model("binder", device="cpu")
    evidence = gather(model, claim, Settings(task="variable_binding", n=SEARCHED))
    made: list[Any] = []

    def find() -> Mapping[str, Any]:
        made.append(search(model, evidence.search, "constrained", config=SearchConfig()))
        return made[0].cost

    def check() -> Mapping[str, Any]:
        circuit = made[0].circuit
        return validate(model, circuit, evidence.held_out, search=evidence.search).cost

    return {"search": counts_of(model, find), "validation": counts_of(model, check)}


def over(found: Mapping[str, Counts], budget: Mapping[str, Counts]) -> list[str]:
    """The counts that are above the budget by more than is allowed, a sentence each."""
    return [
        f"{work}: {count:,} {name} of a budget of {budget[work][name]:,}"
        for work, counts in found.items()
        for name, count in counts.items()
        if count > ALLOWED * budget[work][name]
    ]


def load_budget() -> dict[str, Counts]:
    return json.loads(BUDGET.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts of work beside their budget.")
    parser.add_argument("--write", action="store_true", help="make the counts the budget")
    arguments = parser.parse_args()
    found = count_passes() | count_search()
    budget = load_budget() if BUDGET.is_file() else {}
    for work, counts in found.items():
        for name, count in counts.items():
            before = budget.get(work, {}).get(name, 0)
            change = f"{count / before - 1:+8.1%}" if before else ""
            print(f"{work:<12}{name:<18}{count:>18,}{before:>18,}{change:>10}")
    if arguments.write:
        BUDGET.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
