"""The tables of `scripts/reproduce_dcm.py`, as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

LISTED = 8  # sites that are named before the rest are only counted


def write_tables(found: dict[str, Any]) -> str:
    """All that was found, as a page for figures/dcm/README.md."""
    parts = [
        "# DCM's experiment on SmolLM2-135M",
        f"Made by `{found['command'].strip()}`. Heads and MLPs at the last token, {found['sites']} "
        "sites; a patched site takes the source's value. All scores are shares of held-out pairs "
        "that the model solves, in brackets what is needed to hold.",
        _searches(found["searches"]),
        "## Seeds, and size at equal satisfaction",
        _stability(found["stability"]),
        _sizes(found["sizes"]),
    ]
    sections = (
        ("value dependence alone", "One desideratum alone", _alone, None),
        ("strict", "What two desiderata leave open", _strict, None),
        ("band", "Size against satisfaction", lambda _: "", "sizes.svg"),
        ("transfer", "Transfer, without searching again", _transfer, None),
        ("before", "Before fine-tuning", _before, None),
        ("backups", "Which sites back each other up", _backups, "backups.svg"),
        ("tasks", "Other tasks", _tasks, "compare.svg"),
    )
    for key, title, words, figure in sections:
        if found[key]:
            parts += [f"## {title}", words(found[key])]
            parts += [f"![{title}]({figure})"] if figure else []
    missing = [title for key, title, *_ in sections if not found[key]]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _score(row: dict[str, Any]) -> str:
    fails = "" if row["holds"] else " **fails**"
    return f"{row['satisfaction']:.3f} ({row['need']:.3f}){fails}"


def _scores(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{row['desideratum']} {_score(row)}" for row in rows)


def _alone(rows: Sequence[dict[str, Any]]) -> str:
    return (
        f"The circuit of value dependence alone, on both (needed; n = {rows[0]['n']}): "
        f"{_scores(rows)}."
    )


def _strict(rows: Sequence[dict[str, Any]]) -> str:
    return (
        "The circuit of both (seed 0), on the claim that x alone is carried (needed; n = "
        f"{rows[0]['n']}): {_scores(rows)}."
    )


def _searches(rows: Sequence[dict[str, Any]]) -> str:
    return _table(
        ("search", "seed", "heads", "MLPs", "desiderata", "n", "random circuits beaten"),
        (
            (
                row["search"],
                row["seed"],
                row["heads"],
                row["mlps"],
                "; ".join(f"{name} {_score(one)}" for name, one in row["desiderata"].items()),
                min(one["n"] for one in row["desiderata"].values()),
                row["random beaten"],
            )
            for row in rows
        ),
    )


def _stability(searches: dict[str, Any]) -> str:
    return _table(
        ("search", "seeds", "mean Jaccard of two seeds", "by chance", "sites (seeds they are in)"),
        (
            (
                name,
                one["seeds"],
                f"{one['jaccard']:.2f}",
                f"{one['chance']:.3f}",
                ", ".join(f"{site.split('@')[0]} {count}" for site, count in one["sites"].items()),
            )
            for name, one in searches.items()
        ),
    )


def _sizes(rows: Sequence[dict[str, Any]]) -> str:
    """Sizes with the slack of each circuit, seed by seed."""
    methods = list(dict.fromkeys(key for row in rows for key in row if key != "seed"))
    return _table(
        ("seed", *(f"{method}: sites (slack, held out)" for method in methods)),
        (
            (
                row["seed"],
                *(
                    f"{row[method]['size']} ({row[method]['slack']:+.3f})" if method in row else ""
                    for method in methods
                ),
            )
            for row in rows
        ),
    )


def _transfer(rows: Sequence[dict[str, Any]]) -> str:
    return _table(
        ("claim", "desideratum", "n", "null", "ceiling", "reached (needed)"),
        (
            (row["claim"], row["says"], "", "", "", "")
            if "says" in row
            else (
                row["claim"],
                row["desideratum"],
                row["n"],
                f"{row['null']:.2f}",
                f"{row['ceiling']:.2f}",
                _score(row),
            )
            for row in rows
        ),
    )


def _before(found: dict[str, Any]) -> str:
    solved = "; ".join(f"{row['name']} {row['solved']} of {row['n']}" for row in found["solved"])
    words = f"Pairs solved among those drawn (search, then held out): {solved}."
    if "says" in found:
        return f"{words} {found['says']}."
    searched = found["searched"]
    names = searched["sites"]
    listed = f"{', '.join(names[:LISTED])}, ..." if len(names) > LISTED else ", ".join(names)
    return (
        f"{words} There the circuit found after fine-tuning reaches: "
        f"{_scores(found['circuit of the fine-tuned model'])}. Searched anew: "
        f"{len(names)} sites ({listed}; {searched['shared']} of "
        f"them shared), {_scores(searched['scores'])}. {searched['message']}."
    )


def _backups(found: dict[str, Any]) -> str:
    alone = _table(
        ("left out", "lost"),
        ((site, f"{value:.3f}") for site, value in found["sites"].items()),
    )
    strongest = sorted(found["pairs"], key=lambda row: -row["extra"])[:8]
    pairs = _table(
        ("left out together", "lost", "beyond the sum of the two"),
        (
            (f"{row['first']}, {row['second']}", f"{row['lost']:.3f}", f"{row['extra']:+.3f}")
            for row in strongest
        ),
    )
    return (
        f"Share of pairs (n = {found['n']}) lost by the desideratum that is hurt most.\n\n"
        f"{alone}\n\n{pairs}"
    )


def _tasks(found: dict[str, Any]) -> str:
    """The comparison of circuits of several tasks, as `circuitfind compare` makes it."""
    overlaps = _table(
        ("circuits", "shared sites", "Jaccard", "by chance", "p"),
        (
            (
                f"{row['first']}, {row['second']}",
                row["shared"],
                f"{row['jaccard']:.2f}",
                f"{row['chance']:.3f}",
                f"{row['p']:.1e}",
            )
            for row in found["overlaps"]
        ),
    )
    claims = list(next(iter(found["matrix"].values())))
    matrix = _table(
        ("circuit (sites) on the claim of", *claims),
        (
            (
                f"{name} ({len(found['circuits'][name]['sites'])})",
                *("; ".join(f"{s['name']} {_score(s)}" for s in cells[claim]) for claim in claims),
            )
            for name, cells in found["matrix"].items()
        ),
    )
    shared = found["shared"]
    words = f"One circuit for all: {shared['message']}." if shared else ""
    page = "All of it on one page: [compare.html](compare.html)."
    return "\n\n".join(part for part in (overlaps, matrix, words, page) if part)
