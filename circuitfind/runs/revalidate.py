"""A stored circuit checked again: that of a run folder, or one from a file, whoever made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desiderata import is_table

from ..circuits.circuit import Circuit, Mlps
from ..circuits.foreign import circuit_of
from ..claims import digest_of_task
from ..edges.direct_effects import find_edges
from ..mediators.space import space_of
from ..models.model import Model
from ..objective.mask import Mask, mask_from_json
from ..objective.precheck import Solved
from ..progress import Progress
from ..validate import CHECKS, card_from_json, checks_named, validate
from ..validate.inputs import digest_pairs
from ..validate.thresholds import LEVEL
from .compare_cards import drifted
from .consent import Named, is_folder, permitted
from .find_examples import find_examples
from .folder import CIRCUIT, EXAMPLES, PAGE, read_run, require_same
from .history import keep_validated
from .lock import WAIT, locked
from .pairs import Evidence, gather
from .pictures import write_page
from .run import Run, load_run, sign, size_of
from .settings import Settings

OTHER_PAIRS = "these are not the pairs of the run: a table of pairs has changed since"


@dataclass(frozen=True)
class Checking:
    """Which checks are made, as in `validate`, and who is told how far they are."""

    checks: Sequence[str] = ()
    thorough: bool = False
    shown: Progress | None = None


def revalidate(
    path: str | Path,
    checking: Checking | None = None,
    *,
    named: Named | None = None,
    n: int | None = None,
    seed: int | None = None,
    n_random: int | None = None,
    force: bool = False,
) -> Run:
    """The circuit of a finished run, checked again; the run's report is left as it is.

    By the run's own settings, the folder keeps what these checks found (validated.json), and its
    page and its examples are made anew.

    Args:
        named: what the user names, such as another model; see `consent.permitted`.
        n, seed, n_random: another number of held-out pairs, seed or number of random circuits
            than the run's.
        force: go on where the model solves few of the pairs.

    Raises:
        LookupError: no finished run there; a site that the model does not have.
        ValueError: bad input, as in `discover`.
    """
    stored, circuit, report = read_run(path)
    own, checking = permitted(stored, path, named), checking or Checking()
    given = {"n": n, "seed": seed, "n_random": n_random, "force": force or None}
    settings = replace(own, **{key: value for key, value in given.items() if value is not None})
    model = settings.load_model()
    # A model's own folder may be named by another path.
    same_model = stored.model == own.model or (
        is_folder(stored.model) and model.digest == circuit.provenance.get("model_digest")
    )
    mask = mask_from_json(report["mask"]) if "mask" in report else None
    same_pairs = same_model and (settings.n, settings.seed) == (own.n, own.seed)
    before = report if same_pairs else None
    evidence = _evidence(settings, model, checking, before)
    fresh = _check(settings, model, circuit, evidence, checking, mask)
    if before is not None and _are_others(settings, fresh, before):
        fresh["notes"] = [*fresh["notes"], OTHER_PAIRS]
    fresh["notes"] = [*fresh["notes"], *_task_changed(own)]
    if settings == own and same_model:
        found = find_examples(model, circuit, evidence.held_out, card_from_json(fresh))
        with locked(path, WAIT):
            require_same(path, circuit)
            found.save(Path(path) / EXAMPLES)
            keep_validated(path, fresh)
            write_page(path)
    return Run(Path(path), circuit, {**report, **fresh})


def validate_file(
    path: str | Path,
    settings: Settings,
    checking: Checking | None = None,
    *,
    position: str | None = None,
    top: int | None = None,
) -> Run:
    """The circuit in a file, of ours or of another tool (docs/formats.md), checked on a claim.

    Args:
        settings: the claim, the model and the pairs.
        position, top: as in `foreign.circuit_of`; the position is by default the claim's only one,
            and is not needed where the file names positions itself.

    Raises:
        FileNotFoundError: no such file.
        LookupError: a site that the claim's positions do not offer.
        ValueError: not a circuit; bad input, as in `discover`.
    """
    model, claim = settings.load_model(), settings.load_claim()
    places = [position] if position else list(claim.at[:2])
    read = [circuit_of(path, model, position=place, top=top) for place in places]
    if read[0].sites != read[-1].sites:  # so that the file leaves the position open
        names = ", ".join(claim.at)
        raise ValueError(f"the claim is about {names}; say by --position which the file means")
    circuit = read[0]
    signed = sign(circuit, model, claim, settings)
    signed = replace(signed, provenance={**signed.provenance, **circuit.provenance})
    checking = checking or Checking()
    evidence = _evidence(settings, model, checking)
    fresh = _check(settings, model, signed, evidence, checking)
    space = space_of(circuit.space, signed.provenance["positions"])
    size = size_of(signed, len(space.sites(model.engine)))
    notes = [circuit.provenance["imported"]["format"], *fresh["notes"]]
    return Run(Path(path), signed, fresh | {"size": size, "notes": notes})


def recheck(
    path: str | Path,
    named: Named | None = None,
    shown: Progress | None = None,
    *,
    level: float = LEVEL,
    change: float = 0.0,
) -> tuple[Run, tuple[str, ...]]:
    """The circuit of a finished run checked again, on another model or with another version of
    what it runs on, by the checks of its report; and what drifted, a sentence each.

    Args:
        level, change: how often a drift may be seen where there is none, and how much of a share
            has to change for one; see `compare_cards.drifted`.

    Raises:
        LookupError: no finished run there; a site that the model does not have.
        ValueError: bad input, as in `discover`; a model that solves no pair of a desideratum.
    """
    report = load_run(path).report
    before = card_from_json(report)
    known = [check.name for check in CHECKS]
    names = [finding.name for finding in before.findings if finding.name in known]
    made = revalidate(path, Checking(names, shown=shown), named=named, force=True)
    return made, drifted(report, made.report, level=level, change=change)


def add_paths(
    path: str | Path,
    mlps: Mlps = "frozen",
    n: int | None = None,
    shown: Progress | None = None,
    *,
    named: Named | None = None,
) -> Circuit:
    """The circuit of a finished run with the direct effects of its members on each other and on
    the answer, which its file and its page hold from now on; see `paths.find_edges`.

    They are measured on held-out pairs of the first desideratum that follows at all the
    circuit's positions.

    Raises:
        LookupError: no finished run there.
        ValueError: no such desideratum; bad input, as in `discover`.
    """
    settings, circuit, _ = read_run(path)
    settings = permitted(settings, path, named)
    settings = settings if n is None else replace(settings, n=n)
    model, positions = settings.load_model(), {site.position for site in circuit.sites}
    held_out = gather(model, settings.load_claim(), settings, to_search=False).held_out
    fitting = [
        batch
        for batch in held_out
        if batch.desideratum.sense == "follows" and positions <= set(batch.desideratum.at)
    ]
    if not fitting:
        raise ValueError(f"no desideratum of the claim follows at {', '.join(sorted(positions))}")
    seed = settings.seed
    edges = find_edges(model, circuit, fitting[0], mlps=mlps, seed=seed, progress=shown)
    made = replace(circuit, edges=edges)
    with locked(path, WAIT):
        require_same(path, circuit)
        made.save(Path(path) / CIRCUIT)
        if (Path(path) / PAGE).is_file():
            write_page(path)
    return made


def _task_changed(settings: Settings) -> list[str]:
    """A note where an installed task is not the one of the run any more."""
    before, now = settings.task_digest, digest_of_task(settings.task)
    if is_table(settings.task) or before in (None, now):
        return []
    return [
        f"the task {settings.task} has changed since the run: its file's SHA-256 was {before[:12]}"
        f"... and is {str(now)[:12]}..."
    ]


def _are_others(settings: Settings, fresh: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a table gave a run and its check different pairs for the same weights."""
    then, now = before.get("binds", {}), fresh["binds"]
    same_model = then.get("model") == now["model"]
    return is_table(settings.task) and same_model and then.get("pairs") != now["pairs"]


def _gather_again(
    model: Model, settings: Settings, to_search: bool, before: Mapping[str, Any]
) -> Evidence:
    """The pairs that the model solves, as the report of a run with these settings tells, if that
    was about the same weights and leads to the same held-out pairs."""
    binds, claim = before.get("binds", {}), settings.load_claim()
    if model.is_known_as(binds.get("model")):
        known: dict[str, list[Solved]] = {}
        for row in before["solved"]:
            if "missed" in row:
                solved = Solved(row["name"], row["n"], row["solved"], tuple(row["missed"]))
                known.setdefault(row["split"], []).append(solved)
        evidence = gather(model, claim, settings, to_search=to_search, known=known)
        if digest_pairs(evidence.held_out) == binds["pairs"]:
            return evidence
    return gather(model, claim, settings, to_search=to_search)


def _evidence(
    settings: Settings, model: Model, checking: Checking, before: Mapping[str, Any] | None = None
) -> Evidence:
    """The pairs that these checks need; `before` is the report of a run with the same settings."""
    chosen = checks_named(checking.checks, checking.thorough)
    to_search = any(check.searches for check in chosen)
    return _gather_again(model, settings, to_search, before or {})


def _check(
    settings: Settings,
    model: Model,
    circuit: Circuit,
    evidence: Evidence,
    checking: Checking,
    mask: Mask | None = None,
) -> dict[str, Any]:
    """The part of a report that checks make anew."""
    card = validate(
        model,
        circuit,
        evidence.held_out,
        search=evidence.search,
        mask=mask,
        seed=settings.seed,
        n_random=settings.n_random,
        checks=checking.checks,
        thorough=checking.thorough,
        progress=checking.shown,
    )
    return {
        "success": card.success,
        "message": f"{len(circuit)} sites on {card.pairs} of seed {settings.seed} by "
        f"{model.name}: {card.headline}",
        **card.as_json(),
        "cost": {**card.cost, "stages": {"validate": card.cost}},
        "solved": evidence.report["solved"],
        "notes": evidence.report["notes"],
        "problems": evidence.report["problems"],
    }
