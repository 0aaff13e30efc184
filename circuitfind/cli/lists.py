"""Commands that list what there is, and lint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from .options import Answer, AsJson, At, HeldOut, MaxBad, Pairs, Seed, Task, Train, task_of
from .printing import console, print_json, print_problems, print_rows, say

if TYPE_CHECKING:
    from desiderata import Problem

COLOURS = {"error": "bold red", "warning": "yellow"}


def lint(
    task: Task = None,
    n: Pairs = 192,
    seed: Seed = 0,
    at: At = None,
    answer: Answer = None,
    train: Train = None,
    held_out: HeldOut = None,
    max_bad: MaxBad = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a task's desiderata, and how pairs are read, before any model runs."""
    from desiderata import GivenPairs
    from desiderata import lint as find_problems
    from desiderata.choices import answer_named

    from ..claims import load_claim

    claim = load_claim(task_of(task, train), held_out=held_out, max_bad=max_bad)
    claim = claim.answered(answer_named(answer)) if answer else claim
    problems = find_problems(claim.moved(at) if at else claim, n, seed)
    notes = claim.notes(seed) if isinstance(claim, GivenPairs) else ()
    if as_json:
        told = {"notes": list(notes)} if notes else {}
        problems_told = [vars(problem) for problem in problems]
        print_json({"claim": claim.name, "problems": problems_told, **told})
    else:
        for note in notes:
            say(f"note: {note}")
        _print_problems(problems)
        say(f"{claim.name}: {len(problems)} problem(s)")
    if any(problem.level == "error" for problem in problems):
        raise typer.Exit(1)


def _print_problems(problems: "Sequence[Problem]") -> None:
    """A table of the problems on a terminal, and elsewhere one line each, for grep and its like."""
    shown = console()
    if not shown.is_terminal:
        for problem in problems:
            say(str(problem))
    elif problems:
        table = Table("level", "desideratum", "problem")
        for problem in problems:
            level = Text(problem.level, style=COLOURS[problem.level])
            table.add_row(level, Text(problem.where), Text(problem.says))
        shown.print(table)


def tasks(as_json: AsJson = False) -> None:
    """List the installed tasks."""
    from ..claims import SAVED, about, installed_claims, load_claim

    rows = [(name, load_claim(name).name, about(name)) for name in installed_claims()]
    rows.append((SAVED, "suffices", "Whatever inputs are saved beside the model (--model FOLDER)."))
    print_rows(("task", "claim", "about"), rows, as_json)


def models(as_json: AsJson = False) -> None:
    """List the built-in models; folders and hub names work too."""
    from ..models.catalogue import built_in

    print_rows(("model", "about"), list(built_in().items()), as_json)


def methods(as_json: AsJson = False) -> None:
    """List the search methods, and the baselines that they should beat."""
    from ..search import METHODS

    rows = [
        (spec.name, spec.idea, spec.source, METHODS.package(spec.name) or "circuitfind")
        for spec in METHODS
    ]
    print_rows(("method", "idea", "source", "package"), rows, as_json)
    print_problems(METHODS.problems())


def checks(as_json: AsJson = False) -> None:
    """List what the validator checks."""
    from ..validate import CHECKS

    rows = [
        (
            check.name,
            check.question or "",
            "--thorough" if check.thorough else "always",
            check.about,
            CHECKS.package(check.name) or "circuitfind",
        )
        for check in CHECKS
    ]
    print_rows(("check", "question", "when", "about", "package"), rows, as_json)
    print_problems(CHECKS.problems())
