"""Which sites have to go with a circuit before the answers go, where that is known."""

from circuitfind.validate import twin
from circuitfind.validate.twin import find_twin

EVERY = frozenset(range(40))


def test_the_twin_is_the_one_set_that_ends_the_behaviour():
    for wanted in ({17}, {0, 39}, {3, 4, 5, 20}):
        assert find_twin(EVERY, lambda out, wanted=wanted: wanted <= out) == wanted


def test_of_two_backups_of_either_is_enough_one_is_named():
    found = find_twin(EVERY, lambda out: bool(out & {11, 30}))
    assert found is not None and len(found) == 1 and found <= {11, 30}


def test_no_site_of_a_twin_can_be_spared():
    """Site 0 is missed only as long as 1 is out with it: it can go in the second round."""
    ends = {frozenset(one) for one in ((0, 1, 2), (0, 2), (2,))}
    assert find_twin(frozenset(range(3)), lambda out: out in ends) == {2}


def test_where_nothing_ends_it_there_is_no_twin():
    assert find_twin(EVERY, lambda out: False) is None


def test_no_more_is_tried_than_the_budget_allows(monkeypatch):
    tried = []
    monkeypatch.setattr(twin, "BUDGET", 10)

    def kills(out):
        tried.append(out)
        return {3, 22} <= out

    found = find_twin(EVERY, kills)
    assert len(tried) == 10 and found is not None and found >= {3, 22}
