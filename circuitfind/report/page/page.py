"""The page of a run: its claim, its circuit and its card in one HTML file that needs no network.

The page is written by the template beside this file; what is clicked is stored in it already.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ...circuits.circuit import Circuit, Edge
from ...circuits.decisions import Decisions
from ...circuits.examples import Attention, Examples
from ...validate.card import Card, card_from_json
from ...validate.finding import DesideratumScore, Finding
from ...validate.names import LEAVE_ONE_OUT
from ...validate.questions import Ruling, look_of, question_of, verdict_words
from .figures import FEW, page_diagram, page_frontier
from .template import MARKS, render_template

ROWS = 40  # rows of a finding that the page spells out
STRONGEST = 6  # edges of a member that stand unfolded
ASKS = {  # what a desideratum asks, by its part and its sense
    ("inside", "follows"): "Patch the circuit from the source, and the answer must move with it.",
    ("inside", "keeps"): "Patch the circuit from the source, and the base's answer must stay.",
    ("outside", "follows"): "Patch everything but the circuit, and the answer must move with it.",
    ("outside", "keeps"): "Patch everything but the circuit, and the base's answer must stay.",
}


def render_page(
    circuit: Circuit,
    report: Mapping[str, Any],
    *,
    command: str | None = None,
    examples: Examples | None = None,
    decisions: Decisions | None = None,
    known: Sequence[str] = (),
) -> str:
    """The page as HTML.

    Args:
        report: as `discover` and `validate` make it.
        command: what remakes the run.
        examples: where there are some; without them the page says how to make them.
        decisions: what a person decided so far.
        known: the names of the sites that a person can decide about, besides the members.

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
    sites = list(dict.fromkeys([*map(str, circuit.sites), *known]))
    told = {"circuit": circuit.as_json(), "digest": circuit.digest, "sites": sites}
    return render_template(
        "page",
        told,
        circuit=circuit,
        report=report,
        card=card,
        command=command,
        decisions=decisions,
        names=decisions.names if decisions else {},
        counts=_counts(card),
        questions=_by_question(card),
        look=_look,
        words=verdict_words,
        sites=_sites(circuit, card, attention),
        asks=ASKS,
        sets={one.name: one for one in examples.sets} if examples else {},
        diagram=Markup(diagram),
        n_drawn=len(re.findall(r'id="edge-\d+"', diagram)),
        frontier=Markup(page_frontier(circuit, report)) if report.get("frontier") else None,
        citation=_citation(circuit, card, report),
        rows=ROWS,
        few=FEW,
        strongest=STRONGEST,
    )


def _counts(card: Card) -> list[tuple[str, int]]:
    """How many checks end in each verdict as it looks, without those that none does."""
    looks = [_look(finding) for finding in card.findings]
    return [(name, looks.count(name)) for name in MARKS if name in looks]


def _look(finding: Finding) -> str:
    return look_of(question_of(finding), finding.verdict)


def _by_question(card: Card) -> list[tuple[Ruling | None, list[Finding]]]:
    """Each ruling with the findings that it rests on; checks of no question come last."""
    made = [
        (ruling, [one for one in card.findings if question_of(one) == ruling.question])
        for ruling in card.rulings
    ]
    others = [one for one in card.findings if question_of(one) is None]
    return [*made, *([(None, others)] if others else [])]


def _sites(circuit: Circuit, card: Card, attention: Attention | None) -> list[dict[str, Any]]:
    """What there is to tell of each member: its score, what leaving it out costs, its edges, and
    where it looks."""
    left_out = {
        str(row.get("site")): row
        for finding in card.findings
        if finding.name == LEAVE_ONE_OUT
        for row in finding.details
    }
    told, chosen = [], circuit.provenance.get("chosen", {})
    for number, (site, score) in enumerate(zip(circuit.sites, circuit.scores, strict=True)):
        part, row = site.component, left_out.get(str(site))
        edges = list(enumerate(circuit.edges))
        index = "" if part.index is None else f" {part.index}"
        told.append(
            {
                "number": number,
                "name": str(site),
                "score": score,
                "position": site.position,
                "component": str(part),
                "kind": f"{part.glyph.noun}{index}",
                "layer": part.layer,
                "row": row,
                "bars": _bars(row, card.desiderata) if row else [],
                "into": _strongest([pair for pair in edges if pair[1].receiver == site]),
                "out_of": _strongest([pair for pair in edges if pair[1].sender == site]),
                "looks": _looks(str(site), attention),
                "person": _person(chosen, str(site)),
            }
        )
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
            "score": score,
            "known": score.name in effects,
            "effect": effects.get(score.name, 0.0),
            "without": min(1.0, max(0.0, score.satisfaction - effects.get(score.name, 0.0))),
        }
        for score in scores
    ]


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
        f"{card.pairs}; circuit {circuit.digest[:16]}; weights "
        f"{str(circuit.provenance.get('model_digest', ''))[:16]}",
    }
    lines = [f"  {name} = {{{_tex(text)}}}," for name, text in facts.items() if text]
    return "\n".join([f"@misc{{circuit-{circuit.digest[:8]},", *lines, "}"])


def _tex(text: str) -> str:
    plain = " ".join(text.replace("\\", "/").translate(str.maketrans("{}", "()")).split())
    return re.sub(r"([&%$#_])", r"\\\1", plain)
