"""Circuits that other tools wrote, read as heads and MLPs; and ours as MIB's graph.

docs/formats.md lists the formats, `foreign_formats.py` reads them. Files are JSON or plain text;
pickles are never opened.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..mediators.head import HEADS
from ..mediators.site import Site
from ..records import shown, together
from .circuit import Circuit
from .foreign_dcm import parse_dcm
from .foreign_formats import Wanted, is_position, reader_of, twice

if TYPE_CHECKING:
    from ..models.model import Model

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin")
_MAGIC = (b"PK\x03\x04", b"\x80")  # how torch's files begin, and pickles
_EXPORT = (
    "pickles are not opened, since they can run code; write JSON with the tool that made it: "
    "graph.to_json(file) in EAP-IG, json.dump({name: scores.tolist() for name, scores in "
    "prune_scores.items()}, file) for auto-circuit; circuitkit puts *_scores.json beside it"
)

_Read = tuple[tuple[Site, ...], tuple[float, ...], str]


def read_foreign(
    path_or_text: str | Path,
    *,
    n_layers: int,
    n_heads: int,
    position: str = "last",
    top: int | None = None,
) -> tuple[tuple[Site, ...], tuple[float, ...], str]:
    """The sites of another tool's circuit, a score each, and a line on what was read as what.

    Scores are the file's own, in its own unit, and 0 where it has none.

    Args:
        path_or_text: a file, or what would be in it.
        n_layers, n_heads: of the model; sites that it does not have are refused.
        position: of the sites, where the file names none.
        top: how many sites to take from a file of scores; for no other file.

    Raises:
        ValueError: not one of these formats, or not of this model; every problem at once.
        FileNotFoundError: a Path to no file.
    """
    wanted = Wanted(n_layers, n_heads, position, top)
    path = _as_file(path_or_text)
    if path is not None:
        return _read(_decoded(path, path.read_bytes()), str(path), wanted)
    return _read(str(path_or_text), "the text", wanted)


def circuit_of(
    path: str | Path, model: "Model", *, position: str = "last", top: int | None = None
) -> Circuit:
    """The circuit in another tool's file, as one of this model, with the file's SHA-256.

    Raises:
        ValueError: as in `read_foreign`.
        FileNotFoundError: no such file.
    """
    raw = Path(path).read_bytes()
    wanted = Wanted(model.n_layers, model.n_heads, position, top, model.engine)
    sites, scores, words = _read(_decoded(Path(path), raw), str(path), wanted)
    imported = {"format": words, "sha256": hashlib.sha256(raw).hexdigest()}
    return Circuit(
        model=model.name,
        task="",
        claim="",
        method="imported",
        seed=0,
        sites=sites,
        scores=scores,
        provenance={"imported": imported},
    )


def write_foreign_mib(
    circuit: Circuit, n_layers: int, n_heads: int, *, parallel: bool = False
) -> dict[str, Any]:
    """The circuit as MIB's and EAP-IG's graph JSON, at node level.

    All edges between nodes that are in are in, as EAP-IG drops nodes without edges, and so is the
    input, without which nothing is connected. Edges that are out are not listed; EAP-IG reads that
    as out. `d_model` is 0 for unknown: its reader asks for it, but only neurons need it.

    Args:
        parallel: whether attention and MLP of a layer read the same stream, as in GPT-NeoX.

    Raises:
        ValueError: a site that is no head or MLP of such a model; more than one position (these
            graphs know none).
    """
    wanted = Wanted(n_layers, n_heads, "", None)
    known = wanted.components
    positions = {site.position for site in circuit.sites}
    problems = [
        f"{site}: not a head or MLP of {n_layers} layers of {n_heads} heads"
        for site in circuit.sites
        if site.component not in known
    ]
    if len(positions) > 1:
        problems.append(f"these graphs know no positions; got {', '.join(sorted(positions))}")
    if problems:
        raise ValueError(together("MIB's graph", problems))
    every = zip(circuit.sites, circuit.scores, strict=True)
    score = {site.component: float(value) for site, value in every}
    nodes: dict[str, Any] = {"input": {"in_graph": True, "score": 0.0}}
    edges, earlier = [], ["input"]
    for part in known:
        # Nodes that are out have a score too: EAP-IG's own selection keeps those that have none.
        nodes[str(part)] = {"in_graph": part in score, "score": score.get(part, 0.0)}
        if part not in score:
            continue
        is_head = part.mediator == HEADS
        beside = f"a{part.layer}." if is_head or parallel else None
        seen = [name for name in earlier if beside is None or not name.startswith(beside)]
        ends = [f"<{channel}>" for channel in part.glyph.inputs] if is_head else [""]
        edges += [f"{name}->{part}{end}" for name in seen for end in ends]
        earlier.append(str(part))
    nodes["logits"] = {"in_graph": True}
    edges += [f"{name}->logits" for name in earlier]
    return {
        "cfg": {
            "n_layers": n_layers,
            "n_heads": n_heads,
            "parallel_attn_mlp": parallel,
            "d_model": 0,
        },
        "nodes": nodes,
        "edges": {name: {"in_graph": True, "score": 0.0} for name in edges},
    }


def _as_file(given: str | Path) -> Path | None:
    if isinstance(given, Path):
        return given
    try:
        return Path(given) if Path(given).is_file() else None
    except (OSError, ValueError):  # too long for a name, or with characters that none has
        return None


def _decoded(path: Path, raw: bytes) -> str:
    if path.suffix in _PICKLES or raw.startswith(_MAGIC):
        raise ValueError(f"{path}: {_EXPORT}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8: {error}") from error


def _read(text: str, name: str, wanted: Wanted) -> _Read:
    numbers = {"n_layers": wanted.n_layers, "n_heads": wanted.n_heads, "top": wanted.top}
    problems = [
        f"{what} must be a whole number above 0; got {shown(value)}"
        for what, value in numbers.items()
        if not (type(value) is int and value > 0) and not (what == "top" and value is None)
    ]
    if not is_position(wanted.position):
        problems.append(f"position must be a name; got {shown(wanted.position)}")
    if problems:
        raise ValueError(together(name, problems))
    read = _parsed(text, name, problems)
    found, words = reader_of(read)(read, wanted, problems)
    if not found and not problems:
        problems.append(f"no head or MLP is in it, read as {words}")
    if problems:
        raise ValueError(together(name, problems))
    return tuple(found), tuple(found.values()), f"read as {words}"


def _parsed(text: str, name: str, problems: list[str]) -> Any:
    """What the JSON says, or the names in plain text."""

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            problems.extend(f"listed twice: {shown(key)}" for key in twice(key for key, _ in pairs))
        return made

    try:
        if (dcm := parse_dcm(text)) is not None:
            return dcm
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if text.lstrip()[:1] not in ("[", "{", '"'):
        return [word for word in re.split(r"[\s,]+", text) if word]
    try:
        read = json.loads(text, object_pairs_hook=paired)
    except RecursionError:
        raise ValueError(f"{name}: nested too deep to be a circuit") from None
    except ValueError as error:
        raise ValueError(f"{name}: expected JSON: {error}") from error
    return [word for word in re.split(r"[\s,]+", read) if word] if isinstance(read, str) else read
