"""What a circuit file may say of where the circuit comes from. Pages, figures and commands read
these facts by name; a file may hold more, which is shown as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

MOST_SITES = 1_000_000  # of a model, more than any has

Count = Annotated[int, Field(ge=0, le=1_000_000)]


@dataclass(frozen=True, kw_only=True)
class ChosenRecord:
    """Who put a site in, and where it was a person why."""

    who: Literal["optimiser", "person"]
    by: str = ""
    when: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportedRecord:
    """The file of another tool that a circuit was read from."""

    format: str


@dataclass(frozen=True, kw_only=True)
class ProvenanceRecord:
    """The facts of a provenance that have a type of their own.

    Raises:
        ValueError: sizes of no model.
    """

    n_layers: Count | None = None
    n_heads: Count | None = None
    positions: tuple[str, ...] = ()
    model_digest: str | None = None
    git_commit: str | None = None
    parent: str | None = None
    parallel_attn_mlp: bool = False
    checked: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, ChosenRecord] = field(default_factory=dict)
    imported: ImportedRecord | None = None
    decisions: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        per_layer = (self.n_heads or 0) + 1
        n_sites = (self.n_layers or 0) * per_layer * max(1, len(self.positions))
        if n_sites > MOST_SITES:
            raise ValueError(
                f"n_layers, n_heads and positions make {n_sites:,} sites, more than any model has"
            )
