"""The part that methods share: data to fit on and data to select on, and the conclusion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuit import Circuit
from ..component import Site
from ..cost import Cost
from ..encoding import Batch
from ..mask import Mask
from ..model import Model
from ..objective import Bound, Objective
from .result import SearchConfig, SearchResult, Status
from .trials import Members, Trials


@dataclass(frozen=True)
class Selection:
    """Search pairs in two parts: a third to fit on, the rest to select hard circuits on.

    `bounds` are measured on the selection pairs; `margin` is by how much each must be cleared
    there; `live` are the desiderata that are not vacuous.
    """

    model: Model
    fit: Objective
    select: Objective
    bounds: tuple[Bound, ...]
    margin: tuple[float, ...]
    live: tuple[int, ...]

    def trials(self) -> Trials:
        """An empty record of hard circuits on the selection pairs."""
        return Trials(self.select, self.bounds, self.margin, self.live)


def open_selection(
    model: Model, batches: Sequence[Batch], sites: Sequence[Site], config: SearchConfig
) -> Selection:
    """The search pairs divided and made ready, with bounds measured.

    Raises:
        ValueError: a desideratum with fewer than three pairs.
    """
    if small := [batch.desideratum.name for batch in batches if len(batch) < 3]:
        raise ValueError(f"search needs at least three pairs of each desideratum; too few: {small}")
    cost = Cost()
    # Pairs come balanced over their answers in rounds, so that every third is a fair third. More
    # go to selection: it decides, and its noise is what makes a circuit fail on held-out pairs.
    parts = [
        [[row for row in range(len(batch)) if (row % 3 == 0) == fitted] for batch in batches]
        for fitted in (True, False)
    ]
    fit, select = (
        Objective(
            model,
            [batch.take(rows) for batch, rows in zip(batches, part, strict=True)],
            sites,
            cost,
        )
        for part in parts
    )
    bounds = select.bounds()
    margin = tuple(
        config.margin * sqrt(bound.value * (1 - bound.value) / len(batch))
        for bound, batch in zip(bounds, select.batches, strict=True)
    )
    live = tuple(index for index, bound in enumerate(bounds) if not bound.vacuous)
    return Selection(model, fit, select, bounds, margin, live)


def conclude(
    method: str,
    selection: Selection,
    openness: Float[Tensor, " site"],
    choose: Callable[[Trials], Members],
    history: Sequence[Mapping[str, Any]],
    seed: int,
) -> SearchResult:
    """The circuit that `choose` settles on, with the verdict in words.

    Desiderata that looked vacuous join the constraints if the chosen circuit breaks them.
    """
    while True:
        trials = selection.trials()
        chosen = choose(trials)
        scores = trials.complete([chosen])[0].tolist()
        broken = [
            index
            for index, (score, bound) in enumerate(zip(scores, selection.bounds, strict=True))
            if index not in selection.live and score < bound.value
        ]
        if not broken:
            break
        selection = replace(selection, live=tuple(sorted({*selection.live, *broken})))
    frontier = trials.frontier()
    success = all(
        score >= bound.value for score, bound in zip(scores, selection.bounds, strict=True)
    )
    status: Status = "holds" if success else "fails"
    circuit = _circuit(method, selection, trials, chosen, seed)
    names = [desideratum.name for desideratum in selection.select.desiderata]
    last = {"stage": "chosen", "step": len(history), "size": len(chosen)}
    last |= dict(zip(names, scores, strict=True))
    return SearchResult(
        Mask(selection.select.sites, openness.clamp(0, 1)),
        circuit,
        success,
        status,
        _success(selection, chosen) if success else _failure(selection, trials, chosen, scores),
        (*history, last),
        frontier,
        selection.fit.cost.report(),
    )


def _circuit(
    method: str, selection: Selection, trials: Trials, chosen: Members, seed: int
) -> Circuit:
    """The chosen sites, each scored by what the live desiderata lose on average without it."""
    members = sorted(chosen)
    trials.slacks([chosen, *(chosen - {site} for site in members)])
    live = list(selection.live)
    whole = trials.seen[chosen][1][live]
    losses = [(whole - trials.seen[chosen - {site}][1][live]).mean() for site in members]
    return Circuit(
        selection.model.name, "", "", method, seed,
        tuple(selection.select.sites[site] for site in members),
        tuple(round(float(loss), 6) for loss in losses),
    )  # fmt: skip


def _success(selection: Selection, chosen: Members) -> str:
    words = (
        f"{len(chosen)} of {len(selection.select.sites)} sites satisfy every desideratum on the "
        "selection pairs"
    )
    vacuous = [
        desideratum.name
        for desideratum, bound in zip(selection.select.desiderata, selection.bounds, strict=True)
        if bound.vacuous
    ]
    if vacuous:
        words += f"; satisfied by the empty and the full circuit too: {', '.join(vacuous)}"
    return words


def _failure(selection: Selection, trials: Trials, chosen: Members, scores: Sequence[float]) -> str:
    """Which desiderata stand in the way, how far each gets, and how far it gets elsewhere."""
    reached = torch.stack([row for _, row in trials.seen.values()]).nan_to_num(nan=-1).amax(dim=0)
    parts = []
    for index, (desideratum, bound) in enumerate(
        zip(selection.select.desiderata, selection.bounds, strict=True)
    ):
        if scores[index] >= bound.value:
            continue
        words = (
            f"{desideratum.name!r} reaches {scores[index]:.2f} of the {bound.value:.2f} it needs"
        )
        if bound.unreached:
            words += (
                f", and with every site patched {bound.ceiling:.2f} (none: {bound.null:.2f}): "
                "what it asks for does not pass through these sites"
            )
        elif reached[index] >= bound.value:
            words += f" ({float(reached[index]):.2f} in circuits that break another)"
        parts.append(words)
    return (
        f"no circuit of the {len(trials.seen)} tried satisfies every desideratum; in the nearest, "
        f"of {len(chosen)} sites, {'; '.join(parts)}"
    )
