"""The page of a run: its claim, its circuit and its card in one HTML file that needs no network.

The page is written by the template beside this file; what is clicked is stored in it already.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..circuit import Circuit, Edge
from ..examples import Attention, Examples
from ..validate.card import Card, DesideratumScore, card_from_json
from .page_figures import draw_frontier, inline_svg, member_map

HERE = Path(__file__).parent
ROWS = 40  # rows of a finding that the page spells out
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
) -> str:
    """The page as HTML.

    Args:
        report: as `discover` and `validate` make it.
        command: what remakes the run.
        examples: where there are some; without them the page says how to make them.

    Raises:
        ValueError: the report's card, or the examples, are about another circuit; a circuit whose
            provenance does not tell the size of its model.
    """
    card = card_from_json(report)
    card.require(circuit)
    if examples is not None:
        examples.require(circuit)
    frontier = report.get("frontier") or ()
    script = (HERE / "page.js").read_text(encoding="utf-8")
    told = {"circuit": circuit.as_json(), "digest": circuit.digest}
    return _environment().get_template("page.html").render(
        circuit=circuit, report=report, card=card, command=command, examples=examples,
        counts=_counts(card), sites=_sites(circuit, card, examples), asks=ASKS, marks=MARKS,
        sets={one.name: one for one in examples.sets} if examples else {},
        diagram=Markup(inline_svg(member_map(circuit), "diagram")),
        frontier=Markup(inline_svg(draw_frontier(frontier, card.desiderata, len(circuit)),
                                   "frontier")) if frontier else None,
        citation=_citation(circuit, card, report), data=_embedded(told), rows=ROWS,
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


def visible(text: str) -> Markup:
    """A prompt or a token with what could not be seen made visible: line breaks, spaces at its
    ends, and letters that control others or the direction of the text."""

    def shown(letter: str, at_end: bool) -> Markup | str:
        if letter == " " and at_end:
            return Markup('<i class="ctl">␣</i>')
        if letter in SEEN:
            return Markup('<i class="ctl">{}</i>{}').format(SEEN[letter][0], SEEN[letter][1:])
        if letter.isprintable():
            return escape(letter)
        return Markup('<i class="ctl">U+{}</i>').format(f"{ord(letter):04X}")

    body = text.strip(" ")
    start = len(text) - len(text.lstrip(" ")) if body else len(text)
    ends = (range(start), range(start + len(body), len(text)))
    return Markup("").join(
        shown(letter, any(number in end for end in ends)) for number, letter in enumerate(text)
    )


def _number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number as the page writes it, with a real minus."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
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


def _sites(circuit: Circuit, card: Card, examples: Examples | None) -> list[dict[str, Any]]:
    """What there is to tell of each member: its score, what leaving it out costs, its edges, and
    where it looks."""
    left_out = {
        str(row.get("site")): row
        for finding in card.findings if finding.name == "leave one out"
        for row in finding.details
    }  # fmt: skip
    told = []
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
            "looks": _looks(str(site), examples.attention if examples else None),
        })  # fmt: skip
    return told


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
