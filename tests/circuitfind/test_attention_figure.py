"""Attention as a figure: shades as measured, words that can be read, and what is left out told."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from matplotlib.colors import to_rgb
from typer.testing import CliRunner

from circuitfind.circuits.circuit import Circuit
from circuitfind.circuits.examples import Attention, Example, Examples, ExampleSet
from circuitfind.cli.app import app
from circuitfind.mediators.known import parse_site
from circuitfind.report import save_figure
from circuitfind.report.figures.attention import draw_attention
from circuitfind.runs import pictures

from ..figures import artists, check_labels, words_of
from ..pages import HOSTILE, a_page

PROMPT = (
    "<bos>",
    "Ann",
    " has",
    " the",
    " ring",
    " .",
    " Bob",
    " has",
    " the",
    " mask",
    " .",
    " Bob",
    " has",
    " the",
)


def looking(tokens=PROMPT, n_heads=3, places=("last",)):
    """A circuit whose heads look at token 0, 1, 2, ... with 0.9, and what is seen in the prompt."""
    sites = tuple(
        parse_site(f"a{n // 12}.h{n % 12}@{places[n % len(places)]}") for n in range(n_heads)
    )
    scores = tuple(1 - n / 100 for n in range(n_heads))
    circuit = Circuit(
        model="m",
        task="t",
        claim="carries it",
        method="by hand",
        seed=0,
        sites=sites,
        scores=scores,
    )
    weights = {
        str(site): tuple(
            0.9 if k == n % len(tokens) else 0.1 / len(tokens) for k in range(len(tokens))
        )
        for n, site in enumerate(sites)
    }
    columns = {place: len(tokens) - 1 - n for n, place in enumerate(places)}
    text = "".join(tokens[1:])
    example = Example(
        base=text,
        source=text,
        expected=" ring",
        base_answer=" mask",
        source_answer=None,
        got=" ring",
        untouched=" mask",
        everything=" ring",
        right=True,
    )
    sets = (ExampleSet("follows it", 9, 9, (example,)),)
    return circuit, Examples(circuit.digest, sets, Attention(tuple(tokens), columns, weights))


@pytest.mark.parametrize(("theme", "width"), [("light", "two"), ("dark", "one")])
@pytest.mark.parametrize(
    ("tokens", "n_heads"),
    [(PROMPT, 3), (tuple("x=3y=5"), 6), (("word ",) * 400, 60), (("a", " very" * 60, " long"), 2)],
)
def test_words_can_be_read(theme, width, tokens, n_heads):
    figure = draw_attention(*looking(tokens, n_heads), theme=theme, width=width)
    check_labels(figure)
    assert figure.get_figwidth() == pytest.approx({"one": 3.3, "two": 6.9}[width])


def test_shades_grow_with_the_weight_and_marks_are_where_they_belong():
    circuit, examples = looking()
    figure = draw_attention(circuit, examples)
    cells, frames = artists(figure, "cell-"), artists(figure, "frame-")
    for row in range(3):
        dark = [sum(to_rgb(cells[f"cell-{row}-{n}"].get_facecolor())) for n in range(len(PROMPT))]
        assert dark.index(min(dark)) == row
        assert frames[f"frame-{row}"].get_x() == len(PROMPT) - 1
        assert f"{('<bos>', 'Ann', 'has')[row]} 0.90" in words_of(figure)
    bold = [t.get_text() for t in artists(figure, "token-").values() if t.get_weight() == "bold"]
    assert bold == ["mask"]
    assert "Bold: the answer, “mask”." in words_of(figure)
    assert artists(figure, "shade-") and "share of a head's attention" in words_of(figure)


def test_an_answer_of_several_texts_is_bold_wherever_one_stands():
    circuit, examples = looking()
    (told,) = examples.sets
    one = replace(told.examples[0], base_answer="ring or mask or <b> or 21 more")
    made = replace(examples, sets=(replace(told, examples=(one,)),))
    figure = draw_attention(circuit, made)
    bold = [t.get_text() for t in artists(figure, "token-").values() if t.get_weight() == "bold"]
    assert bold == ["ring", "mask"]
    assert "Bold: the answer, “ring or mask or <b> or 21 more”." in words_of(figure)


def test_a_long_prompt_keeps_what_is_looked_at_and_counts_the_rest():
    tokens = tuple(f" w{n}" for n in range(200))
    circuit, examples = looking(tokens, 2, places=("last", "name"))
    figure = draw_attention(circuit, examples, width="one")
    told = [text.get_text() for text in artists(figure, "token-").values()]
    assert {"w0", "w1", "w198", "w199", "…"} <= set(told)
    shown = sum(word != "…" for word in told)
    assert f"{200 - shown} tokens are left out (…)" in words_of(figure)
    frames = [frame.get_x() for frame in artists(figure, "frame-").values()]
    assert [told[int(x)] for x in frames] == ["w199", "w198"]


def test_of_many_heads_the_strongest_have_a_row():
    figure = draw_attention(*looking(n_heads=60))
    assert len(artists(figure, "most-")) == 40
    assert "The 40 heads with the greatest scores of 60." in words_of(figure)
    assert "most-a4.h11@last" not in artists(figure, "most-")


@pytest.mark.filterwarnings("ignore:Glyph")  # which saving hushes itself
def test_hostile_tokens_do_not_break_it(tmp_path):
    figure = draw_attention(*looking((*HOSTILE, " end"), 4))
    check_labels(figure)
    save_figure(figure, tmp_path / "f.svg")
    ids = [node.get("id") for node in ElementTree.parse(tmp_path / "f.svg").iter()]
    told = [name for name in ids if name is not None]
    assert len(told) == len(set(told)) and "script" not in {i.lower() for i in told}


def test_equal_files_of_every_kind(tmp_path):
    for suffix, start in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        made = []
        for name in ("one", "two"):
            save_figure(draw_attention(*looking()), tmp_path / f"{name}.{suffix}")
            made.append((tmp_path / f"{name}.{suffix}").read_bytes())
        assert made[0] == made[1] and made[0].startswith(start)


def test_what_is_missing_is_named():
    circuit, examples = looking()
    with pytest.raises(ValueError, match=r"no attention.*circuitfind validate RUN"):
        draw_attention(circuit, None)
    with pytest.raises(ValueError, match="examples are of another circuit"):
        draw_attention(replace(circuit, model="other"), examples)
    blind = replace(examples, attention=replace(examples.attention, weights={}))
    with pytest.raises(ValueError, match="no head of this circuit tells where it looks"):
        draw_attention(circuit, blind)


def test_the_command_draws_it_from_a_run_folder_and_the_gallery_too(tmp_path):
    circuit, report, examples = a_page()
    report["checks"][0]["details"] = report["checks"][0]["details"][:1]
    folder = tmp_path / "run"
    folder.mkdir()
    circuit.save(folder / "circuit.json")
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "config.json").write_text(json.dumps({"task": "ioi", "model": "binder"}))
    call = ["diagram", str(folder), "--kind", "attention", "--theme", "dark", "--width", "one"]
    failed = CliRunner().invoke(app, call)
    assert isinstance(failed.exception, ValueError)
    assert "circuitfind validate RUN" in str(failed.exception)
    examples.save(folder / "examples.json")
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0 and (folder / "attention.svg").stat().st_size > 5000
    written = pictures.gallery([folder], tmp_path / "gallery")
    assert tmp_path / "gallery" / "run-attention.svg" in written
