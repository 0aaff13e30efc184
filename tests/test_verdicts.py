"""That wrong circuits end with exit code 1, and right ones never: the table of docs/verdicts.md."""

import pytest

from scripts.verdict_table import PAGE, page, trials

ALL = trials()
# One of each reason, on the smallest models; padding and leaks are in test_wrong_circuits.py, too,
# and in the slow test of all.
SAMPLE = [
    next(one for one in ALL if one.why == why and one.model.startswith(model))
    for why, model in (
        ("member 0 is missing", "planted"),
        ("the whole model", "tracr-reverse"),
        ("the only one", "planted"),
        ("twin 1", "planted:layers=3,heads=6"),
        ("circuit 1 of 1", "tracr-reverse"),
    )
]


def hold(trial):
    card = trial.card()
    claim, minimality = card.rulings[:2]
    if trial.kind == "wrong":
        assert not card.success, card.headline
    else:
        assert card.success, card.headline
        assert claim.verdict == "holds" and minimality.verdict != "fails"
    return card


def test_there_are_enough_of_both():
    kinds = [one.kind for one in ALL]
    assert kinds.count("wrong") >= 47 and kinds.count("right") >= 40
    assert len({one.name for one in ALL}) == len(ALL)


@pytest.mark.parametrize("trial", SAMPLE, ids=lambda one: f"{one.kind}: {one.name}")
def test_a_sample_is_judged_rightly(trial):
    card = hold(trial)
    if trial.why.startswith("twin"):
        # The equal circuit is named: it is what random circuits are missed as much as.
        words = next(ruling.says for ruling in card.rulings if ruling.question == "uniqueness")
        assert words.startswith("not unique: ") and "such as a" in words


@pytest.mark.slow
@pytest.mark.parametrize("trial", ALL, ids=lambda one: f"{one.kind}: {one.name}")
def test_every_one_is_judged_rightly(trial):
    hold(trial)


def test_the_page_tells_of_every_trial():
    text = PAGE.read_text(encoding="utf-8")
    for trial in ALL:
        assert f"| {trial.why} | `{trial.model}`, {trial.claim} |" in text
    wrong, right = (sum(one.kind == kind for one in ALL) for kind in ("wrong", "right"))
    assert f"Wrong circuits: {wrong}, of which {wrong} end with exit code 1" in text
    assert f"Right circuits: {right}, of which 0 end with exit code 1" in text
    assert page([]).startswith("# What the validator says")
