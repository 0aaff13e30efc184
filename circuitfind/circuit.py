"""Circuits: the sites that search returns, with scores and where they come from; as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .component import Site, parse_site
from .storage import write_text

FORMAT = "circuitfind/1"


@dataclass(frozen=True)
class Circuit:
    """A set of sites with a score each, and the provenance that makes it checkable.

    The score of a site is what the satisfaction of the desiderata, averaged, loses on the search
    pairs when the site is left out; other methods may put their own in and say so.

    Raises:
        ValueError: a score for each site was expected, and each site once.
    """

    model: str
    task: str
    claim: str
    method: str
    seed: int
    sites: tuple[Site, ...]
    scores: tuple[float, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if len(self.scores) != len(self.sites):
            problems.append(f"{len(self.sites)} sites need as many scores; got {len(self.scores)}")
        if len(set(self.sites)) < len(self.sites):
            problems.append("a site is listed twice")
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
        """The circuit as the plain values of a circuit file."""
        return {
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
    if problems := list(_problems(read)):
        raise ValueError(f"{path}: not a circuit: {'; '.join(problems)}")
    return Circuit(
        read["model"], read["task"], read["claim"], read["method"], read["seed"],
        tuple(parse_site(row["site"]) for row in read["sites"]),
        tuple(float(row["score"]) for row in read["sites"]),
        read.get("provenance", {}),
    )  # fmt: skip


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
    return found
