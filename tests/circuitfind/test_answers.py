"""Answers: what counts as a hit, by how much, and what cannot be scored."""

from dataclasses import replace

import pytest
import torch

from circuitfind.answers.among import Among
from circuitfind.answers.answer import Question, Target, UnusableAnswers
from circuitfind.answers.known import answer_of
from circuitfind.answers.top import Top
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.models.planted import Planted
from circuitfind.objective.encoding import encode
from circuitfind.search import SearchConfig, search
from circuitfind.testing import check_answer
from circuitfind.validate import validate
from desiderata.choices import alternatives

from .. import planted as wired
from ..tiny import WORDS, random_desideratum

SINGLES = Among(((" w1",), (" w2",)))
SETS = Among(((" w1", " w4"), (" w2",), (" w3", " w5", " w6")))
EVERY = Among(tuple((f" {word}",) for word in WORDS))


def outputs(n_pairs, seed=0, n_masks=4):
    return 3 * torch.randn(n_masks, n_pairs, 32, generator=torch.Generator().manual_seed(seed))


def encoded(model, answer, answers):
    return answer.encode(model, [Question("w7 w8", one) for one in answers])


def ids(model, text):
    return model.tokenizer.convert_tokens_to_ids(text.strip())


ANSWERS = {
    "top": (Top(), [" w1", " w9", None, " w3"]),
    "two tokens": (SINGLES, [" w1", " w2", None, " w1"]),
    "sets": (SETS, [" w5", " w2", None, " w4"]),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_hits_are_where_the_lead_is_above_zero_and_never_of_an_unknown_answer(tiny, kind):
    answer, given = ANSWERS[kind]
    target = encoded(tiny("llama"), answer, given)
    assert target.known.tolist() == [True, True, False, True]
    output = outputs(4)
    output[0, :, 0] = 99  # the token that stands in where an answer is not known
    for row, text in enumerate(given):
        output[1, row, ids(tiny("llama"), text or "w1")] = 99
    hit, lead = answer.hit(output, target), answer.lead(output, target)
    known = target.known.expand_as(hit)
    assert torch.equal(hit[known], lead[known] > 0)
    assert not hit[~known].any() and hit[1].tolist() == target.known.tolist()
    assert not answer.hit(torch.full_like(output, float("nan")), target).any()


@pytest.mark.parametrize("answer", [Top(), EVERY], ids=["top", "among"])
def test_every_answer_keeps_the_laws(tiny, answer):
    check_answer(answer, tiny("llama"), random_desideratum(("last",), n=4))


def test_top_is_the_most_likely_of_all_and_leads_over_the_next(tiny):
    model = tiny("llama")
    target = encoded(model, Top(), [" w1", " w9"])
    output = outputs(2)
    for row, word in enumerate(("w1", "w9")):
        mine = output[:, row, ids(model, word)]
        others = output[:, row].clone()
        others[:, ids(model, word)] = float("-inf")
        torch.testing.assert_close(Top().lead(output, target)[:, row], mine - others.amax(-1))
        won = output[:, row].argmax(-1) == ids(model, word)
        assert torch.equal(Top().hit(output, target)[:, row], won)


def test_among_is_the_log_odds_of_sets_by_their_probabilities(tiny):
    model = tiny("llama")
    target = encoded(model, SETS, [" w5", " w1", " w2"])
    output = outputs(3, seed=1)
    shares = output.double().softmax(-1)
    sums = torch.stack(
        [shares[..., [ids(model, text) for text in texts]].sum(-1) for texts in SETS.alternatives],
        dim=-1,
    )
    for row, mine in enumerate((2, 0, 1)):
        others = [other for other in range(3) if other != mine]
        odds = (sums[:, row, mine] / sums[:, row, others].amax(-1)).log().float()
        lead, hit = SETS.lead(output, target)[:, row], SETS.hit(output, target)[:, row]
        torch.testing.assert_close(lead, odds, atol=1e-4, rtol=1e-4)
        assert torch.equal(hit, sums[:, row].argmax(-1) == mine)
        share = sums[:, row, mine] / sums[:, row].sum(-1)
        torch.testing.assert_close(
            SETS.surprise(output, target)[:, row], -share.log().float(), atol=1e-4, rtol=1e-4
        )
    assert SETS.unit == "nats"
    words = SETS.words(model, output[0], target)
    shown = [" or ".join(map(str.strip, SETS.alternatives[best])) for best in sums[0].argmax(-1)]
    assert words == shown


def test_among_two_tokens_is_the_logit_difference(tiny):
    model = tiny("llama")
    target, other = (encoded(model, SINGLES, given) for given in ([" w1", " w2"], [" w2", " w1"]))
    output = outputs(2, seed=2)
    difference = output[..., ids(model, "w1")] - output[..., ids(model, "w2")]
    expected = difference * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(SINGLES.lead(output, target), expected)
    torch.testing.assert_close(SINGLES.contrast(output, target, other), expected)


def test_among_reads_no_token_that_is_not_named(tiny):
    model = tiny("llama")
    target = encoded(model, SETS, [" w5", " w2"])
    output = outputs(2)
    moved = output.clone()
    named = [ids(model, text) for texts in SETS.alternatives for text in texts]
    rest = [n for n in range(32) if n not in named]
    moved[..., rest] += 50
    for one in (SETS.lead, SETS.hit, SETS.surprise):
        torch.testing.assert_close(one(moved, target), one(output, target))
    assert bool(SETS.same(output[0], moved[:1], target).all())


def test_targets_are_taken_and_compared_by_row(tiny):
    model = tiny("llama")
    target = encoded(model, SETS, [" w1", " w4", " w2", None])
    again = encoded(model, SETS, [" w4", " w4", " w5", " w1"])
    # Two texts of one set are one answer.
    assert target.differs(again).tolist() == [False, False, True, True]
    taken = target.take(torch.tensor([3, 2]))
    assert isinstance(taken, Target) and len(taken) == 2
    assert taken.known.tolist() == [False, True]
    assert taken.keys == (frozenset(), frozenset({(ids(model, "w2"),)}))


def test_every_answer_that_cannot_be_scored_is_named_at_once(tiny):
    model = tiny("llama")
    with pytest.raises(UnusableAnswers) as error:
        encoded(model, Among(((" w1",), ("2",))), [" w1", " w9", " w8"])
    assert len(error.value.problems) == 3
    for words in ("' w9' is none of", "' w8' is none of", "'2' merges with the end"):
        assert words in str(error.value)
    made = random_desideratum(("last",))
    with pytest.raises(ValueError, match="is none of the alternatives ' w1', ' w2'"):
        encode(model, [replace(made, answer=alternatives([" w1", " w2"]))])


def test_alternatives_without_a_difference_are_refused():
    model = wired.task
    for among, words in (
        ([" v1", (" v2", " v1")], "' v1' more than once"),
        ([" v1"], "two alternatives or more; got 1"),
        ([" v1", ()], "an alternative without a text"),
    ):
        with pytest.raises(ValueError, match=words):
            model.carries("answer", among=among)
    with pytest.raises(ValueError, match="by `among` or by `answer`, not by both"):
        model.carries("answer", among=[" v1", " v2"], answer="other")


def test_answers_are_found_by_name():
    made = random_desideratum(("last",))
    assert answer_of(made) == Top()
    assert answer_of(replace(made, answer=alternatives([" w1", (" w2", " w3")]))) == Among(
        ((" w1",), (" w2", " w3"))
    )
    with pytest.raises(LookupError, match="sofa"):
        answer_of(replace(made, answer="sofa"))


def by_digit(place):
    """The planted values in sets, those with the same digit together."""
    code = Planted().digits
    return [tuple(f" v{n}" for n in range(25) if code(n)[place] == digit) for digit in range(5)]


@pytest.mark.parametrize(
    ("among", "carriers"),
    [
        ([f" v{n}" for n in range(25)], (0, 1)),
        (by_digit(0), (0,)),  # one head carries each digit
        pytest.param(by_digit(1), (1,), marks=pytest.mark.slow),
    ],
    ids=["values", "first digit", "second digit"],
)
def test_a_claim_among_alternatives_from_search_to_card(planted, among, carriers):
    claim = wired.task.carries("answer", at="last", among=among)
    train, held_out = claim.sample(32, 0)
    found = search(planted, train, config=SearchConfig(steps=40))
    assert found.success, found.message
    assert set(found.circuit.sites) == {Site(head(1, n), "last") for n in carriers}
    card = validate(planted, found.circuit, held_out, n_random=5)
    assert card.holds
    assert all(score.satisfaction >= 0.95 for score in card.desiderata)
