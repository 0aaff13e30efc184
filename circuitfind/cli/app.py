"""The command line: `circuitfind discover`, `validate`, `check`, `diagram`, and what there is.

Exit codes: 0 done and holds, 1 done and does not hold, 2 bad input.
"""

import sys
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from . import bench, check, doctor, find, lists, look, preview

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Say what a mechanism must do; get the smallest circuit that does it.",
)

COMMANDS = (
    find.discover,
    check.validate,
    check.compare,
    find.review,
    look.diagram,
    look.show,
    look.gallery,
    check.paths,
    lists.lint,
    lists.tasks,
    lists.models,
    doctor.doctor,
    lists.methods,
    check.check,
    lists.checks,
)
app.command(name="try")(preview.try_)  # `try` is a word of Python
for command in COMMANDS:
    app.command()(command)

benchmarks = typer.Typer(no_args_is_help=True, help="Measure search methods where truth is known.")
benchmarks.command()(bench.truth)
app.add_typer(benchmarks, name="bench")


def main() -> NoReturn:
    """Run the command line; bad input ends with one message and exit code 2, no traceback."""
    try:
        app(standalone_mode=True)
    except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError) as error:
        words = error.args[0] if isinstance(error, LookupError) and error.args else error
        Console(stderr=True).print(Text("error: ", style="bold red") + Text(str(words)))
        sys.exit(2)
    sys.exit(0)


if __name__ == "__main__":
    main()
