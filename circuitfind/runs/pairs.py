"""Evidence: the pairs of a claim that a model solves, for search and held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from desiderata import Desideratum, Problem, Sampleable, lint_desiderata

from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.fitting import fit_to_tokenizer
from ..objective.precheck import Solved, keep_known, keep_solved, precheck
from ..report.text.preview import refusal_text
from ..search import candidate_sites
from ..validate.inputs import digest_pairs
from .look import LOOKED_AT, look_at, unsolved
from .settings import Settings
from .suggestions import suggestions

SPARE = 1.25  # pairs drawn for each one wanted, since those that the model fails are left out


@dataclass(frozen=True)
class Evidence:
    """Batches ready for search and for validation, and what is to be said about them."""

    claim: Sampleable
    search: tuple[Batch, ...]
    held_out: tuple[Batch, ...]
    report: Mapping[str, Any]


def gather(
    model: Model,
    claim: Sampleable,
    settings: Settings,
    *,
    to_search: bool = True,
    known: Mapping[str, Sequence[Solved]] | None = None,
) -> Evidence:
    """The pairs of a claim that this model solves, encoded, for search and held out.

    A few pairs of each desideratum are looked at first, and a claim that more pairs could not
    save is refused there.

    Args:
        to_search: look for the pairs of search too; without, there are none.
        known: which pairs of each split this model solves, where a run with the same settings
            has found that out.

    Raises:
        ValueError: lint or precheck speak against the run (unless `force`), or the pairs cannot
            be encoded for this model.
    """
    fitted, notes = fit_to_tokenizer(model, claim)
    sampled = fitted.sample(ceil(SPARE * settings.n), settings.seed)
    problems = lint_desiderata(*sampled, n=settings.n)
    errors = [
        f"{problem.where}: {problem.says}" for problem in problems if problem.level == "error"
    ]
    cost, counts = Cost(), {}
    if to_search and not settings.force and not (known and "search" in known):
        _refuse_early(model, sampled[0], errors, cost)
    ready: dict[str, tuple[Batch, ...]] = {"search": ()}
    drawn: dict[tuple[str, str], str] = {}
    splits = {"search": sampled[0]} if to_search else {}
    for split, side in (splits | {"held-out": sampled[1]}).items():
        batches = encode(model, side)
        drawn |= {(split, one.desideratum.name): digest_pairs((one,)) for one in batches}
        if known and _are_about(known.get(split, ()), batches):
            ready[split], solved = keep_known(batches, settings.n, known[split])
        else:
            sites = candidate_sites(model, [one.desideratum for one in batches], settings.sites)
            ready[split], solved = keep_solved(model, batches, settings.n, cost, sites)
        counts[split] = solved
        # What search pairs already speak against is not said of the held-out ones too.
        failed = {error.partition(": ")[0] for error in errors}
        errors += precheck(model, [count for count in solved if count.name not in failed])
        if unsolved := [count.name for count in solved if not count.solved]:
            raise ValueError(f"{model.name} solves no pair of {', '.join(unsolved)}")
    errors = list(dict.fromkeys(errors))
    if errors and not settings.force:
        raise ValueError("; ".join(errors) + " (--force goes on all the same)")
    report = {
        "notes": [*model.notes, *notes, *fitted.notes(settings.seed)],
        "problems": _words(problems) + ([f"forced: {error}" for error in errors]),
        "solved": [
            {
                "name": count.name,
                "split": split,
                "n": count.n,
                "solved": count.solved,
                "share": count.share,
                "low": count.interval[0],
                "high": count.interval[1],
                "missed": list(count.missed),
                "drawn": drawn[split, count.name],
            }
            for split, side in counts.items()
            for count in side
        ],
        "cost": cost.report(),
    }
    return Evidence(fitted, ready["search"], ready["held-out"], report)


def _are_about(counts: Sequence[Solved], batches: Sequence[Batch]) -> bool:
    """Whether counts can be of these pairs: a table may have changed since they were made."""
    return len(counts) == len(batches) and all(
        count.name == batch.desideratum.name and count.n <= len(batch)
        for count, batch in zip(counts, batches, strict=True)
    )


def _refuse_early(
    model: Model, desiderata: Sequence[Desideratum], errors: Sequence[str], cost: Cost
) -> None:
    """Refuse what a look at a few pairs is enough to refuse.

    Raises:
        ValueError: with every problem once, the table of what is solved, and what to try.
    """
    looks, unusable = look_at(model, desiderata, LOOKED_AT, cost)
    problems = [*errors, *unusable, *unsolved(model, looks)]
    if problems:
        tips = list(suggestions(model, looks))
        rows = [look.row() for look in looks]
        # Nothing goes on with what cannot be encoded, or with a desideratum without a pair.
        can_force = not unusable and all(row["solved"] for row in rows)
        raise ValueError(refusal_text(problems, rows, tips, can_force))


def _words(problems: Sequence[Problem]) -> list[str]:
    return [str(problem) for problem in problems if problem.level == "warning"]
