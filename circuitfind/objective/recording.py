"""What unpatched prompts give: activations at points, what sites write, what heads attend to."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engines.engine import Edit, Point
from ..mediators.site import Site
from ..models.model import Model
from ..models.prompts import Prompts
from .cost import Cost


def seen_at(
    model: Model,
    tokens: Int[Tensor, "pair pos"],
    attends: Int[Tensor, "pair seen"],
    points: Sequence[Point],
    prefix: Any = None,
) -> dict[Point, Tensor]:
    """What is at these points in an unpatched pass."""
    seen: dict[Point, Tensor] = {}

    def keep(point: Point) -> Edit:
        def look(own: Tensor) -> None:
            seen[point] = own.detach()

        return look

    model.engine.forward(tokens, attends, [(one, keep(one)) for one in points], prefix=prefix)
    return seen


@torch.no_grad()
def record_base(
    model: Model, base: Prompts, sites: Sequence[Site], cost: Cost
) -> list[Float[Tensor, "sample width"]]:
    """What each site itself writes in unpatched prompts: a row per prompt and token.

    A component's is its part of the activation, where the site's position is; at `all`, every
    token that is not padding.
    """
    points = list(dict.fromkeys(site.component.point for site in sites))
    seen = seen_at(model, base.tokens, base.attends, points)
    n_pairs, width = base.tokens.shape
    cost.add(model, n_pairs, width, width)
    real, rows = base.attends.bool(), torch.arange(n_pairs)
    written = []
    for site in sites:
        acts = site.component.mediator.split(seen[site.component.point])
        if site.position == "all":
            taken = acts[real.to(acts.device)]
        else:
            taken = acts[rows.to(acts.device), base.columns[site.position].to(acts.device)]
        written.append(taken[:, site.component.part].float().cpu())
    return written


@torch.no_grad()
def record_attention(
    model: Model, prompts: Prompts, sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "pair pos"]]:
    """How much each head attends to every token of unpatched prompts, from where its site is.

    Weights are shares that sum to 1 over the tokens, and 0 on padding. At `all` a head attends
    from where the answer is read. Sites that are no heads, heads at positions that the prompts do
    not name, and heads of engines without attention patterns, are left out.
    """
    end = prompts.reads if prompts.reads is not None else torch.tensor(prompts.tokens.shape[1] - 1)
    columns = {"all": end, "last": torch.tensor(prompts.tokens.shape[1] - 1), **prompts.columns}
    heads = [s for s in sites if s.component.point.kind == "heads" and s.position in columns]
    points = [
        point
        for point in dict.fromkeys(Point(site.component.layer, "pattern") for site in heads)
        if model.engine.has(point)
    ]
    seen = seen_at(model, prompts.tokens, prompts.attends, points)
    rows, found = torch.arange(len(prompts.tokens)), {}
    for site in heads:
        if (pattern := seen.get(Point(site.component.layer, "pattern"))) is not None:
            column = columns[site.position].expand(len(rows)).cpu()
            found[site] = pattern[:, site.component.part].float().cpu()[rows, column]
    return found
