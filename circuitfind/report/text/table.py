"""A run's report as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ...circuits.circuit import circuit_from_json
from ...circuits.decisions_file import decisions_in
from ...legible import legible_values
from ...validate.card import card_from_json
from ...validate.comparison import comparison_from_json
from ...validate.finding import DesideratumScore, pairs_in_words
from ...validate.questions import QUESTIONS, look_of, question_of, verdict_words
from .counts import size_words
from .sitegraph import on_one_line

WIDE = 140  # columns of a terminal from which on the table has room for leads
_STYLES = {"holds": "green", "fails": "red", "inconclusive": "yellow", "differs": "cyan"}
_MARKS = {verdict: f"[{style}]{verdict}[/]" for verdict, style in _STYLES.items()}


def print_report(console: Console, circuit: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """Print what a run found: the verdict, each desideratum, each check, the sites, the cost."""
    circuit, report = legible_values(circuit), legible_values(report)
    size, colour = report["size"], "green" if report["success"] else "red"
    console.print(
        Text(f"{circuit['claim']}  ({circuit['task']} on {circuit['model']})", style="bold"),
        Text(report["message"], style=colour),
        _plain(size_words(circuit_from_json(circuit), size["of"])),
        _desiderata(report, console.width >= WIDE),
        *_told_below(report, console.width >= WIDE),
        _checks(report),
        _sites(circuit),
        *_decided(circuit),
        *([_cost(report["cost"])] if report.get("cost") else []),
        *_remarks(report),
        sep="\n",
    )


def print_decisions(console: Console, decisions: Mapping[str, Any] | None) -> None:
    """Print what persons decided about a circuit, as a decisions file holds it."""
    decisions = legible_values(decisions)
    if decisions is None:
        console.print("nothing is decided about this circuit")
        return
    if decisions["verdict"]:
        words = f"{decisions['verdict']}ed by {decisions['by']}, {decisions['when']}"
        console.print(_plain(words + _because(decisions)))
    if decisions["decisions"]:
        console.print(_decisions_table(decisions))
    if decisions.get("history"):
        console.print(_history_table(decisions))


def _decided(circuit: Mapping[str, Any]) -> list[Table | Text]:
    """The decisions that a circuit was searched with, and what came in by them."""
    told, decisions = circuit["provenance"], decisions_in(circuit["provenance"])
    lines: list[Table | Text] = []
    if chosen := told.get("chosen"):
        pinned = [site for site, row in chosen.items() if row["who"] == "person"]
        words = f"{len(pinned)} of {len(chosen)} sites were chosen by a person"
        lines.append(_plain(words + (f": {', '.join(pinned)}" if pinned else "")))
    if decisions:
        lines.append(_decisions_table(decisions.as_json()))
    if decisions and decisions.history:
        lines.append(_history_table(decisions.as_json()))
    return lines


def _decisions_table(decisions: Mapping[str, Any]) -> Table:
    table = Table(title="Decisions", title_justify="left")
    for name in ("site", "decision", "by", "when", "why"):
        table.add_column(name)
    for row in decisions["decisions"]:
        what = row["action"] + ("" if row["value"] is None else f": {row['value']}")
        who = [row.get(key, decisions[key]) for key in ("by", "when")]
        table.add_row(*(_plain(text) for text in (row["site"], what, *who, row["reason"])))
    return table


def _history_table(decisions: Mapping[str, Any]) -> Table:
    table = Table(title="No longer", title_justify="left")
    for name in ("site", "decision", "by", "when", "why", "how it ended"):
        table.add_column(name)
    for row in decisions["history"]:
        what, ended = row["action"] + (f": {row['value']}" if row["value"] else ""), row["ended"]
        end = f"{ended['how']} by {ended['by']}, {ended['when']}{_because(ended)}"
        told = row["site"], what, row["by"], row["when"], row["reason"], end
        table.add_row(*map(_plain, told))
    return table


def _because(decisions: Mapping[str, Any]) -> str:
    return f": {decisions['reason']}" if decisions["reason"] else ""


def _plain(text: str) -> Text:
    return Text(on_one_line(text))


def print_comparison(console: Console, made: Mapping[str, Any]) -> None:
    """Print what circuits share, and every circuit's score on every desideratum."""
    made = legible_values(made)
    table = Table(title="Shared sites, with chance for circuits of these sizes")
    for name in ("circuits", "shared", "Jaccard", "chance", "p"):
        table.add_column(name)
    for row in made["overlaps"]:
        table.add_row(
            Text(f"{row['first']} / {row['second']}"),
            str(row["shared"]),
            f"{row['jaccard']:.2f}",
            f"{row['chance']:.3f}",
            f"{row['p']:.2g}",
        )
    console.print(table)
    matrix = comparison_from_json(made).matrix
    for claim in next(iter(matrix.values())):
        scores = Table(title=Text(f"Desiderata of {claim}, on held-out pairs"))
        scores.add_column("circuit")
        for score in next(iter(matrix.values()))[claim]:
            scores.add_column(Text(score.name))
        for circuit, cells in matrix.items():
            marks = (f"{one.satisfaction:.3f} {_MARKS[one.verdict]}" for one in cells[claim])
            scores.add_row(Text(f"{circuit} ({len(made['circuits'][circuit]['sites'])})"), *marks)
        console.print(scores)
    if made["shared"]:
        console.print(Text(f"shared circuit: {made['shared']['message']}"))


def _pairs(report: Mapping[str, Any]) -> str:
    return pairs_in_words([row["split"] for row in report["desiderata"]])


def _desiderata(report: Mapping[str, Any], wide: bool) -> Table:
    scores = _scores(report)
    shares = "shares of pairs"
    if any(score.loss for score in scores):
        shares += "; with a limit, what is kept of what can be lost"
    table = Table(title=f"Desiderata, on {_pairs(report)} ({shares})", title_justify="left")
    for name in ("desideratum", "part", "n", "null", "ceiling", "needs", "reaches", "95 %"):
        table.add_column(name, justify="left" if name in ("desideratum", "part") else "right")
    leads = wide and any(score.lead_in_words for score in scores)
    if leads:
        table.add_column("mean lead", justify="right")
    table.add_column("")
    for score in scores:
        told = [_plain(_lead(score))] if leads else []
        mark = _MARKS[score.verdict] + (" (vacuous)" if score.vacuous else "")
        table.add_row(
            Text(score.name),
            score.part,
            str(score.n),
            f"{score.null:.3f}",
            f"{score.ceiling:.3f}",
            f"{score.need:.3f}",
            f"{score.satisfaction:.3f}",
            f"{score.low:.3f}-{score.high:.3f}",
            *told,
            mark,
        )
    return table


def _scores(report: Mapping[str, Any]) -> tuple[DesideratumScore, ...]:
    return card_from_json(report).desiderata


def _lead(score: DesideratumScore) -> str:
    """The mean lead of the expected answer, with its interval."""
    return score.lead_in_words + (f" ({score.lead_interval})" if score.lead_interval else "")


def _told_below(report: Mapping[str, Any], wide: bool) -> list[Text]:
    """A line for each desideratum of what has no place in the table: what is lost of those with a
    limit, and where the terminal is narrow the lead."""
    lines = []
    for score in _scores(report):
        told = [f"mean lead of the expected answer {_lead(score)}"] if score.lead_in_words else []
        told = ([] if wide else told) + ([str(score.loss)] if score.loss else [])
        lines += [_plain(f"{score.name}: {'; '.join(told)}")] if told else []
    return lines


def _checks(report: Mapping[str, Any]) -> Table:
    table = Table(title=f"Checks, on {_pairs(report)}", title_justify="left")
    for name in ("question", "check", "verdict", "n", "says"):
        table.add_column(name)
    findings = card_from_json(report).findings
    for question in (*QUESTIONS, None):
        mine = [one for one in findings if question_of(one) == question]
        for number, one in enumerate(mine):
            mark = Text(verdict_words(one), style=_STYLES[look_of(question, one.verdict)])
            named = "" if number else question or "others"
            last = number == len(mine) - 1
            told = _plain(one.name), mark, str(one.n), _plain(one.says)
            table.add_row(named, *told, end_section=last)
    return table


def _sites(circuit: Mapping[str, Any]) -> Text:
    rows = sorted(circuit["sites"], key=lambda row: -row["score"])
    return Text("sites: " + ", ".join(f"{row['site']} ({row['score']:.3f})" for row in rows))


def _cost(cost: Mapping[str, Any]) -> Group:
    lines = [
        f"cost: {cost['tokens_forward']:,} tokens forward, {cost['tokens_backward']:,} backward, "
        f"{cost['flops']:.3g} FLOPs, {cost['seconds']:.0f} s"
    ]
    if search := cost["stages"].get("search"):  # a circuit that was only checked has none
        lines.append(f"search alone: {search['flops']:.3g} FLOPs in {search['seconds']:.0f} s")
        if search.get("cached_flops") is None:  # a report of an earlier version
            lines.append(_loop("a loop that runs source and base whole at every step", search))
        else:
            lines.append(_loop("the loop of Davies et al. 2023, over whole prompts", search))
            lines.append(_loop("hooks with a key-value cache", search, "cached_flops"))
    return Group(*lines)


def _loop(name: str, search: Mapping[str, Any], key: str = "plain_flops") -> str:
    """What another loop would have cost for the same search, in words."""
    factor = search[key] / max(1, search["flops"])
    return f"  {name}: {search[key]:.3g} FLOPs, {factor:.1f} times as many"


def _remarks(report: Mapping[str, Any]) -> list[Text]:
    return [
        Text(f"note: {words}", style="dim") for words in [*report["notes"], *report["problems"]]
    ]
