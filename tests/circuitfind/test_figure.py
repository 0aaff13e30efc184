"""The figure: what it draws is counted by name, and labels are kept apart by geometry."""

import random
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import HEADS, head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED, mlp
from circuitfind.report import draw, save_figure
from circuitfind.report.figures.style import LOSS_HATCH
from circuitfind.validate.card import Card
from circuitfind.validate.finding import DesideratumScore, Finding, Loss

from ..plugins import mixed_circuit, neuron, plug_in, stream

NAMES = ("follows x", "keeps op", "keeps y", "crossed x", "nothing else carries x", "suffices")
HOSTILE = (
    "$x_1$",
    "<script>alert('&')</script>",
    "é ü → Ω",
    "under_score",
    "\x00\n--> ]]>",
    "Q" * 200,
)


def make_circuit(n_layers, n_heads, n_members, positions=("last",), **changes) -> Circuit:
    """A circuit of random sites, a third of them with negative scores."""
    rng = random.Random(n_layers * n_heads)
    sites = rng.sample(all_sites(n_layers, n_heads, positions), n_members)
    scores = tuple(rng.uniform(-0.2, 0.6) for _ in sites)
    facts: dict[str, Any] = {
        "model": "binder",
        "task": "arithmetic",
        "claim": "x at last",
        "method": "constrained",
    }
    provenance = {"n_layers": n_layers, "n_heads": n_heads}
    return Circuit(
        seed=0, sites=tuple(sites), scores=scores, provenance=provenance, **(facts | changes)
    )


def make_score(name: str, at: float = 0.97) -> DesideratumScore:
    """A score that holds when `at` reaches 0.95, and is vacuous at 1."""
    low, high = max(at - 0.05, 0.0), min(at + 0.03, 1.0)
    return DesideratumScore(
        name=name,
        part="inside",
        sense="follows",
        n=256,
        null=0.0 if at < 1 else 1.0,
        ceiling=1.0,
        satisfaction=at,
        low=low,
        high=high,
        at_least=0.95,
        need=0.95,
        holds=at >= 0.95,
        vacuous=at == 1.0,
        ablation="inside the circuit takes: source",
        split="held-out",
    )


def make_card(n: int) -> Card:
    """A card of n desiderata and three findings."""
    levels = (0.97, 0.4, 1.0, 0.0, 0.95, 0.94)
    scores = [make_score(name, at) for name, at in zip(NAMES[:n], levels, strict=False)]
    checks = [
        Finding(
            name=name,
            verdict="holds",
            value=0.97,
            low=0.9,
            high=0.99,
            n=100,
            ablation="source",
            split="held-out",
            says="says",
            details=({}, {}),
        )
        for name in ("satisfaction", "random circuits", "leave one out")
    ]
    return Card(tuple(scores), tuple(checks))


def artists(figure: Figure) -> dict[str, Any]:
    """The artists that have a name, by name."""
    return {art.get_gid() or "": art for art in figure.findobj() if art.get_gid()}


def named(figure: Figure, kind: str) -> list[str]:
    """The names of the artists whose gid begins with this word, in the order drawn."""
    gids = [artist.get_gid() or "" for artist in figure.findobj()]
    return [gid.partition(":")[2] for gid in gids if gid.startswith(f"{kind}:")]


def texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    drawn: list[Any] = figure.findobj(Text)
    return [text for text in drawn if text.get_visible() and text.get_text()]


def check_labels_apart(figure: Figure) -> None:
    """No two labels touch, and none leaves the page."""
    drawn = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for text, box in drawn:
        inside = figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert inside and figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(drawn, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 0 or high <= 0, f"{one!r} and {other!r} overlap"


def check_marks_clear(figure: Figure) -> None:
    """No list of names, label or heading lies on a member; only its own score does."""
    marks = [art for name, art in artists(figure).items() if name.startswith("member:")]
    boxes = [mark.get_window_extent() for mark in marks]
    for text in texts(figure):
        if not (text.get_gid() or "").startswith("score:"):
            box = text.get_window_extent()
            for mark, other in zip(marks, boxes, strict=True):
                assert not box.overlaps(other), f"{text.get_text()!r} lies on {mark.get_gid()}"


@pytest.mark.parametrize("n_desiderata", [2, 6])
def test_every_member_and_every_desideratum_is_drawn_once(n_desiderata):
    circuit = make_circuit(4, 8, 9, ("last", "query"))
    figure = draw(circuit, make_card(n_desiderata))
    assert sorted(named(figure, "member")) == sorted(map(str, circuit.sites))
    assert named(figure, "panel") == list(dict.fromkeys(s.position for s in circuit.sites))
    for kind in ("bar", "interval", "null", "ceiling", "need"):
        assert named(figure, kind) == list(NAMES[:n_desiderata])
    check_labels_apart(figure)


@pytest.mark.parametrize(
    ("n_layers", "n_heads", "n_desiderata"),
    [
        *((4, 8, 0), (12, 12, 1), (30, 9, 2), (12, 12, 3), (30, 9, 4), (4, 8, 5), (40, 40, 6)),
        *((1, 1, 1), (80, 64, 0)),
    ],
)
def test_labels_keep_apart(n_layers, n_heads, n_desiderata):
    circuit = make_circuit(n_layers, n_heads, min(20, n_layers * n_heads))
    figure = draw(circuit, make_card(n_desiderata) if n_desiderata else None)
    check_labels_apart(figure)
    check_marks_clear(figure)


def test_labels_keep_apart_with_many_positions():
    figure = draw(make_circuit(30, 9, 30, ("names.0", "query", "last")), make_card(1))
    assert len(named(figure, "panel")) == 3
    check_labels_apart(figure)


def test_a_member_stands_at_its_layer_and_head():
    sites = (Site(head(3, 5), "last"), Site(mlp(2), "last"), Site(EMBED, "last"))
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=sites,
        scores=(0.1, 0.2, 0.3),
        provenance={"n_layers": 4, "n_heads": 8},
    )
    figure = draw(circuit)
    drawn = artists(figure)
    assert drawn["member:a3.h5@last"].get_xy() == (4.5, 2.5)
    assert drawn["member:m2@last"].get_x() >= 8 and drawn["member:m2@last"].get_y() == 1.5
    assert drawn["member:embed@last"].get_y() < -1
    check_labels_apart(figure)


@pytest.mark.parametrize("positions", [("last",), ("x", "query", "last")])
def test_mediators_of_a_plug_in_have_columns_of_their_own(monkeypatch, positions):
    plug_in(monkeypatch)
    circuit = mixed_circuit(positions[0])
    facts = {**circuit.provenance, "positions": list(positions)}
    figure = draw(replace(circuit, provenance=facts), make_card(2))
    drawn, at = artists(figure), f"@{positions[0]}"
    assert sorted(named(figure, "member")) == sorted(map(str, circuit.sites))
    columns = [drawn[f"member:{name}{at}"] for name in ("a0.h3", "m2", "m3.n17", "m1.n1423", "r4")]
    places = [column.get_x() for column in columns]
    assert all(right - left >= 1 for left, right in pairwise(places))
    assert [column.get_y() + 0.5 for column in columns] == [0, 2, 3, 1, 4]
    words = [text.get_text() for text in texts(figure)]
    labels = ("0", "3", "MLP", "17", "1423", "residual stream", "head", "neuron", "embed")
    for label in labels:
        assert words.count(label) >= len(positions), label
    makeup = "2 heads, 1 MLP, 1 embedding, 2 neurons, 1 residual stream"
    assert any(f"7 sites ({makeup})" in word for word in words)  # of how many, nobody knows
    check_labels_apart(figure)
    check_marks_clear(figure)


@pytest.mark.parametrize(("n_layers", "n_heads"), [(4, 2), (12, 12), (30, 9), (80, 64)])
@pytest.mark.parametrize("n", [3, 12, 80])
def test_labels_keep_apart_beside_many_neurons(monkeypatch, n_layers, n_heads, n):
    plug_in(monkeypatch)
    rng = random.Random(n)
    numbers = rng.sample(range(20_000), n)
    sites = [Site(neuron(rng.randrange(n_layers), number), "last") for number in numbers]
    sites.append(Site(stream(n_layers), "last"))
    circuit = make_circuit(n_layers, n_heads, 4)
    sites += circuit.sites
    circuit = replace(circuit, sites=tuple(sites), scores=(0.1,) * len(sites))
    figure = draw(circuit)
    assert sorted(named(figure, "member")) == sorted(map(str, sites))
    check_labels_apart(figure)
    check_marks_clear(figure)
    with pytest.raises(ValueError, match=rf"have no r{n_layers + 1}@last$"):
        beyond = Site(stream(n_layers + 1), "last")
        draw(replace(circuit, sites=(beyond, *sites[1:])))


def test_bars_and_marks_stand_at_the_scores():
    figure = draw(make_circuit(4, 8, 3), make_card(2))
    drawn = artists(figure)
    assert drawn["bar:keeps op"].get_width() == 0.4
    assert list(drawn["interval:keeps op"].get_xdata()) == pytest.approx([0.35, 0.43])
    marks = [drawn[f"{mark}:keeps op"] for mark in ("null", "ceiling", "need")]
    assert [mark.get_xdata()[0] for mark in marks] == [0.0, 1.0, 0.95]
    assert len({mark.get_marker() for mark in marks}) == 3


def test_verdicts_and_signs_are_told_without_colour():
    circuit = make_circuit(4, 8, 9)
    figure = draw(circuit, make_card(3))
    drawn = artists(figure)
    for site, score in zip(circuit.sites, circuit.scores, strict=True):
        assert bool(drawn[f"member:{site}"].get_hatch()) is (score < 0)
    hatches = [bool(drawn[f"bar:{name}"].get_hatch()) for name in NAMES[:3]]
    assert hatches == [False, True, False]
    words = [text.get_text() for text in texts(figure)]
    assert {"holds", "does not hold", "vacuous", "n = 256", "x at last"} <= set(words)
    assert any("random circuits: holds, beats 97/100" in text for text in words)
    assert {site.component.mediator for site in circuit.sites} == {HEADS}
    assert any("9 of 36 sites (9 heads)" in text for text in words)


@pytest.mark.parametrize("unit", ["nats", *HOSTILE])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_leads_and_losses_stand_below_their_bars(unit):
    card = make_card(3)
    lost = Loss(
        limit="l", mean=0.62, low=0.51, high=0.75, allowed=0.5, unit=unit, verdict="inconclusive"
    )
    first, second, third = card.desiderata
    led = {"lead": -0.25, "lead_low": -0.5, "lead_high": 0.125, "unit": unit}
    scores = replace(first, **led), replace(second, **led, loss=lost), third
    figure = draw(make_circuit(4, 8, 3), replace(card, desiderata=scores))
    check_labels_apart(figure)
    words = " ".join(text.get_text() for text in texts(figure))
    minus = "\N{MINUS SIGN}"
    assert words.count(f"mean lead {minus}0.25") == 2
    assert words.count("loses 0.62 (0.51 to 0.75) of the 0.50") == 1
    assert "inconclusive" in words and "share of held-out pairs (limits: share kept)" in words
    bars, told = artists(figure), named(figure, "told")
    assert {name.partition("-line-")[0] for name in told} == set(NAMES[:2])
    hatches = [bars[f"bar:{name}"].get_hatch() for name in NAMES[:3]]
    assert hatches[0] is hatches[2] is None and hatches[1] != LOSS_HATCH
    if unit == "nats":
        assert f"mean lead {minus}0.25 nats ({minus}0.50 to +0.12)" in words
        assert "of the 0.50 nats allowed" in words
    only = draw(make_circuit(4, 8, 3), replace(card, desiderata=scores[1:2]))
    assert "share kept, on held-out pairs" in [text.get_text() for text in texts(only)]


def test_a_fine_grid_lists_names_and_says_how_many_it_leaves_out():
    circuit = make_circuit(12, 12, 60)
    words = [text.get_text() for text in texts(draw(circuit))]
    listed = [word for word in words if re.fullmatch(r"a\d+\.h\d+|m\d+", word)]
    assert f"+ {60 - len(listed)} more" in words and len(listed) > 20


def test_no_members_and_searched_positions():
    empty = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=(),
        scores=(),
        provenance={"n_layers": 4, "n_heads": 8},
    )
    figure = draw(empty, make_card(2))
    assert named(figure, "member") == [] and len(named(figure, "bar")) == 2
    check_labels_apart(figure)
    searched = {"n_layers": 4, "n_heads": 8, "positions": ["query", "last"]}
    figure = draw(
        Circuit(
            model="m",
            task="t",
            claim="c",
            method="x",
            seed=0,
            sites=(),
            scores=(),
            provenance=searched,
        ),
        Card((), ()),
    )
    assert named(figure, "panel") == ["query", "last"]
    assert any("0 of 72 sites" in text.get_text() for text in texts(figure))


@pytest.mark.parametrize("scores", [(0.0, 0.0), (-1234.5, -0.1), (float("nan"), 0.3)])
def test_odd_scores(scores):
    sites = (Site(head(0, 0), "last"), Site(mlp(1), "last"))
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=sites,
        scores=scores,
        provenance={"n_layers": 2, "n_heads": 2},
    )
    figure = draw(circuit)
    assert len(named(figure, "member")) == 2
    check_labels_apart(figure)


def test_hostile_names_are_shown_as_they_are():
    facts = dict.fromkeys(("model", "task", "claim", "method"), " ".join(HOSTILE))
    circuit = make_circuit(2, 2, 12, HOSTILE[:3], **facts)
    figure = draw(circuit, Card(tuple(map(make_score, HOSTILE)), ()))
    words = [text.get_text() for text in texts(figure)]
    assert "$x_1$" in words and any("under_score" in word for word in words)
    assert not any(text.get_parse_math() for text in texts(figure))
    check_labels_apart(figure)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "PNG"])
def test_two_saves_give_equal_bytes_whatever_the_settings(tmp_path, suffix):
    claim = "é is here" if suffix == "pdf" else "字 is not in the font"  # slow to embed
    circuit = make_circuit(2, 2, 5, HOSTILE[:2], claim=claim, task=HOSTILE[4])
    card, settings = Card((make_score(HOSTILE[1]),), ()), dict(matplotlib.rcParams)
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    save_figure(draw(circuit, card), one)
    assert dict(matplotlib.rcParams) == settings
    with matplotlib.rc_context({"font.size": 20, "text.parse_math": True, "axes.grid": True}):
        save_figure(figure := draw(circuit, card), two)
    assert one.read_bytes() == two.read_bytes() and one.stat().st_size > 5000
    assert sorted(tmp_path.iterdir()) == [one, two]
    if suffix == "svg":
        tree = ElementTree.parse(one)
        assert not [node for node in tree.iter() if node.tag.endswith("script")]
        ids = {node.get("id") for node in tree.iter()}
        assert len(ids.intersection(f"member:{name}" for name in named(figure, "member"))) == 5


@pytest.mark.parametrize("provenance", [{}, {"n_layers": 4}, {"n_layers": "4", "n_heads": 8}])
def test_missing_sizes_are_refused(provenance):
    with pytest.raises(ValueError, match="n_layers and n_heads in the circuit's provenance"):
        draw(
            Circuit(
                model="m",
                task="t",
                claim="c",
                method="x",
                seed=0,
                sites=(),
                scores=(),
                provenance=provenance,
            )
        )


def test_members_beyond_the_model_are_refused():
    sites = (Site(head(1, 2), "last"), Site(mlp(7), "last"), Site(head(0, 0), "last"))
    circuit = Circuit(
        model="m",
        task="t",
        claim="c",
        method="x",
        seed=0,
        sites=sites,
        scores=(0.1,) * 3,
        provenance={"n_layers": 2, "n_heads": 2},
    )
    with pytest.raises(ValueError, match=r"2 layers of 2 heads have no a1.h2@last, m7@last$"):
        draw(circuit)


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of \.svg, \.pdf, \.png; got .*figure\.jpg"):
        save_figure(Figure(), tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())
