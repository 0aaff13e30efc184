"""The main job: from a claim to a checked circuit, and the folder that it ends in."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from desiderata import Sampleable

from ..circuits.circuit import Circuit
from ..circuits.decisions import Decisions, chosen_by
from ..models.model import Model
from ..objective.mask import Mask
from ..progress import Progress
from ..report import draw, save_figure
from ..search import (
    Method,
    MethodSpec,
    SearchConfig,
    SearchResult,
    candidate_sites,
    method_named,
    search,
)
from ..validate import Card, card_from_json, validate
from ..validate.names import RIVAL
from .find_examples import find_examples
from .folder import (
    BEFORE,
    CHECKPOINT,
    EXAMPLES,
    FIGURE,
    NOTHING_LEFT,
    PAGE,
    RunFolder,
    read_run,
)
from .lock import LOCK, locked
from .memory import Plan, fit_to_memory
from .pairs import Evidence, gather
from .pictures import page_text, write_page
from .settings import Settings, search_config


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and what is in it."""

    path: Path
    circuit: Circuit
    report: Mapping[str, Any]


class FolderProgress(Progress):
    """Progress that keeps its state in a run folder and passes reports on."""

    def __init__(self, folder: RunFolder, shown: Progress, resume: bool) -> None:
        self.folder, self.shown, self.resume = folder, shown, resume
        self.notes: list[str] = []
        self._untried: list[str] = []
        self._tried = ""

    def restore(self) -> dict[str, Any] | None:
        self._untried = [CHECKPOINT, BEFORE] if self.resume else []
        return self._next()

    def reject(self, why: str) -> dict[str, Any] | None:
        self.notes.append(f"{self._tried} does not fit this search ({why}) and is left aside")
        return self._next()

    def _next(self) -> dict[str, Any] | None:
        """The newest state that was not tried yet; in the notes, what could not be read."""
        while self._untried:
            self._tried = self._untried.pop(0)
            state, problem = self.folder.read_checkpoint(self._tried)
            if state is not None:
                return state
            self.notes += [problem] if problem else []
        self.notes += [NOTHING_LEFT] if self.notes else []
        return None

    def report(self, stage: str, done: int, total: int, row: Mapping[str, Any]) -> None:
        self.shown.report(stage, done, total, row)

    def save(self, state: Mapping[str, Any]) -> None:
        self.folder.save_checkpoint(state)


def discover(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    shown: Progress | None = None,
    model: Model | None = None,
    evidence: Evidence | None = None,
    decisions: Decisions | None = None,
    method: MethodSpec | Method | None = None,
) -> Run:
    """The main job, in order: claim, model, pairs, search, validation, figure, folder.

    Args:
        method: the method itself, where it is no installed one; the settings then take its name.
        model, evidence: what `load_model` and `gather` gave for these settings, where several
            runs share them.
        decisions: those that the pins and vetoes come from, for the circuit's provenance.

    Raises:
        ValueError, LookupError: bad input, every problem at once; nothing is written then.
    """
    if method is not None:
        settings = replace(settings, method=method_named(method).name)
    settings = settings.with_digests()
    folder = RunFolder(out, settings)
    folder.check(resume, overwrite)
    if resume and folder.is_complete:
        return _completed(folder)
    spec = method_named(method or settings.method)
    config = search_config(settings)
    claim = settings.load_claim()
    model = model or settings.load_model()
    evidence = evidence or gather(model, claim, settings)
    desiderata = [batch.desideratum for batch in evidence.search]
    sites = candidate_sites(model, desiderata, settings.sites)
    config.check_sites(sites)
    model, plan, spent = fit_to_memory(
        model,
        evidence.search,
        sites,
        pairs=settings.batch,
        method=spec.name,
        force=settings.force,
    )
    evidence = _with_plan(evidence, plan, spent.report())
    with folder.open(resume, overwrite):
        if resume and folder.is_complete:  # by another process meanwhile
            return load_run(folder.path)
        return _found(folder, model, evidence, spec, config, shown, resume, decisions)


def _with_plan(evidence: Evidence, plan: Plan, spent: Mapping[str, Any]) -> Evidence:
    """The evidence with the plan of memory among its notes, and what that cost on its account."""
    report = evidence.report
    cost = {key: value + spent[key] for key, value in report["cost"].items()}
    return replace(
        evidence, report={**report, "cost": cost, "notes": [*report["notes"], str(plan)]}
    )


def _found(
    folder: RunFolder,
    model: Model,
    evidence: Evidence,
    method: MethodSpec,
    config: SearchConfig,
    shown: Progress | None,
    resume: bool,
    decisions: Decisions | None,
) -> Run:
    """The circuit that the search finds and what checks say of it, in a folder that was begun."""
    settings, progress = folder.settings, FolderProgress(folder, shown or Progress(), resume)
    result = search(
        model,
        evidence.search,
        method,
        sites=settings.sites,
        config=config,
        progress=progress,
    )
    circuit = sign(result.circuit, model, evidence.claim, settings)
    if settings.pins or settings.vetoes or decisions:
        told = chosen_by(circuit, settings.pins, decisions)
        circuit = replace(circuit, provenance={**circuit.provenance, **told})
    card = validate(
        model,
        circuit,
        evidence.held_out,
        search=evidence.search,
        mask=soft_mask(result),
        seed=settings.seed,
        n_random=settings.n_random,
        progress=progress,
        also=(RIVAL,) if settings.rival and result.success else (),
    )
    save_figure(draw(circuit, card), folder.path / FIGURE)
    find_examples(model, circuit, evidence.held_out, card).save(folder.path / EXAMPLES)
    notes = [*progress.notes, *folder.put_back(circuit)]
    report = summarise(circuit, result, card, evidence, notes)
    page = page_text(folder.path, settings, circuit, report)
    bound = folder.finish(circuit, report, result.history, page)
    return Run(folder.path, circuit, bound)


def _completed(folder: RunFolder) -> Run:
    """A finished run, without what it may have left when it was killed right after its end, and
    with its page."""
    made = load_run(folder.path)
    left = [folder.path / name for name in (CHECKPOINT, BEFORE, LOCK)]
    if not (folder.path / PAGE).is_file() or any(one.exists() for one in left):
        with locked(folder.path):
            folder.tidy()
            write_page(folder.path)
    return made


def load_run(path: str | Path) -> Run:
    """A finished run, read back.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes; a card about another circuit.
    """
    _, circuit, report = read_run(path)
    card_from_json(report).require(circuit)
    return Run(Path(path), circuit, report)


def soft_mask(result: SearchResult) -> Mask | None:
    """The mask of a search before rounding, where that took something."""
    return None if result.mask.is_hard else result.mask


def sign(circuit: Circuit, model: Model, claim: Sampleable, settings: Settings) -> Circuit:
    """The circuit with its task, its claim and all that is needed to check or remake it."""
    return replace(
        circuit,
        task=settings.task,
        claim=claim.name,
        provenance={
            "model_digest": model.digest,
            "n_layers": model.n_layers,
            "n_heads": model.n_heads,
            **({"parallel_attn_mlp": True} if model.engine.sizes.parallel else {}),
            **({"checked": dict(model.checked)} if model.checked else {}),
            "positions": list(claim.at),
            "config": settings.as_json(),
            "versions": {
                "python": platform.python_version(),
                **{
                    name: version(name)
                    for name in ("circuitfind", "torch", "transformers", "transformer-lens")
                },
            },
            "git_commit": _git_commit(),
        },
    )


def summarise(
    circuit: Circuit,
    result: SearchResult,
    card: Card,
    evidence: Evidence,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The report of a run as plain values."""
    sites, mask = len(result.mask.sites), soft_mask(result)
    success = result.success and card.success
    costs = {"check": evidence.report["cost"], "search": result.cost, "validate": card.cost}
    return {
        "success": success,
        "message": _message(result, card, len(circuit), sites),
        "size": size_of(circuit, sites),
        **card.as_json(),
        **({} if mask is None else {"mask": mask.as_json()}),
        "frontier": [asdict(point) for point in result.frontier],
        "cost": {key: sum(cost[key] for cost in costs.values()) for key in result.cost}
        | {"stages": costs},
        "solved": evidence.report["solved"],
        "notes": [*evidence.report["notes"], *notes],
        "problems": [*evidence.report["problems"], *result.problems],
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def size_of(circuit: Circuit, n_sites: int) -> dict[str, int]:
    """How many members of each kind a circuit has, and of how many sites, as reports hold it."""
    counts = {glyph.plural.lower(): n for glyph, n in circuit.counts}
    return {"heads": 0, "mlps": 0, **counts, "sites": len(circuit), "of": n_sites}


def _message(result: SearchResult, card: Card, size: int, n_sites: int) -> str:
    """What the search found and what the checks say of it, in a sentence."""
    if not result.success:
        return result.message
    on = "" if card.pairs == "held-out pairs" else f" (on {card.pairs})"
    return f"{size} of {n_sites} sites{on}: {card.headline}"


def _git_commit() -> str | None:
    """The commit of the code that runs, where it is a checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
