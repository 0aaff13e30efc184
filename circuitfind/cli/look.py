"""Commands that show finished runs: diagram, show, gallery."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .options import AsJson, RunPath
from .printing import console, print_json, say


def diagram(
    run_path: RunPath,
    out: Annotated[Path | None, typer.Option("--out", help="A .svg, .pdf or .png file.")] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="grid, circuit, frontier, bars, effects, stability or attention; as text: dot, "
            "mermaid, tikz, graphml, json or mib.",
        ),
    ] = "grid",
    theme: Annotated[str | None, typer.Option("--theme", help="light or dark.")] = None,
    width: Annotated[
        str | None, typer.Option("--width", help="Columns of a page: one or two.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="What `validate RUN --json` printed, not the run's own."),
    ] = None,
) -> None:
    """Draw a finished run, or write its circuit as a graph in text."""
    from ..report.figures.kinds import FIGURES, OLD_NAMES
    from ..runs import pictures

    kind = OLD_NAMES.get(kind, kind)
    if kind in FIGURES:
        out = out or run_path / f"{kind}.svg"
        pictures.redraw(run_path, out, kind, report_path=report, theme=theme, width=width)
    elif kind not in pictures.TEXTS:
        raise ValueError(f"--kind is one of {', '.join((*FIGURES, *pictures.TEXTS))}; got {kind!r}")
    else:
        from ..circuits.storage import write_text

        if theme or width or report:
            raise ValueError("--theme, --width and --report are for figures, not for text")
        text = pictures.graph_of(run_path, kind)
        if out is None:
            say(text, end="")
            return
        write_text(out, text)
    console().print(Text(str(out)))


def show(
    run_path: Annotated[Path, typer.Argument(help="A run folder, or that of a comparison.")],
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print where it is.")] = False,
) -> None:
    """Open the page of a run or of a comparison; it is made first where the folder has none."""
    import webbrowser

    from ..runs import pictures

    page = pictures.page_of(run_path).resolve()
    if not no_open:
        webbrowser.open(page.as_uri())
    say(str(page))


def gallery(
    run_paths: Annotated[list[Path], typer.Argument(help="Finished run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for it.")] = Path("figures"),
    as_json: AsJson = False,
) -> None:
    """Draw every figure that runs hold, each run's beside a JSON of how it was made."""
    from ..runs import pictures

    written = [str(path) for path in pictures.gallery(run_paths, out)]
    if as_json:
        print_json(written)
    else:
        console().print(Text("\n".join(written)))
