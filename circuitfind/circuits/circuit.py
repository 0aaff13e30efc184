"""Circuits: the sites that search returns, with scores and where they come from; as JSON."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from ..mediators.known import MEDIATORS, parse_site
from ..mediators.site import Glyph, Site
from .storage import write_text

FORMAT = "circuitfind/1"

Channel = Literal["q", "k", "v", "in", "answer"]
Mlps = Literal["frozen", "recomputed"]
CHANNELS: tuple[Channel, ...] = ("q", "k", "v", "in", "answer")
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
    """

    sender: Site
    receiver: Site | None
    channel: Channel
    effect: float
    low: float
    high: float
    n: int
    mlps: Mlps = "frozen"

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
            problems.append("a site is listed twice")
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
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a circuit as JSON: {error}") from error
    try:
        return circuit_from_json(read)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def circuit_from_json(read: Any) -> Circuit:
    """The circuit that `as_json` told.

    Raises:
        ValueError: not a circuit; every problem at once.
    """
    if problems := list(_problems(read)):
        raise ValueError(f"not a circuit: {'; '.join(problems)}")
    return Circuit(
        model=read["model"],
        task=read["task"],
        claim=read["claim"],
        method=read["method"],
        seed=read["seed"],
        sites=tuple(parse_site(row["site"]) for row in read["sites"]),
        scores=tuple(float(row["score"]) for row in read["sites"]),
        provenance=read.get("provenance", {}),
        edges=tuple(_edge(row) for row in read.get("edges", ())),
    )


def _edge(row: Mapping[str, Any]) -> Edge:
    receiver = None if row["receiver"] is None else parse_site(row["receiver"])
    effect, low, high = (float(row[name]) for name in ("effect", "low", "high"))
    return Edge(
        sender=parse_site(row["sender"]),
        receiver=receiver,
        channel=row["channel"],
        effect=effect,
        low=low,
        high=high,
        n=row["n"],
        mlps=row["mlps"],
    )


def _problems(read: Any) -> list[str]:
    if not isinstance(read, dict):
        return [f"expected an object, got {type(read).__name__}"]
    found = []
    if read.get("format") != FORMAT:
        found.append(f"format must be {FORMAT!r}; got {read.get('format')!r}")
    for key in ("model", "task", "claim", "method"):
        if not isinstance(read.get(key), str):
            found.append(f"{key} must be text; got {read.get(key)!r}")
    if type(read.get("seed")) is not int:
        found.append(f"seed must be a whole number; got {read.get('seed')!r}")
    if not isinstance(read.get("provenance", {}), dict):
        found.append("provenance must be an object")
    rows = read.get("sites")
    if not isinstance(rows, list):
        return [*found, f"sites must be a list; got {type(rows).__name__}"]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("site"), str):
            found.append(f"site {number} must be an object with a name; got {row!r}")
            continue
        try:
            parse_site(row["site"])
        except ValueError as error:
            found.append(f"site {number}: {error}")
        if not isinstance(row.get("score"), int | float) or isinstance(row.get("score"), bool):
            found.append(f"site {number}: score must be a number; got {row.get('score')!r}")
    names = [row.get("site") for row in rows if isinstance(row, dict)]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        found.append(f"listed twice: {', '.join(twice)}")
    return [*found, *_edge_problems(read.get("edges", []), set(map(str, names)))]


def _edge_problems(rows: Any, sites: set[str]) -> Iterator[str]:
    """What is wrong with the edges of a circuit file; `sites` are the names of its sites."""
    if not isinstance(rows, list):
        yield f"edges must be a list; got {type(rows).__name__}"
        return
    keys = {item.name for item in fields(Edge)}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not row.keys() >= keys:
            yield f"edge {number} must be an object with {', '.join(sorted(keys))}; got {row!r}"
            continue
        ends = [row["sender"], *([] if row["receiver"] is None else [row["receiver"]])]
        for end in ends:
            if not isinstance(end, str) or end not in sites:
                yield f"edge {number}: {end!r} is no site of the circuit"
        if row["channel"] not in CHANNELS:
            yield f"edge {number}: channel must be one of {', '.join(CHANNELS)}"
        elif (row["channel"] == "answer") != (row["receiver"] is None):
            yield f"edge {number}: the channel to the answer, and it alone, is 'answer'"
        if row["mlps"] not in MLPS:
            yield f"edge {number}: mlps must be one of {', '.join(MLPS)}"
        if type(row["n"]) is not int:
            yield f"edge {number}: n must be a whole number; got {row['n']!r}"
        for name in ("effect", "low", "high"):
            if type(row[name]) not in (int, float) or not isfinite(row[name]):
                yield f"edge {number}: {name} must be a finite number; got {row[name]!r}"
