"""A run's report as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ...circuits.circuit import circuit_from_json
from ...circuits.decisions_file import decisions_in
from ...validate.card import pairs_in_words
from .counts import size_words
from .sitegraph import on_one_line

_MARKS = {
    "holds": "[green]holds[/]",
    "fails": "[red]fails[/]",
    "inconclusive": "[yellow]inconclusive[/]",
}


def print_report(console: Console, circuit: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """Print what a run found: the verdict, each desideratum, each check, the sites, the cost."""
    size, colour = report["size"], "green" if report["success"] else "red"
    console.print(
        Text(f"{circuit['claim']}  ({circuit['task']} on {circuit['model']})", style="bold"),
        Text(report["message"], style=colour),
        _plain(size_words(circuit_from_json(circuit), size["of"])),
        _desiderata(report),
        _checks(report),
        _sites(circuit),
        *_decided(circuit),
        _cost(report["cost"]),
        *_remarks(report),
        sep="\n",
    )


def print_decisions(console: Console, decisions: Mapping[str, Any] | None) -> None:
    """Print what persons decided about a circuit, as a decisions file holds it."""
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
    for claim in next(iter(made["matrix"].values())):
        scores = Table(title=Text(f"Desiderata of {claim}, on held-out pairs"))
        scores.add_column("circuit")
        for row in next(iter(made["matrix"].values()))[claim]:
            scores.add_column(Text(row["name"]))
        for circuit, cells in made["matrix"].items():
            marks = (
                f"{row['satisfaction']:.3f} {_MARKS['holds' if row['holds'] else 'fails']}"
                for row in cells[claim]
            )
            scores.add_row(Text(f"{circuit} ({len(made['circuits'][circuit]['sites'])})"), *marks)
        console.print(scores)
    if made["shared"]:
        console.print(Text(f"shared circuit: {made['shared']['message']}"))


def _pairs(report: Mapping[str, Any]) -> str:
    return pairs_in_words([row["split"] for row in report["desiderata"]])


def _desiderata(report: Mapping[str, Any]) -> Table:
    table = Table(title=f"Desiderata, on {_pairs(report)} (shares of pairs)", title_justify="left")
    for name in ("desideratum", "part", "n", "null", "ceiling", "needs", "reaches", "95 %", ""):
        table.add_column(name, justify="left" if name in ("desideratum", "part", "") else "right")
    for row in report["desiderata"]:
        mark = _MARKS["holds" if row["holds"] else "fails"] + (
            " (vacuous)" if row["vacuous"] else ""
        )
        table.add_row(
            Text(row["name"]),
            row["part"],
            str(row["n"]),
            f"{row['null']:.3f}",
            f"{row['ceiling']:.3f}",
            f"{row['need']:.3f}",
            f"{row['satisfaction']:.3f}",
            f"{row['low']:.3f}-{row['high']:.3f}",
            mark,
        )
    return table


def _checks(report: Mapping[str, Any]) -> Table:
    table = Table(title=f"Checks, on {_pairs(report)}", title_justify="left")
    for name in ("check", "verdict", "n", "says"):
        table.add_column(name)
    for row in report["checks"]:
        table.add_row(row["name"], _MARKS[row["verdict"]], str(row["n"]), Text(row["says"]))
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
        factor = search["plain_flops"] / max(1, search["flops"])
        lines.append(
            f"search alone: {search['flops']:.3g} FLOPs in {search['seconds']:.0f} s; the "
            f"straightforward loop over whole prompts: {search['plain_flops']:.3g}, "
            f"{factor:.1f} times"
        )
    return Group(*lines)


def _remarks(report: Mapping[str, Any]) -> list[Text]:
    return [
        Text(f"note: {words}", style="dim") for words in [*report["notes"], *report["problems"]]
    ]
