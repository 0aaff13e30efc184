"""What a search gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ..circuits.circuit import Circuit
from ..mediators.space import SearchSpace
from ..objective.mask import Mask
from .config import FrontierPoint as FrontierPoint
from .config import SearchConfig as SearchConfig
from .config import unknown_sites as unknown_sites

Status = Literal["holds", "fails"]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found. Not converging is `success=False` and a message, not an exception.

    `mask` is the method's mask as it was before any rounding, or the circuit itself where a method
    has none. `ranking` scores every site, greater = more wanted, on a scale of the method's own;
    always finite. `history` has a row per report of progress; `cost` is the account of the passes
    made. `problems` says in words what is wrong with the search: a loss that is not a number, an
    empty circuit, a mask that has not decided. `bounds` is what each desideratum, by its name, has
    to reach on the selection pairs. `space` is what the sites were chosen from.
    """

    mask: Mask
    circuit: Circuit
    success: bool
    status: Status
    message: str
    history: tuple[Mapping[str, Any], ...]
    frontier: tuple[FrontierPoint, ...]
    ranking: Float[Tensor, " site"]
    problems: tuple[str, ...] = ()
    cost: Mapping[str, int | float] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    space: SearchSpace | None = None
