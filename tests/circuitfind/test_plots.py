"""Figures of a run's report: each from a real run, and what a report lacks is named."""

import copy
import json
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from circuitfind.circuits.circuit import Circuit
from circuitfind.report import save_figure
from circuitfind.report.figures.effects import draw_effects, draw_stability
from circuitfind.report.figures.kinds import FIGURES, PLOTS, draw_kind
from circuitfind.report.figures.plots import draw_bars, draw_frontier, draw_overlap
from circuitfind.runs import pictures, run
from circuitfind.runs.folder import read_run
from circuitfind.runs.settings import Settings

from ..figures import artists, check_labels, words_of

REAL = Path(__file__).parents[2] / "figures/dcm/runs/arithmetic_constrained_seed0"
FORMATS = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
HOSTILE = ("$x_1$", "<script>alert('&')</script>", "\x00\n--> ]]>", "Q" * 500, "שלום 🦜", '" } \\')


@pytest.fixture(scope="module")
def real() -> tuple[Circuit, dict[str, Any]]:
    """A finished run of this repository, with a check of stability as `validate` reports it."""
    _, circuit, report = read_run(REAL)
    rows = [{"site": str(site), "share": 1 - n / 20} for n, site in enumerate(circuit.sites)]
    rows.append({"site": "m3@last", "share": 0.1})
    return circuit, with_check(report, "stability", rows)


def with_check(report: dict[str, Any], name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same report with one more check."""
    made = copy.deepcopy(report)
    told = made["checks"][0] | {"name": name, "value": 0.7, "n": 10, "details": rows}
    made["checks"].append(told)
    return made


def without(report: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same report without these checks."""
    return report | {"checks": [row for row in report["checks"] if row["name"] not in names]}


def pairs_of(circuit: Circuit) -> list[dict[str, Any]]:
    """Rows of `necessity` about every two members, each excess its own."""
    return [
        {"of": "pair", "sites": f"{a} {b}", "excess": n / 10 - 1}
        for n, (a, b) in enumerate(combinations(circuit.sites, 2))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLOTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_kind_has_the_same_bytes_in_every_format(real, kind, theme, tmp_path):
    circuit, report = real
    for suffix in FORMATS:
        for name in ("one", "two"):
            figure = draw_kind(circuit, report, kind, theme=theme)
            save_figure(figure, tmp_path / f"{name}.{suffix}")
        one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two and one.startswith(FORMATS[suffix])


@pytest.mark.parametrize("kind", PLOTS)
@pytest.mark.parametrize(("theme", "width"), [("light", "one"), ("dark", "two")])
def test_every_kind_of_a_real_run(real, kind, theme, width, tmp_path):
    circuit, report = real
    figure = draw_kind(circuit, report, kind, theme=theme, width=width)
    check_labels(figure)
    assert figure.get_figwidth() == pytest.approx({"one": 3.3, "two": 6.9}[width])
    for suffix, start in FORMATS.items():
        if suffix != "svg" and kind != "frontier":  # each format of one kind, the others below
            continue
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        save_figure(figure, one)
        save_figure(draw_kind(circuit, report, kind, theme=theme, width=width), two)
        assert one.read_bytes() == two.read_bytes() and one.read_bytes().startswith(start)
    ids = [node.get("id") for node in ElementTree.parse(tmp_path / "one.svg").iter()]
    told = [name for name in ids if name is not None]
    assert len(told) == len(set(told))


def test_the_frontier_shows_each_desideratum_its_bound_and_the_choice(real):
    circuit, report = real
    figure = draw_frontier(circuit, report)
    names = list(report["frontier"][0]["satisfaction"])
    for n, name in enumerate(names):
        line = artists(figure, "line-")[f"line-{n}"]
        points = {p["size"]: p["satisfaction"][name] for p in report["frontier"]}
        assert dict(zip(*line.get_data(), strict=True)) == points
        assert artists(figure, "bound-")[f"bound-{n}"].get_ydata()[0] == next(
            row["need"] for row in report["desiderata"] if row["name"] == name
        )
        assert artists(figure, "chosen-")[f"chosen-{n}"].get_xdata()[0] == len(circuit)
    band = artists(figure, "random-band")["random-band"].get_ydata()
    slacks = next(r for r in report["checks"] if r["name"] == "random circuits")["details"]
    assert min(s["slack"] for s in slacks) <= band[0] < band[1] <= max(s["slack"] for s in slacks)
    assert not artists(draw_frontier(circuit, without(report, "random circuits")), "random")


def test_effects_are_as_long_as_measured_and_unsure_ones_hatched(real):
    circuit, report = real
    rows = next(r for r in report["checks"] if r["name"] == "leave one out")["details"]
    rows = sorted(rows, key=lambda row: -row["effect"])
    report = with_check(report, "necessity", pairs_of(circuit))
    figure = draw_effects(circuit, report, width="two")
    check_labels(figure)
    bars = artists(figure, "row-")
    assert [bars[f"row-{n}"].get_width() for n in range(len(rows))] == [r["effect"] for r in rows]
    for n, row in enumerate(rows):
        assert bool(bars[f"row-{n}"].get_hatch()) is not row["needed"]
    assert len(artists(figure, "pair-")) == len(pairs_of(circuit))
    assert "\N{MINUS SIGN}1.00" in words_of(figure) and "1.00" in words_of(figure)
    check_labels(draw_effects(circuit, without(report, "leave one out")))


def test_pairs_have_a_scale_and_those_not_measured_a_cross(real):
    circuit, report = real
    rows = pairs_of(circuit)
    figure = draw_effects(circuit, with_check(report, "necessity", rows))
    assert artists(figure, "shade-") and not artists(figure, "unknown-")
    assert "effect beyond the sum, in logits" in words_of(figure)
    nats = report | {"desiderata": [row | {"unit": "nats"} for row in report["desiderata"]]}
    told = words_of(draw_effects(circuit, with_check(nats, "necessity", rows)))
    assert "effect beyond the sum, in nats" in told and "logits" not in told
    assert "not measured" not in words_of(figure)
    figure = draw_effects(circuit, with_check(report, "necessity", rows[::-2]))
    check_labels(figure)
    pairs, unknown = artists(figure, "pair-"), artists(figure, "unknown-")
    assert len(pairs) == len(rows[::-2]) and len(unknown) == len(rows) - len(pairs)
    assert not {name[8:] for name in unknown} & {name[5:] for name in pairs}
    assert f"not measured ({len(pairs)} of {len(rows)} pairs are)" in words_of(figure)
    # The peak of the scale is the greatest excess, on both sides of 0.
    peak = max(abs(row["excess"]) for row in rows)
    assert {f"\N{MINUS SIGN}{peak:.3g}", "0", f"{peak:.3g}"} <= set(words_of(figure).split())


def test_stability_tells_members_from_others(real):
    circuit, report = real
    bars = artists(draw_stability(circuit, report), "row-")
    hatched = [bool(bars[f"row-{n}"].get_hatch()) for n in range(len(bars))]
    assert hatched == [False] * len(circuit) + [True]


def test_long_lists_say_what_they_leave_out(real):
    circuit, report = real
    rows = [{"site": f"a{n}.h0@last", "share": 0.5} for n in range(80)]
    figure = draw_stability(circuit, with_check(without(report, "stability"), "stability", rows))
    assert "+ 32 more" in words_of(figure)
    check_labels(figure)


@pytest.mark.parametrize("width", ["one", "two"])
def test_overlap_shows_every_two_circuits_and_chance(width):
    names = [f"arithmetic_constrained_seed{n}" for n in range(5)]
    rows = [
        {"first": a, "second": b, "jaccard": n / 10, "chance": 0.03}
        for n, (a, b) in enumerate(combinations(names, 2))
    ]
    figure = draw_overlap(rows, width=width)
    check_labels(figure)
    assert len(artists(figure, "overlap-")) == 25
    assert words_of(figure).count("(0.03)") == 20 and "seed4" in words_of(figure)
    with pytest.raises(ValueError, match="circuitfind compare"):
        draw_overlap([])


def test_what_a_report_lacks_is_named_with_the_command_that_makes_it(real):
    circuit, report = real
    bare = without(report, "stability", "leave one out", "necessity")
    bare = bare | {"frontier": [], "desiderata": []}
    for draw, words in (
        (draw_frontier, "no frontier.*circuitfind discover"),
        (draw_bars, "no desiderata.*circuitfind validate"),
        (draw_effects, 'no effects.*--checks "leave one out,necessity"'),
        (draw_stability, "no stability.*--checks stability"),
    ):
        with pytest.raises(ValueError, match=words):
            draw(circuit, bare)
    with pytest.raises(ValueError, match="grid, circuit, frontier"):
        draw_kind(circuit, report, "crayon")
    for name in ("grid", "map"):  # its old name
        with pytest.raises(ValueError, match="the grid is light"):
            draw_kind(circuit, report, name, theme="dark")


@pytest.mark.parametrize(
    "name", [*HOSTILE[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE[3:])]
)
@pytest.mark.filterwarnings("ignore:Glyph")  # which saving hushes itself
def test_hostile_names_do_not_break_plots(real, name, tmp_path):
    circuit, report = real
    circuit = Circuit(
        model=name,
        task=name,
        claim=name,
        method=name,
        seed=0,
        sites=circuit.sites,
        scores=circuit.scores,
    )
    report = copy.deepcopy(report) | {"binds": {}}
    first = report["desiderata"][0]["name"]
    report["desiderata"][0]["name"] = name
    for point in report["frontier"]:
        values = point["satisfaction"]
        point["satisfaction"] = {name if k == first else k: v for k, v in values.items()}
    for number, kind in enumerate(PLOTS):
        figure = draw_kind(circuit, report, kind, theme=("light", "dark")[number % 2])
        check_labels(figure)
        save_figure(figure, tmp_path / "f.svg")
        tree = ElementTree.parse(tmp_path / "f.svg")
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_a_run_is_drawn_as_each_kind(tmp_path):
    """From the folder of a real search; stability from what a validation printed."""
    settings = Settings(task="planted", model="planted", n=32, n_random=20, steps=40)
    made = run.discover(settings, tmp_path / "run")
    report = with_check(dict(made.report), "stability", [{"site": "a1.h0@last", "share": 1.0}])
    (tmp_path / "printed.json").write_text(json.dumps({"report": report}))
    for kind in FIGURES:
        target = tmp_path / f"{kind}.svg"
        if kind == "stability":
            with pytest.raises(ValueError, match="no stability"):
                pictures.redraw(tmp_path / "run", target, kind)
        printed = tmp_path / "printed.json" if kind == "stability" else None
        pictures.redraw(tmp_path / "run", target, kind, report_path=printed)
        assert target.stat().st_size > 5000
