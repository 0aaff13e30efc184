"""The points of a sweep: their runs, made, resumed or read, and the rows that these come to."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..models.model import Model
from ..runs.folder import RunFolder
from ..runs.lock import FolderInUse
from ..runs.pairs import Evidence, gather
from ..runs.run import Run, discover
from ..runs.settings import Settings
from ..search import method_named
from .plan import Plan, Point
from .running import run_points
from .work import Ended, Where

K = TypeVar("K")
V = TypeVar("V")
Status = Literal["holds", "fails", "refused", "crashed"]
# Seconds for which a point waits for who writes into its folder: a process of a sweep that was
# killed may be there a little longer.
PATIENCE = 30.0
MODELS, EVIDENCES = 2, 4  # that a process keeps

_models: "OrderedDict[Settings, Model]" = OrderedDict()
_evidences: "OrderedDict[Settings, Evidence]" = OrderedDict()


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a point came to.

    Args:
        point: its name, which is its folder's.
        values: those of the axes.
        status: *holds* and *fails* as the exit code of `discover` has it; *refused* is bad input.
        size, of: sites in the circuit, and candidates.
        satisfaction: the lowest of a desideratum on held-out pairs, a share; `worst` is which.
        flops, seconds: of the whole run, checks included.
    """

    point: str
    values: Mapping[str, Any]
    status: Status
    message: str
    folder: str
    size: int | None = None
    of: int | None = None
    satisfaction: float | None = None
    worst: str = ""
    flops: int | None = None
    seconds: float | None = None


def run_sweep(
    plan: Plan,
    out: str | Path,
    where: Where | None = None,
    done: Callable[[Row, int, int], None] = lambda row, count, total: None,
) -> tuple[Row, ...]:
    """A row for each point of a plan, in its order, whatever becomes of each.

    Args:
        out: the folder that the runs' folders are in.
        done: called with each row as it comes, their number so far, and their number at the end.
    """
    rows: dict[int, Row] = {}
    work = partial(run_point, str(Path(out).resolve()))
    for number, ended in run_points(plan.points, work, where):
        rows[number] = row_of_end(plan.points[number], ended)
        done(rows[number], len(rows), len(plan.points))
    return tuple(rows[number] for number in sorted(rows))


def run_point(out: str, point: Point) -> Row:
    """The row of a point whose run is in its folder of `out`, finished now or before."""
    run = run_settings(point.settings, Path(out) / point.name)
    return row_of(point, run)


def run_settings(settings: Settings, path: Path) -> Run:
    """The run of these settings in this folder: a finished one is read, a half-done one is
    resumed. Models and pairs are shared by all runs of this process that have the same.

    Raises:
        ValueError, LookupError: as `discover`.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            folder = RunFolder(path, settings.with_digests())
            folder.check(resume=True, overwrite=False)
            if folder.is_complete:
                return discover(settings, path, resume=True)
            method_named(settings.method)  # before a model is loaded for nothing
            model = model_of(settings)
            return discover(
                settings, path, resume=True, model=model, evidence=evidence_of(model, settings)
            )
        except FolderInUse:
            if time.monotonic() >= until:
                raise
            time.sleep(0.5)


def model_of(settings: Settings) -> Model:
    """The model of these settings, loaded once in this process."""
    keys = ("model", "device", "dtype", "device_map", "revision", "prepend_bos")
    keys += ("trust_remote_code", "engine", "force", "batch")
    key = Settings(task="", **{name: getattr(settings, name) for name in keys})
    return _kept(_models, key, MODELS, settings.load_model)


def evidence_of(model: Model, settings: Settings) -> Evidence:
    """The pairs of these settings, gathered once in this process for all searches on them."""
    free = Settings(task="")
    names = ("method", "n_random", "steps", "learning_rate", "margin", "size", "rival", "polish")
    names += ("pins", "vetoes", "sites")
    # With the digests of its files: pairs of a file that changed meanwhile are others.
    key = replace(settings.with_digests(), **{name: getattr(free, name) for name in names})
    make = partial(gather, model, settings.load_claim(), settings)
    return _kept(_evidences, key, EVIDENCES, make)


def _kept(kept: "OrderedDict[K, V]", key: K, most: int, make: Callable[[], V]) -> V:
    """What is kept under a key, made where it is not; the one that was used longest ago goes."""
    if key not in kept:
        while len(kept) >= most:
            kept.popitem(last=False)
        kept[key] = make()
    kept.move_to_end(key)
    return kept[key]


def row_of(point: Point, run: Run) -> Row:
    """The row of a finished run."""
    report = run.report
    worst = min(report["desiderata"], key=lambda one: one["satisfaction"], default=None)
    return Row(
        point=point.name,
        values=point.values,
        status="holds" if report["success"] else "fails",
        message=report["message"],
        folder=point.name,
        size=report["size"]["sites"],
        of=report["size"]["of"],
        satisfaction=worst and worst["satisfaction"],
        worst=worst["name"] if worst else "",
        flops=report["cost"]["flops"],
        seconds=report["cost"]["seconds"],
    )


def row_of_end(point: Point, ended: Ended[Row]) -> Row:
    """The row of a point however the work on it ended."""
    if ended.result is not None:
        return ended.result
    return Row(
        point=point.name,
        values=point.values,
        status="crashed" if ended.crash else "refused",
        message=ended.problem,
        folder=point.name,
    )
