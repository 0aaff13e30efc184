"""Circuits: the sites that search returns, with scores and where they come from; as JSON."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from ..mediators.known import MEDIATORS
from ..mediators.site import Glyph, Site
from ..mediators.space import SearchSpace
from ..records import Format, SiteName, read_record, stored_as
from .provenance import ProvenanceRecord
from .storage import write_text

FORMAT = "circuitfind/2"
BEFORE = "circuitfind/1"  # without a space and a donor, and with another digest

Channel = Literal["q", "k", "v", "in", "answer"]
Mlps = Literal["frozen", "recomputed"]
CHANNELS: tuple[Channel, ...] = ("q", "k", "v", "in", "answer")
MLPS: tuple[Mlps, ...] = ("frozen", "recomputed")
LOGITS = "logits"  # the unit of an answer where a file does not tell


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The direct effect of one member of a circuit on another, or on the answer.

    Args:
        receiver: None for the answer.
        channel: the receiver's input that takes the sender's change: a head's q, k or v, an MLP's
            `in`, or the `answer` itself.
        effect: by how much, as a mean over pairs, the lead of the base's answer over the source's
            shrinks when this path alone carries what the sender does in the source. Above 0, the
            path works for the answer; below, against it.
        low, high: the 95 % interval of `effect`; on fewer than 8 pairs the least and the greatest
            effect of a pair.
        n: pairs.
        mlps: what MLPs between sender and receiver did: kept the base's value, or computed it anew.
        unit: of `effect`, that of the answer; files before it was there have logits.

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
    unit: str = LOGITS

    def __post_init__(self) -> None:
        if (self.channel == "answer") != (self.receiver is None):
            raise ValueError("the channel to the answer, and it alone, is 'answer'")

    def __str__(self) -> str:
        end = self.channel if self.receiver is None else f"{self.receiver} ({self.channel})"
        return f"{self.sender} -> {end}"

    def as_json(self) -> dict[str, Any]:
        """The edge as the plain values of a circuit file; its unit only where it is not logits."""
        receiver = None if self.receiver is None else str(self.receiver)
        told = asdict(self) | {"sender": str(self.sender), "receiver": receiver}
        if self.unit == LOGITS:
            del told["unit"]  # as in files before it was there
        return told


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A set of sites with a score each, and the provenance that makes it checkable.

    The score of a site is what the satisfaction of the desiderata, averaged, loses on the search
    pairs when the site is left out; other methods may put their own in and say so. `edges` are
    there where paths between the sites were measured (edges/direct_effects.py).

    Args:
        space: what the sites were chosen from; None where nobody said, which stands for every head
            and MLP.
        donor: what patched sites take, by name; empty where nobody said.
        format: of the file that it came from or will be written to.

    Raises:
        ValueError: a score for each site was expected, each site once, and edges between them, all
            in one unit.
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
    space: SearchSpace | None = None
    donor: str = ""
    format: str = FORMAT

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
        if len(units := sorted({edge.unit for edge in self.edges})) > 1:
            problems.append(f"edges must have one unit; got {', '.join(units)}")
        if problems:
            raise ValueError("; ".join(problems))

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides what the circuit does: model, sites in any order, space,
        donor, and the parameters of mediators. Measured effects decide nothing.

        A circuit in the format before keeps the digest that its card is bound to, over model and
        sites.
        """
        names = sorted(map(str, self.sites))
        if self.format == BEFORE:
            content: Any = [self.model, *names]
        else:
            mediators = {site.component.mediator for site in self.sites}
            content = {
                "model": self.model,
                "sites": names,
                "space": self.space and self.space.as_json(),
                "donor": self.donor,
                "parameters": {one.kind: one.digest for one in mediators if one.digest},
            }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def unit(self) -> str:
        """The unit of the effects of its edges."""
        return next((edge.unit for edge in self.edges), LOGITS)

    @property
    def counts(self) -> tuple[tuple[Glyph, int], ...]:
        """The number of members under each glyph, in the order of the known mediators."""
        known = MEDIATORS.all()

        def place(site: Site) -> tuple[int, str]:
            mediator = site.component.mediator
            return known.index(mediator) if mediator in known else len(known), mediator.kind

        return tuple(Counter(s.component.glyph for s in sorted(self.sites, key=place)).items())

    def save(self, path: str | Path) -> None:
        """Write the circuit as JSON, all of it or nothing."""
        write_text(path, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    def as_json(self) -> dict[str, Any]:
        """The circuit as the plain values of a circuit file; edges only where there are some."""
        told = {
            "format": self.format,
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
        if self.format != BEFORE:
            told |= {"space": self.space and self.space.as_json(), "donor": self.donor}
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


@dataclass(frozen=True)
class SpaceRecord:
    """A search space as a circuit file holds it."""

    positions: tuple[str, ...]
    selectors: tuple[str, ...]

    def space(self) -> SearchSpace:
        """The space, whose selectors are looked up when it is used."""
        return SearchSpace(self.positions, self.selectors)


@dataclass(frozen=True, kw_only=True)
class EarlierRecord:
    """A circuit as a file of the first format holds it."""

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
        return _built(self, BEFORE)


@dataclass(frozen=True, kw_only=True)
class CircuitRecord(EarlierRecord):
    """A circuit as its file holds it."""

    space: Annotated[SearchSpace, stored_as(SpaceRecord, SpaceRecord.space)] | None = None
    donor: str = ""

    def circuit(self) -> Circuit:
        """The circuit, which checks itself."""
        return _built(self, FORMAT)


def _built(record: EarlierRecord, version: str) -> Circuit:
    read_record(ProvenanceRecord, dict(record.provenance), where="provenance")
    content = {item.name: getattr(record, item.name) for item in fields(record)}
    sites = tuple(row.site for row in record.sites)
    scores = tuple(row.score for row in record.sites)
    return Circuit(**content | {"sites": sites, "scores": scores, "format": version})


CIRCUIT_FILE: Format[Circuit] = Format(
    "a circuit",
    {
        BEFORE: Annotated[Circuit, stored_as(EarlierRecord, EarlierRecord.circuit)],
        FORMAT: Annotated[Circuit, stored_as(CircuitRecord, CircuitRecord.circuit)],
    },
)
