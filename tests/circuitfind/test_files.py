"""Circuit files, masks, sites and run folders: round trips, damage, and refusals."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitfind.circuits.circuit import Circuit, load_circuit
from circuitfind.circuits.storage import write_atomically, write_text
from circuitfind.mediators.head import head
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED, mlp
from circuitfind.objective.mask import Mask, gates_of, membership_of
from circuitfind.runs.folder import BEFORE, CHECKPOINT, CONFIG, RunFolder, read_run
from circuitfind.runs.settings import Settings

positions = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
components = st.one_of(
    st.builds(head, st.integers(0, 99), st.integers(0, 99)),
    st.builds(mlp, st.integers(0, 99)),
    st.just(EMBED),
)
sites = st.builds(Site, components, positions)


@given(sites)
def test_a_sites_name_is_read_back(site):
    assert parse_site(str(site)) == site


@pytest.mark.parametrize("name", ["a1.h2", "a1@last", "m@last", "x3@last", "@last", "", "a1.h2@"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="a site is called like"):
        parse_site(name)


@settings(max_examples=50, deadline=None)
@given(st.lists(sites, unique=True, max_size=6), st.data())
def test_a_circuit_is_read_back(tmp_path_factory, members, data):
    scores = data.draw(
        st.lists(st.floats(-1, 1, allow_nan=False), min_size=len(members), max_size=len(members))
    )
    words = data.draw(st.lists(st.text(max_size=20), min_size=4, max_size=4))
    circuit = Circuit(
        model=words[0],
        task=words[1],
        claim=words[2],
        method=words[3],
        seed=7,
        sites=tuple(members),
        scores=tuple(scores),
        provenance={"versions": {"torch": "2"}},
    )
    path = tmp_path_factory.mktemp("circuit") / "circuit.json"
    circuit.save(path)
    assert load_circuit(path) == circuit


def test_every_problem_of_a_circuit_file_is_listed(tmp_path):
    path = tmp_path / "circuit.json"
    rows = [{"site": "a1.h2@last", "score": "high"}, {"site": "b7@last", "score": 1}, 5]
    path.write_text(json.dumps({"format": "other/1", "model": 3, "seed": "x", "sites": rows}))
    with pytest.raises(ValueError) as error:
        load_circuit(path)
    for words in (
        "format must be 'circuitfind/1'",
        "missing: task, claim, method",
        "model must be text; got 3",
        "seed must be a whole number; got 'x'",
        "sites.0.score must be a number; got 'high'",
        "sites.1.site: a site is called like",
        "sites.2 must be an object; got 5",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"sites": {}}', "\x00"])
def test_anything_else_is_no_circuit(tmp_path, text):
    path = tmp_path / "circuit.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="circuit"):
        load_circuit(path)


def test_a_circuit_checks_itself():
    with pytest.raises(ValueError, match="1 sites need as many scores; got 0"):
        Circuit(
            model="m",
            task="t",
            claim="c",
            method="x",
            seed=0,
            sites=(Site(mlp(1), "last"),),
            scores=(),
        )
    with pytest.raises(ValueError, match="listed twice"):
        Circuit(
            model="m",
            task="t",
            claim="c",
            method="x",
            seed=0,
            sites=(Site(mlp(1), "last"),) * 2,
            scores=(0.0, 0.0),
        )


def test_gates_open_the_members_inside_and_the_others_outside():
    names = all_sites(2, 2, ["last"])
    mask = Mask(names, membership_of(names, [Site(head(1, 0), "last"), Site(mlp(0), "last")]))
    inside, outside = mask.gates("inside"), mask.gates("outside")
    assert [str(s) for s, gate in zip(names, inside, strict=True) if gate] == [
        "m0@last",
        "a1.h0@last",
    ]
    torch.testing.assert_close(inside + outside, torch.ones(6))
    # The complement of the complement is the mask itself.
    torch.testing.assert_close(gates_of(outside, "outside"), inside)
    assert mask.members() == (names[2], names[3])


def test_masks_refuse_what_is_no_membership():
    names = all_sites(1, 1, ["last"])
    with pytest.raises(ValueError, match=r"expected 2 memberships, one a site; got \(3,\)"):
        Mask(names, torch.zeros(3))
    for values in ([0.0, 1.5], [0.0, float("nan")]):
        with pytest.raises(ValueError, match=r"memberships lie in \[0, 1\]"):
            Mask(names, torch.tensor(values))
    with pytest.raises(LookupError, match=r"a9\.h9@last"):
        membership_of(names, [Site(head(9, 9), "last")])


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


SETTINGS = Settings(task="t")


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run", Settings(task="t", seed=0))
    made.begin(resume=False)
    return made


def test_a_checkpoint_is_read_back_and_the_one_before_it_after_damage(folder):
    for step in (1, 2, 3):
        folder.save_checkpoint({"step": step, "gates": torch.full((2,), float(step))})
    state, notes = folder.load_checkpoint()
    assert (state["step"], notes) == (3, [])
    path = folder.path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    state, notes = folder.load_checkpoint()
    assert state["step"] == 2
    assert "checkpoint.pt is damaged" in notes[0]
    (folder.path / BEFORE).write_bytes(b"")
    state, notes = folder.load_checkpoint()
    assert state is None
    assert "starts from the beginning" in notes[-1]


def test_a_pickle_in_place_of_a_checkpoint_is_not_run(folder, tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (folder.path / CHECKPOINT).write_bytes(pickle.dumps(Trap()))
    assert folder.load_checkpoint()[0] is None
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_other_settings_is_left_aside(folder):
    folder.save_checkpoint({"step": 1})
    other = RunFolder(folder.path, Settings(task="t", seed=1))
    state, notes = other.load_checkpoint()
    assert state is None
    assert "belongs to other settings" in notes[0]


def test_folders_that_hold_something_else_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="--resume"):
        folder.check(resume=False, overwrite=False)
    folder.check(resume=True, overwrite=False)
    folder.check(resume=False, overwrite=True)
    other = RunFolder(folder.path, Settings(task="t", seed=1))
    with pytest.raises(ValueError, match="seed was 0 and is 1"):
        other.check(resume=True, overwrite=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run"):
        RunFolder(tmp_path / "docs", SETTINGS).check(resume=True, overwrite=False)
    with pytest.raises(ValueError, match="is a file"):
        RunFolder(tmp_path / "docs" / "thesis.tex", SETTINGS).check(resume=False, overwrite=False)


def test_an_unfinished_run_is_no_run(folder):
    with pytest.raises(LookupError, match=r"circuit.json, report.json missing"):
        read_run(folder.path)


def test_a_folder_from_before_a_setting_came_is_resumed(tmp_path):
    """Run folders of version 0.1 know nothing of `format`, `size`, `rival` and others."""
    chosen = Settings(task="variable_binding", at=("last",), seed=3)
    later = ("format", "size", "rival", "donor", "batch", "pins", "vetoes")
    before = {name: value for name, value in chosen.as_json().items() if name not in later}
    assert Settings.from_json(before) == chosen
    now = RunFolder(tmp_path / "run", chosen)
    now.begin(resume=False)
    text = json.dumps(before, indent=2) + "\n"
    (now.path / CONFIG).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()  # as version 0.1 wrote it
    torch.save({"fingerprint": digest, "state": {"step": 7}}, now.path / CHECKPOINT)
    now.check(resume=True, overwrite=False)
    now.begin(resume=True)
    state, notes = now.load_checkpoint()  # by another version of the code
    assert state is None and "checkpoint.pt is of another version of the code" in notes[0]
    assert (now.path / CONFIG).read_text() == text
    now.save_checkpoint({"step": 8})
    assert now.load_checkpoint() == ({"step": 8}, [])
    other = RunFolder(now.path, replace(chosen, size=4))
    with pytest.raises(ValueError, match="size was None and is 4"):
        other.check(resume=True, overwrite=False)
    assert other.load_checkpoint()[0] is None


def test_settings_are_read_back():
    made = Settings(task="t", size=4, pins=("m0@last",), donor="mean", margin=1.0)
    written = json.loads(json.dumps(made.as_json()))
    assert Settings.from_json(written) == Settings.from_json({**written, "margin": 1}) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": "64"},
        {"n": 64.0},
        {"n": True},
        {"n": 1},
        {"n_random": []},
        {"steps": "x"},
        {"learning_rate": []},
        {"margin": "2"},
        {"margin": float("nan")},
        {"margin": float("inf")},
        {"size": {}},
        {"at": 0.5},
        {"pins": [[]]},
        {"task": 7},
        {"task": None},
        {"donor": 3},
        {"format": "circuitfind-config/9"},
        {"wings": 2},
    ],
)
def test_settings_of_other_types_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"^config\.json: not settings: .*{next(iter(wrong))}"):
        Settings.from_json({"task": "t", **wrong})


@pytest.mark.parametrize("content", [None, [], 3, "x", {}])
def test_what_is_no_object_of_settings_is_refused(content):
    with pytest.raises(ValueError, match="not settings"):
        Settings.from_json(content)
