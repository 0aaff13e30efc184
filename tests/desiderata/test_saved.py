"""The claim about saved inputs: one desideratum for each output, and what is ablated how."""

from collections import Counter
from itertools import product

import pytest

from desiderata import Saved, SavedInputs, lint, lint_desiderata
from desiderata.saved import DIVIDE_FROM


def reversing(letters="abc", length=3):
    """Every word of these letters, with its letters reversed after a beginning."""
    return tuple(
        Saved(f"BOS {' '.join(word)}", dict(enumerate(reversed(word), 1)))
        for word in product(letters, repeat=length)
    )


def pairs_of(desideratum):
    return [(pair.base.text, pair.source.text) for pair in desideratum.pairs]


@pytest.mark.parametrize("donor", ["source", "zero", "mean", "resample"])
def test_there_is_a_desideratum_for_each_output(donor):
    claim = SavedInputs(reversing(), donor)
    search, _ = claim.sample(240, 3)
    assert [made.name for made in search] == ["suffices@1", "suffices@2", "suffices@3"]
    for at, made in enumerate(search, 1):
        assert (made.part, made.sense, made.at, made.read) == (
            "outside",
            "keeps",
            ("all",),
            str(at),
        )
        assert made.at_least == 1.0
        for pair in made.pairs:
            base, source = pair.base.text.split(), pair.source.text.split()
            assert pair.expected == pair.base_answer == f" {base[-at]}"
            assert pair.source_answer == f" {source[-at]}"
            assert base != source
    assert f"donor {donor}" in claim.name
    assert not [problem for problem in lint(claim, 240) if problem.level == "error"]


@pytest.mark.parametrize("letters", ["abc", "abcd"])
def test_every_input_is_searched_and_held_out_while_there_are_few(letters):
    claim = SavedInputs(reversing(letters), "zero")
    search, held_out = claim.sample(240)
    texts = {saved.text for saved in claim.inputs}
    for side, rounds in ((search, 3), (held_out, 1)):
        for made in side:
            assert Counter(pair.base.text for pair in made.pairs) == dict.fromkeys(texts, rounds)
            assert made.exhaustive
            # Whichever third of the rows is taken away, every input is among the others.
            for third in range(3 if rounds == 3 else 0):
                rows = [pair for row, pair in enumerate(made.pairs) if row % 3 != third]
                assert {pair.base.text for pair in rows} == texts
    n = len(letters) ** 3
    assert any(f"about the same {n} saved inputs" in note for note in claim.notes())
    assert not any("different search pairs" in str(problem) for problem in lint(claim, 240))


def test_a_part_of_the_inputs_is_no_particular_part():
    few, others = (SavedInputs(reversing()).sample(9, seed)[0][0] for seed in (0, 1))
    assert len(few.pairs) == 9
    assert pairs_of(few) != pairs_of(others)
    assert {pair.base.text for pair in few.pairs} != {saved.text for saved in reversing()[:9]}


def test_of_many_inputs_some_are_held_out():
    claim = SavedInputs(reversing("abcdefg"))
    assert len(claim.inputs) >= DIVIDE_FROM
    search, held_out = claim.sample(192, 0)
    assert not lint_desiderata([], []) and not any(
        problem.level == "error" for problem in lint_desiderata(search, held_out)
    )
    texts = [
        {text for made in side for pair in pairs_of(made) for text in pair}
        for side in (search, held_out)
    ]
    assert texts[0] and texts[1] and not texts[0] & texts[1]
    assert not search[0].exhaustive
    assert not any("the same" in note for note in claim.notes())


def test_sources_differ_in_the_output():
    for made in SavedInputs(reversing(), "source").sample(81)[0]:
        assert all(pair.source_answer != pair.base_answer for pair in made.pairs)
        assert len({pair.source.text for pair in made.pairs}) > 10


def test_resampling_takes_the_saved_input_before_whatever_the_seed():
    inputs = reversing()
    before = {saved.text: inputs[number - 1].text for number, saved in enumerate(inputs)}
    claim = SavedInputs(inputs, "resample")
    for seed in range(3):
        for made in (*claim.sample(81, seed)[0], *claim.everything(seed)):
            assert all(before[base] == source for base, source in pairs_of(made))
            assert made.donor == "source"


def test_the_mean_is_over_all_saved_inputs_on_both_sides():
    claim = SavedInputs(reversing("abcdefg"), "mean")
    for made in (*claim.sample(24)[0], *claim.sample(24)[1], *claim.everything()):
        assert made.donor == "mean"
        assert [prompt.text for prompt in made.mean_over] == [saved.text for saved in claim.inputs]
    assert not SavedInputs(reversing(), "zero").everything()[0].mean_over


def test_everything_has_each_input_once():
    for made in SavedInputs(reversing(), "zero").everything():
        assert sorted(pair.base.text for pair in made.pairs) == sorted(
            saved.text for saved in reversing()
        )


def test_a_constant_output_has_a_source_all_the_same_and_says_so():
    inputs = tuple(Saved(text, {0: "x", 1: text[-1]}) for text in ("s a", "s b", "s c"))
    claim = SavedInputs(inputs)
    for base, source in pairs_of(claim.everything()[0]):
        assert base != source
    assert "the output at 0 is the same on all saved inputs" in claim.notes()[-1]


def test_other_positions_and_other_donors():
    claim = SavedInputs(reversing()).moved("last").ablated("zero")
    assert (claim.at, claim.donor) == (("last",), "zero")
    assert claim.everything()[0].at == ("last",)


def test_what_is_wrong_is_said_at_once():
    one = Saved("a", {0: "b"})
    with pytest.raises(ValueError) as error:
        SavedInputs((one, one, Saved("c", {1: "b"})), "noise")  # type: ignore[arg-type]
    for words in ("got 'noise'", "no two with the same text", "outputs at the same indices"):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="at least 1 pair"):
        SavedInputs(reversing()).sample(0)
