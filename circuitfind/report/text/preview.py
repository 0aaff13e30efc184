"""A preview for the terminal, and the table that a refusal shows too.

Prompts, answers and tokens come from anybody's file: what a terminal cannot print stands escaped,
as Python would write it.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from .sitegraph import on_one_line

WIDTH = 80  # of what is printed as plain text
LONGEST = 150  # letters of a prompt
SENTENCE = 1000
INDENT = 9
PIECES = 4  # of an answer that are shown
NAME = 30  # letters of a desideratum's name in the table


def print_preview(console: Console, made: Mapping[str, Any]) -> None:
    """Print a preview: what is asked, what the model says, what a run would cost."""
    for line in _lines(made, console.width):
        console.print(line)


def preview_text(made: Mapping[str, Any]) -> str:
    """A preview as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, no_color=True, highlight=False)
    print_preview(console, made)
    return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]


def solved_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of a preview or a refusal, a line each: how many pairs are solved, in how many the
    preference is right, and where they were measured null and ceiling."""
    ends = any(row.get("null") is not None for row in rows)
    width = max([len("desideratum"), *(len(_name(row)) for row in rows)])
    head = ("solved", "preferred", *(("null", "ceiling") if ends else ()))
    lines = ["  ".join(["desideratum".ljust(width), *(f"{one:>9}" for one in head)])]
    for row in rows:
        cells = [_of(row["solved"], row["n"]), _of(row["preferred"], row["compared"])]
        if ends:
            cells += [_share(row.get("null")), _share(row.get("ceiling"))]
        lines.append("  ".join([_name(row).ljust(width), *(f"{cell:>9}" for cell in cells)]))
    return lines


def refusal_text(
    problems: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    suggestions: Sequence[str],
    can_force: bool,
) -> str:
    """A refusal: each problem on a line, the table, what to try."""
    lines = [_cut(one, SENTENCE) for one in dict.fromkeys(problems)]
    if any(row["n"] or row["compared"] for row in rows):
        lines += ["", *solved_table(rows), ""]
    lines += [f"try: {_cut(one, SENTENCE)}" for one in suggestions]
    more = "; --force goes on all the same" if can_force else ""
    return "\n".join([*lines, f"`circuitfind try` shows more{more}"])


def visible(text: str) -> str:
    """The text on one line, with what a terminal cannot print escaped as Python writes it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _lines(made: Mapping[str, Any], width: int) -> Iterable[Text]:
    yield Text(f"{_cut(made['claim'])}, on {_cut(made['model'])}", style="bold")
    yield _dim(
        f"answer: {made['answer'] or '-'} ({made['unit'] or '-'}) at {made['read']}; donor: "
        f"{made['donor'] or '-'}; [patched] at {', '.join(made['at'])}; (+odds) in nats"
    )
    for row in made["desiderata"]:
        yield from _desideratum(row, width)
    yield from _numbers(made)
    yield from _cost(made)
    yield from _remarks(made)


def _desideratum(row: Mapping[str, Any], width: int) -> Iterable[Text]:
    yield Text(_name(row), style="bold cyan") + Text(
        f"  {row['part']}, {row['sense']}; {row['search_pairs']} search and "
        f"{row['held_out_pairs']} held-out pairs",
        style="dim",
    )
    for example in row["examples"]:
        for name, expected in (("base", example["expected"]), ("source", None)):
            said = example[name]
            yield from wrapped([_marked(said), *_answers(said, expected)], name, width, "  ")
            if said["top"]:
                yield from wrapped(_top(said), "", width, "  ", "says ")


def _answers(said: Mapping[str, Any], expected: Mapping[str, Any] | None) -> Iterable[Text]:
    """Of how many tokens a prompt is, its answer with its odds, and what must come instead."""
    own, odds = said["answer"], said["odds"]
    yield Text(f"{len(said['tokens'])} tokens", style="dim")
    if own is None:
        yield Text("no answer given", style="dim")
    else:
        mine = [nats for texts, nats in odds if list(texts) == list(own["texts"])]
        others = [(texts, nats) for texts, nats in odds if list(texts) != list(own["texts"])]
        others.sort(key=lambda one: -one[1])
        if mine and len(others) == 1:
            words = f" ({mine[0]:+.1f} over {_texts(others[0][0])})"
        elif mine:
            rest = ", ".join(f"{_texts(texts)} {nats:+.1f}" for texts, nats in others[:3])
            more = f", {len(others) - 3} more" if len(others) > 3 else ""
            words = f" ({mine[0]:+.1f}; {rest}{more})"
        else:
            words = ""
        yield Text(_answer(own) + words)
    if expected is not None:
        stays = own is not None and expected["texts"] == own["texts"]
        yield Text("must stay" if stays else f"→ {_answer(expected)}", style="cyan")


def _top(said: Mapping[str, Any]) -> list[Text]:
    """The most likely tokens, without those that nothing is left for."""
    shown = [(token, f"{share:.2f}") for token, share in said["top"]]
    kept = [one for one in shown if one[1] != "0.00"] or shown[:1]
    return [Text(f"{_token(token)} {share.lstrip('0')}", style="dim") for token, share in kept]


def wrapped(
    chunks: Iterable[Text], name: str, width: int, apart: str, first: str = ""
) -> Iterable[Text]:
    """These chunks in lines of this width, after a name and indented below it; only a chunk that
    is longer than a line is broken."""
    room = max(20, width - INDENT)
    lines = [Text(first, style="dim")]
    for chunk in chunks:
        if len(lines[-1]) > len(first) and len(lines[-1]) + len(apart) + len(chunk) <= room:
            lines[-1].append(apart)
        elif len(lines[-1]) > len(first):
            lines.append(Text())
        lines[-1].append_text(chunk)
        if len(lines[-1]) > room:
            lines[-1:] = lines[-1].wrap(Console(width=room), room)
    for number, line in enumerate(lines):
        yield Text(f"  {name if number == 0 else '':<{INDENT - 2}}") + line


def _marked(said: Mapping[str, Any]) -> Text:
    """The end of the prompt, as much as is shown, with its patched tokens in brackets."""
    patched, line = set(said["marked"].values()), Text()
    for index, token in enumerate(said["tokens"]):
        # The space before a word stays outside its brackets; one that is a token does not.
        space = token[: len(token) - len(token.lstrip())] if index in patched else ""
        space = "" if space == token else space
        line.append(visible(space))
        word = visible(token[len(space) :])
        line.append(f"[{word}]" if index in patched else word, "bold" if index in patched else "")
    over = len(line) - LONGEST
    return Text("…") + line[over:] if over > 0 else line


def _numbers(made: Mapping[str, Any]) -> Iterable[Text]:
    """How often the model is right: in all, by value, and by desideratum."""
    if made["desiderata"]:
        yield Text()
    whole = made["right"]
    if whole:
        words = f"Right unpatched: {_of(whole['right'], whole['n'])} prompts"
        rows = [
            f"{_cut(row['variable'], 20)} {_cut(row['value'], 20)} {row['right']}/{row['n']}"
            for row in made["values"]
        ]
        yield Text(words, style="bold") + Text("; worst: " + ", ".join(rows) if rows else "")
    if made["desiderata"]:
        head, *rows = solved_table(made["desiderata"])
        yield Text(head, style="bold")
        yield from map(Text, rows)
        yield _dim(
            "solved: both prompts get their answer; preferred: it beats the others that the pair "
            "names; null, ceiling: the expected answer with nothing patched, with all"
        )


def run_words(made: Mapping[str, Any]) -> str:
    """What a run would cost, in a sentence; nothing where that is not known."""
    found = made["estimate"]
    if not found:
        return ""
    time = duration(found["seconds_low"], found["seconds_high"])
    return (
        f"a run ({found['method']}, {found['n']} pairs of each): about {found['flops']:.0e} FLOPs, "
        f"{time} here, {_bytes(found['memory'])} of memory"
    )


def _cost(made: Mapping[str, Any]) -> Iterable[Text]:
    if found := made["estimate"]:
        yield Text()
        yield Text(run_words(made)) + Text(
            f"; {found['step_flops']:.0e} FLOPs a pair and pass, {found['speed']:.0e} a second; "
            "published runs took 0.9 to 1.5 times such an estimate, one in twenty 2.7 times",
            style="dim",
        )
        yield _dim(found["memory_plan"])


def _remarks(made: Mapping[str, Any]) -> Iterable[Text]:
    kinds = (("problems", "problem", "red"), ("warnings", "warning", "yellow"))
    said = [(word, style, one) for key, word, style in kinds for one in made[key]]
    said += [("try", "green", one) for one in made["suggestions"]]
    said += [("note", "dim", one) for one in made["notes"]]
    if said:
        yield Text()
    for word, style, one in said:
        yield Text(f"{word}: ", style=style) + Text(_cut(one, SENTENCE))
    if made["refused"]:
        yield Text("discover would refuse this", style="bold red")
    else:
        yield Text("discover would run this", style="bold green")


def duration(low: float, high: float) -> str:
    """A range of seconds in the unit that suits it.

    >>> duration(54, 90)
    '1 to 2 min'
    """
    for seconds, unit in ((5400, "h"), (90, "min"), (0, "s")):
        if high >= seconds:
            size = {"h": 3600, "min": 60, "s": 1}[unit]
            least, most = max(1, round(low / size)), max(1, round(high / size))
            return f"{least} to {most} {unit}" if least < most else f"about {most} {unit}"
    return ""


def _bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**29 else f"{number / 2**20:.0f} MiB"


def _answer(spelled: Mapping[str, Any]) -> str:
    """An answer's texts, and how they are cut where one is more than a token."""
    shown = []
    for text, tokens in list(zip(spelled["texts"], spelled["tokens"], strict=True))[:3]:
        more = " …" if len(tokens) > PIECES else ""
        cut = f" ({len(tokens)} tokens: {' '.join(map(_token, tokens[:PIECES]))}{more})"
        shown.append(_token(text) + (cut if len(tokens) != 1 else ""))
    more = len(spelled["texts"]) - len(shown)
    return " or ".join(shown) + (f" or {more} more" if more > 0 else "")


def _texts(texts: Sequence[str]) -> str:
    return " or ".join(map(_token, texts[:3])) + ("…" if len(texts) > 3 else "")


def _token(text: str) -> str:
    made = repr(text)
    return made if len(made) <= NAME else made[: NAME - 1] + "…"


def _name(row: Mapping[str, Any]) -> str:
    return _cut(row["name"], NAME)


def _cut(text: str, most: int = LONGEST) -> str:
    line = on_one_line(text)
    return line if len(line) <= most else line[: most - 1] + "…"


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "-"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _dim(words: str) -> Text:
    return Text(on_one_line(words), style="dim")
