"""A comparison of circuits as compare.json holds it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from ..circuits.circuit import Circuit, circuit_from_json
from ..records import Format, shown
from .finding import DesideratumScore

FORMAT = "circuitfind-comparison/1"

CircuitContent = Annotated[
    Circuit,
    PlainValidator(circuit_from_json),
    WithJsonSchema({"type": "object", "description": "A circuit file, see circuit.json."}),
]
Matrix = Mapping[str, Mapping[str, tuple[DesideratumScore, ...]]]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many sites two circuits share.

    `jaccard` is the shared share of their union, in [0, 1]; `chance` what two random circuits of
    these sizes would have on average; `p` how often such would share at least as many.
    """

    first: str
    second: str
    shared: int
    jaccard: float
    chance: float
    p: float


@dataclass(frozen=True)
class SharedSearch:
    """How the search for one circuit that serves all claims ended."""

    success: bool
    message: str


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord:
    """Circuits by name, what each two share, and the scores of each on each claim.

    `matrix[circuit][claim]` are the scores of the claim's desiderata; `n_sites` are the sites that
    chance is counted among.

    Raises:
        ValueError: overlaps of other circuits, a matrix with other rows or with rows of different
            claims, a shared search without its circuit.
    """

    circuits: Mapping[str, CircuitContent]
    overlaps: tuple[Overlap, ...]
    matrix: Matrix
    shared: SharedSearch | None = None
    n_sites: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        names = set(self.circuits)
        if not self.circuits:
            yield "circuits must not be empty"
        if not self.overlaps:
            yield "overlaps must have a row for each two circuits"
        for place, row in enumerate(self.overlaps):
            if unknown := {row.first, row.second} - names:
                yield f"overlaps.{place} is about {shown(min(unknown))}, which is no circuit here"
        if set(self.matrix) != names:
            yield "matrix must have a row for each circuit, and no other"
        shapes = [
            {claim: [score.name for score in scores] for claim, scores in row.items()}
            for row in self.matrix.values()
        ]
        if any(shape != shapes[0] for shape in shapes):
            yield "the rows of matrix must have the same claims, with the same desiderata"
        elif shapes and not (shapes[0] and set(shapes[0]) <= names and all(shapes[0].values())):
            yield "the rows of matrix must have scores by the names of circuits"
        if self.shared and "shared" not in names:
            yield "shared must be null where no circuit is called shared"


COMPARISON_FILE: Format[ComparisonRecord] = Format(
    "a comparison of circuits", {FORMAT: ComparisonRecord}, unnamed=FORMAT
)


def comparison_from_json(content: Any) -> ComparisonRecord:
    """The comparison in the plain values of a compare.json.

    Raises:
        ValueError: not what `compare` writes; every problem at once.
    """
    return COMPARISON_FILE.read(content)
