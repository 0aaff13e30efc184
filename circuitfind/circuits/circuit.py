"""Circuits: the sites that search returns, with scores and where they come from; as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from ..mediators.site import Site
from ..records import Format, SiteName, stored_as
from .storage import write_text

FORMAT = "circuitfind/1"

Channel = Literal["q", "k", "v", "in", "answer"]
Mlps = Literal["frozen", "recomputed"]
MLPS: tuple[Mlps, ...] = ("frozen", "recomputed")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The direct effect of one member of a circuit on another, or on the answer.

    Args:
        receiver: None for the answer.
        channel: the receiver's input that takes the sender's change: a head's q, k or v, an MLP's
            `in`, or the `answer` itself.
        effect: by how many logits, as a mean over pairs, the lead of the base's answer over the
            source's shrinks when this path alone carries what the sender does in the source.
            Above 0, the path works for the answer; below, against it.
        low, high: the 95 % interval of `effect`.
        n: pairs.
        mlps: what MLPs between sender and receiver did: kept the base's value, or computed it anew.

    Raises:
        ValueError: an edge to a site by the channel `answer`, or to the answer by another one.
    """

    sender: SiteName
    receiver: SiteName | None
    channel: Channel
    effect: float
    low: float
    high: float
    n: int
    mlps: Mlps = "frozen"

    def __post_init__(self) -> None:
        if (self.channel == "answer") != (self.receiver is None):
            raise ValueError("the channel to the answer, and it alone, is 'answer'")

    def __str__(self) -> str:
        end = self.channel if self.receiver is None else f"{self.receiver} ({self.channel})"
        return f"{self.sender} -> {end}"

    def as_json(self) -> dict[str, Any]:
        """The edge as the plain values of a circuit file."""
        receiver = None if self.receiver is None else str(self.receiver)
        return asdict(self) | {"sender": str(self.sender), "receiver": receiver}


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A set of sites with a score each, and the provenance that makes it checkable.

    The score of a site is what the satisfaction of the desiderata, averaged, loses on the search
    pairs when the site is left out; other methods may put their own in and say so. `edges` are
    there where paths between the sites were measured (paths.py).

    Raises:
        ValueError: a score for each site was expected, each site once, and edges between them.
    """

    model: str
    task: str
    claim: str
    method: str
    seed: int
    sites: tuple[Site, ...]
    scores: tuple[float, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if len(self.scores) != len(self.sites):
            problems.append(f"{len(self.sites)} sites need as many scores; got {len(self.scores)}")
        if len(set(self.sites)) < len(self.sites):
            twice = sorted({str(site) for site in self.sites if self.sites.count(site) > 1})
            problems.append(f"listed twice: {', '.join(twice)}")
        members = {*self.sites, None}
        strange = [edge for edge in self.edges if not {edge.sender, edge.receiver} <= members]
        if strange:
            problems.append(f"edges to or from other sites: {', '.join(map(str, strange))}")
        if problems:
            raise ValueError("; ".join(problems))

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def digest(self) -> str:
        """SHA-256 over the names of the model and of the sites, in any order."""
        told = [self.model, *sorted(map(str, self.sites))]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @property
    def heads(self) -> tuple[Site, ...]:
        """The members that are attention heads."""
        return tuple(site for site in self.sites if site.component.kind == "head")

    @property
    def mlps(self) -> tuple[Site, ...]:
        """The members that are MLPs."""
        return tuple(site for site in self.sites if site.component.kind == "mlp")

    def save(self, path: str | Path) -> None:
        """Write the circuit as JSON, all of it or nothing."""
        write_text(path, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    def as_json(self) -> dict[str, Any]:
        """The circuit as the plain values of a circuit file; edges only where there are some."""
        told = {
            "format": FORMAT,
            "model": self.model,
            "task": self.task,
            "claim": self.claim,
            "method": self.method,
            "seed": self.seed,
            "sites": [
                {"site": str(site), "score": score}
                for site, score in zip(self.sites, self.scores, strict=True)
            ],
            "provenance": dict(self.provenance),
        }
        return told | ({"edges": [edge.as_json() for edge in self.edges]} if self.edges else {})


def load_circuit(path: str | Path) -> Circuit:
    """The circuit in a file.

    Raises:
        ValueError: not a circuit file; every problem at once.
        FileNotFoundError: no such file.
    """
    return CIRCUIT_FILE.load(path)


def circuit_from_json(content: Any) -> Circuit:
    """The circuit that `as_json` wrote as plain values.

    Raises:
        ValueError: not a circuit; every problem at once.
    """
    return CIRCUIT_FILE.read(content)


@dataclass(frozen=True)
class SiteScore:
    """A row of a circuit file."""

    site: SiteName
    score: float


@dataclass(frozen=True, kw_only=True)
class CircuitRecord:
    """A circuit as its file holds it."""

    model: str
    task: str
    claim: str
    method: str
    seed: int
    sites: tuple[SiteScore, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()

    def circuit(self) -> Circuit:
        """The circuit, which checks itself."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        sites = tuple(row.site for row in self.sites)
        return Circuit(
            **content | {"sites": sites, "scores": tuple(row.score for row in self.sites)}
        )


CIRCUIT_FILE: Format[Circuit] = Format(
    "a circuit", {FORMAT: Annotated[Circuit, stored_as(CircuitRecord, CircuitRecord.circuit)]}
)
