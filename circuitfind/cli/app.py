"""The command line: `circuitfind discover`, `validate`, `check`, `diagram`, and what there is.

Exit codes: 0 done, and the claim and minimality do not fail; 1 one of them does; 2 bad input; 3 a
crash, which is a fault of ours.
"""

import sys
from typing import NoReturn

import typer
from rich.text import Text

from . import bench, check, doctor, find, lists, look, preview, sweep
from .printing import console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Say what a mechanism must do; get the smallest circuit that does it.",
)

COMMANDS = (
    find.discover,
    sweep.sweep,
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

benchmarks = typer.Typer(no_args_is_help=True, help="Measure search methods.")
benchmarks.command()(bench.truth)
benchmarks.command()(bench.methods)
app.add_typer(benchmarks, name="bench")


def main() -> NoReturn:
    """Run the command line; bad input ends with one message and exit code 2, no traceback, and a
    crash with a traceback and exit code 3."""
    try:
        app(standalone_mode=True)
    except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError) as error:
        words = error.args[0] if isinstance(error, LookupError) and error.args else error
        told = Text("error: ", style="bold red") + Text(str(words))
        console(stderr=True).print(told, soft_wrap=True)  # so that commands in it can be copied
        sys.exit(2)
    except Exception:
        console(stderr=True).print_exception()
        words = "this is a fault of circuitfind; please report it with the lines above"
        console(stderr=True).print(Text("crash: ", style="bold red") + Text(words))
        sys.exit(3)
    sys.exit(0)


if __name__ == "__main__":
    main()
