"""The page of a run: its claim, its circuit and its card in one HTML file that needs no network.

The page is written by the template beside this file; what is clicked is stored in it already.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..circuit import Circuit, Edge
from ..decisions import Decisions
from ..examples import Attention, Examples
from ..validate.card import Card, DesideratumScore, card_from_json
from .page_figures import FEW, page_diagram, page_frontier

HERE = Path(__file__).parent
ROWS = 40  # rows of a finding that the page spells out
STRONGEST = 6  # edges of a member that stand unfolded
SEEN = {"\n": "↵\n", "\t": "⇥", "\r": "␍", "\x00": "␀"}
ASKS = {  # what a desideratum asks, by its part and its sense
    ("inside", "follows"): "Patch the circuit from the source, and the answer must move with it.",
    ("inside", "keeps"): "Patch the circuit from the source, and the base's answer must stay.",
    ("outside", "follows"): "Patch everything but the circuit, and the answer must move with it.",
    ("outside", "keeps"): "Patch everything but the circuit, and the base's answer must stay.",
}
MARKS = {"holds": "✓", "fails": "✕", "inconclusive": "?"}


def render_page(
    circuit: Circuit,
    report: Mapping[str, Any],
    *,
    command: str | None = None,
    examples: Examples | None = None,
    decisions: Decisions | None = None,
) -> str:
    """The page as HTML.

    Args:
        report: as `discover` and `validate` make it.
        command: what remakes the run.
        examples: where there are some; without them the page says how to make them.
        decisions: what a person decided so far.

    Raises:
        ValueError: the report's card, the examples or the decisions are about another circuit;
            edges that no diagram can show.
    """
    card = card_from_json(report)
    card.require(circuit)
    if examples is not None:
        examples.require(circuit)
    if decisions is not None:
        decisions.require(circuit)
    attention = examples.attention if examples else None
    groups = decisions.grouped(circuit) if decisions else {}
    diagram = page_diagram(circuit, attention, {name: its for name, its in groups.items() if its})
    script = (HERE / "page.js").read_text(encoding="utf-8")
    told = {"circuit": circuit.as_json(), "digest": circuit.digest}
    return _environment().get_template("page.html").render(
        circuit=circuit, report=report, card=card, command=command, decisions=decisions,
        names=decisions.names if decisions else {},
        counts=_counts(card), sites=_sites(circuit, card, attention), asks=ASKS, marks=MARKS,
        sets={one.name: one for one in examples.sets} if examples else {},
        diagram=Markup(diagram), n_drawn=len(re.findall(r'id="edge-\d+"', diagram)),
        frontier=Markup(page_frontier(circuit, report)) if report.get("frontier") else None,
        citation=_citation(circuit, card, report), data=_embedded(told), rows=ROWS, few=FEW,
        strongest=STRONGEST,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")), script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"visible": visible, "number": _number, "cell": _cell}
    return made


@lru_cache(4096)
def visible(text: str, ends: bool = True) -> Markup:
    """A prompt or a token with what could not be seen made visible: line breaks, letters that
    control others or the direction of the text, and spaces at its ends (unless told not to, or
    where there is nothing else)."""
    start, end = 0, len(text)
    if ends or not text.strip(" "):
        end = len(text.rstrip(" "))
        start = min(len(text) - len(text.lstrip(" ")), end)
    spaces = Markup('<i class="ctl">␣</i>')
    middle = (
        escape(piece) if piece.isprintable() else _mark(piece)
        for piece in re.findall(r"[^\W_]+|.", text[start:end], re.DOTALL)
    )
    return spaces * start + Markup("").join(middle) + spaces * (len(text) - end)


def _mark(letter: str) -> Markup:
    """The sign for a letter that cannot be seen."""
    sign = SEEN.get(letter, f"U+{ord(letter):04X}")
    return Markup('<i class="ctl">{}</i>{}').format(sign.rstrip("\n"), sign[len(sign.rstrip()) :])


def _number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number as the page writes it, with a real minus."""
    rounded = round(value, digits) + 0.0  # -0.0 has a sign of its own
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _cell(value: Any) -> str:
    """A value of a finding's row, short enough for a table."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)


def _counts(card: Card) -> list[tuple[str, int]]:
    """How many checks end in each verdict, without those that none does."""
    verdicts = [finding.verdict for finding in card.findings]
    return [(name, verdicts.count(name)) for name in MARKS if name in verdicts]


def _sites(circuit: Circuit, card: Card, attention: Attention | None) -> list[dict[str, Any]]:
    """What there is to tell of each member: its score, what leaving it out costs, its edges, and
    where it looks."""
    left_out = {
        str(row.get("site")): row
        for finding in card.findings if finding.name == "leave one out"
        for row in finding.details
    }  # fmt: skip
    told, chosen = [], circuit.provenance.get("chosen", {})
    for number, (site, score) in enumerate(zip(circuit.sites, circuit.scores, strict=True)):
        part, row = site.component, left_out.get(str(site))
        edges = list(enumerate(circuit.edges))
        kind = {"head": f"attention head {part.head}", "mlp": "MLP", "embed": "embedding"}
        told.append({
            "number": number, "name": str(site), "score": score, "position": site.position,
            "component": str(part), "kind": kind[part.kind], "layer": part.layer, "row": row,
            "bars": _bars(row, card.desiderata) if row else [],
            "into": _strongest([pair for pair in edges if pair[1].receiver == site]),
            "out_of": _strongest([pair for pair in edges if pair[1].sender == site]),
            "looks": _looks(str(site), attention), "person": _person(chosen, str(site)),
        })  # fmt: skip
    return told


def _person(chosen: Any, site: str) -> str | None:
    """Who put this site in and why, in words, where it was not the optimiser."""
    row = chosen.get(site) if isinstance(chosen, Mapping) else None
    if not isinstance(row, Mapping) or row.get("who") != "person":
        return None
    reason = f": {row['reason']}" if row.get("reason") else ""
    return f"Put in by {row.get('by', 'a person')}{reason}"


def _strongest(edges: Sequence[tuple[int, Edge]]) -> list[tuple[int, Edge]]:
    return sorted(edges, key=lambda pair: -abs(pair[1].effect))


def _bars(row: Mapping[str, Any], scores: Sequence[DesideratumScore]) -> list[dict[str, Any]]:
    """What each desideratum reaches without the site; `known` is False where the report does not
    tell (reports of version 0.1 hold the effect on the worst-off desideratum alone)."""
    effects = row.get("effects", {row["desideratum"]: row["effect"]})
    return [
        {
            "score": score, "known": score.name in effects,
            "effect": effects.get(score.name, 0.0),
            "without": min(1.0, max(0.0, score.satisfaction - effects.get(score.name, 0.0))),
        }
        for score in scores
    ]  # fmt: skip


def _looks(site: str, attention: Attention | None) -> list[tuple[str, float]]:
    """Each token of the example prompt with the weight that this head gives it."""
    weights = attention.weights.get(site) if attention else None
    return list(zip(attention.tokens, weights, strict=True)) if attention and weights else []


def _citation(circuit: Circuit, card: Card, report: Mapping[str, Any]) -> str:
    """The circuit as an entry for BibTeX."""
    version = circuit.provenance.get("versions", {}).get("circuitfind", "")
    year = str(report.get("created", ""))[:4]
    reached = sum(score.holds for score in card.desiderata)
    facts = {
        "title": f"A circuit of {len(circuit)} sites of {circuit.model}: {circuit.claim}",
        "howpublished": f"found by circuitfind {version} ({circuit.method}, seed {circuit.seed})",
        "year": year if year.isdecimal() else "",
        "note": f"task {circuit.task}; {reached} of {len(card.desiderata)} desiderata hold on "
        f"held-out pairs; circuit {circuit.digest[:16]}; weights "
        f"{str(circuit.provenance.get('model_digest', ''))[:16]}",
    }
    lines = [f"  {name} = {{{_tex(text)}}}," for name, text in facts.items() if text]
    return "\n".join([f"@misc{{circuit-{circuit.digest[:8]},", *lines, "}"])


def _tex(text: str) -> str:
    plain = " ".join(text.replace("\\", "/").translate(str.maketrans("{}", "()")).split())
    return re.sub(r"([&%$#_])", r"\\\1", plain)


def _embedded(told: Mapping[str, Any]) -> Markup:
    """JSON that can stand in a <script>: no letter of it can end the element."""
    text = json.dumps(told, ensure_ascii=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
