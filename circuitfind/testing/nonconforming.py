"""What a conformance suite raises, and how it collects reasons."""

from collections.abc import Callable, Iterable


class Nonconforming(ValueError):
    """An object that does not keep the laws of its kind; `problems` has a sentence for each."""

    def __init__(self, what: str, problems: list[str]) -> None:
        super().__init__(f"{what} does not conform: {'; '.join(problems)}")
        self.problems = tuple(problems)


def examine(what: str, suites: Iterable[Callable[[], Iterable[str]]]) -> None:
    """Run suites that give a sentence for each law that is broken.

    A suite that raises counts as one broken law, so that the others are still examined.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    problems: list[str] = []
    for suite in suites:
        try:
            problems += suite()
        except Exception as error:  # a stranger's object may raise anything
            name = getattr(suite, "__name__", "a law").strip("_").replace("_", " ")
            problems.append(f"{name}: raises {type(error).__name__}: {error}")
    if problems:
        raise Nonconforming(what, list(dict.fromkeys(problems)))
