"""What a search method is: one signature, and a line in the table of methods."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ..progress import Progress
    from .config import SearchConfig
    from .problem import SearchProblem
    from .result import SearchResult


@runtime_checkable
class Method(Protocol):
    """The one signature of every search method."""

    def __call__(
        self, problem: "SearchProblem", config: "SearchConfig", progress: "Progress", /
    ) -> "SearchResult": ...


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A line of the table of methods.

    Args:
        name: the name in settings, circuits and tables.
        idea, source: what the method does, and where it is from.
        baseline: whether other methods should beat it.
        polish: whether it ends in local search where the settings do not say.
        seeded: whether it draws at random, so that another seed may give another circuit.
    """

    name: str
    run: Method
    idea: str = ""
    source: str = ""
    baseline: bool = False
    seeded: bool = False
    polish: bool = False
