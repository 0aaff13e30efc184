"""What can be said about a task's own functions and domains, run on a few drawn inputs."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .calls import SHOWN, call, called, place_of
from .causal_model import CausalModel
from .domains import ItemOf, pool_of
from .problem import Problem
from .sampling import undivided

DRAWN = 60  # settings of the inputs that every function is run on
TRIES = 40  # draws for each of them, where conditions refuse most
SECONDS = 5.0  # a slow task is looked at on fewer settings


def lint_model(model: CausalModel, seed: int = 0) -> Iterator[Problem]:
    """Every problem with a causal model that shows on drawn inputs.

    Functions that give two results for the same inputs, answers that are True or False, and
    domains that cannot be divided.

    Raises:
        TaskError: one of the functions raises, or gives an answer or a prompt that is none.
    """
    drawn = _settings(model, seed)
    random_ones = [problem for problem in map(_unsteady, _functions(model, drawn)) if problem]
    by_function = {problem.where: problem for problem in reversed(random_ones)}
    yield from reversed(by_function.values())
    for values in drawn:
        model.write_answer(values)
        model.render(values)
    yield from _truths(model, drawn)
    yield from _undivided(model)


def _settings(model: CausalModel, seed: int) -> list[dict[str, Any]]:
    """The values of all variables on some inputs that meet the conditions."""
    rng, made = random.Random(f"lint/{seed}"), []
    until = time.monotonic() + SECONDS
    for _ in range(DRAWN * TRIES):
        if len(made) == DRAWN or time.monotonic() > until:
            break
        inputs = model.draw(rng)
        if inputs is not None:
            made.append(model.run(inputs))
    return made


Run = tuple[str, Callable[..., Any], Mapping[str, Any]]


def _functions(model: CausalModel, drawn: list[dict[str, Any]]) -> Iterator[Run]:
    """Every function of the model, with what it is, on every drawn setting."""
    kinds = [(function.__name__, function) for function in model.mechanisms]
    kinds += [(f"condition {n}", function) for n, function in enumerate(model.where, 1)]  # type: ignore[arg-type]
    kinds += [] if isinstance(model.prompt, str) else [("the prompt", model.prompt)]
    for name, function in kinds:
        for values in drawn:
            yield name, function, values


def _unsteady(run: Run) -> Problem | None:
    """An error where a function gives two results for the same inputs."""
    name, function, values = run
    one, other = call(function, values), call(function, values)
    if _same(one, other):
        return None
    return Problem(
        "error",
        name,
        f"{place_of(function)}{called(function, values)} gives {SHOWN.repr(one)}, and then "
        f"{SHOWN.repr(other)}; the same inputs must give the same. Make what it draws at random "
        "an input",
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two results are the same; objects that only their address tells apart count so."""
    if type(one) is type(other) and type(one).__eq__ is object.__eq__:
        return True
    try:
        return bool(one == other) or repr(one) == repr(other)
    except Exception:  # an array, say, which has no truth value
        return repr(one) == repr(other)


def _truths(model: CausalModel, drawn: list[dict[str, Any]]) -> Iterator[Problem]:
    for values in drawn:
        for field, items in model.answer_items(values).items():
            if truths := [item for item in items if isinstance(item, bool)]:
                yield Problem(
                    "warning",
                    field,
                    f"the answer is {truths[0]!r}, which prompts are asked to continue with in "
                    f"these letters; give the word that you mean, such as 'yes' or 'no'",
                )
                return


def _undivided(model: CausalModel) -> Iterator[Problem]:
    for name, domain in model.inputs.items():
        pool = pool_of(domain)
        asked = pool is None or ((pool.split or pool.held_out) and not pool.can_be_divided)
        if asked and not isinstance(domain, ItemOf):
            says = undivided(name, pool).removeprefix(f"{name}: ")
            yield Problem("warning", name, says)
