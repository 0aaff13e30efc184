"""The main job: from a claim to a checked circuit, and the folder that it ends in."""

import json
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any

from desiderata import Donor, Problem, Sampleable, lint_desiderata

from .circuit import Circuit
from .claims import load_claim
from .cost import Cost
from .decisions import DECISIONS, Decisions, chosen_by, decisions_about
from .encoding import Batch, encode, fit_to_tokenizer
from .examples import find_examples, load_examples
from .folder import CIRCUIT, EXAMPLES, FIGURE, PAGE, RunFolder, read_json, read_run
from .foreign import write_foreign_mib
from .mask import Mask
from .model import Model, load_model
from .precheck import Solved, keep_known, keep_solved, precheck
from .report import draw, save_figure
from .report.graphs import KINDS, export_graph
from .report.kinds import draw_kind
from .report.page import render_page
from .search import (
    Progress,
    SearchConfig,
    SearchResult,
    candidate_sites,
    method_named,
    search,
)
from .storage import write_text
from .validate import Card, card_from_json, validate

TEXTS = (*KINDS, "mib")  # what a circuit can be written as
# settings that run folders of version 0.1 do not have
LATER = ("size", "rival", "donor", "batch", "pins", "vetoes")
LISTS = ("at", "pins", "vetoes")  # settings that are lists in config.json
SPARE = 1.25  # pairs drawn for each one wanted, since those that the model fails are left out


@dataclass(frozen=True)
class Settings:
    """All that decides what a run finds. The same settings give the same circuit."""

    task: str
    model: str = "binder"
    method: str = "constrained"
    at: tuple[str, ...] = ()
    n: int = 192
    seed: int = 0
    n_random: int = 100
    steps: int | None = None
    learning_rate: float | None = None
    margin: float = 2.0
    device: str | None = None
    dtype: str = "float32"
    device_map: str | None = None
    revision: str | None = None
    prepend_bos: bool | None = None
    trust_remote_code: bool = False
    force: bool = False
    size: int | None = None
    rival: bool = False
    donor: Donor | None = None
    batch: int | None = None
    pins: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least {least}; got {value}"
            for name, value, least in (
                ("n", self.n, 4),
                ("n_random", self.n_random, 1),
                ("batch", self.batch, 1),
            )
            if value is not None and value < least
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings in a run's config.json.

        Raises:
            ValueError: keys that are not settings.
        """
        if strangers := sorted(set(config) - {field.name for field in fields(cls)}):
            raise ValueError(f"config.json has settings that this version does not: {strangers}")
        known: dict[str, Any] = dict(config)
        known |= {name: tuple(known.get(name, ())) for name in LISTS}
        return cls(**known)

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values, as config.json holds them.

        Those that came later than the first run folders are left out at their defaults, so that
        folders made before can still be gone on with.
        """
        made = asdict(self) | {name: list(getattr(self, name)) for name in LISTS}
        return {
            field.name: made[field.name]
            for field in fields(self)
            if field.name not in LATER or getattr(self, field.name) != field.default
        }

    def command(self) -> str:
        """The command line that makes a run of these settings; defaults are left out."""
        words = ["circuitfind", "discover", self.task, "--model", self.model]
        for field in fields(self)[2:]:
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            option = {"pins": "pin", "vetoes": "veto"}.get(name, name)
            if value == field.default and field.name not in ("method", "seed"):
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                for one in value if isinstance(value, tuple) else (value,):
                    words += [f"--{option}", str(one)]
        return shlex.join(words)

    def load_model(self) -> Model:
        """The model that these settings name."""
        model = load_model(
            self.model, device=self.device, dtype=self.dtype, device_map=self.device_map,
            revision=self.revision, prepend_bos=self.prepend_bos,
            trust_remote_code=self.trust_remote_code,
        )  # fmt: skip
        return replace(model, pairs_at_once=self.batch) if self.batch else model

    def load_claim(self) -> Sampleable:
        """The claim that these settings name, at their positions."""
        claim = load_claim(self.task, self.model, self.donor)
        return claim.moved(self.at) if self.at else claim


@dataclass(frozen=True)
class Evidence:
    """Batches ready for search and for validation, and what is to be said about them."""

    claim: Sampleable
    search: tuple[Batch, ...]
    held_out: tuple[Batch, ...]
    report: Mapping[str, Any]


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

    def restore(self) -> dict[str, Any] | None:
        if not self.resume:
            return None
        state, self.notes = self.folder.load_checkpoint()
        return state

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
) -> Run:
    """The main job, in order: claim, model, pairs, search, validation, figure, folder.

    Args:
        model, evidence: what `load_model` and `gather` gave for these settings, where several
            runs share them.
        decisions: those that the pins and vetoes come from, for the circuit's provenance.

    Raises:
        ValueError, LookupError: bad input, every problem at once; nothing is written then.
    """
    folder = RunFolder(out, settings.as_json())
    folder.check(resume, overwrite)
    if resume and folder.is_complete:
        return load_run(folder.path)
    method_named(settings.method)
    config = search_config(settings)
    claim = settings.load_claim()
    model = model or settings.load_model()
    evidence = evidence or gather(model, claim, settings)
    sites = candidate_sites(model, [batch.desideratum for batch in evidence.search])
    config.check_sites(sites)
    folder.begin(resume)
    progress = FolderProgress(folder, shown or Progress(), resume)
    result = search(model, evidence.search, settings.method, config=config, progress=progress)
    circuit = sign(result.circuit, model, evidence.claim, settings)
    if settings.pins or settings.vetoes or decisions:
        told = chosen_by(circuit, settings.pins, decisions)
        circuit = replace(circuit, provenance={**circuit.provenance, **told})
    card = validate(
        model, circuit, evidence.held_out, search=evidence.search, mask=soft_mask(result),
        seed=settings.seed, n_random=settings.n_random, progress=progress,
        also=("rival",) if settings.rival and result.success else (),
    )  # fmt: skip
    report = summarise(circuit, result, card, evidence, progress.notes)
    save_figure(draw(circuit, card), folder.path / FIGURE)
    find_examples(model, circuit, evidence.held_out).save(folder.path / EXAMPLES)
    folder.finish(circuit, report, result.history)
    write_page(folder.path)
    return Run(folder.path, circuit, report)


def load_run(path: str | Path) -> Run:
    """A finished run, read back.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes; a card about another circuit.
    """
    _, circuit, report = read_run(path)
    card_from_json(report).require(circuit)
    return Run(Path(path), circuit, report)


def redraw(
    path: str | Path,
    target: str | Path,
    kind: str = "map",
    *,
    report_path: str | Path | None = None,
    theme: str | None = None,
    width: str | None = None,
) -> None:
    """Draw a finished run into a .svg, .pdf or .png file.

    Args:
        kind: one of report.kinds.FIGURES.
        report_path: what `validate --json` printed of this circuit, in place of the run's report.

    Raises:
        LookupError: no finished run there.
        ValueError: an unknown kind of figure or of file, or a report without what it shows.
    """
    _, circuit, report = read_run(path)
    if report_path is not None:
        read = read_json(Path(report_path))
        report = read.get("report", read)
    save_figure(draw_kind(circuit, report, kind, theme=theme, width=width), target)


def write_page(path: str | Path, report: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a finished run into its folder; where it is.

    Args:
        report: of checks made anew; by default the run's own.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes; a card or examples of another circuit.
    """
    config, circuit, stored = read_run(path)
    examples, page = Path(path) / EXAMPLES, Path(path) / PAGE
    made = render_page(
        circuit, report or stored, command=Settings.from_json(config).command(),
        examples=load_examples(examples) if examples.is_file() else None,
        decisions=decisions_about(path, circuit),
    )  # fmt: skip
    write_text(page, made)
    return page


def page_of(path: str | Path) -> Path:
    """Where the page of a finished run is; it is made where the folder has none, or one from
    before the last edges or decisions.

    Raises:
        LookupError, ValueError: as in `write_page`.
    """
    page, told = Path(path) / PAGE, [Path(path) / name for name in (CIRCUIT, DECISIONS)]
    changed = max((one.stat().st_mtime for one in told if one.is_file()), default=0.0)
    return page if page.is_file() and page.stat().st_mtime >= changed else write_page(path)


def graph_of(path: str | Path, kind: str) -> str:
    """The circuit of a finished run as a graph in text, with its edges where they are measured
    and the groups that a person put its sites in; or, as `mib`, as MIB's graph (foreign.py).

    Raises:
        LookupError: no finished run there.
        ValueError: an unknown kind; a circuit that MIB's graph cannot hold.
    """
    circuit = load_run(path).circuit
    if kind == "mib":
        told = circuit.provenance
        graph = write_foreign_mib(
            circuit,
            told["n_layers"],
            told["n_heads"],
            parallel=told.get("parallel_attn_mlp", False),
        )
        return json.dumps(graph, indent=2) + "\n"
    decisions = decisions_about(path, circuit)
    groups = decisions.grouped(circuit) if decisions else {}
    return export_graph(circuit, kind, edges=circuit.edges, groups=groups)


def gather(
    model: Model,
    claim: Sampleable,
    settings: Settings,
    *,
    to_search: bool = True,
    known: Sequence[Solved] = (),
) -> Evidence:
    """The pairs of a claim that this model solves, encoded, for search and held out.

    Args:
        to_search: look for the pairs of search too; without, there are none.
        known: which held-out pairs this model solves, where a run with the same settings has
            found that out.

    Raises:
        ValueError: lint or precheck speak against the run (unless `force`), or the pairs cannot
            be encoded for this model.
    """
    fitted, notes = fit_to_tokenizer(model, claim)
    sampled = fitted.sample(ceil(SPARE * settings.n), settings.seed)
    problems = lint_desiderata(*sampled, n=settings.n)
    errors = [str(problem) for problem in problems if problem.level == "error"]
    cost, ready, counts = Cost(), {"search": ()}, {}
    splits = {"search": sampled[0]} if to_search else {}
    for split, side in (splits | {"held-out": sampled[1]}).items():
        batches = encode(model, side)
        if known and split == "held-out":
            ready[split], solved = keep_known(batches, settings.n, known)
        else:
            ready[split], solved = keep_solved(model, batches, settings.n, cost)
        counts[split] = solved
        errors += precheck(model, solved)
        if unsolved := [count.name for count in solved if not count.solved]:
            raise ValueError(f"{model.name} solves no pair of {', '.join(unsolved)}")
    errors = list(dict.fromkeys(errors))
    if errors and not settings.force:
        raise ValueError("; ".join(errors) + " (--force goes on all the same)")
    report = {
        "notes": [*notes, *fitted.notes(settings.seed)],
        "problems": _words(problems) + ([f"forced: {error}" for error in errors]),
        "solved": [
            {
                "name": count.name, "split": split, "n": count.n, "solved": count.solved,
                "share": count.share, "low": count.interval[0], "high": count.interval[1],
                "missed": list(count.missed),
            }
            for split, side in counts.items()
            for count in side
        ],
        "cost": cost.report(),
    }  # fmt: skip
    return Evidence(fitted, ready["search"], ready["held-out"], report)


def search_config(settings: Settings) -> SearchConfig:
    """The part of the settings that search reads."""
    return SearchConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        margin=settings.margin,
        size=settings.size,
        pins=settings.pins,
        vetoes=settings.vetoes,
    )


def soft_mask(result: SearchResult) -> Mask | None:
    """The mask of a search before rounding, where that took something."""
    return None if result.mask.is_hard else result.mask


def sign(circuit: Circuit, model: Model, claim: Sampleable, settings: Settings) -> Circuit:
    """The circuit with its task, its claim and all that is needed to check or remake it."""
    parallel = getattr(model.bridge.cfg, "parallel_attn_mlp", False)
    return replace(
        circuit,
        task=settings.task,
        claim=claim.name,
        provenance={
            "model_digest": model.digest,
            "n_layers": model.n_layers,
            "n_heads": model.n_heads,
            **({"parallel_attn_mlp": True} if parallel else {}),
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
    success = result.success and card.holds
    costs = {"check": evidence.report["cost"], "search": result.cost, "validate": card.cost}
    message = _message(result, card, len(circuit), sites)
    message += "".join(f"; {found.says}" for found in card.findings if found.name == "rival")
    return {
        "success": success,
        "message": message,
        "size": {
            "heads": len(circuit.heads),
            "mlps": len(circuit.mlps),
            "sites": len(circuit),
            "of": sites,
        },
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


def _message(result: SearchResult, card: Card, size: int, n_sites: int) -> str:
    if not result.success:
        return result.message
    if card.holds:
        return f"{size} of {n_sites} sites satisfy every desideratum on held-out pairs"
    broken = [
        f"{score.name!r} reaches {score.satisfaction:.3f} of the {score.need:.3f} it needs"
        for score in card.desiderata
        if not score.holds
    ]
    return (
        f"{size} of {n_sites} sites satisfied every desideratum on the selection pairs, but not "
        f"on held-out ones: {'; '.join(broken)}"
    )


def _words(problems: Sequence[Problem]) -> list[str]:
    return [str(problem) for problem in problems if problem.level == "warning"]


def _git_commit() -> str | None:
    """The commit of the code that runs, where it is a checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent,
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
