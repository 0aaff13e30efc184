"""Many problems in one message."""

from circuitfind.problems import listed


def test_each_problem_comes_once_and_the_rest_is_counted():
    assert listed(["a", "b", "a"]) == "a; b"
    assert listed(map(str, range(8))) == "0; 1; 2; 3; 4; 5; 6; 7"
    assert listed(map(str, range(10))) == "0; 1; 2; 3; 4; 5; 6; 7; and 2 more"
    assert listed("abc", most=2) == "a; b; and 1 more"
    assert listed([]) == ""
