"""What `scripts/reproduce_dcm.py` measures on circuits that were found; nothing here searches but
`measure_before`, on the model before fine-tuning."""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from circuitfind.circuits.circuit import Circuit
from circuitfind.models.model import Model
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import Batch, encode
from circuitfind.objective.fitting import fit_to_tokenizer
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import Objective, slack
from circuitfind.objective.precheck import keep_solved
from circuitfind.runs.compare import overlap
from circuitfind.search import SearchConfig, candidate_sites, search
from circuitfind.validate.scores import score_desiderata
from desiderata import Claim

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
DRAWN = 40  # pairs drawn for each one wanted of a model that solves few

Row = dict[str, Any]


def open_objective(model: Model, batches: Sequence[Batch]) -> Objective:
    sites = candidate_sites(model, [batch.desideratum for batch in batches])
    return Objective(model, batches, sites, Cost())


def measure_scores(model: Model, circuit: Circuit, held_out: Sequence[Batch]) -> list[Row]:
    """A row for each desideratum, on these pairs."""
    objective = open_objective(model, held_out)
    membership = membership_of(objective.sites, circuit.sites)
    return [
        {
            "desideratum": score.name,
            "n": score.n,
            "null": score.null,
            "ceiling": score.ceiling,
            "need": score.need,
            "low": score.low,
            "high": score.high,
            "satisfaction": score.satisfaction,
            "holds": score.holds,
        }
        for score in score_desiderata(objective, objective.bounds(), membership)
    ]


def measure_stability(circuits: Sequence[Circuit], n_sites: int) -> Row:
    """Mean pairwise Jaccard over two seeds or more, what random circuits of the same sizes would
    have, and in how many of the circuits each site is."""
    pairs = [overlap(a, b, n_sites, ("", "")) for a, b in combinations(circuits, 2)]
    sites = [str(site) for circuit in circuits for site in circuit.sites]
    return {
        "seeds": len(circuits),
        "jaccard": sum(pair.jaccard for pair in pairs) / len(pairs),
        "chance": sum(pair.chance for pair in pairs) / len(pairs),
        "sites": {
            name: sites.count(name)
            for name in sorted(set(sites), key=lambda name: (-sites.count(name), name))
        },
    }


def measure_band(model: Model, held_out: Sequence[Batch], n_random: int, n_pairs: int) -> list[Row]:
    """Random circuits of every size, drawn from all sites: quantiles of each desideratum.

    On few pairs, since a random circuit spares no layer.
    """
    few = [batch.take(range(min(n_pairs, len(batch)))) for batch in held_out]
    objective = open_objective(model, few)
    bounds = objective.bounds()
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
                    "size": size,
                    "desideratum": desideratum.name,
                    "n_random": n_random,
                    "n": len(few[index]),
                    "low": low,
                    "median": middle,
                    "high": high,
                    "best": float(scores[:, index].max()),
                    "null": bounds[index].null,
                    "ceiling": bounds[index].ceiling,
                }
            )
    return rows


def measure_backups(model: Model, circuit: Circuit, held_out: Sequence[Batch]) -> Row:
    """What leaving out each site, and each pair of sites, costs the desideratum hurt most.

    `extra` is what a pair costs beyond the sum of its two: above 0 they back each other up.
    """
    objective = open_objective(model, held_out)
    out: list[frozenset] = [
        frozenset(),
        *(frozenset({s}) for s in circuit.sites),
        *map(frozenset, combinations(circuit.sites, 2)),
    ]
    clear = slack(
        objective.scores(_without(objective, circuit, out)),
        objective.bounds(),
        [0.0] * len(held_out),
    )
    lost = {left: float(clear[0] - value) for left, value in zip(out, clear, strict=True)}
    alone = {site: lost[frozenset({site})] for site in circuit.sites}
    pairs = [
        {
            "first": str(a),
            "second": str(b),
            "lost": lost[frozenset({a, b})],
            "extra": lost[frozenset({a, b})] - alone[a] - alone[b],
        }
        for a, b in combinations(circuit.sites, 2)
    ]
    return {
        "n": min(map(len, objective.batches)),
        "sites": {str(site): value for site, value in alone.items()},
        "pairs": pairs,
    }


def _without(objective: Objective, circuit: Circuit, out: Sequence[frozenset]) -> Tensor:
    """A membership for each set of sites that is left out of the circuit."""
    index = {site: number for number, site in enumerate(objective.sites)}
    table = membership_of(objective.sites, circuit.sites).repeat(len(out), 1)
    for row, left in zip(table, out, strict=True):
        row[[index[site] for site in left]] = 0.0
    return table


def measure_before(model: Model, claim: Claim, circuit: Circuit, n: int) -> Row:
    """The claim on the model before fine-tuning, on pairs that it solves, of which there are few:
    what the circuit found after fine-tuning does there, and what search finds there."""
    fitted, _ = fit_to_tokenizer(model, claim)
    sides, shares = [], []
    for side in fitted.sample(DRAWN * n, 0):
        kept, counts = keep_solved(model, encode(model, side), n, Cost())
        if len(kept) < len(side):
            return {"solved": [vars(count) for count in counts], "says": "too few pairs solved"}
        sides.append(kept)
        shares += [{"name": c.name, "n": c.n, "solved": c.solved, "share": c.share} for c in counts]
    found = search(model, sides[0], config=SearchConfig(seed=0))
    return {
        "solved": shares,
        "circuit of the fine-tuned model": measure_scores(model, circuit, sides[1]),
        "searched": {
            "message": found.message,
            "sites": [str(site) for site in found.circuit.sites],
            "shared": len(set(found.circuit.sites) & set(circuit.sites)),
            "scores": measure_scores(model, found.circuit, sides[1]),
        },
    }


def compare_sizes(searches: Mapping[str, Sequence[tuple[Circuit, Mapping[str, Any]]]]) -> list[Row]:
    """Seed by seed, the size and the held-out slack of each method's circuit.

    The slack is the least satisfaction beyond what is needed, a share of pairs; below 0 the
    circuit does not hold.
    """
    rows: dict[int, Row] = {}
    for method, runs in searches.items():
        for circuit, report in runs:
            clear = min(row["satisfaction"] - row["need"] for row in report["desiderata"])
            row = rows.setdefault(circuit.seed, {"seed": circuit.seed})
            row[method] = {"size": len(circuit), "slack": clear}
    return [rows[seed] for seed in sorted(rows)]
