"""Path patching: the direct effect of each member of a circuit on later ones and on the answer.

After Wang et al. 2022 (arXiv 2211.00593, appendix B). To measure the path from a sender to one
input of a receiver, the base prompts run with the sender's output taken from the source, all other
heads frozen to the base run, and the MLPs frozen too (`mlps="frozen"`: nothing but the residual
stream between the two) or computed anew (`"recomputed"`, which is what Wang et al. and Prakash et
al. 2024, 2402.14811, do). What then arrives at the receiver's input is given to the receiver, in
base prompts that are otherwise untouched and go on from there as they will. The path to the answer
is read off the first of these runs. The effect of a path is

    mean over pairs of  lead(base run) - lead(patched run),

where the lead is the logit of the base's answer minus that of the source's. Wang et al. give the
relative change instead, which has the other sign.

Both runs are rows of one pass: row 0 is the base, row 1 the sender's, and each further row is a
path. Freezing is to copy from row 0, a path is to copy the queries, keys, values or MLP output
from row 1, where the model has just computed them by its own norms and weights. A path's row keeps
row 0's heads but for the receiver at its own position, so that where several heads share a key or
a value, as in LLaMA, only the receiver is changed by it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits.circuit import CHANNELS, MLPS, Channel, Circuit, Edge, Mlps
from ..donors.source import Source
from ..engines.engine import Edit, Point
from ..mediators.site import Component, Site
from ..mediators.space import has_component
from ..models.model import Model
from ..models.prompts import Prompts
from ..objective.encoding import Batch
from ..objective.intervals import FEWEST, Values, mean_interval
from ..objective.objective import NotANumber
from ..objective.passes import Prepared
from ..objective.patching import masks_per_pass, prepare
from ..progress import Progress

__all__ = ["Edge", "find_edges"]

_PROJECTED = ("q", "k", "v")  # the points of a head's inputs; an MLP's input is not a point here


@dataclass(frozen=True)
class _Path:
    sender: Site
    receiver: Site | None
    channel: Channel


def find_edges(
    model: Model,
    circuit: Circuit,
    batch: Batch,
    *,
    mlps: Mlps = "frozen",
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Edge, ...]:
    """The direct effects of the circuit's members on each other and on the answer, in the answer's
    unit.

    Every path that the model has is listed, whatever its effect: from a member to the inputs of
    those of later layers (and from a head to its own layer's MLP, where that reads it), to the
    answer from where it is read; q, `in` and the answer only at the sender's own position, k and v
    from there on. Intervals are of one path each: with many, some exclude 0 by chance.

    Args:
        batch: pairs whose base and source differ in what the model is to answer; others have no
            lead and are left out. Senders take the source's activation, whatever the batch's donor.
        mlps: whether MLPs between sender and receiver keep the base's value or compute it anew.
        seed: of the resamples behind the intervals (95 %, over pairs).
        progress: is told how many of all paths are measured, over all pairs.

    Raises:
        ValueError: a site that the model or the batch does not have, fewer than two pairs with a
            lead, a model whose heads cannot be frozen or have no queries, keys and values to hook.
        NotANumber: a lead is not finite.
    """
    if mlps not in MLPS:
        raise ValueError(f"mlps must be one of {', '.join(MLPS)}; got {mlps!r}")
    batch = _with_lead(batch)
    if problems := list(_problems(model, circuit, batch)):
        raise ValueError(f"{model.name}: no paths: {'; '.join(problems)}")
    sites = sorted(circuit.sites, key=lambda site: (site.component.rank, site.position))
    paths = _paths(model, sites, batch.base)
    if not paths:
        return ()
    parts = torch.arange(len(batch)).split(model.pairs_at_once)
    shown, done = progress or Progress(), []

    def measured(n: int) -> None:
        done.append(n)
        shown.report("paths", sum(done), len(parts) * len(paths), {})

    lost = torch.cat(
        [_lost(model, batch.take(rows), sites, paths, mlps, measured) for rows in parts], dim=1
    )
    edges = []
    for path, values in zip(paths, lost.numpy(), strict=True):
        low, high = _ends(values, seed)
        edges.append(
            Edge(
                sender=path.sender,
                receiver=path.receiver,
                channel=path.channel,
                effect=float(values.mean()),
                low=low,
                high=high,
                n=len(values),
                mlps=mlps,
                unit=batch.answer.unit,
            )
        )
    return tuple(edges)


def _ends(values: Values, seed: int) -> tuple[float, float]:
    """Between what the mean effect lies; on too few pairs for an interval the least and the
    greatest effect of a pair."""
    if len(values) < FEWEST:
        return float(values.min()), float(values.max())
    return mean_interval(values, seed)


def _with_lead(batch: Batch) -> Batch:
    """The pairs with a lead, patched from their sources."""
    if batch.continued is not None:
        raise ValueError(
            f"{batch.desideratum.name}: paths are measured where one token is read, and answers "
            "here have several; compare them by their first token that differs "
            "(alternatives(..., first=True), --answer among-first)"
        )
    apart = batch.source_answer.differs(batch.base_answer)
    has_lead = batch.source_answer.known & apart
    if int(has_lead.sum()) < 2:
        raise ValueError(
            f"{batch.desideratum.name}: paths need two pairs or more whose base and source have "
            f"different answers, both known; {int(has_lead.sum())} of {len(batch)} do"
        )
    return batch.take(has_lead.nonzero()[:, 0]).taking(Source())


def _problems(model: Model, circuit: Circuit, batch: Batch) -> Iterator[str]:
    has = model.engine.has
    for site in circuit.sites:
        if not has_component(model.engine, site.component):
            yield f"the model has no {site.component}"
        if site.position not in batch.desideratum.at:
            yield f"the pairs have no position {site.position}"
    yield from (
        f"layer {layer} has no heads that could be frozen"
        for layer in range(model.n_layers)
        if not has(Point(layer, "heads"))
    )
    reading = {site.component.layer for site in circuit.sites if "q" in site.component.glyph.inputs}
    yield from (
        f"the heads of layer {layer} have no {channel} to change"
        for layer in sorted(reading & set(range(model.n_layers)))
        for channel in _PROJECTED
        if not has(Point(layer, channel))
    )


def _paths(model: Model, sites: Sequence[Site], base: Prompts) -> list[_Path]:
    """Every path of the model between these sites and to the answer, by sender."""
    reads = base.tokens.shape[1] - 1 if base.reads is None else base.reads
    found = []
    for sender in sites:
        start = base.columns.get(sender.position)  # None for `all`
        for receiver in sites:
            if not _follows(model, sender.component, receiver.component):
                continue
            end = base.columns.get(receiver.position)
            same = reached = True
            if start is not None and end is not None:
                same = bool((start == end).any())
                reached = not model.engine.sizes.causal or bool((start <= end).any())
            found += [
                _Path(sender, receiver, channel)
                for channel in _inputs(receiver.component)
                if (reached if channel in ("k", "v") else same)
            ]
        if start is None or bool((start == reads).any()):
            found.append(_Path(sender, None, "answer"))
    return found


def _inputs(component: Component) -> tuple[Channel, ...]:
    return tuple(channel for channel in CHANNELS if channel in component.glyph.inputs)


def _follows(model: Model, sender: Component, receiver: Component) -> bool:
    """Whether the receiver reads what the sender writes."""
    if not receiver.glyph.inputs:
        return False
    if not sender.glyph.inputs:  # an embedding, which every layer reads
        return True
    if sender.layer == receiver.layer:
        return sender.depth < receiver.depth and not model.engine.sizes.parallel
    return sender.layer < receiver.layer


def _lost(
    model: Model,
    batch: Batch,
    sites: Sequence[Site],
    paths: Sequence[_Path],
    mlps: Mlps,
    measured: Callable[[int], None],
) -> Float[Tensor, "path pair"]:
    """What the lead loses by each path in each pair; `measured` is told of each pass
    how many more paths are known."""
    prepared = prepare(model, batch, sites)
    at_once = max(1, masks_per_pass(prepared) - 2)
    made: dict[_Path, Tensor] = {}
    for sender in dict.fromkeys(path.sender for path in paths):
        mine = [path for path in paths if path.sender == sender]
        inner = [path for path in mine if path.receiver is not None]
        for begin in range(0, max(1, len(inner)), at_once):
            turn = inner[begin : begin + at_once]
            lead = _Pass(prepared, sender, tuple(turn), mlps).leads()
            lost = lead[0] - lead[1:]
            before = len(made)
            made |= dict(zip(turn, lost[1:], strict=True))
            made |= {path: lost[0] for path in mine if path.receiver is None}
            measured(len(made) - before)
    lost = torch.stack([made[path] for path in paths])
    if not bool(lost.isfinite().all()):
        raise NotANumber(f"{model.name}: the effect of a path is not a number", prepared.cost)
    return lost


@dataclass(frozen=True)
class _Pass:
    """One pass: row 0 is the base, row 1 has the sender patched and all else frozen, row 2 + i is
    the base with what path i brings to its receiver."""

    prepared: Prepared
    sender: Site
    paths: tuple[_Path, ...]
    mlps: Mlps

    def leads(self) -> Float[Tensor, "row pair"]:
        """The lead of the base's answer over the source's, in double precision."""
        prepared, n_rows = self.prepared, 2 + len(self.paths)
        model, batch, prefix = prepared.model, prepared.batch, prepared.prefix
        if prefix is not None:
            prefix = model.engine.repeat_prefix(prefix, n_rows)
        reads = batch.base.reads
        fired: set[Point] = set()
        edits = [(point, self._edit(point, change, fired)) for point, change in self._changes()]
        with torch.no_grad():
            output, _ = model.engine.forward(
                batch.base.tokens[:, prepared.start :].repeat(n_rows, 1),
                batch.base.attends.repeat(n_rows, 1),
                edits,
                prefix=prefix,
                reads=None if reads is None else (reads - prepared.start).repeat(n_rows),
            )
        if silent := [str(point) for point, _ in edits if point not in fired]:
            raise ValueError(f"{model.name}: no paths: nothing passes {', '.join(silent)}")
        width = batch.base.tokens.shape[1]
        prepared.cost.add(model, n_rows * len(batch), prepared.width, width)
        rows = rearrange(output, "(row pair) ... -> row pair ...", row=n_rows).double()
        return batch.answer.contrast(rows, batch.base_answer, batch.source_answer).cpu()

    def _edit(self, point: Point, change: Callable[[Tensor], None], fired: set[Point]) -> Edit:
        """An edit that changes a copy of what is there, with its rows apart."""

        def apply(own: Tensor) -> Tensor:
            fired.add(point)
            rows = rearrange(own, "(row pair) ... -> row pair ...", row=2 + len(self.paths)).clone()
            change(rows)
            return rearrange(rows, "row pair ... -> (row pair) ...")

        return apply

    def _changes(self) -> Iterator[tuple[Point, Callable[[Tensor], None]]]:
        """What happens at which point, to "row pair pos *acts"."""
        model, sent = self.prepared.model, self.sender.component.point
        for layer in range(model.n_layers):
            yield Point(layer, "heads"), self._at_heads(layer)
            if model.engine.has(Point(layer, "mlp")):
                yield Point(layer, "mlp"), self._at_mlp(layer)
            for channel in _PROJECTED:
                taking = [
                    row
                    for row, path in self._ending(Point(layer, "heads"))
                    if path.channel == channel
                ]
                if taking:
                    yield Point(layer, channel), self._at_input(taking)
        if sent.kind not in ("heads", "mlp"):
            yield sent, self._send

    def _ending(self, point: Point) -> Iterator[tuple[int, _Path]]:
        """The rows whose path ends in a receiver at this point, each with its path."""
        for row, path in enumerate(self.paths, 2):
            if path.receiver is not None and path.receiver.component.point == point:
                yield row, path

    def _at_input(self, taking: Sequence[int]) -> Callable[[Tensor], None]:
        def bring(rows: Tensor) -> None:
            rows[list(taking)] = rows[1].clone()

        return bring

    def _at_heads(self, layer: int) -> Callable[[Tensor], None]:
        point = Point(layer, "heads")

        def freeze(rows: Tensor) -> None:
            for row, path in self._ending(point):
                changed = rows[row].clone()
                rows[row] = rows[0]
                self._copy(changed, rows, row, path.receiver)
            rows[1] = rows[0]
            if self.sender.component.point == point:
                self._send(rows)

        return freeze

    def _at_mlp(self, layer: int) -> Callable[[Tensor], None]:
        point = Point(layer, "mlp")

        def freeze(rows: Tensor) -> None:
            for row, path in self._ending(point):
                self._copy(rows[1], rows, row, path.receiver)
            if self.mlps == "frozen":
                rows[1] = rows[0]
            if self.sender.component.point == point:
                self._send(rows)

        return freeze

    def _send(self, rows: Tensor) -> None:
        """Give row 1 what the sender does in the source."""
        index = self.prepared.sites.index(self.sender)
        for patch in self.prepared.patches[self.sender.component.point]:
            if index in patch.gates.flatten().tolist():
                value = patch.donor[:, :, self.sender.component.part].to(rows.device)
                self._put(rows, 1, self.sender, value)

    def _copy(self, taken: Tensor, rows: Tensor, row: int, site: Site | None) -> None:
        """Give a row the site's part of another activation."""
        if site is not None:
            parts = site.component.mediator.split(taken)
            pairs, columns = self._place(site, taken)
            value = parts[pairs, columns, site.component.part]
            self._put(rows, row, site, value if site.position == "all" else value.unsqueeze(1))

    def _put(
        self, rows: Tensor, row: int, site: Site, value: Float[Tensor, "pair pos width"]
    ) -> None:
        """Write a value into the site's part of a row, where its position is."""
        mediator = site.component.mediator
        parts = mediator.split(rows[row]).clone()
        pairs, columns = self._place(site, parts)
        if site.position != "all":
            value = value.squeeze(1)
        parts[pairs, columns, site.component.part] = value
        rows[row] = mediator.join(rows[row], parts)

    def _place(self, site: Site, row: Tensor) -> tuple[Any, Any]:
        """Indices of a site's pairs and columns in what a pass runs."""
        if site.position == "all":
            return slice(None), slice(None)
        columns: Int[Tensor, " pair"] = self.prepared.batch.base.columns[site.position]
        pairs = torch.arange(len(columns), device=row.device)
        return pairs, (columns - self.prepared.start).to(row.device)
