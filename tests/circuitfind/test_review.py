"""A person's decisions: their file, the command line around it, and who is told to have decided."""

import json
import random
import shutil

import pytest

from circuitfind.circuits.circuit import Circuit, load_circuit
from circuitfind.circuits.decisions import DECISIONS, Decision, Decisions, Past, merge
from circuitfind.circuits.decisions_file import parse_decisions, read_decisions, save_decisions
from circuitfind.circuits.foreign import read_foreign
from circuitfind.mediators.known import parse_site
from circuitfind.report.text.graphs import KINDS
from circuitfind.report.text.notebook import circuit_html

from .test_cli import call  # noqa: F401

DIGEST = "0123456789abcdef" * 4
WHEN = "2026-03-01T10:00:00+00:00"
QUICK = ["--model", "planted", "--n", "24", "--steps", "30", "--n-random", "5"]
# What the page saves: no keys beyond the agreed ones, a time as browsers write it.
PAGE = {
    "format": "circuitfind-decisions/1",
    "circuit": DIGEST,
    "verdict": "reject",
    "decisions": [
        {"site": "a1.h0@last", "action": "name", "value": "mover", "reason": ""},
        {"site": "a1.h0@last", "action": "group", "value": "binders", "reason": "alike"},
        {"site": "m0@last", "action": "pin", "value": None, "reason": "seen elsewhere"},
    ],
    "by": "Ada",
    "when": "2026-03-01T10:00:00.000Z",
}


def hostile(n):
    """Texts that break what does not expect them."""
    draw = random.Random(0)
    parts = [
        "<script>alert(1)</script>",
        "</td></table><img src=x onerror=alert(1)>",
        "&amp;&#x3c;",
        '"',
        "'",
        "`",
        "\\",
        "\\input{/etc/passwd}",
        "$x^2$",
        "%",
        "{",
        "}",
        "{{ 7*7 }}",
        "[red]",
        "\u202egnp.exe",
        "\u2066x\u2069",
        "\u05e9\u05dc\u05d5\u05dd",
        "\U0001f9e0",
        "\U0001f468‍\U0001f469‍\U0001f467",
        "\x1b[31m",
        "\x00",
        "\r\n",
        "\t",
        "\ufffe",
        "null",
        "-->",
        "]]>",
        "; rm -rf /",
        "a" * 3000,
        "--by",
        "=",
        "@last",
        "../../x",
        "e\u0301" * 40,
    ]
    return ["".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(n)]


def decisions(*rows, **changes):
    told = {"circuit": DIGEST, "verdict": None, "by": "Ada", "when": WHEN, **changes}
    return Decisions(decisions=rows, **told)


def decided(site, action, value=None, reason="", by="Ada", when=WHEN):
    return Decision(site=site, action=action, value=value, reason=reason, by=by, when=when)


def test_what_the_page_saves_is_read():
    read = parse_decisions(PAGE, "the page")
    assert read.pins == ("m0@last",) and not read.vetoes
    assert read.names == {"a1.h0@last": "mover"} and read.groups == {"binders": ("a1.h0@last",)}
    assert read.verdict == "reject" and read.decisions[2].by == "Ada"
    assert read.as_json() == {**PAGE, "reason": ""}


def test_decisions_of_several_people_keep_their_authors(tmp_path):
    first = decisions(decided("m0@last", "pin", reason="why not"), decided("m1@last", "veto"))
    later = "2026-03-02T10:00:00+00:00"
    second = decisions(decided("m1@last", "pin", by="Bob", when=later), by="Bob", when=later)
    both = merge(first, second)
    assert both.pins == ("m0@last", "m1@last") and not both.vetoes  # the later word counts
    save_decisions(both, tmp_path / DECISIONS)
    assert read_decisions(tmp_path / DECISIONS) == both
    assert [row.by for row in both.decisions] == ["Ada", "Bob"]
    accepted = decisions(verdict="accept", reason="fine")
    assert merge(accepted, second).by == "Ada"  # whose verdict it is
    with pytest.raises(ValueError, match="different circuits"):
        merge(first, decisions(circuit="f" * 64))


def test_what_is_withdrawn_or_replaced_goes_to_the_history(tmp_path):
    later = "2026-03-02T10:00:00+00:00"
    pin, name = decided("m0@last", "pin", reason="why not"), decided("m0@last", "name", "mover")
    first = decisions(pin, name, verdict="accept", reason="fine")
    rows = (
        decided("m0@last", "withdraw", "pin", "no", "Bob", later),
        decided("m0@last", "name", "copier", "", "Bob", later),
        decided("verdict", "withdraw", None, "too early", "Bob", later),
    )
    second = decisions(*rows, by="Bob", when=later)
    both = merge(first, second)
    assert both.pins == () and both.names == {"m0@last": "copier"} and both.verdict is None
    assert both.decisions == (rows[1],) and (both.by, both.reason) == ("Bob", "")
    accepted = decided("verdict", "accept", None, "fine")
    assert both.history == (
        Past(pin, "withdrawn", "Bob", later, "no"),
        Past(name, "replaced", "Bob", later),
        Past(accepted, "withdrawn", "Bob", later, "too early"),
    )
    save_decisions(both, tmp_path / DECISIONS)
    assert read_decisions(tmp_path / DECISIONS) == both
    assert merge(both, second) == both  # a file that is read again
    again = merge(both, decisions(pin, verdict="reject"))
    assert again.pins == ("m0@last",) and again.history == both.history
    # All that is decided about a site, and another verdict.
    third = merge(again, decisions(decided("m0@last", "withdraw"), verdict="accept"))
    assert not third.decisions and third.verdict == "accept"
    assert [past.how for past in third.history[3:]] == ["withdrawn", "withdrawn", "replaced"]
    for row, words in (
        (decided("m0@last", "withdraw", "veto"), "no veto about m0@last to withdraw"),
        (decided("m1@last", "withdraw"), "no decision about m1@last to withdraw"),
        (decided("verdict", "withdraw"), "no verdict about the circuit to withdraw"),
    ):
        with pytest.raises(ValueError, match=words):
            merge(decisions(pin), decisions(row))
        with pytest.raises(ValueError, match="to withdraw"):
            merge(None, decisions(row))


def test_every_problem_of_a_history_is_told():
    row = {"site": "m0@last", "action": "pin", "value": None, "by": "Ada", "when": WHEN}
    ended = {"how": "withdrawn", "by": "Bob", "when": WHEN}
    fine = [{**row, "ended": ended}, {**row, "site": "verdict", "action": "reject", "ended": ended}]
    assert len(parse_decisions({**PAGE, "history": fine}, "it").history) == 2
    bad = [
        3,
        {**row, "ended": "so"},
        {**row, "ended": {**ended, "how": "lost"}},
        {**row, "ended": {**ended, "by": ""}},
        {**row, "ended": {**ended, "when": "then"}},
        {**row, "action": "accept", "ended": ended},
        {**row, "by": 1, "ended": ended},
        {**row, "site": "verdict", "ended": ended},
        {**row, "action": "withdraw", "ended": ended},
    ]
    for one in bad:
        with pytest.raises(ValueError, match=r"history\.0\b"):
            parse_decisions({**PAGE, "history": [one]}, "it")
    with pytest.raises(ValueError, match="history must be a list"):
        parse_decisions({**PAGE, "history": {}}, "it")
    for wrong in (
        {"site": "verdict", "action": "pin"},
        {"site": "verdict", "action": "accept"},
        {"site": "m0@last", "action": "withdraw", "value": "all"},
        {"site": "verdict", "action": "withdraw", "value": "pin"},
    ):
        with pytest.raises(ValueError, match=r"decisions\.0\b"):
            parse_decisions({**PAGE, "decisions": [wrong]}, "it")


def problems_of(told):
    with pytest.raises(ValueError) as raised:
        parse_decisions(told, "it")
    return str(raised.value)


def test_every_problem_of_a_file_is_told_at_once():
    bad = {
        "format": "other",
        "circuit": "<b>",
        "verdict": "maybe",
        "by": " ",
        "when": "yesterday",
        "decisions": [7, {"site": "m0@last", "action": "pin", "reason": 3, "by": None}],
    }
    told = problems_of(bad)
    for problem in (
        "format must be 'circuitfind-decisions/1'; got 'other'",
        "circuit must be text like",
        "verdict must be 'accept' or 'reject'; got 'maybe'",
        "by must be the name of who decides",
        "when must be a time such as",
        "decisions.0 must be an object; got 7",
        "decisions.1.reason must be text; got 3",
        "decisions.1.by must be text; got None",
    ):
        assert problem in told, problem


def test_every_problem_of_the_rows_is_told_at_once():
    rows = [
        {"site": "a1.h0", "action": "pin"},
        {"site": "m0@last", "action": "burn"},
        {"site": "m0@last", "action": "name", "value": ""},
        {"site": "m0@last", "action": "pin", "value": "x"},
        {"site": "m0@last\n", "action": "pin"},
        {"site": "m0@last", "action": "pin"},
        {"site": "m0@last", "action": "reject"},
    ]
    told = problems_of({**PAGE, "decisions": rows})
    for problem in (
        "decisions.0: a site is called",
        "decisions.1.action must be",
        "decisions.2: a name must have text",
        "decisions.3: a pin has no value; got 'x'",
        r"decisions.4: no position is called 'last\n'",
        "decisions.6: action must be one of pin, veto, name, group, withdraw; got 'reject'",
    ):
        assert problem in told, problem
    assert "decisions.5" not in told
    twice = [rows[5], {"site": "m0@last", "action": "veto"}]
    told = problems_of({**PAGE, "decisions": twice})
    assert "decisions.1: the membership of m0@last is decided already, by decisions.0" in told
    half = [{"site": "m1@last", "action": "name", "value": "\ud800"}]
    assert "text that is no Unicode" in problems_of({**PAGE, "decisions": half})


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"decisions": 1}', "\ufeffnull", '{"by": NaN}', "\x00"]
)
def test_what_is_no_decisions_file_is_refused(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as raised:
        read_decisions(path)
    assert len(str(raised.value)) < 2000


def test_hostile_texts_go_through_a_file_unchanged(tmp_path):
    for number, text in enumerate(hostile(200)):
        rows = [decided("m0@last", "pin", reason=text), decided("m0@last", "name", f"x{text}")]
        past = (Past(rows[1], "replaced", f"x{text}", WHEN, text),)
        made = decisions(*rows, by=f"x{text}", reason=text, verdict="accept", history=past)
        path = tmp_path / f"{number}.json"
        save_decisions(made, path)
        assert read_decisions(path) == made
        told = {**PAGE, "decisions": [{"site": text, "action": "pin"}]}
        with pytest.raises(ValueError, match="a site is called") as raised:
            parse_decisions(told, "it")
        assert str(raised.value).isprintable() and len(str(raised.value)) < 400


@pytest.fixture
def found(planted_run, tmp_path):
    """A copy of the folder of a run, as `run` in this test's folder."""
    return shutil.copytree(planted_run, tmp_path / "run")


def test_review_search_and_the_story_that_the_new_circuit_tells(call, found):  # noqa: F811
    parent = load_circuit(found / "circuit.json")
    assert "chosen" not in parent.provenance
    page = {**PAGE, "circuit": parent.digest}
    (found / "page.json").write_text(json.dumps(page))
    said = ["--veto", "a1.h3@last", "--group", "a1.h1@last=binders", "--by", "Bob <b>"]
    code, out, err = call(
        "review", found, *said, "--reason", "idle", "--decisions", found / "page.json"
    )
    assert code == 0 and "rejected by Ada" in out and "Bob <b>" in out, err
    kept = read_decisions(found / DECISIONS)
    assert kept.verdict == "reject" and kept.pins == ("m0@last",)
    _, mermaid, _ = call("diagram", found, "--kind", "mermaid")
    assert 'subgraph g0["binders"]' in mermaid

    code, out, _ = call("review", found, "--search", "--out", "new", "--json")
    assert code == 0
    told = json.loads(out)["circuit"]["provenance"]
    assert told["parent"] == parent.digest
    assert told["decisions"] == kept.as_json()
    assert told["chosen"] == {
        "m0@last": {"who": "person", "by": "Ada", "when": PAGE["when"], "reason": "seen elsewhere"},
        "a1.h0@last": {"who": "optimiser"},
        "a1.h1@last": {"who": "optimiser"},
    }
    config = json.loads((found.parent / "new/config.json").read_text())
    assert config["pins"] == ["m0@last"] and config["vetoes"] == ["a1.h3@last"]
    code, out, _ = call("review", found, "--search", "--out", "new", "--resume")
    assert code == 0 and "1 of 3 sites were chosen by a person: m0@last" in out
    assert "name: mover" in out and "idle" in out

    # Reviewed once more, the veto of a carrier: what was decided before stays, by whom it was.
    code, out, _ = call("review", "new", "--veto", "a1.h0@last", "--by", "Eve", "--search")
    assert code == 1
    assert "the veto of a1.h0@last stands in the way" in " ".join(out.split())
    last = load_circuit(found.parent / "new_reviewed/circuit.json")
    assert last.provenance["parent"] == load_circuit(found.parent / "new/circuit.json").digest
    assert last.provenance["chosen"]["m0@last"]["by"] == "Ada"
    assert "a1.h0@last" not in map(str, last.sites)
    assert circuit_html(last).count("Ada: seen elsewhere") == 1


def test_a_withdrawn_decision_is_searched_without_and_told(call, found):  # noqa: F811
    said = ["--pin", "m0@last", "--veto", "a1.h3@last", "--accept", "--by", "Ada"]
    assert call("review", found, *said)[0] == 0
    code, _, err = call("review", found, "--withdraw", "a1.h2@last", "--by", "Bob")
    assert code == 2 and "no decision about a1.h2@last to withdraw" in err
    code, _, err = call("review", found, "--withdraw", "m0@last=pins", "--by", "Bob")
    assert code == 2 and "--withdraw is of pin, veto, name, group" in err
    code, _, err = call("review", found, "--withdraw", "m0@last")
    assert code == 2 and "say by --by who decides" in err
    assert not read_decisions(found / DECISIONS).history
    back = ["--withdraw", "m0@last=pin", "--withdraw", "verdict", "--by", "Bob <b>"]
    code, out, err = call("review", found, *back, "--reason", "it is idle")
    words = " ".join(out.split())
    assert code == 0 and "withdrawn by Bob <b>" in words and "accepted" not in words, err
    assert call("show", found, "--no-open")[0] == 0
    page = (found / "report.html").read_text()
    assert "withdrawn by Bob &lt;b&gt;" in page and ": it is idle" in page
    assert 'data-withdraw="veto"' in page and 'data-withdraw="pin"' not in page
    code, out, _ = call("review", found, "--search", "--out", "new", "--json")
    told = json.loads(out)["circuit"]
    assert code == 0 and "m0@last" not in {row["site"] for row in told["sites"]}
    config = json.loads((found.parent / "new/config.json").read_text())
    assert not config.get("pins") and config["vetoes"] == ["a1.h3@last"]
    past = told["provenance"]["decisions"]["history"]
    assert [(row["action"], row["ended"]["by"]) for row in past] == [
        ("pin", "Bob <b>"),
        ("accept", "Bob <b>"),
    ]
    # What was said about the circuit before as a whole is not told of the new one.
    _, out, _ = call("review", "new", "--json")
    assert [row["action"] for row in json.loads(out)["decisions"]["history"]] == ["pin"]


@pytest.mark.slow
def test_overwriting_a_run_loses_no_decision(call, found):  # noqa: F811
    assert call("review", found, "--veto", "a1.h0@last", "--by", "Ada")[0] == 0
    words = (found / DECISIONS).read_bytes()
    again = ["discover", "planted", *QUICK, "--out", found, "--overwrite"]
    code, out, _ = call(*again)  # the same circuit
    assert code == 0 and (found / DECISIONS).read_bytes() == words
    assert "it was kept" in " ".join(out.split())
    assert call("show", found, "--no-open")[0] == 0
    assert "<b>veto</b> by Ada" in (found / "report.html").read_text()
    code, out, _ = call(*again, "--pin", "m0@last")
    aside = found / "decisions.before-1.json"
    assert code == 0 and aside.read_bytes() == words and not (found / DECISIONS).exists()
    assert f"are in {aside.name}" in " ".join(out.split())
    # Decisions about that circuit, too, and damaged ones: each has a file of its own.
    (found / DECISIONS).write_text("no decisions at all")
    assert call(*again, "--pin", "m1@last")[0] == 0
    assert aside.read_bytes() == words
    assert (found / "decisions.before-2.json").read_text() == "no decisions at all"
    # The first circuit comes back, and with it what was decided about it.
    assert call(*again)[0] == 0
    assert (found / DECISIONS).read_bytes() == words and not aside.exists()


def test_what_review_refuses(call, found):  # noqa: F811
    (found / "page.json").write_text(json.dumps(PAGE))
    code, _, err = call("review", found, "--decisions", found / "page.json")
    assert code == 2 and "about another circuit" in err
    code, _, err = call("review", found, "--veto", "a1.h9@last", "--name", "m0@last")
    words = " ".join(err.split())
    assert code == 2 and "say by --by" in words and "a9.h6@last=text" in words
    assert "near: a1.h3@last" in words
    code, _, err = call("review", found, "--search")
    assert code == 2 and "nothing is decided" in err
    code, out, _ = call("review", found)
    assert code == 0 and "nothing is decided" in out
    assert not (found / DECISIONS).exists()
    code, _, err = call("review", found, "--pin", "m0@last", "--veto", "m0@last", "--by", "x")
    assert code == 2 and "decided twice" in err


def test_discover_takes_pins_and_vetoes_itself(call, tmp_path):  # noqa: F811
    given = ["--pin", "m0@last", "--veto", "a1.h0@last", "--out", "run"]
    code, out, _ = call("discover", "planted", *QUICK, *given)
    assert code == 1 and "the veto of a1.h0@last stands in the way" in " ".join(out.split())
    told = load_circuit(tmp_path / "run/circuit.json").provenance
    assert told["chosen"]["m0@last"] == {"who": "person"} and "decisions" not in told
    code, out, _ = call("review", "run", "--json")
    rows = json.loads(out)["decisions"]["decisions"]
    assert [row["action"] for row in rows] == ["pin", "veto"]
    code, _, err = call("discover", "planted", *QUICK, "--pin", "m7@last", "--out", "other")
    assert code == 2 and "near: m1@last" in err


def test_mib_graphs_are_read_back_with_the_same_sites(call, found):  # noqa: F811
    code, text, _ = call("diagram", found, "--kind", "mib")
    assert code == 0
    sites, scores, words = read_foreign(text, n_layers=2, n_heads=4)
    circuit = load_circuit(found / "circuit.json")
    assert dict(zip(sites, scores, strict=True)) == dict(
        zip(circuit.sites, circuit.scores, strict=True)
    )
    assert "marked in_graph" in words and "mib" not in KINDS
    two = Circuit(
        model="m",
        task="",
        claim="",
        method="x",
        seed=0,
        sites=(parse_site("m0@last"), parse_site("m0@x")),
        scores=(0.0, 0.0),
        provenance={"n_layers": 2, "n_heads": 4},
    )
    two.save(found / "circuit.json")
    report = json.loads((found / "report.json").read_text())
    report["binds"]["circuit"] = two.digest
    (found / "report.json").write_text(json.dumps(report))
    code, _, err = call("diagram", found, "--kind", "mib")
    assert code == 2 and "no positions" in err
