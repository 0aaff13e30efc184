"""Work on one point and how it ends, and where points are worked on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")
R = TypeVar("R")

# What the command line ends with exit code 2 for; anything else is a crash.
BAD_INPUT = (ValueError, LookupError, OSError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class Ended(Generic[R]):
    """How the work on a point ended: with its result, or with what is wrong.

    A crash is a fault of ours, or the end of the process that did the work; anything else is
    input that cannot be used.
    """

    result: R | None
    problem: str = ""
    crash: bool = False

    def value(self) -> R:
        """The result.

        Raises:
            ValueError: input that cannot be used.
            Crash: the work crashed.
        """
        if self.crash:
            raise Crash(self.problem)
        if self.result is None:
            raise ValueError(self.problem)
        return self.result


class Crash(Exception):
    """The work on a point ended in a crash."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where points are worked on.

    Args:
        ray: None for this process, "local" for a cluster of this machine that starts by itself and
            ends with the work, or the address of a cluster that is there.
        workers: points at once, on Ray; by default as many as there is room for.
        threads: of each point; None leaves it to torch here, and is 1 on Ray.
        gpus: of each point, on Ray; several points may share one, as in 0.5.
        tries: how often a point is begun again on Ray whose process died.
    """

    ray: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus: float = 0.0
    tries: int = 3


def attempt(work: Callable[[P], R], point: P) -> Ended[R]:
    """How the work on a point ended, done here."""
    try:
        return Ended(work(point))
    except BAD_INPUT as error:
        return Ended(None, words_of(error) or type(error).__name__)
    except (Exception, SystemExit) as error:
        return Ended(None, f"{type(error).__name__}: {words_of(error)}".removesuffix(": "), True)


def words_of(error: BaseException) -> str:
    """What an error says, as the command line prints it."""
    return str(error.args[0] if isinstance(error, LookupError) and error.args else error)
