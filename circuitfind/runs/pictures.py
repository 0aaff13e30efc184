"""A finished run as figures, as graphs in text, and as a page; a comparison as a page."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..circuits.circuit import Circuit
from ..circuits.decisions_file import decisions_about
from ..circuits.examples import Examples, load_examples
from ..circuits.foreign import write_foreign_mib
from ..circuits.storage import write_text
from ..records import load_json
from ..report.figures.kinds import FIGURES, GRID, draw_kind
from ..report.text.graphs import KINDS, export_graph
from ..validate.card import card_from_json
from ..validate.comparison import COMPARISON_FILE
from .folder import (
    COMPARISON,
    COMPARISON_PAGE,
    CONFIG,
    EXAMPLES,
    PAGE,
)
from .history import latest_run
from .reports import CHECKED_FILE
from .settings import Settings
from .sites import known_sites

TEXTS = (*KINDS, "mib")  # what a circuit can be written as


def redraw(
    path: str | Path,
    target: str | Path,
    kind: str = GRID,
    *,
    report_path: str | Path | None = None,
    theme: str | None = None,
    width: str | None = None,
) -> None:
    """Draw a finished run into a .svg, .pdf or .png file.

    Args:
        kind: one of report.kinds.FIGURES.
        report_path: what `validate --json` printed of this circuit, in place of what the
            run's folder knows.

    Raises:
        LookupError: no finished run there.
        ValueError: an unknown kind of figure or of file, or a report or a folder without what it
            shows.
    """
    from ..report import save_figure  # matplotlib, which graphs in text do not need

    _, circuit, report = latest_run(path)
    if report_path is not None:
        read = load_json(report_path)
        report = read.get("report", read) if isinstance(read, dict) else read
        CHECKED_FILE.read(report, report_path)
    examples = _examples_in(path) if kind == "attention" else None
    figure = draw_kind(circuit, report, kind, examples=examples, theme=theme, width=width)
    save_figure(figure, target)


def gallery(paths: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Every figure that these finished runs hold, as SVG, and beside a run's figures a JSON with
    the command that makes it, versions, seed, and what the checks found; the files written.

    The names of files begin with that of the run's folder. What a report does not hold is named
    under `left_out`.

    Raises:
        LookupError: no finished run in one of the folders.
        ValueError: two folders of one name; a card about another circuit.
    """
    from ..report import save_figure

    paths = [Path(path) for path in paths]
    if len({path.resolve().name for path in paths}) < len(paths):
        raise ValueError("two of these folders have the same name, so that files would, too")
    Path(out).mkdir(parents=True, exist_ok=True)
    written = []
    for path in paths:
        settings, circuit, report = latest_run(path)
        name, left_out = path.resolve().name, {}
        for kind in FIGURES:
            target = Path(out) / (f"{name}.svg" if kind == GRID else f"{name}-{kind}.svg")
            try:
                examples = _examples_in(path) if kind == "attention" else None
                figure = draw_kind(circuit, report, kind, examples=examples)
            except ValueError as error:
                if kind == GRID:  # then there is nothing to show at all
                    raise
                left_out[kind] = str(error)
                continue
            save_figure(figure, target)
            written.append(target)
        record = {
            "command": settings.command(),
            "seed": settings.seed,
            "versions": circuit.provenance.get("versions", {}),
            "message": report["message"],
            "desiderata": [
                {key: value for key, value in row.items() if key != "wrong"}
                for row in report["desiderata"]
            ],
            "checks": [
                {key: check[key] for key in ("name", "verdict", "n", "says")}
                for check in report["checks"]
            ],
            "left_out": left_out,
        }
        written.append(Path(out) / f"{name}.json")
        write_text(written[-1], json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return written


def write_page(path: str | Path) -> Path:
    """Write the page of a finished run into its folder; where it is.

    Raises:
        LookupError: no finished run there.
        ValueError: files that are not what a run writes; a card or examples of another circuit.
    """
    settings, circuit, report = latest_run(path)
    return _put(Path(path) / PAGE, page_text(path, settings, circuit, report))


def page_text(
    path: str | Path, settings: Settings, circuit: Circuit, report: Mapping[str, Any]
) -> str:
    """The page of a run, with the examples and the decisions that its folder holds.

    Raises:
        ValueError: examples or decisions that are not what is written here, or are about another
            circuit.
    """
    from ..report.page.page import render_page

    return render_page(
        circuit,
        report,
        command=settings.command(),
        examples=_examples_in(path),
        decisions=decisions_about(path, circuit),
        known=known_sites(circuit),
    )


def _put(page: Path, text: str) -> Path:
    """Write a page where it is not there already, to the letter; where it is."""
    if page.is_symlink() or not page.is_file() or page.read_bytes() != text.encode():
        write_text(page, text)
    return page


def _examples_in(path: str | Path) -> Examples | None:
    examples = Path(path) / EXAMPLES
    return load_examples(examples) if examples.is_file() else None


def write_comparison_page(path: str | Path) -> Path:
    """Write the page of a comparison into its folder, from the compare.json there; where it is.

    Raises:
        FileNotFoundError: no compare.json there.
        ValueError: one that is not what `compare` writes.
    """
    from ..report.page.comparison import render_comparison

    made, commands = load_json(Path(path) / COMPARISON), {}
    comparison = COMPARISON_FILE.read(made, Path(path) / COMPARISON)
    for name, circuit in comparison.circuits.items():
        if comparison.shared and name == "shared":
            continue  # it was found by the comparison itself
        with suppress(KeyError, ValueError):  # other tools, versions
            commands[name] = Settings.from_json(circuit.provenance["config"]).command()
    return _put(Path(path) / COMPARISON_PAGE, render_comparison(made, commands))


def page_of(path: str | Path) -> Path:
    """Where the page of a finished run or of a comparison is. It is always made from the other
    files of the folder: a page that came with them may be anybody's.

    Raises:
        LookupError, ValueError: as in `write_page` and `write_comparison_page`.
    """
    path = Path(path)
    compared = (path / COMPARISON).is_file() and not (path / CONFIG).is_file()
    return write_comparison_page(path) if compared else write_page(path)


def graph_of(path: str | Path, kind: str) -> str:
    """The circuit of a finished run as a graph in text, with its edges where they are measured and
    the names and groups that a person gave its sites; or, as `mib`, as MIB's graph (foreign.py).

    Raises:
        LookupError: no finished run there.
        ValueError: an unknown kind; a circuit that MIB's graph cannot hold.
    """
    _, circuit, report = latest_run(path)
    card_from_json(report).require(circuit)
    if kind == "mib":
        told = circuit.provenance
        graph = write_foreign_mib(
            circuit,
            told["n_layers"],
            told["n_heads"],
            parallel=told.get("parallel_attn_mlp", False),
        )
        return json.dumps(graph, indent=2) + "\n"
    decisions = decisions_about(path, circuit)
    groups = decisions.grouped(circuit) if decisions else {}
    names = decisions.named(circuit) if decisions else {}
    return export_graph(circuit, kind, edges=circuit.edges, groups=groups, names=names)
