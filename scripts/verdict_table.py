"""What the validator says of circuits whose truth is known: docs/verdicts.md.

    python -m scripts.verdict_table

Wrong circuits are too small, padded, of other sites, or scored on pairs that are unsound; right
ones are true by construction or by exhaustive search, those among them that have a twin, and those
that another ablation does not see. Each row has the headline and the exit code of
`circuitfind validate`: 1 where the claim or minimality fails.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from circuitfind.bench.cases import Case, known_cases
from circuitfind.circuits.circuit import Circuit
from circuitfind.mediators.head import head
from circuitfind.mediators.known import parse_site
from circuitfind.mediators.site import Site
from circuitfind.mediators.whole import mlp
from circuitfind.models.loading import load_model
from circuitfind.models.model import Model
from circuitfind.models.planted import heads_of, parse_planted, planted_truth
from circuitfind.objective.encoding import Batch, encode
from circuitfind.objective.mask import Mask
from circuitfind.search import candidate_sites
from circuitfind.validate import Card, validate
from desiderata import Desideratum, Sampleable, words_of
from tasks import planted as tasks

PAGE = Path(__file__).parent.parent / "docs" / "verdicts.md"
N = 192  # pairs of each desideratum, the command line's default
CLAIMS: dict[str, Sampleable] = {
    "planted": tasks.claim,
    "planted-inside": tasks.inside,
    "planted-alone": tasks.alone,
}
PLAIN = (
    "planted",
    "planted:seed=5",
    "planted:heads=6,parts=2,decoys=2,distractors=1",
    "planted:layers=3,heads=6,parts=3,decoys=4,distractors=4",
    "planted:layers=3,heads=6,parts=2,mlps=carry,decoys=3",
    "planted:layers=4,heads=4,parts=2,seed=1",
    "planted:layers=3,heads=8,parts=2,decoys=4,distractors=3,seed=2,noise=0.0005",
)
TWINS = (
    "planted:layers=3,heads=6,parts=2,backups=1,inhibitors=1,decoys=2",
    "planted:layers=3,heads=8,parts=2,backups=1,inhibitors=1,decoys=2",
    "planted:layers=3,heads=8,parts=2,backups=2,decoys=3,seed=1",
)
Kind = Literal["wrong", "right"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A circuit, whether it is right, why, and what it is validated on."""

    kind: Kind
    why: str
    model: str
    claim: str
    card: Callable[[], Card]

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.why}: {self.model}, {self.claim}"


@lru_cache(maxsize=4)
def _pairs(model: str, claim: str) -> tuple[Model, tuple[Batch, ...]]:
    loaded = load_model(model, device="cpu")
    return loaded, encode(loaded, CLAIMS[claim].sample(2 * N, 0)[1])


def card_of(
    model: Model, batches: Sequence[Batch], sites: Sequence[Site], mask: Mask | None = None
) -> Card:
    """The card of these sites by the checks that always run, as the command line has it."""
    ordered = tuple(sorted(set(sites), key=str))
    circuit = Circuit(
        model=model.name,
        task="t",
        claim="c",
        method="by hand",
        seed=0,
        sites=ordered,
        scores=(0.0,) * len(ordered),
    )
    return validate(model, circuit, batches, mask=mask)


def _trial(
    kind: Kind, why: str, model: str, claim: str, change: Callable[[Model, list[Site]], list[Site]]
) -> Trial:
    """A circuit that comes from the truth of a planted model by a change."""

    def card() -> Card:
        loaded, batches = _pairs(model, claim)
        truth = sorted(planted_truth(parse_planted(model), claim)[0], key=str)
        return card_of(loaded, [batch.take(range(N)) for batch in batches], change(loaded, truth))

    return Trial(kind=kind, why=why, model=model, claim=claim, card=card)


def idle_heads(name: str) -> list[Site]:
    """Heads after layer 0 of a planted model that write nothing."""
    planted = parse_planted(name)
    heads = heads_of(planted)
    busy = {one for same in heads.carriers for one in same}
    busy |= {*heads.inhibitors, *heads.decoys, *heads.distractors, heads.before}
    every = (head(layer, n) for layer in range(1, planted.layers) for n in range(planted.heads))
    return [Site(one, "last") for one in every if one not in busy]


def _everything(model: Model, truth: list[Site]) -> list[Site]:
    sites = [
        Site(one, "last")
        for layer in range(model.n_layers)
        for one in (*(head(layer, n) for n in range(model.n_heads)), mlp(layer))
    ]
    return [*truth, *sites]


def _others(model: Model, truth: list[Site], seed: int) -> list[Site]:
    """As many sites as the circuit has, none of them in it."""
    rest = sorted(set(_everything(model, [])) - set(truth), key=str)
    return random.Random(seed).sample(rest, len(truth))


def wrong_trials() -> Iterator[Trial]:
    """Circuits that are wrong by construction."""
    for model in PLAIN:
        parts = len(planted_truth(parse_planted(model), "planted")[0])
        if parts > 1:  # the empty circuit would be left
            for gone in range(min(parts, 2)):
                yield _trial(
                    "wrong",
                    f"member {gone} is missing",
                    model,
                    "planted",
                    lambda _, truth, gone=gone: [s for n, s in enumerate(truth) if n != gone],
                )
        for n, idle in enumerate(idle_heads(model)[:2], 1):
            yield _trial(
                "wrong",
                f"padded with idle head {n}",
                model,
                "planted",
                lambda _, truth, idle=idle: [*truth, idle],
            )
        yield _trial("wrong", "the whole model", model, "planted", _everything)
        for seed in range(2):
            yield _trial(
                "wrong",
                f"other sites, draw {seed}",
                model,
                "planted",
                lambda loaded, truth, seed=seed: _others(loaded, truth, seed),
            )
        yield _trial(
            "wrong",
            "padded with the MLP of layer 0",
            model,
            "planted-inside",
            lambda _, truth: [*truth, Site(mlp(0), "last")],
        )
    yield from _unsound()
    for case in _compiled():
        truth = sorted(case.truth[0], key=str)
        if len(truth) > 1:
            short = truth[1:]
            if not any(set(right) <= set(short) for right in case.truth):
                yield _compiled_trial("wrong", "a member is missing", case, short)
        yield _compiled_trial("wrong", "the whole model", case, None)


def _unsound() -> Iterator[Trial]:
    """True circuits that are scored on pairs, or by a mask, that prove nothing."""
    for model in PLAIN[2:4]:
        for why, spoil in (("pairs leak", _leaky), ("one order only", _one_order)):

            def card(model: str = model, spoil: Callable[..., Card] = spoil) -> Card:
                return spoil(model)

            yield Trial(kind="wrong", why=why, model=model, claim="planted-inside", card=card)
    for parts in (1, 2):
        name = f"planted:heads=8,parts={parts},backups=2,decoys=0"

        def soft(name: str = name) -> Card:
            return _soft(name)

        why = "only the mask before rounding"
        yield Trial(kind="wrong", why=why, model=name, claim="planted-inside", card=soft)


def _leaky(name: str) -> Card:
    """A seventh of the pairs expects what the base answers anyway."""
    model, batches = _pairs(name, "planted-inside")
    one = batches[0].take(range(N)).desideratum
    pairs = tuple(
        replace(pair, expected=pair.base_answer) if row % 7 == 0 else pair
        for row, pair in enumerate(one.pairs)
    )
    truth = sorted(planted_truth(parse_planted(name), "planted")[0], key=str)
    return card_of(model, encode(model, [replace(one, pairs=pairs)]), truth)


def _one_order(name: str) -> Card:
    """Without its last carrier, on pairs of which few need that one."""
    planted, (model, _) = parse_planted(name), _pairs(name, "planted-inside")
    follows: Desideratum = tasks.inside.sample(4000, 0)[1][0]
    easy, hard = [], []
    for pair in follows.pairs:
        mine, base = (
            planted.digits(int(words_of(word).strip()[1:]))
            for word in (pair.expected, pair.base_answer)
        )
        (easy if mine[-1] == base[-1] else hard).append(pair)
    rows = [replace(pair, base_inputs={"order": "ab"}) for pair in (easy * 40)[:300]]
    rows += [replace(pair, base_inputs={"order": "ba"}) for pair in hard[:9]]
    carriers = [Site(same[0], "last") for same in heads_of(planted).carriers[:-1]]
    return card_of(model, encode(model, [replace(follows, pairs=tuple(rows))]), carriers)


def _soft(name: str) -> Card:
    """One carrier of three taken whole and two by 0.4, which rounding leaves out."""
    model, batches = _pairs(name, "planted-inside")
    kept = [batch.take(range(N)) for batch in batches]
    sites = candidate_sites(model, [batch.desideratum for batch in kept])
    share = {
        str(one): value
        for same in heads_of(parse_planted(name)).carriers
        for one, value in zip(same, (1.0, 0.4, 0.4), strict=True)
    }
    mask = Mask(sites, torch.tensor([share.get(str(site.component), 0.0) for site in sites]))
    return card_of(model, kept, mask.members(), mask)


def right_trials() -> Iterator[Trial]:
    """Circuits that are right: the only one, one of several, or under one ablation."""
    for model in PLAIN:
        for claim in CLAIMS:
            yield _trial("right", "the only one", model, claim, lambda _, truth: truth)
    for model in TWINS:
        for number, truth in enumerate(planted_truth(parse_planted(model), "planted")[:3], 1):
            yield _trial(
                "right",
                f"twin {number}",
                model,
                "planted",
                lambda _, __, truth=truth: sorted(truth, key=str),
            )
    for case in _compiled():
        for number, truth in enumerate(case.truth[:2], 1):
            why = f"circuit {number} of {len(case.truth)}"
            yield _compiled_trial("right", why, case, sorted(truth, key=str))


def _compiled() -> list[Case]:
    return [case for case in known_cases("all") if case.donor is not None and case.truth]


def _compiled_trial(kind: Kind, why: str, case: Case, sites: list[Site] | None) -> Trial:
    """Sites of a compiled or trained model, by default all; all its saved inputs."""

    def card() -> Card:
        model, claim = case.load()
        batches = encode(model, claim.sample(10**6)[1])
        every = [parse_site(f"{one.component}@all") for one in _everything(model, [])]
        return card_of(model, batches, every if sites is None else sites)

    return Trial(kind=kind, why=why, model=case.model, claim=f"suffices, {case.donor}", card=card)


def trials(kind: Kind | None = None) -> list[Trial]:
    """All of them, wrong ones first, or those of one kind."""
    made = [*wrong_trials(), *right_trials()]
    return [one for one in made if kind in (None, one.kind)]


def main() -> None:
    """Write the page."""
    rows = []
    for trial in trials():
        card = trial.card()
        rows.append((trial, card, int(not card.success)))
        print(trial.kind, rows[-1][2], trial.name, "|", card.headline, flush=True)
    PAGE.write_text(page(rows), encoding="utf-8")


def page(rows: Sequence[tuple[Trial, Card, int]]) -> str:
    """The table as Markdown."""
    text = [
        "# What the validator says of circuits whose truth is known",
        "",
        "Written by `python -m scripts.verdict_table`; the checks that always run,",
        f"on {N} pairs of each desideratum, or on all saved inputs of a compiled model.",
    ]
    for kind, words in (("wrong", "Wrong circuits"), ("right", "Right circuits")):
        mine = [row for row in rows if row[0].kind == kind]
        codes = [code for _, _, code in mine]
        text += [
            "",
            f"## {words}: {len(mine)}, of which {codes.count(1)} end with exit code 1",
            "",
            "| circuit | model, claim | exit | headline |",
            "|---|---|---|---|",
        ]
        text += [
            f"| {trial.why} | `{trial.model}`, {trial.claim} | {code} | {card.headline} |"
            for trial, card, code in mine
        ]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
