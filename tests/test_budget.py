"""Counts of work stay within their budget. Seconds depend on who else works on the machine."""

import copy

import pytest

from scripts.count_budget import count_passes, count_search, load_budget, over

HOW = (
    "Save the work again; or, where it is worth its cost, raise the budget by "
    "`python -m scripts.count_budget --write` and say why in the commit."
)


def test_a_step_and_trials_stay_within_their_budget():
    found = count_passes()
    assert found["step"]["tokens_backward"] == found["step"]["tokens_forward"] == 48
    assert not (lines := over(found, load_budget())), "\n".join([*lines, HOW])


@pytest.mark.slow
def test_a_search_and_its_validation_stay_within_their_budget():
    assert not (lines := over(count_search(), load_budget())), "\n".join([*lines, HOW])


def test_what_is_over_is_named():
    budget = load_budget()
    assert over(budget, budget) == []
    more = copy.deepcopy(budget)
    more["step"]["passes"] += 1
    more["search"]["flops"] = int(1.03 * more["search"]["flops"])
    more["trials"]["edits"] = int(1.01 * more["trials"]["edits"])
    assert [line.partition(":")[0] for line in over(more, budget)] == ["step", "search"]
