"""The formats that `foreign.py` reads: each reader turns parsed JSON into sites with scores.

What has no place in a set of sites (edges, neurons, the input and the logits) is left out, and
the words that come back say so. Problems are collected, so that all are told at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from ..mediators.head import HEADS, head
from ..mediators.known import parse_site
from ..mediators.site import Component, Offers, Site
from ..mediators.space import Decoder, all_sites, has_component
from ..mediators.whole import MLPS, mlp
from ..records import LONGEST, shown
from .circuit import FORMAT
from .foreign_dcm import HEADS as DCM_HEADS
from .foreign_dcm import is_dcm, words_for

# The names of auto-circuit and circuitkit; EAP-IG's and MIB's are ours. Six digits are enough.
_N = r"(\d{1,6})"
_KIT = re.compile(rf"A{_N}\.{_N}|MLP {_N}", re.ASCII)
_EDGE = re.compile(r"([^<>-]+)->([^<>-]+?)(?:<[qkv]>)?", re.ASCII)
_MODULE = re.compile(
    rf"blocks\.{_N}\.hook_(?:([qkv]_input|attn_in)|(mlp_in)|(resid_post))", re.ASCII
)
_ENDS = frozenset({"input", "logits", "Resid Start", "Resid End"})


@dataclass(frozen=True)
class Wanted:
    """The model that the sites must be of, and what a file does not say.

    Args:
        model: what tells which sites there are of mediators other than heads and MLPs.
    """

    n_layers: int
    n_heads: int
    position: str
    top: int | None
    model: Offers | None = None

    def __contains__(self, component: Component) -> bool:
        return has_component(self.model or Decoder(self.n_layers, self.n_heads), component)

    @property
    def components(self) -> tuple[Component, ...]:
        """The model's heads and MLPs, layer by layer, heads first."""
        return tuple(site.component for site in all_sites(self.n_layers, self.n_heads, ["all"]))


Scored = dict[Component, float]
Found = tuple[dict[Site, float], str]  # the sites with their scores, and what was read as what


def reader_of(read: Any) -> Callable[[Any, Wanted, list[str]], Found]:
    """The reader for what a file says; the one that refuses it where there is none."""
    if isinstance(read, list):
        return _read_list
    if not isinstance(read, dict):
        return _read_unknown
    if is_dcm(read):
        return _read_dcm
    values, nodes = list(read.values()), read.get("nodes")
    if read.get("format") == FORMAT:
        return _read_own
    if "node_scores" in read:
        return _read_kit
    if isinstance(nodes, list) and (_is_kit(nodes) or isinstance(read.get("scores"), dict)):
        return _read_kit
    if "metadata" not in read and (isinstance(nodes, dict) or isinstance(read.get("edges"), dict)):
        return _read_graph
    if any(key.startswith("blocks.") for key in read):
        return _read_modules
    if values and all(isinstance(value, list) for value in values):
        return _read_groups
    if values and all(type(value) in (int, float) for value in values):
        return lambda scores, *rest: _read_kit({"node_scores": scores}, *rest)
    return _read_unknown


def _read_unknown(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    problems.append(
        "expected site names, [layer, head] pairs, groups of either, a graph of MIB or EAP-IG "
        "with nodes and edges, auto-circuit's scores by module, circuitkit's *_scores.json, or "
        "DCM's result files; "
        f"got {shown(read)}"
    )
    return {}, "nothing known"


def _read_list(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """Names or pairs; a list of circuitkit's names is one of removed nodes."""
    if _is_kit(read):
        return _read_kit({"nodes": read}, wanted, problems)
    found = _members(read, wanted, problems)
    _refuse_top(wanted, problems)
    return dict.fromkeys(found, 0.0), f"a list of {len(found)} sites, without scores"


def _read_dcm(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """The heads that DCM found, all at one position, which its file does not name."""
    found = _members(read[DCM_HEADS], wanted, problems)
    _refuse_top(wanted, problems)
    return dict.fromkeys(found, 0.0), words_for(read, len(found))


def _read_groups(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """Lists by name, as in the release of Prakash et al. 2024; a head may be in several."""
    members = [site for rows in read.values() for site in _members(rows, wanted, problems)]
    found = dict.fromkeys(members, 0.0)
    _refuse_top(wanted, problems)
    return found, (
        f"{len(read)} groups of sites, without scores: {len(found)} sites; left out: the groups, "
        f"and {len(members) - len(found)} mentions of a site in a further one"
    )


def _read_own(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    rows = read.get("sites")
    rows = [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []
    found = _members([row.get("site") for row in rows], wanted, problems)
    scores = [_number(row.get("score")) for row in rows]
    for row, score in zip(rows, scores, strict=True):
        if score is None:
            problems.append(_no_score(row.get("site"), row.get("score")))
    _refuse_top(wanted, problems)
    # Of different lengths only where a problem is told.
    return {site: score or 0.0 for site, score in zip(found, scores, strict=False)}, (
        f"{FORMAT}: {len(found)} sites; left out: its claim and where it is from"
    )


def _read_kit(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """circuitkit's scores by node, or the nodes that it removed, whose complement is kept."""
    removed, told = read.get("nodes"), read.get("node_scores", read.get("scores", {}))
    if read.get("level", "node") != "node" or not isinstance(told, dict):
        level = read.get("level", "node")
        problems.append(f"scores by node expected; got {shown(told)} of level {shown(level)}")
        return {}, "scores by node"
    scored = _by_component(_numbers(told, problems), wanted, problems)
    if removed is None:
        return _ranked(scored, "scores by node, as circuitkit's", wanted, problems)
    _refuse_top(wanted, problems)
    if not isinstance(removed, list) or not all(isinstance(node, str) for node in removed):
        problems.append(f"nodes must be a list of names; got {shown(removed)}")
        return {}, "circuitkit's nodes"
    problems += [f"listed twice: {shown(node)}" for node in twice(removed)]
    gone = _by_component(dict.fromkeys(removed, 0.0), wanted, problems)
    kept = {part: scored.get(part, 0.0) for part in scored or wanted.components if part not in gone}
    return _at(wanted, kept), (
        f"circuitkit's Circuit.nodes, which are the {len(gone)} nodes that it removed: the "
        f"{len(kept)} others are the circuit"
    )


def _read_graph(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """EAP-IG's graph: its nodes marked in_graph; where none is, the ends of marked edges; where
    none is or `top` is given, the scores of nodes, or of edges where nodes have none."""
    cfg, nodes, edges = (read.get(key) or {} for key in ("cfg", "nodes", "edges"))
    if not all(isinstance(part, dict) for part in (cfg, nodes, edges)):
        problems.append("cfg, nodes and edges must be objects")
        return {}, "a graph"
    for key, mine in (("n_layers", wanted.n_layers), ("n_heads", wanted.n_heads)):
        if key in cfg and cfg[key] != mine:
            problems.append(f"{key} is {shown(cfg[key])} in the graph and {mine} in the model")
    parts = _by_component(dict.fromkeys(nodes, 0.0), wanted, problems)
    marks = _marks(nodes, problems, nan=True)
    scores = {name: score for name, (_, score) in marks.items() if score is not None}
    gone = "the input, the logits" + (f", {len(edges)} edges" if edges else "")
    if any(isinstance(node, dict) and "neurons" in node for node in nodes.values()):
        gone += ", which neurons"
    words = f"a graph of MIB or EAP-IG; left out: {gone}"
    if wanted.top is None:
        inside = {name: scores.get(name, 0.0) for name, (is_in, _) in marks.items() if is_in}
        if found := _by_component(inside, wanted, problems):
            words += f"; {len(found)} of {len(parts)} heads and MLPs are marked in_graph"
            return _at(wanted, found), words
        if found := _by_component(_marked_ends(edges, problems), wanted, problems):
            words += f"; no node is marked: {len(found)} heads and MLPs are at marked edges"
            return _at(wanted, found), words
    scored, of = _by_component(scores, wanted, problems), "nodes"
    if not any(scored.values()):
        strongest = _strongest_out(edges, problems)
        scored, of = _by_component(strongest, wanted, problems), "each node's strongest edge out"
    elif len(scored) < len(parts):
        problems.append(f"{len(parts) - len(scored)} nodes have no score to rank them by")
    return _ranked(scored, f"{words}; scores of {of}", wanted, problems)


def _marked_ends(edges: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    """The nodes at both ends of marked edges, each with the score of its strongest one."""
    ends: dict[str, float] = {}
    for name, (is_in, score) in _marks(edges, problems).items():
        for end in _ends_of(name, problems) if is_in else ():
            ends[end] = max(ends.get(end, 0.0), score or 0.0, key=abs)
    return ends


def _strongest_out(edges: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    """Of each node the score of the strongest edge out of it: what nothing leaves has no effect."""
    strongest: dict[str, float] = {}
    for name, (_, score) in _marks(edges, problems).items():
        if score is not None:
            for end in _ends_of(name, problems)[:1]:
                strongest[end] = max(strongest.get(end, 0.0), score, key=abs)
    return strongest


def _ends_of(name: str, problems: list[str]) -> tuple[str, ...]:
    ends = _EDGE.fullmatch(name) if len(name) <= LONGEST else None
    if ends is None:
        problems.append(f"an edge is called like a0.h1->m2 or m0->a1.h2<q>; got {shown(name)}")
    return ends.groups() if ends else ()


def _marks(
    given: Mapping[str, Any], problems: list[str], nan: bool = False
) -> dict[str, tuple[bool, float | None]]:
    """Whether each is in the graph, and its score. `nan` lets NaN pass for no score, which is
    how EAP-IG marks a node that was not scored."""
    made: dict[str, tuple[bool, float | None]] = {}
    for name, value in given.items():
        row = value if isinstance(value, dict) else {"in_graph": value}
        is_in, score = row.get("in_graph", False), row.get("score")
        if nan and type(score) is float and isnan(score):
            score = None
        if type(is_in) is not bool:
            problems.append(f"{shown(name)}: in_graph must be true or false; got {shown(is_in)}")
        elif score is not None and _number(score) is None:
            problems.append(_no_score(name, score))
        else:
            made[name] = (is_in, _number(score))
    return made


def _read_modules(read: Any, wanted: Wanted, problems: list[str]) -> Found:
    """auto-circuit's PruneScores: for each module the scores of the edges into it, with the
    sources in the last dimension: the input, then layer by layer the heads and the MLP."""
    scored: Scored = {}
    parts, positions = wanted.components, False
    for name, value in read.items():
        module = _MODULE.fullmatch(name)
        if module is None or int(module[1]) >= wanted.n_layers:
            problems.append(f"not a module with edges into it, in this model: {shown(name)}")
            continue
        before = 1 + int(module[1]) * (wanted.n_heads + 1)
        widths = [before]
        if module[3]:  # after the layer's heads, or beside them
            widths = [before + wanted.n_heads, before]
        elif module[4]:
            widths = [before + wanted.n_heads + 1]
        depth, rows = _innermost(value)
        plain = 2 if module[2] and wanted.n_heads > 1 else 1
        positions |= depth > plain
        if depth not in (plain, plain + 1) or any(len(row) not in widths for row in rows):
            told = " or ".join(map(str, widths))
            problems.append(f"{name}: expected rows of {told} scores; got {shown(value)}")
            continue
        for row in rows:
            for part, given in zip(parts, row[1:], strict=False):
                score = _number(given)
                if score is None:
                    problems.append(_no_score(f"{part} in {name}", given))
                else:
                    scored[part] = max(scored.get(part, 0.0), score, key=abs)
    words = "auto-circuit's scores by module; left out: the input" + (
        ", token positions" if positions else ""
    )
    return _ranked(scored, f"{words}; scores of each node's strongest edge out", wanted, problems)


def _innermost(value: Any) -> tuple[int, list[list[Any]]]:
    """How deep the lists in a list go, at most 4, and the innermost."""
    depth, level = 1, [value]
    while depth < 4 and any(isinstance(row, list) and _is_nested(row) for row in level):
        level = [inner for row in level for inner in (row if isinstance(row, list) else [])]
        depth += 1
    return depth, [row if isinstance(row, list) else [] for row in level]


def _is_nested(row: list[Any]) -> bool:
    return bool(row) and isinstance(row[0], list)


def _ranked(scored: Scored, words: str, wanted: Wanted, problems: list[str]) -> Found:
    """The `top` greatest in size, as EAP-IG and auto-circuit take them; circuitkit's scores are
    sizes already."""
    if not scored:
        problems.append(f"no score of a head or MLP, read as {words}")
        return {}, words
    if wanted.top is None or wanted.top > len(scored):
        problems.append(
            f"{words}: top must say how many sites to take, from 1 to {len(scored)}; got "
            f"{wanted.top}"
        )
        return {}, words
    ordered = sorted(scored, key=lambda part: -abs(scored[part]))
    kept, next_best = ordered[: wanted.top], ordered[wanted.top : wanted.top + 1]
    words = f"{words}; taken: the {wanted.top} greatest in size of {len(scored)}"
    if next_best and abs(scored[kept[-1]]) == abs(scored[next_best[0]]):
        words += ", cut between equal ones"
    return _at(wanted, {part: scored[part] for part in kept}), words


def _members(rows: list[Any], wanted: Wanted, problems: list[str]) -> list[Site]:
    found = []
    for row in rows:
        try:
            site = _member(row, wanted)
        except ValueError as error:
            problems.append(str(error))
            continue
        if site.component not in wanted:
            problems.append(_not_in(wanted, str(site)))
        found.append(site)
    problems += [f"listed twice: {site}" for site in twice(found)]
    return found


def _member(row: Any, wanted: Wanted) -> Site:
    pair = row if isinstance(row, list) and len(row) == 2 else []
    if pair and all(type(number) is int and 0 <= number < 10**6 for number in pair):
        return Site(head(pair[0], pair[1]), wanted.position)
    wrong = f"expected a site such as a9.h6 or m3@last, or [layer, head]; got {shown(row)}"
    if not isinstance(row, str) or len(row) > LONGEST:
        raise ValueError(wrong)
    try:
        site = parse_site(row if "@" in row else f"{row}@{wanted.position}")
    except ValueError as error:  # which would tell of a position that nobody wrote
        raise ValueError(wrong) from error
    if not is_position(site.position):
        raise ValueError(wrong)
    return site


def _by_component(given: Mapping[str, float], wanted: Wanted, problems: list[str]) -> Scored:
    """The heads and MLPs among these names; the input and the logits are passed over."""
    made: Scored = {}
    for name, score in given.items():
        part = _component(name)
        if part is None:
            if name not in _ENDS:
                problems.append(f"not a head or an MLP: {shown(name)}")
            continue
        if part not in wanted:
            problems.append(_not_in(wanted, name))
        elif part in made:
            problems.append(f"listed twice: {name}")
        made[part] = score
    return made


def _component(name: str) -> Component | None:
    """The head or MLP of a name as EAP-IG or circuitkit writes it."""
    if len(name) > LONGEST:
        return None
    if match := _KIT.fullmatch(name):
        layer, index, of_mlp = match.groups()
        return mlp(int(of_mlp)) if layer is None else head(int(layer), int(index))
    return HEADS.parse(name) or MLPS.parse(name)


def _numbers(given: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    made = {name: _number(value) for name, value in given.items()}
    problems += [_no_score(name, given[name]) for name, value in made.items() if value is None]
    return {name: value for name, value in made.items() if value is not None}


def _number(value: Any) -> float | None:
    """A finite number as float; None for anything else, NaN and True among it."""
    if type(value) not in (int, float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None


def _at(wanted: Wanted, scored: Scored) -> dict[Site, float]:
    return {Site(part, wanted.position): score for part, score in scored.items()}


def _is_kit(rows: list[Any]) -> bool:
    return bool(rows) and all(isinstance(row, str) and _KIT.fullmatch(row) for row in rows)


def _refuse_top(wanted: Wanted, problems: list[str]) -> None:
    if wanted.top is not None:
        problems.append("top is for files of scores; this one lists its sites")


def _not_in(wanted: Wanted, name: str) -> str:
    return f"{name}: the model has {wanted.n_layers} layers of {wanted.n_heads} heads"


def _no_score(name: Any, value: Any) -> str:
    return f"{shown(name)}: a score must be a finite number; got {shown(value)}"


def is_position(name: Any) -> bool:
    """Whether this can be the name of a position."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST and name.isprintable()


def twice(names: Iterable[Any]) -> list[Any]:
    """Those that come more than once."""
    seen: set[Any] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))
