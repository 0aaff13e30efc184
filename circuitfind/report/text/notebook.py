"""Circuits, cards, results and previews in a notebook: small HTML without a script.

Names and sentences may come from anybody's file, so that all text is escaped, put on one line,
cut, and kept from turning its surroundings right to left. Colours are the notebook's own.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from typing import Any

from ...circuits.circuit import Circuit
from ...search.result import SearchResult
from ...validate.card import Card
from ...validate.finding import DesideratumScore
from ...validate.questions import verdict_words
from .counts import size_words
from .preview import run_words, visible
from .sitegraph import on_one_line

LONGEST, ROWS = 600, 40  # letters of a text, rows of a table
MARKS = {"holds": "✓ holds", "fails": "✗ fails", "inconclusive": "? inconclusive"}
BOX = "max-width:60rem;overflow-x:auto;overflow-wrap:anywhere"
TABLE = "border-collapse:collapse;margin:.4em 0;color:inherit;overflow-wrap:break-word"
CELL = "padding:.15em .7em;border-bottom:1px solid rgba(128,128,128,.35);text-align:left"


def circuit_html(circuit: Circuit) -> str:
    """A circuit: its claim, and its sites by score, with who chose each where a person did."""
    order = sorted(range(len(circuit)), key=lambda n: -circuit.scores[n])
    chosen = circuit.provenance.get("chosen")
    rows = [[str(circuit.sites[n]), _number(circuit.scores[n])] for n in order]
    head = ["site", "score"]
    if isinstance(chosen, dict):
        head.append("chosen by")
        for row in rows:
            row.append(_who(chosen.get(row[0])))
    about = f"{circuit.task} on {circuit.model}" if circuit.task else f"on {circuit.model}"
    found = f"{size_words(circuit)} by {circuit.method}, seed {circuit.seed}"
    return _box(circuit.claim or "Circuit", [about, found], _table(head, rows))


def card_html(card: Card) -> str:
    """A card: every desideratum with its interval, lead and loss, and what every check says."""
    leads = any(row.lead_in_words for row in card.desiderata)
    desiderata = [
        [
            row.name,
            row.part,
            str(row.n),
            _number(row.need),
            _number(row.satisfaction),
            f"{_number(row.low)} to {_number(row.high)}",
            *([_lead(row)] if leads else []),
            MARKS[row.verdict],
        ]
        for row in card.desiderata
    ]
    checks = [[row.name, verdict_words(row), str(row.n), row.says] for row in card.findings]
    words = [f"on {card.pairs}: {card.headline}"]
    words += [f"{row.name!r} {row.loss}" for row in card.desiderata if row.loss]
    head = [
        "desideratum",
        "part",
        "n",
        "needs",
        "reaches",
        "95 %",
        *(["mean lead"] if leads else []),
        "",
    ]
    tables = _table(head, desiderata) + _table(["check", "verdict", "n", "says"], checks)
    return _box(f"Card: {_mark(card.success)}", words, tables)


def result_html(result: SearchResult) -> str:
    """A result: what the search says, its circuit, and how large the circuits tried were."""
    words = [result.message, *result.problems]
    if result.frontier:
        first, last = result.frontier[0].size, result.frontier[-1].size
        words.append(
            f"circuits tried: {first} to {last} sites; draw_search(result) shows how far they get"
        )
    circuit = circuit_html(result.circuit) if len(result.circuit) else ""
    return _box(f"Search: {MARKS[result.status]}", words, circuit)


def preview_html(shown: Any) -> str:
    """A preview: each desideratum's pairs with what the model says, its scores, what is wrong."""
    made = shown.as_json()
    pairs, scores = [], []
    for row in made["desiderata"]:
        for example in row["examples"]:
            for name in ("base", "source"):
                said = example[name]
                top = ", ".join(f"{token!r} {share:.2f}" for token, share in said["top"])
                wanted = example["expected"]["texts"] if name == "base" else []
                own = said["answer"]["texts"] if said["answer"] else []
                texts = (" or ".join(map(repr, one)) for one in (own, wanted))
                pairs.append([row["name"], name, visible(said["text"]), *texts, top])
        shares = ["-" if row[end] is None else f"{row[end]:.2f}" for end in ("null", "ceiling")]
        counts = [f"{row['solved']} of {row['n']}", f"{row['preferred']} of {row['compared']}"]
        scores.append([row["name"], *counts, *shares])
    lines = [*made["problems"], *made["warnings"], *made["suggestions"], run_words(made)]
    tables = _table(["desideratum", "", "prompt", "answer", "expected", "model says"], pairs)
    tables += _table(["desideratum", "solved", "preferred", "null", "ceiling"], scores)
    mark = "discover would refuse this" if made["refused"] else "discover would run this"
    return _box(f"{made['claim']}, on {made['model']}: {mark}", [*filter(None, lines)], tables)


def _box(title: str, lines: Iterable[str], body: str) -> str:
    told = "".join(f"<div>{_text(line)}</div>" for line in lines)
    return f'<div style="{BOX}"><strong>{_text(title)}</strong>{told}{body}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        made = "".join(f'<{tag} style="{CELL}">{_text(cell)}</{tag}>' for cell in cells)
        return f"<tr>{made}</tr>"

    if not rows:
        return ""
    body = "".join(row(cells, "td") for cells in rows[:ROWS])
    more = f"<div>and {len(rows) - ROWS} more</div>" if len(rows) > ROWS else ""
    return f'<table style="{TABLE}">{row(head, "th")}{body}</table>{more}'


def _text(text: str) -> str:
    line = on_one_line(text)
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    return f"<bdi>{escape(line)}</bdi>"


def _mark(holds: bool) -> str:
    return MARKS["holds" if holds else "fails"]


def _lead(row: DesideratumScore) -> str:
    """The mean lead of the expected answer, with its interval."""
    return row.lead_in_words + (f" ({row.lead_interval})" if row.lead_interval else "")


def _who(row: Any) -> str:
    if not isinstance(row, dict) or row.get("who") != "person":
        return "optimiser"
    why = f": {row['reason']}" if row.get("reason") else ""
    return f"{row.get('by') or 'a person'}{why}"


def _number(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "?"
