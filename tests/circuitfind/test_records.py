"""Files read as records: the form of messages, schemas, and what strangers' files come to."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitfind.circuits.circuit import CIRCUIT_FILE, load_circuit
from circuitfind.circuits.decisions_file import DECISIONS_FILE, read_decisions
from circuitfind.circuits.examples import EXAMPLES_FILE, load_examples
from circuitfind.models.native import read_native
from circuitfind.models.native_schema import CONFIG_FILE
from circuitfind.objective.mask import mask_from_json
from circuitfind.records import CLOSED, SHOWN, Format, SiteName, load_json, read_record
from circuitfind.runs.folder import load_settings, read_run
from circuitfind.runs.history import latest_run
from circuitfind.runs.pictures import write_comparison_page, write_page
from circuitfind.runs.reports import REPORT_FILE
from circuitfind.runs.settings import SETTINGS_FILE, Settings
from circuitfind.validate.card import card_from_json
from circuitfind.validate.comparison import COMPARISON_FILE
from scripts.make_schemas import FOLDER, schemas

from ..pages import a_comparison, a_page
from .test_review import PAGE

FIGURES = Path(__file__).parents[2] / "figures"
NATIVE = Path(__file__).parents[2] / "circuitfind/models/tracr-half"


@dataclass(frozen=True)
class Row:
    """A row for these tests."""

    __pydantic_config__ = CLOSED

    site: SiteName
    score: float = 0.0


@dataclass(frozen=True)
class File:
    """A file for these tests."""

    name: str
    n: int
    rows: tuple[Row, ...] = ()
    kind: Literal["a", "b"] | None = None
    is_known: bool = False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 7}, "name must be text; got 7"),
        ({"n": True}, "n must be a whole number; got True"),
        ({"n": 2.0}, "n must be a whole number; got 2.0"),
        ({"n": "2"}, "n must be a whole number; got '2'"),
        ({"is_known": 1}, "is_known must be true or false; got 1"),
        ({"kind": "c"}, "kind must be 'a' or 'b'; got 'c'"),
        ({"rows": {}}, "rows must be a list; got an object of 0"),
        ({"rows": [3]}, "rows.0 must be an object; got 3"),
        ({"rows": [{"site": "m0@last", "score": "x"}]}, "rows.0.score must be a number; got 'x'"),
        ({"rows": [{"site": "m0@last", "score": 10**400}]}, "score must be a finite number"),
        ({"rows": [{"site": "m0", "score": 1}]}, "rows.0.site: a site is called like"),
        ({"rows": [{"site": 3}]}, "rows.0.site must be the name of a site; got 3"),
        ({"rows": [{"colour": 3}]}, "rows.0: missing: site; rows.0: unknown: colour"),
        ({"name": "x" * 1000}, None),
        ({"more": "is passed over"}, None),
        ({"rows": [{"site": "m0@last", "score": 1}]}, None),
    ],
)
def test_every_value_has_one_type(change, words):
    content = {"name": "x", "n": 2, **change}
    if words is None:
        assert read_record(File, content, where="it").n == 2
        return
    with pytest.raises(ValueError) as raised:
        read_record(File, content, where="it")
    assert str(raised.value).startswith("it: ") and words in str(raised.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_none(number):
    with pytest.raises(ValueError, match=r"score must be a finite number; got -?(nan|inf)"):
        read_record(Row, {"site": "m0@last", "score": number}, where="it")


def test_messages_stay_short():
    rows: list[Any] = [{"site": "\u202e" * 9000}] * 500
    with pytest.raises(ValueError) as raised:
        read_record(File, {"name": [0] * 9000, "rows": rows, "n": "y" * 9000}, where="it")
    told = str(raised.value)
    assert told.count("; got ") == SHOWN and told.endswith(f"and {502 - SHOWN} more")
    assert len(told) < 2000 and told.isprintable()


def test_values_that_no_json_holds_are_refused():
    for value in ({1, 2}, object(), 10**5000, [[]]):
        if isinstance(value, list):
            value.append(value)
        with pytest.raises(ValueError, match="not the values of a JSON file"):
            read_record(File, {"name": value}, where="it")


def test_the_version_says_how_a_file_is_read():
    old, new = dataclass(type("Old", (), {"__annotations__": {"a": int}})), Row
    made: Format = Format("a thing", {"thing/1": old, "thing/2": new}, unnamed="thing/1")
    assert made.read({"a": 1}).a == made.read({"format": "thing/1", "a": 1}).a == 1
    assert isinstance(made.read({"format": "thing/2", "site": "m0@last"}), Row)
    for name in ("thing/3", 3, None, [], {}):
        with pytest.raises(ValueError, match=r"not a thing: format must be 'thing/1' or 'thing/2'"):
            made.read({"format": name, "site": "m0@last"})
    for content in (None, [], "x", 3):
        with pytest.raises(ValueError, match="expected an object"):
            made.read(content)


def test_the_schemas_in_the_tree_are_those_of_the_code():
    made = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert made == schemas(), "python -m scripts.make_schemas writes them"


def test_files_fit_their_schemas():
    jsonschema = pytest.importorskip("jsonschema")
    run, (circuit, report, _) = FIGURES / "runs/ioi", a_page()
    files = {
        "circuit": [load_json(run / "circuit.json"), json.loads(json.dumps(circuit.as_json()))],
        "report": [load_json(run / "report.json"), report],
        "settings": [load_json(run / "config.json"), Settings(task="t").as_json()],
        "examples": [load_json(run / "examples.json")],
        "decisions": [PAGE],
        "comparison": [load_json(FIGURES / "dcm/compare.json"), a_comparison("one", "two")],
        "native-config": [load_json(NATIVE / "config.json")],
    }
    for name, contents in files.items():
        check = jsonschema.Draft202012Validator(json.loads(schemas()[f"{name}.json"])).validate
        for content in contents:
            check(json.loads(json.dumps(content)))
        for wrong in ({}, [], {**contents[0], "format": "other/1"}):
            with pytest.raises(jsonschema.ValidationError):
                check(wrong)


@pytest.mark.parametrize("path", sorted(FIGURES.rglob("report.json")), ids=lambda p: p.parent.name)
def test_run_folders_of_before_are_read(path):
    made, circuit, report = latest_run(path.parent)
    assert Settings.from_json(made.as_json()) == made
    assert card_from_json(report).desiderata
    assert json.loads(json.dumps(circuit.as_json())) == load_json(path.parent / "circuit.json")
    if "mask" in report:
        assert mask_from_json(report["mask"]).as_json() == report["mask"]
    if (path.parent / "examples.json").is_file():
        load_examples(path.parent / "examples.json")


REPORT_EDITS = {
    "checks is an object": lambda r: r.update(checks={}),
    "a check is a list": lambda r: r["checks"].__setitem__(0, []),
    "frontier rows are lists": lambda r: r.update(frontier=[[1]]),
    "notes is a number": lambda r: r.update(notes=0.5),
    "cost lacks its numbers": lambda r: r.update(cost={}),
    "binds.circuit is a number": lambda r: r["binds"].update(circuit=1.5),
    "a desideratum is text": lambda r: r["desiderata"].__setitem__(0, "x"),
    "created is missing": lambda r: r.pop("created"),
    "size is missing": lambda r: r.pop("size"),
    "a number past all figures": lambda r: r["frontier"][0].update(slack=1e308),
    "a row of a check is another's": lambda r: r["checks"][0].update(details=[{"site": "m0@last"}]),
}


@pytest.mark.parametrize("edit", REPORT_EDITS.values(), ids=REPORT_EDITS)
def test_reports_of_other_types_make_no_page(edit, tmp_path):
    circuit, report, _ = a_page()
    circuit.save(tmp_path / "circuit.json")
    (tmp_path / "config.json").write_text('{"task": "t"}')
    edit(report)
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(ValueError, match=r"report\.json: not the report of a run: "):
        write_page(tmp_path)


# What a stranger's file may hold. The two texts become what json.dumps does not write.
DEEP, HUGE = "<deep>", "<huge>"
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
JUNK = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 2**63, 10**400, 1e308, DEEP, HUGE, "\ud800", ""]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["m0@last", "a0.h0@last", "embed@all", "pin", "circuitfind/1", "a" * 500]),
    st.lists(st.integers(-2, 2), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.booleans(), max_size=3),
)


def places_in(content, place=()):
    """Every place in plain values, from outside in."""
    rows = content.items() if isinstance(content, dict) else ()
    rows = enumerate(content) if isinstance(content, list) else rows
    yield place
    for key, value in rows:
        yield from places_in(value, (*place, key))


@st.composite
def mutated(draw, valid):
    """The text of a valid file with one to three values replaced, removed, or there twice."""
    content = {"": copy.deepcopy(valid)}
    for _ in range(draw(st.integers(1, 3))):
        *outer, key = draw(st.sampled_from([place for place in places_in(content) if place]))
        inside = content
        for part in outer:
            inside = inside[part]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add", "rename"]))
        if how == "replace" or not outer:
            inside[key] = draw(JUNK)
        elif how == "remove":
            del inside[key]
        elif isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        else:
            inside[draw(st.text(max_size=4))] = inside.pop(key) if how == "rename" else draw(JUNK)
    text = json.dumps(content[""])
    text = text.replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000)
    return text.replace(f'"{HUGE}"', "1" + "0" * 5000)


def a_run(folder):
    """A run folder with all that has a reader."""
    circuit, report, examples = a_page("one", "two")
    report["binds"] |= {"model": "m"}
    report["mask"] = {str(site): 0.5 for site in circuit.sites}
    circuit.save(folder / "circuit.json")
    examples.save(folder / "examples.json")
    for name, content in {
        "config.json": Settings(task="t").as_json(),
        "report.json": report,
        "validated.json": {key: value for key, value in report.items() if key != "created"},
        "decisions.json": {**PAGE, "circuit": circuit.digest},
        "compare.json": a_comparison("one", "two"),
    }.items():
        (folder / name).write_text(json.dumps(content))


def circuit_and_back(folder):
    made = load_circuit(folder / "circuit.json")
    made.save(folder / "circuit.json")
    assert load_circuit(folder / "circuit.json") == made


def decisions_and_back(folder):
    made = read_decisions(folder / "decisions.json")
    assert DECISIONS_FILE.read(made.as_json()) == made


def examples_and_back(folder):
    made = load_examples(folder / "examples.json")
    made.save(folder / "examples.json")
    assert load_examples(folder / "examples.json") == made


def settings_and_back(folder):
    made = load_settings(folder)
    made.command()
    assert Settings.from_json(made.as_json()) == made


def report_and_mask(folder):
    report = read_run(folder)[2]
    card_from_json(report)
    mask_from_json(report.get("mask", {}))


READERS = {
    "circuit.json": circuit_and_back,
    "decisions.json": decisions_and_back,
    "examples.json": examples_and_back,
    "config.json": settings_and_back,
    "report.json": report_and_mask,
    "validated.json": latest_run,
    "compare.json": lambda folder: COMPARISON_FILE.load(folder / "compare.json"),
}


def comes_to_something(read, folder):
    """Whether it is read; anything that is raised is for a user's eyes."""
    try:
        read(folder)
    except (ValueError, LookupError, FileNotFoundError) as error:
        assert 0 < len(str(error)) < 4000
        return False
    return True


def fuzz(name, folder, n):
    a_run(folder)
    path = folder / name
    assert comes_to_something(READERS[name], folder)
    valid = json.loads(path.read_text())

    @settings(max_examples=n, deadline=None, suppress_health_check=SLOW)
    @given(mutated(valid))
    def hold(text):
        path.write_text(text)
        comes_to_something(READERS[name], folder)

    hold()


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused_in_words(name, tmp_path):
    fuzz(name, tmp_path, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_mutated_files_are_read_or_refused_in_words(name, tmp_path):
    fuzz(name, tmp_path, 2000)


def fuzz_native(name, folder, n):
    for file in NATIVE.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    valid = json.loads((folder / name).read_text())
    if name == "inputs.json":
        valid["inputs"] = valid["inputs"][:3]

    @settings(max_examples=n, deadline=None, suppress_health_check=SLOW)
    @given(mutated(valid))
    def hold(text):
        (folder / name).write_text(text)
        # Weights of no shape at all: nothing is built, whatever sizes a config has.
        comes_to_something(lambda folder: read_native(folder, lambda config: {}), folder)

    hold()


@pytest.mark.parametrize("name", ["config.json", "inputs.json", "truth.json"])
def test_mutated_native_folders_are_refused_in_words(name, tmp_path):
    fuzz_native(name, tmp_path, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "inputs.json", "truth.json"])
def test_many_mutated_native_folders_are_refused_in_words(name, tmp_path):
    fuzz_native(name, tmp_path, 2000)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8")))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "it.json"
    path.write_bytes(content)
    formats = CIRCUIT_FILE, DECISIONS_FILE, EXAMPLES_FILE, SETTINGS_FILE, REPORT_FILE
    for one in (*formats, COMPARISON_FILE, CONFIG_FILE):
        with pytest.raises(ValueError):
            one.load(path)


def test_a_page_of_a_comparison_is_made_or_refused(tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps({**a_comparison("one"), "circuits": [[]]}))
    with pytest.raises(ValueError, match="circuits must be an object"):
        write_comparison_page(tmp_path)
