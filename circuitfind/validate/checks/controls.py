"""Negative controls: where nothing is to be found, the circuit must not score.

The same circuit on the same model with its weights shuffled (Conmy et al. 2023, arXiv
2304.14997, reset networks so), and on the same pairs with their expected answers dealt to other
pairs. A circuit that satisfies either is scored by something else than what it does.
"""

import torch

from ...models.model import weights_shuffled
from ...objective.intervals import interval
from ...objective.objective import Objective
from ..finding import AS_CLAIMED, Finding, Verdict
from ..inputs import CheckInputs
from ..names import CONTROLS


def check_controls(inputs: CheckInputs) -> Finding:
    """The best satisfaction, beyond what is needed, of a desideratum that should follow in either
    control; patched as the desiderata say, on the pairs compared.

    A `keeps` desideratum is left out: a model that ignores its input keeps everything.
    """
    compared, bounds = inputs.compared, inputs.bounds
    chosen = [
        index
        for index, batch in enumerate(compared.batches)
        if batch.desideratum.sense == "follows" and not bounds[index].vacuous
    ]
    if not chosen:
        return Finding.undecided(CONTROLS, "no desideratum asks that something follow")
    sites, rows = inputs.objective.sites, inputs.membership[None]
    with weights_shuffled(inputs.model, inputs.seed) as other:
        spoilt = Objective(other, [compared.batches[n] for n in chosen], sites, compared.cost)
        shuffled = [spoilt.hits(place, rows)[0] for place in range(len(chosen))]
    details = []
    for index, hit_shuffled in zip(chosen, shuffled, strict=True):
        batch, generator = compared.batches[index], torch.Generator().manual_seed(inputs.seed)
        order = _derangement(len(batch), generator)
        hits = {"weights shuffled": hit_shuffled}
        hits["answers dealt anew"] = compared.hits(index, rows, batch.expected.take(order))[0]
        for control, hit in hits.items():
            low, high = interval(int(hit.sum()), len(hit))
            details.append(
                {
                    "control": control,
                    "desideratum": batch.desideratum.name,
                    "n": len(hit),
                    "satisfaction": float(hit.float().mean()),
                    "low": low,
                    "high": high,
                    "need": bounds[index].value,
                }
            )
    best = max(details, key=lambda row: row["satisfaction"] - row["need"])
    caught = best["high"] < best["need"]
    verdict: Verdict = (
        "holds" if caught else "fails" if best["low"] >= best["need"] else ("inconclusive")
    )
    return Finding(
        name=CONTROLS,
        verdict=verdict,
        value=best["satisfaction"],
        low=best["low"],
        high=best["high"],
        n=best["n"],
        ablation=AS_CLAIMED,
        split="held-out",
        says=f"where nothing is to be found, the circuit scores at most "
        f"{best['satisfaction']:.2f} of "
        f"the {best['need']:.2f} needed ({best['control']}, {best['desideratum']!r})",
        brief=f"{best['satisfaction']:.2f} with {best['control']}",
        details=tuple(details),
    )


def _derangement(n: int, generator: torch.Generator) -> torch.Tensor:
    """An order of `n` pairs in which none stays where it is (unless there is only one)."""
    order = torch.randperm(n, generator=generator)
    moved = torch.empty(n, dtype=torch.long)
    moved[order] = order.roll(1)
    return moved
