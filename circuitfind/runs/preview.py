"""A preview: what a claim asks of a model, what the model says, and what a run would cost."""

import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from desiderata import Desideratum, Sampleable, lint_desiderata
from desiderata.choices import name_of
from desiderata.claim import SamplingError

from ..models.model import Model
from ..objective.cost import Cost
from ..objective.fitting import fit_to_tokenizer
from ..objective.precheck import SOLVED_AT_LEAST
from ..report.text.preview import preview_text
from ..search import candidate_sites
from .accuracy import ValueShare, accuracy
from .estimate import Ends, Estimate, ends_of, estimate
from .example_pairs import Example, different, example_of
from .look import LOOKED_AT, Look, look_at, unsolved
from .memory import fit_to_memory
from .pairs import SPARE
from .settings import Settings
from .suggestions import suggestions

FORMAT = "circuitfind-preview/1"
PAIRS = Settings.n  # of each desideratum, as a run has them unless it is given another number


@dataclass(frozen=True, kw_only=True)
class DesideratumPreview:
    """One desideratum: its pairs, and the scores of the first of them.

    `solved` of `n` pairs have both prompts answered right, and of `compared` pairs `preferred`
    have the right answers before the others that they name. `null` and `ceiling` are shares of
    the `n` pairs, None where they were not measured.
    """

    name: str
    part: str
    sense: str
    search_pairs: int
    held_out_pairs: int
    n: int
    solved: int
    compared: int
    preferred: int
    null: float | None
    ceiling: float | None
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Preview:
    """What a claim asks of a model, what the model says, and what a run would cost.

    `print(preview)` shows it as the command line does. `refused` says that `discover` would refuse
    this claim on this model; `problems` says why, each once.
    """

    claim: str
    model: str
    answer: str
    unit: str
    donor: str
    at: tuple[str, ...]
    read: str
    n: int
    seed: int
    desiderata: tuple[DesideratumPreview, ...]
    right: ValueShare | None
    values: tuple[ValueShare, ...]
    estimate: Estimate | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    suggestions: tuple[str, ...]
    refused: bool
    notes: tuple[str, ...] = ()
    cost: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The preview as plain values."""
        return {"format": FORMAT, **_plain(asdict(self))}

    def __str__(self) -> str:
        return preview_text(self.as_json())

    __repr__ = __str__


def preview(model: Model, claim: Sampleable, n: int = LOOKED_AT, seed: int = 0) -> Preview:
    """What `discover` would do with this claim, on `n` pairs of each desideratum.

    Nothing that is wrong with the claim is raised; it is among the problems.

    >>> print(preview(load_model("binder"), claim))
    """
    cost, problems = Cost(), dict[str, None]()
    (search, held_out), notes = _sampled(model, claim, seed, problems)
    lint = lint_desiderata(search, held_out) if search else ()
    problems |= dict.fromkeys(f"{one.where}: {one.says}" for one in lint if one.level == "error")
    warnings = [f"{one.where}: {one.says}" for one in lint if one.level == "warning"]
    began = time.monotonic()
    looks, unusable = look_at(model, search, n, cost)
    scored = {
        index: ends_of(model, look.heard.batch, cost)
        for index, look in enumerate(looks)
        if look.heard and look.scored and not unusable
    }
    speed = cost.flops / max(1e-9, time.monotonic() - began)
    whole = len(scored) == len(looks) > 0
    found = _estimate(model, looks, list(scored.values()), speed, problems, cost) if whole else None
    problems |= dict.fromkeys([*unusable, *_not_finite(model, looks), *unsolved(model, looks)])
    right, values = accuracy(looks)
    return Preview(
        claim=claim.name,
        model=model.name,
        at=tuple(claim.at),
        n=n,
        seed=seed,
        desiderata=tuple(
            _desideratum(model, look, scored.get(index), len(held_out[index].pairs))
            for index, look in enumerate(looks)
        ),
        right=right,
        values=values,
        estimate=found,
        problems=tuple(problems),
        warnings=tuple(dict.fromkeys([*warnings, *_warnings(looks, scored)])),
        suggestions=tuple(suggestions(model, looks)),
        refused=bool(problems),
        notes=(*model.notes, *notes),
        cost=cost.report(),
        **_asked(looks),
    )


def _asked(looks: Sequence[Look]) -> dict[str, str]:
    """What the desiderata have in common: the answer and its unit, the donor, where it is read."""

    def shared(values: Iterable[str]) -> str:
        return " and ".join(dict.fromkeys(values))

    asked = [look.desideratum for look in looks]
    return {
        "answer": shared(name_of(one.answer) for one in asked),
        "unit": shared(one.heard.batch.answer.unit for one in looks if one.heard and one.scored),
        "donor": shared(name_of(one.donor) for one in asked),
        "read": shared(one.read for one in asked),
    }


def _estimate(
    model: Model,
    looks: Sequence[Look],
    ends: Sequence[Ends],
    speed: float,
    problems: dict[str, None],
    cost: Cost,
) -> Estimate:
    """What a run would cost; where it would take too much memory, that joins `problems`."""
    counts = [min(PAIRS, look.available) for look in looks]
    batches = [look.heard.batch for look in looks if look.heard]
    sites = candidate_sites(model, [look.desideratum for look in looks])
    try:
        _, plan, spent = fit_to_memory(model, batches, sites, counts=counts)
    except ValueError as error:
        problems[str(error)] = None
        _, plan, spent = fit_to_memory(model, batches, sites, counts=counts, force=True)
    cost.tokens_forward += spent.tokens_forward
    cost.flops += spent.flops
    return estimate(model, ends, counts, speed, plan)


def _sampled(
    model: Model, claim: Sampleable, seed: int, problems: dict[str, None]
) -> tuple[tuple[Sequence[Desideratum], Sequence[Desideratum]], tuple[str, ...]]:
    """The desiderata as a run would draw them, and notes. What keeps them from it joins
    `problems`."""
    notes: tuple[str, ...] = ()
    try:
        claim, notes = fit_to_tokenizer(model, claim)
        return claim.sample(ceil(SPARE * PAIRS), seed), notes
    except SamplingError as error:
        problems |= dict.fromkeys(error.problems)
    except ValueError as error:
        problems[str(error)] = None
    except Exception as error:  # a task's own functions may raise anything
        problems[_failing(error)] = None
    return ((), ()), notes


def _failing(error: Exception) -> str:
    """Where a task's own code fails, and how."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"no pairs can be drawn: {type(error).__name__}: {error} ({frame.name}, line "
        f"{frame.lineno} of {frame.filename})"
    )


def _not_finite(model: Model, looks: Iterable[Look]) -> Iterable[str]:
    heard = [look.heard for look in looks if look.heard]
    outputs = [one for pairs in heard for one in (pairs.base, pairs.source)]
    if not all(bool(one.isfinite().all()) for one in outputs):
        yield f"{model.name} gives outputs that are not numbers; try --dtype float32"


def _warnings(looks: Sequence[Look], ends: Mapping[int, Ends]) -> Iterable[str]:
    for index, look in enumerate(looks):
        end = ends.get(index)
        name, n, solved = look.desideratum.name, len(look.solved), sum(look.solved)
        if look.refused:
            continue
        if look.failing:
            yield (
                f"{name}: {solved} of {n} pairs are solved; a run looks at more and goes on from "
                f"{SOLVED_AT_LEAST:.0%}"
            )
        elif end is not None and _unmoved(look, end):
            yield (
                f"{name}: even with all patched at {' and '.join(look.desideratum.at)} the answer "
                f"is the expected one in {end.bound.ceiling:.0%} of the pairs; look at other "
                "positions (--at)"
            )


def _unmoved(look: Look, end: Ends) -> bool:
    """Whether no circuit at these positions can make the answer follow."""
    moves = look.desideratum.sense == "follows" and look.desideratum.part == "inside"
    return (
        moves
        and not end.bound.novel
        and end.bound.ceiling < sum(look.solved) / len(look.solved) / 2
    )


def _desideratum(model: Model, look: Look, end: Ends | None, held_out: int) -> DesideratumPreview:
    made = look.desideratum
    return DesideratumPreview(
        **look.row(),
        part=made.part,
        sense=made.sense,
        search_pairs=look.available,
        held_out_pairs=held_out,
        null=end.bound.null if end else None,
        ceiling=end.bound.ceiling if end else None,
        examples=tuple(example_of(model, look, row) for row in different(look)),
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
