"""The laws of a search method."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..claims import load_claim
from ..models.loading import load_model
from ..models.model import Model
from ..progress import Progress
from ..search import Method, MethodSpec, SearchConfig, SearchResult, search
from .nonconforming import examine

MODEL, CLAIM = "planted:layers=2,heads=4,parts=2", "planted"
PAIRS, STEPS = 24, 12


class Killed(Exception):
    """Stands for whatever ends a search in the middle."""


class Checkpoints(Progress):
    """Keeps the last state, and ends the search after some saves."""

    def __init__(self, most: int | None = None) -> None:
        self.state: dict[str, Any] | None = None
        self.saves, self.most = 0, most

    def restore(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: Mapping[str, Any]) -> None:
        import copy

        self.state, self.saves = copy.deepcopy(dict(state)), self.saves + 1
        if self.saves == self.most:
            raise Killed

    def report(self, stage: str, done: int, total: int, row: Mapping[str, Any]) -> None:
        pass


def check_method(method: str | MethodSpec | Method, model: Model | None = None) -> None:
    """Examine a search method on a planted model whose circuit is known to exist: its result is of
    the search space, the same for the same seed, resumed or not; it keeps to a size, to pins and to
    vetoes.

    Args:
        model: another model that the claim `planted` is about.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    model = model or load_model(MODEL)
    train, _ = load_claim(CLAIM).sample(PAIRS)
    config = SearchConfig(steps=STEPS, rounds=2)

    def found(settings: SearchConfig, progress: Progress | None = None) -> SearchResult:
        return search(model, train, method, config=settings, progress=progress)

    first = found(config)
    names = [str(site) for site in first.mask.sites]

    def result() -> Iterable[str]:
        return _result(first)

    def same_seed() -> Iterable[str]:
        if found(config).circuit.sites != first.circuit.sites:
            yield "the same seed gives another circuit the second time"

    def resumed() -> Iterable[str]:
        store = Checkpoints(most=2)
        try:
            found(config, store)
        except Killed:
            store.most = None
            if found(config, store).circuit.sites != first.circuit.sites:
                yield "a search that was ended and resumed gives another circuit"

    def size() -> Iterable[str]:
        made = found(replace(config, size=3))
        if len(made.circuit) != 3:
            yield f"asked for 3 sites, it gives {len(made.circuit)}"

    def pins_and_vetoes() -> Iterable[str]:
        made = found(replace(config, pins=(names[-1],), vetoes=(names[0],)))
        chosen = [str(site) for site in made.circuit.sites]
        if names[-1] not in chosen:
            yield f"the pinned site {names[-1]} is not in its circuit"
        if names[0] in chosen:
            yield f"the vetoed site {names[0]} is in its circuit"

    examine(
        f"the method {first.circuit.method}", [result, same_seed, resumed, size, pins_and_vetoes]
    )


def _result(made: SearchResult) -> Iterable[str]:
    if not isinstance(made, SearchResult):
        yield f"it gives a {type(made).__name__}, not a SearchResult; end in `finish`"
        return
    if len(made.ranking) != len(made.mask.sites):
        yield f"its ranking has {len(made.ranking)} scores for {len(made.mask.sites)} sites"
    if not bool(made.ranking.isfinite().all()):
        yield "its ranking has scores that are not numbers"
    if unknown := {*made.circuit.sites} - {*made.mask.sites}:
        yield f"its circuit has sites that are not of the space: {', '.join(map(str, unknown))}"
    if made.success != (made.status == "holds"):
        yield f"success is {made.success}, its status {made.status}"
    if not made.message:
        yield "it has no message"
    if not made.cost.get("tokens_forward"):
        yield "its cost counts no token, so it did not go through the objective"
