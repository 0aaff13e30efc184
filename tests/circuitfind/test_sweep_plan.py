"""The file of a sweep: points, the names of their folders, and everything that is wrong in it."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitfind.runs.settings import Settings
from circuitfind.sweeps.naming import LONGEST, folder_name
from circuitfind.sweeps.plan import MOST, plan_of, read_plan

from ..sweeping import SMALL, toml

HERE = Path("a sweep.toml")


def plan(**values):
    return plan_of(toml(**values).encode(), HERE)


def faults(text):
    with pytest.raises(ValueError) as raised:
        plan_of(text.encode(), HERE)
    return str(raised.value).splitlines()


def test_points_are_the_product_in_the_order_of_the_file():
    made = plan(seed=[1, 0], **SMALL, method=["greedy", "random"], sites=[["heads"], ["mlps"]])
    assert made.axes == ("seed", "method", "sites")
    told = [(p.settings.seed, p.settings.method, p.settings.sites) for p in made.points]
    assert told == [
        (seed, method, (sites,))
        for seed in (1, 0)
        for method in ("greedy", "random")
        for sites in ("heads", "mlps")
    ]
    assert {p.settings.n for p in made.points} == {24}
    assert made.points[0].values == {"seed": 1, "method": "greedy", "sites": ["heads"]}


def test_a_list_setting_is_fixed_where_it_is_no_list_of_lists():
    (point,) = plan(**SMALL, sites=["heads", "!a0.h1@last"], pins=[]).points
    assert point.settings.sites == ("heads", "!a0.h1@last")
    assert point.settings.pins == () and point.name == "point"
    assert [p.settings.sites for p in plan(**SMALL, sites=[[], ["heads"]]).points] == [
        (),
        ("heads",),
    ]


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r'"), max_size=150)
VALUES = st.one_of(
    st.lists(st.integers(0, 1000), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(0, 10), min_size=1, max_size=4, unique=True),
    st.lists(WORDS, min_size=1, max_size=5, unique=True),
    st.lists(st.lists(WORDS, max_size=3), min_size=1, max_size=4, unique_by=lambda one: tuple(one)),
    st.just([True, False]),
)
KEYS = st.sampled_from(["seed", "margin", "model", "sites", "force", "n_random"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
def test_any_product_has_folders_of_different_names_that_any_file_system_takes(axes):
    from itertools import product

    points = [dict(zip(axes, one, strict=True)) for one in product(*axes.values())]
    names = [folder_name(one) for one in points]
    assert len({name.lower() for name in names}) == len(points)
    assert all(re.fullmatch(r"[\w.+=-]+", name, re.ASCII) for name in names)
    assert all(len(name) <= LONGEST + 13 and name[-1] != "." for name in names)


def test_names_are_readable_and_depend_on_their_point_alone():
    assert folder_name({"method": "dcm-2023", "margin": 0.5, "force": True}) == (
        "method=dcm-2023_margin=0.5_force=true"
    )
    long = plan(**SMALL, seed=[0, 1, 2]).points
    assert [p.name for p in plan(**SMALL, seed=[0, 1]).points] == [p.name for p in long[:2]]
    assert folder_name({"model": "a/b"}).startswith("model=a-b-")
    assert len({folder_name({"model": name}) for name in ("a/b", "a-b", "a b", "A-b")}) == 4


def test_all_faults_are_told_at_once_each_with_its_line():
    told = faults(
        "task = 'plantd'\n"
        "model = 'bindr'\n\n"
        "methd = 'x'\n"
        "method = ['attribtion', 'random']\n"
        "seed = ['a', 1, -1, 2, 2]\n"
        "n = []\n"
        "at = 'last'\n"
        "margin = [2, 2.0]\n"
        "trust_remote_code = true\n"
        "donor = 'sauce'\n"
        "engine = 'hook'\n"
        "task_digest = 'abc'\n"
        "held_out = 'nowhere.csv'\n"
        "[size]\nx = 1\n"
    )
    expected = {
        1: "no task 'plantd'; did you mean planted?",
        2: "no model 'bindr'; did you mean binder?",
        4: "no setting 'methd'; did you mean method?",
        5: "no method 'attribtion'; did you mean attribution?",
        7: "n is empty",
        8: "at must be a list; got 'last'",
        9: "margin has 2.0 twice",
        10: "--trust-remote-code",
        11: "no donor 'sauce'; did you mean source?",
        12: "no engine 'hook'; did you mean hooks?",
        13: "no setting 'task_digest'",
        14: "no file nowhere.csv",
        15: "size must be a whole number; got an object of 1",
    }
    for line, words in expected.items():
        assert any(one.startswith(f"{HERE}, line {line}: ") and words in one for one in told), words
    for words in ("seed must be a whole number; got 'a'", "at least 0; got -1", "seed has 2 twice"):
        assert any(one.startswith(f"{HERE}, line 6: ") and words in one for one in told), words
    assert len(told) == len(expected) + 3


def test_what_is_no_plan_at_all():
    assert "task is missing" in faults("seed = [1]\n")[0]
    assert "is not TOML in UTF-8" in faults("seed = [1")[0]
    assert "is not TOML in UTF-8" in faults("seed = 1\nseed = 2\n")[0]
    with pytest.raises(ValueError, match="is not TOML in UTF-8"):
        plan_of(b"\xff\xfe", HERE)
    many = faults(f"task = 'planted'\nseed = {[*range(101)]}\nn = {[*range(4, 105)]}\n")
    assert f"10,201 points; a sweep has at most {MOST:,}" in many[0]
    with pytest.raises(LookupError, match=r"no file .*nothing\.toml"):
        read_plan("nothing.toml")
    assert "planted:" in faults("task = 'planted'\nmodel = 'planted:partz=1'\n")[0]


def test_settings_that_do_not_go_together_are_a_fault():
    told = faults(toml(**SMALL, pins=[["m0@last"]], claim=["dcm", "values"]))
    assert "claim goes with a task that is a Python file; task is 'planted'" in told[0]


def test_paths_count_from_the_folder_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.py").write_text("from tasks.planted import claim, inside\n")
    (tmp_path / "pairs.csv").write_text("base,source\n")
    file = tmp_path / "sub" / "file.toml"
    file.write_text(toml(task="../mine.py", claim=["claim", "inside"], model="planted"))
    monkeypatch.chdir("/")
    first, second = read_plan(file).points
    assert first.settings == Settings(task=f"{tmp_path / 'mine.py'}:claim", model="planted")
    assert second.settings.task == f"{tmp_path / 'mine.py'}:inside"
    assert [first.name, second.name] == ["claim=claim", "claim=inside"]
    file.write_text(toml(task=["../pairs.csv", "../mine.py:inside"]))
    tasks = [point.settings.task for point in read_plan(file).points]
    assert tasks == [str(tmp_path / "pairs.csv"), f"{tmp_path / 'mine.py'}:inside"]
    file.write_text(toml(task="../mine.py", claim=["clam"]) + toml(model="../other"))
    with pytest.raises(ValueError) as raised:
        read_plan(file)
    for words in ("line 2: ", "mine.py has no 'clam'; the claims in it are: claim", "line 3: "):
        assert words in str(raised.value)
    file.write_text(toml(task="../other.py", model="./nowhere"))
    with pytest.raises(ValueError, match=r"line 1: task: no file .*other\.py\n.*no model folder"):
        read_plan(file)


def test_consent_to_code_of_a_model_is_given_on_the_command_line():
    content = toml(**SMALL).encode()
    assert not plan_of(content, HERE).points[0].settings.trust_remote_code
    assert plan_of(content, HERE, True).points[0].settings.trust_remote_code
