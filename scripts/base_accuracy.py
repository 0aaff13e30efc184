"""How often a language model is right on each task, unpatched: a line a task.

    python -m scripts.base_accuracy                             # SmolLM2-135M, the tasks for it
    python -m scripts.base_accuracy copying --answer among      # another answer than the claim's

A pair counts where both of its prompts get their own answer. The share is over all desiderata of a
claim, up to `n` pairs of each, of the search side and of the held-out side. The docstrings of
`tasks/` have these numbers.
"""

import argparse
from collections.abc import Sequence

from circuitfind import load_model
from circuitfind.claims import load_claim
from circuitfind.models.model import Model
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.fitting import fit_to_tokenizer
from circuitfind.objective.intervals import interval
from circuitfind.objective.precheck import solves
from desiderata import Claim, Desideratum
from desiderata.choices import ASKED, answer_named

TASKS = (
    "agreement-simple", "agreement-phrase", "agreement-clause", "greater-than", "pronouns",
    "capitals", "copying", "copying-middle", "docstrings", "long-names",
)  # fmt: skip


def solved(model: Model, desiderata: Sequence[Desideratum]) -> str:
    """The share of these pairs that the model solves, with its 95 % interval and n."""
    cost, hits = Cost(), []
    for batch in encode(model, desiderata):
        hits += solves(model, batch, cost).tolist()
    low, high = interval(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.2f} ({low:.2f} to {high:.2f}), n = {len(hits)}"


def line(model: Model, task: str, answer: str | None, n: int, seed: int) -> str:
    """How often the model is right on a task, in a line."""
    claim, _ = fit_to_tokenizer(model, load_claim(task))
    if isinstance(claim, Claim) and answer is not None:
        claim = claim.answered(answer_named(answer))
    search, held_out = claim.sample(n, seed)
    return f"{task}: search {solved(model, search)}; held out {solved(model, held_out)}"


def main() -> None:
    """Print a line for each task that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tasks", nargs="*", default=TASKS)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--answer", choices=list(ASKED), help="in place of the claim's own")
    parser.add_argument("--n", type=int, default=64, help="pairs of each desideratum")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    model = load_model(asked.model)
    for task in asked.tasks:
        print(line(model, task, asked.answer, asked.n, asked.seed), flush=True)


if __name__ == "__main__":
    main()
