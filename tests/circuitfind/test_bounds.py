"""What a desideratum has to reach: every degree, part, sense and donor, by hand from its ends."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from circuitfind.objective.encoding import encode
from circuitfind.objective.mask import membership_of
from circuitfind.objective.objective import NOISE, Bound, Objective, gaps, slack
from circuitfind.objective.patching import prepare, run
from circuitfind.search import candidate_sites
from circuitfind.validate.checks.satisfaction import judge
from circuitfind.validate.scores import score_desiderata
from desiderata import Desideratum
from desiderata.choices import DONORS

from .. import planted as wired

DEGREES = (0.05, 0.25, 0.5, 0.8, 0.95, 1.0)
ASKED = [(part, sense) for part in ("inside", "outside") for sense in ("follows", "keeps")]
N = 24


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1, 0.9), (0.3, 0.4), (0.0, 0.0)])
def test_a_bound_is_so_far_from_the_worse_end_to_the_better_one(degree, low, high):
    """Whichever of them is the empty circuit: inside, what keeps is worse with every site."""
    need = (1 - degree) * low + degree * high
    for null, ceiling in ((low, high), (high, low)):
        made = Bound(null, ceiling, at_least=degree, absolute=False, novel=False)
        assert made.value == pytest.approx(need)
        assert not made.vacuous and not made.unreached


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (0.9, 0.9), (0.9, 0.3), (0.3, 0.9)])
def test_on_the_absolute_scale_a_bound_is_its_degree(degree, ends):
    made = Bound(*ends, at_least=degree, absolute=True, novel=False)
    assert made.value == degree
    assert made.vacuous == all(end >= degree for end in ends)
    assert made.unreached == all(end < degree for end in ends)
    assert not replace(made, novel=True).unreached  # neither end can satisfy what is crossed


def test_the_bound_of_a_keeps_inside_the_circuit_is_95_of_100_pairs_and_not_5():
    assert Bound(null=1.0, ceiling=0.0, at_least=0.95, absolute=False, novel=False).value == 0.95


def test_the_error_of_a_bound_is_that_of_a_share():
    made = Bound(null=0.0, ceiling=1.0, at_least=0.8, absolute=False, novel=False)
    assert made.error(100) == pytest.approx(0.04)
    assert replace(made, spread=0.3).error(100) == 0.3


def test_a_margin_asks_for_no_more_than_the_better_end_reaches():
    scores = torch.tensor([[0.7, 0.7, 0.99]])
    bounds = [
        Bound(0.7, 0.1, 0.95, absolute=False, novel=False),
        Bound(0.1, 0.7, 0.95, absolute=False, novel=False),
        Bound(0.7, 0.1, 0.95, absolute=True, novel=False),
    ]
    found = gaps(scores, bounds, [0.5] * 3)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, -0.01]]))


@pytest.fixture(scope="module")
def pairs():
    """Pairs with answers that differ, of base and of source."""
    made = wired.claim.sample(3 * N, 0)[1][0].pairs
    found = [pair for pair in made if pair.base_answer != pair.source_answer][:N]
    assert len(found) == N
    return found


def asked(pairs, part, sense, donor, *, turned):
    """A desideratum of these pairs. So many of them ask for the other answer, so that its ends are
    not 0 and 1."""
    made = tuple(
        replace(pair, expected=pair.source_answer if follows else pair.base_answer)
        for row, pair in enumerate(pairs)
        for follows in [(sense == "follows") is not (row < turned)]
    )
    return Desideratum(name="d", part=part, sense=sense, pairs=made, at=("last",), donor=donor)


def of_every_degree(model, desideratum):
    """The desideratum by each degree in turn, on the same pairs."""
    (batch,) = encode(model, [desideratum])
    batches = [
        replace(batch, desideratum=replace(desideratum, name=f"{degree:g}", at_least=degree))
        for degree in DEGREES
    ]
    return Objective(model, batches, candidate_sites(model, [desideratum]))


def ends_by_hand(model, batch, sites):
    """Which pairs come out as expected with no site patched, and with every one."""
    gates = torch.tensor([[0.0], [1.0]]).expand(-1, len(sites))
    ids = run(prepare(model, batch, sites), gates).argmax(dim=-1)
    words = [pair.expected.strip() for pair in batch.desideratum.pairs]
    wanted = torch.tensor(model.tokenizer.convert_tokens_to_ids(words))
    return ids == wanted


@pytest.mark.parametrize(
    ("donor", "part", "sense", "turned"),
    [
        # Every donor with two of the four, and each of these with two donors.
        *(
            pytest.param(donor, *asked, 4, marks=pytest.mark.slow if (m + n) % 2 else ())
            for m, donor in enumerate(sorted(DONORS))
            for n, asked in enumerate(ASKED)
        ),
        # With ends at 0 and 1, of one donor for each of the four.
        *((donor, *asked, 0) for donor, asked in zip(sorted(DONORS), ASKED, strict=True)),
        *(
            pytest.param(donor, *asked, 0, marks=pytest.mark.slow)
            for m, donor in enumerate(sorted(DONORS))
            for n, asked in enumerate(ASKED)
            if m != n
        ),
    ],
)
def test_bounds_of_every_degree_part_sense_and_donor(planted, pairs, donor, part, sense, turned):
    objective = of_every_degree(planted, asked(pairs, part, sense, donor, turned=turned))
    sites = objective.sites
    none, every = ends_by_hand(planted, objective.batches[0], sites)
    empty, full = (none, every) if part == "inside" else (every, none)
    better, worse = int((empty & ~full).sum()), int((full & ~empty).sum())
    apart = better + worse and stats.binomtest(better, better + worse).pvalue < NOISE
    low, high = sorted([float(empty.float().mean()), float(full.float().mean())])
    masks = {"true": membership_of(sites, [s for s in sites if s.component in wired.CIRCUIT])}
    masks |= {"empty": torch.zeros(len(sites)), "full": torch.ones(len(sites))}
    bounds = objective.bounds()
    for degree, bound in zip(DEGREES, bounds, strict=True):
        assert (bound.null, bound.ceiling) == (
            pytest.approx(float(empty.float().mean())),
            pytest.approx(float(full.float().mean())),
        )
        assert bound.absolute is (not apart)
        need = low + degree * (high - low) if apart else degree
        assert bound.value == pytest.approx(need)
        assert bound.vacuous is (not apart and low >= degree)
        assert bound.unreached is (not apart and high < degree)
    for name, membership in masks.items():
        scores = score_desiderata(objective, bounds, membership)
        clear = gaps(objective.scores(membership[None]), bounds, [0.0] * len(bounds))[0]
        for score, bound, gap in zip(scores, bounds, clear.tolist(), strict=True):
            assert score.need == bound.value and score.at_least == bound.at_least
            assert score.holds is (score.satisfaction >= score.need), name
            assert gap == pytest.approx(score.satisfaction - score.need, abs=1e-6)


def test_what_each_degree_needs_where_source_and_base_decide(planted, pairs):
    """20 of 24 pairs by the one end and 4 by the other: 4/24 + degree * 16/24."""
    for part, sense in ASKED:
        objective = of_every_degree(planted, asked(pairs, part, sense, "source", turned=4))
        bounds = objective.bounds()
        needs = [bound.value for bound in bounds]
        assert needs == pytest.approx([4 / 24 + degree * 16 / 24 for degree in DEGREES])
        # The other end fails every degree; this end, and the circuit itself, reach all of them.
        ends = objective.scores(torch.tensor([[0.0], [1.0]]).repeat(1, len(objective.sites)))
        clear = slack(ends, bounds, [0.0] * len(bounds))
        assert sorted(clear.tolist()) == pytest.approx([-16 / 24, 0.0], abs=1e-6)
        assert bool(clear[0] > clear[1]) is ((part, sense) in (ASKED[1], ASKED[2]))


def test_a_sixth_of_the_pairs_fails_every_degree_of_keeping_but_the_lowest(planted, pairs):
    """The full circuit of an inside *keeps* gives 4 of 24, which only 5 % of the range allows."""
    objective = of_every_degree(planted, asked(pairs, "inside", "keeps", "source", turned=4))
    scores = score_desiderata(objective, objective.bounds(), torch.ones(len(objective.sites)))
    assert {score.satisfaction for score in scores} == {4 / 24}
    verdicts = {score.name: judge([score]).verdict for score in scores}
    assert verdicts["0.05"] == "inconclusive"
    assert {verdicts[f"{degree:g}"] for degree in DEGREES[2:]} == {"fails"}


def test_ends_that_differ_by_chance_give_no_range(planted, pairs):
    """Of 24 pairs 15 to 9 is chance (p = 0.31), 19 to 5 is not (p = 0.007)."""
    for turned, absolute in ((9, True), (5, False)):
        made = asked(pairs, "inside", "follows", "source", turned=turned)
        bounds = of_every_degree(planted, made).bounds()
        assert {bound.absolute for bound in bounds} == {absolute}


def test_crossed_pairs_are_judged_by_all_of_them_however_their_ends_differ(planted, pairs):
    """Each asks for what another pair's source gives, as patching every site makes of it: the full
    circuit gets all of them right by luck of the donor, and none is asked of it."""
    chosen = pairs[:1]
    for pair in pairs[1:]:
        if chosen[-1].source_answer not in (pair.base_answer, pair.source_answer):
            chosen.append(pair)
    chosen = [
        replace(pair, expected=before.source_answer)
        for before, pair in zip([chosen[-1], *chosen[:-1]], chosen, strict=True)
    ]
    assert len(chosen) > 12 and all(pair.is_novel for pair in chosen)
    made = asked(pairs, "inside", "follows", "resample", turned=0)
    bounds = of_every_degree(planted, replace(made, pairs=tuple(chosen))).bounds()
    assert {(bound.null, bound.ceiling) for bound in bounds} == {(0.0, 1.0)}
    assert [bound.value for bound in bounds] == list(DEGREES)
    assert all(bound.absolute and bound.novel and not bound.unreached for bound in bounds)
