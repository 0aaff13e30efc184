"""Truth by trying everything: every smallest circuit that satisfies desiderata, and how near a
method comes to it.

Truth is a set of circuits, not one: every set of sites that satisfies the desiderata while no
smaller set inside it does. It holds for the donors of the desiderata (Miller et al. 2024,
arXiv 2407.08734: which circuit is the true one depends on the ablation) and for their pairs.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ..engines.bridge import BridgeEngine
from ..mediators.head import head
from ..mediators.site import Component, Site
from ..mediators.whole import mlp
from ..models.model import Model
from ..models.native import plain_names
from ..objective.encoding import Batch
from ..objective.objective import Objective

MOST_MASKS = 2**18  # that are tried unless the caller allows more
AT_ONCE = 512
Circuits = tuple[frozenset[Site], ...]


@dataclass(frozen=True)
class Truth:
    """Every smallest circuit, and what was done to know it.

    Args:
        circuits: the smaller ones first; empty where no set of sites satisfies the desiderata.
        idle: candidates that write only where nothing reads, which no circuit needs to have.
        tried: masks that were run; those with a found circuit inside were not.
    """

    circuits: Circuits
    idle: frozenset[Site]
    tried: int


def exhaustive_truth(
    model: Model,
    batches: Sequence[Batch],
    sites: Sequence[Site],
    *,
    bound: float = 1.0,
    most_masks: int = MOST_MASKS,
) -> Truth:
    """Every inclusion-minimal set of these sites with which every desideratum scores at least
    `bound`, a share of pairs, with hard gates.

    Sites of components that `unread` names are left out: whatever they take, every logit stays
    as it is bit for bit, so that no minimal circuit has them.

    Raises:
        ValueError: more sets than `most_masks` would have to be tried.
    """
    dead = unread(model)
    idle = frozenset(site for site in sites if site.component in dead)
    free = [index for index, site in enumerate(sites) if site not in idle]
    if 2 ** len(free) > most_masks:
        raise ValueError(
            f"{len(free)} sites ({len(sites)} less {len(idle)} that nothing reads) have "
            f"{2 ** len(free):,} subsets; at most {most_masks:,} are tried. Name fewer sites, or "
            "allow more masks"
        )
    objective = Objective(model, batches, sites)
    found: list[frozenset[int]] = []
    tried = 0
    for size in range(len(free) + 1):
        wanted = (
            members
            for members in map(frozenset, combinations(free, size))
            if not any(smaller <= members for smaller in found)
        )
        # Sets of one size are not inside each other, so that what is found joins afterwards.
        fresh: list[frozenset[int]] = []
        while turn := list(islice(wanted, AT_ONCE)):
            tried += len(turn)
            fresh += _satisfying(objective, turn, bound)
        found += fresh
    circuits = tuple(frozenset(sites[index] for index in members) for members in found)
    return Truth(circuits, idle, tried)


def _satisfying(
    objective: Objective, circuits: Sequence[frozenset[int]], bound: float
) -> list[frozenset[int]]:
    """Those of the circuits that satisfy every desideratum; each is only run as far as needed."""
    left = list(circuits)
    for index in range(len(objective.batches)):
        if not left:
            break
        rows = torch.zeros(len(left), len(objective.sites))
        for row, members in zip(rows, left, strict=True):
            row[list(members)] = 1.0
        # Compared as float32, as scores are: 0.95 of 20 pairs would else not reach 0.95.
        holds = objective.scores(rows, [index])[:, index] >= torch.tensor(bound)
        left = [members for members, held in zip(left, holds.tolist(), strict=True) if held]
    return left


def unread(model: Model) -> frozenset[Component]:
    """Heads and MLPs of a native model without normalisation that write only where nothing reads.

    A component counts when no direction of the residual stream that it writes (a row of its output
    matrix that is not all zero) is one that the unembedding, or a later component that is itself
    read, reads (a column of an input matrix that is not all zero). Then every number that goes
    from it into something read is multiplied by an exact zero, in any of its states and those of
    the others: no logit changes, bit for bit. Empty for other models, where nothing is claimed.
    """
    if not isinstance(model.engine, BridgeEngine):
        return frozenset()
    cfg = model.engine.bridge.cfg
    if getattr(cfg, "normalization_type", "LN") is not None:
        return frozenset()
    weights = plain_names(model.engine.bridge.original_model.state_dict())
    if "head.weight" not in weights or "tok_embed.weight" not in weights:
        return frozenset()
    read, dead = weights["head.weight"].any(dim=0), set()
    for layer in reversed(range(model.n_layers)):
        mine = {
            name.removeprefix(f"layers.{layer}."): weight
            for name, weight in weights.items()
            if name.startswith(f"layers.{layer}.")
        }
        if bool((_mlp_writes(mine) & read).any()):
            read = read | _columns(mine, ("mlp.fc_in", "mlp.gate", "mlp.in"), slice(None))
        else:
            dead.add(mlp(layer))
        after = read
        for index in range(model.n_heads):
            rows = slice(index * cfg.d_head, (index + 1) * cfg.d_head)
            if not bool((mine["attn.o.weight"][:, rows].any(dim=1) & after).any()):
                dead.add(head(layer, index))
                continue
            shared = model.n_heads // (cfg.n_key_value_heads or model.n_heads)
            group = slice(index // shared * cfg.d_head, (index // shared + 1) * cfg.d_head)
            read = read | _columns(mine, ("attn.q",), rows)
            read = read | _columns(mine, ("attn.k", "attn.v"), group)
    return frozenset(dead)


def _mlp_writes(mine: dict[str, Tensor]) -> Tensor:
    """The directions that an MLP writes, its bias among them: that is patched with it."""
    if "mlp.out.weight" in mine:
        return mine["mlp.out.weight"].any(dim=1)
    return mine["mlp.fc_out.weight"].any(dim=1) | mine["mlp.fc_out.bias"].bool()


def _columns(mine: dict[str, Tensor], names: Sequence[str], rows: slice) -> Tensor:
    """The directions that any of these matrices reads, in some of their rows."""
    found = [mine[f"{name}.weight"][rows].any(dim=0) for name in names if f"{name}.weight" in mine]
    return torch.stack(found).any(dim=0)


@dataclass(frozen=True)
class Auroc:
    """The area under the ROC curve of a ranking, with the sizes of both classes.

    `value` is the chance that a site of the circuit is ranked above one outside it, ties counted
    half; None where either class is empty, since there is nothing to tell apart then.
    """

    value: float | None
    inside: int
    outside: int


def auroc(
    ranking: Float[Tensor, " site"], sites: Sequence[Site], circuit: Collection[Site]
) -> Auroc:
    """How well a ranking (greater = more wanted) tells the circuit's sites from the others.

    Exact: the Mann-Whitney statistic over the product of the class sizes.

    Raises:
        ValueError: scores that are not numbers, or circuit sites that are not ranked.
    """
    if len(ranking) != len(sites):
        raise ValueError(f"expected {len(sites)} scores, one a site; got {len(ranking)}")
    if bool(ranking.isnan().any()):
        raise ValueError(f"{int(ranking.isnan().sum())} of {len(ranking)} scores are not numbers")
    if strangers := sorted(str(site) for site in set(circuit) - set(sites)):
        raise ValueError(f"the ranking does not have the circuit's {', '.join(strangers)}")
    scores = ranking.tolist()
    inside = [score for score, site in zip(scores, sites, strict=True) if site in circuit]
    outside = [score for score, site in zip(scores, sites, strict=True) if site not in circuit]
    if not inside or not outside:
        return Auroc(None, len(inside), len(outside))
    made: Any = stats.mannwhitneyu(inside, outside)
    area = float(made.statistic) / (len(inside) * len(outside))
    return Auroc(area, len(inside), len(outside))


@dataclass(frozen=True)
class Recovery:
    """How near a circuit comes to the nearest of the true ones: `f1` in [0, 1], 1 if `exact`."""

    exact: bool
    f1: float
    nearest: frozenset[Site]


def recovery(found: Collection[Site], circuits: Sequence[frozenset[Site]]) -> Recovery:
    """A found circuit beside the true circuit with which its F1 is best.

    Raises:
        ValueError: no true circuit; then there is nothing to recover.
    """
    if not circuits:
        raise ValueError("there is no true circuit to recover; a method should report failure")
    mine = frozenset(found)
    scored = [(_f1(mine, circuit), circuit) for circuit in circuits]
    best, nearest = max(scored, key=lambda each: each[0])
    return Recovery(mine in circuits, best, nearest)


def _f1(found: frozenset[Site], circuit: frozenset[Site]) -> float:
    sizes = len(found) + len(circuit)
    return 2 * len(found & circuit) / sizes if sizes else 1.0
