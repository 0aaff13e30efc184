"""Path patching in the models that Tracr compiled: the edges are those of the programs.

The truth comes from the programs alone, written here in plain Python with every variable at the
component that computes it and every argument by the input that reads it. An edge is an argument.
Its effect is what the answer loses when this one argument takes the source's value and all that is
computed from it is computed anew: so an argument that is the same in base and source has none, nor
has one that its reader makes nothing of (the length is a count of places, whatever the tokens).
Which arguments there are is read off the weights, too.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from circuitfind.bench.truth import unread
from circuitfind.circuits.circuit import MLPS, Circuit, Edge
from circuitfind.edges.direct_effects import find_edges
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED
from circuitfind.models.loading import load_model, load_saved
from circuitfind.objective.encoding import encode
from desiderata import SavedInputs, words_of
from scripts.compile_tracr import FOLDERS, LEAD, SCALE, UNREAD

from .oracle import read_oracle
from .test_compiled import SAYS

Row = Sequence[Any]  # what a variable is at each token but BOS
Path = tuple[str, str, str]  # sender, receiver, channel
EXACT = 1e-5  # of an effect; they are of up to about a thousand logits, in single precision


@dataclass
class Run:
    """A run of a program on some tokens: what each component gives.

    `fixed` are components that give something else than they compute. At the inputs in `brings`, a
    component reads what components give in another run. `reads` are all arguments that were read.
    """

    tokens: Row
    fixed: Mapping[str, Row] = field(default_factory=dict)
    brings: tuple[tuple[str, str], Mapping[str, Row]] = (("", ""), {})
    gave: dict[str, Row] = field(default_factory=dict)
    reads: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gives("embed", self.tokens)

    def gives(self, component: str, row: Row) -> None:
        self.gave[component] = self.fixed.get(component, row)

    def read(self, sender: str, receiver: str, channel: str) -> Row:
        self.reads.add((sender, receiver, channel))
        place, given = self.brings
        return (given if place == (receiver, channel) else self.gave)[sender]


def chosen(keys: Row, queries: Row, values: Row, select: Callable[..., bool]) -> list[dict]:
    """At each query, the values at the keys that it selects, each with its share; empty where it
    selects none."""
    made = []
    for query in queries:
        found = Counter(v for key, v in zip(keys, values, strict=True) if select(key, query))
        made.append({value: Fraction(n, found.total()) for value, n in found.items()})
    return made


def one_of(shares: Row) -> list[Any]:
    """The value at each token, or None for nothing; a program computes with no mixtures."""
    if any(len(each) > 1 for each in shares):
        raise ArithmeticError("the program does not say what it makes of several values at once")
    return [next(iter(each), None) for each in shares]


def count(run: Run, reader: str, select: Callable[..., bool]) -> None:
    keys, queries = (run.read("embed", reader, channel) for channel in "kq")
    run.gives(reader, [sum(select(key, query) for key in keys) for query in queries])


def said(shares: Row) -> Row:
    """What is read as the answer of a categorical output."""
    return [{value: float(share) for value, share in each.items()} for each in shares]


def reverse(run: Run) -> Row:
    places = range(len(run.tokens))
    count(run, "a0.h2", lambda *_: True)
    run.gives("m0", run.read("a0.h2", "m0", "in"))
    run.gives("m1", [n - p for n, p in zip(run.read("m0", "m1", "in"), places, strict=True)])
    run.gives("m2", [n - 1 for n in run.read("m1", "m2", "in")])
    opposite, values = run.read("m2", "a3.h1", "q"), run.read("embed", "a3.h1", "v")
    run.gives("a3.h1", chosen(places, opposite, values, lambda key, query: key == query))
    return said(run.read("a3.h1", "answer", "answer"))


def frac_prevs(run: Run) -> Row:
    run.gives("m0", [word == "x" for word in run.read("embed", "m0", "in")])
    is_x = run.read("m0", "a1.h2", "v")
    run.gives("a1.h2", [float(np.mean(is_x[: n + 1])) for n in range(len(is_x))])
    return run.read("a1.h2", "answer", "answer")


def sort_unique(run: Run) -> Row:
    places = range(len(run.tokens))
    count(run, "a0.h2", lambda key, query: int(key) < int(query))
    run.gives("m0", run.read("a0.h2", "m0", "in"))
    ranks, values = run.read("m0", "a1.h0", "k"), run.read("embed", "a1.h0", "v")
    run.gives("a1.h0", chosen(ranks, places, values, lambda key, query: key == query))
    return said(run.read("a1.h0", "answer", "answer"))


def recall(run: Run) -> Row:
    places = range(len(run.tokens))
    tokens = run.read("embed", "a0.h2", "v")
    run.gives("a0.h2", one_of(chosen(places, places, tokens, lambda k, q: k == q - 1)))
    before, tokens = run.read("a0.h2", "a1.h1", "k"), run.read("embed", "a1.h1", "q")
    run.gives("a1.h1", one_of(chosen(before, tokens, places, lambda k, q: k == q)))
    place, tokens = run.read("a1.h1", "a2.h1", "q"), run.read("embed", "a2.h1", "v")
    run.gives("a2.h1", chosen(places, place, tokens, lambda k, q: k == q))
    return said(run.read("a2.h1", "answer", "answer"))


def half(run: Run) -> Row:
    count(run, "a0.h2", lambda key, query: key == query)
    count(run, "a0.h0", lambda *_: True)
    counts, lengths = run.read("a0.h2", "m0", "in"), run.read("a0.h0", "m0", "in")
    run.gives("m0", list(zip(counts, lengths, strict=True)))
    compared = ["yes" if 2 * n >= length else "no" for n, length in run.read("m0", "m1", "in")]
    run.gives("m1", [{word: 1.0} for word in compared])
    return run.read("m1", "answer", "answer")


PROGRAMS = {
    "tracr-reverse": reverse,
    "tracr-frac-prevs": frac_prevs,
    "tracr-sort-unique": sort_unique,
    "tracr-recall": recall,
    "tracr-half": half,
}


def lead(name: str, value: Any, own: str, other: str) -> float:
    """By how much the read-out prefers one word to another, but for what is the same whatever is
    read: a number is read as the nearest of all outputs, 4 logits ahead of its neighbour."""
    if isinstance(value, dict):
        return SCALE * (value.get(own, 0.0) - value.get(other, 0.0))
    return 2 * value * LEAD / _closest(name) ** 2 * float(Fraction(own) - Fraction(other))


@cache
def _closest(name: str) -> float:
    """How far apart the closest two outputs are."""
    values = sorted({Fraction(word) for row in load_saved(name) for word in row.outputs.values()})
    return float(min(b - a for a, b in pairwise(values)))


@cache
def edges_of(name: str, read: int, mlps: Any) -> dict[Path, Edge]:
    """Every path between all components, at all tokens, to the answer at this one."""
    model = load_model(name, device="cpu")
    sites = (Site(EMBED, "all"), *all_sites(model.n_layers, model.n_heads, ("all",)))
    circuit = Circuit(
        model=name, task="t", claim="c", method="x", seed=0, sites=sites, scores=(0.0,) * len(sites)
    )
    batch = encode(model, SavedInputs(load_saved(name)).everything())[read - 1]
    return {
        (
            str(edge.sender.component),
            str(edge.receiver.component) if edge.receiver else "answer",
            edge.channel,
        ): edge
        for edge in find_edges(model, circuit, batch, mlps=mlps)
    }


def expected(name: str, paths: Sequence[Path], read: int, mlps: str) -> dict[Path, np.ndarray]:
    """What the lead loses by each path, in each pair, by the program."""
    say = PROGRAMS[name]
    (desideratum,) = (
        each for each in SavedInputs(load_saved(name)).everything() if each.read == str(read)
    )
    lost: dict[Path, list[float]] = {path: [] for path in paths}
    for pair in desideratum.pairs:
        own, other = (words_of(one or "").strip() for one in (pair.base_answer, pair.source_answer))
        if own == other:
            continue
        base, source = (Run(each.text.split()[1:]) for each in (pair.base, pair.source))
        before = lead(name, say(base)[read - 1], own, other)
        say(source)
        inputs = {path[1:] for path in base.reads}
        for sender, receiver, channel in paths:
            after = before
            if sender in base.gave and (receiver, channel) in inputs:  # the program knows no others
                sent = _sent(say, base, source, sender, mlps)
                run = Run(base.tokens, brings=((receiver, channel), sent))
                after = lead(name, say(run)[read - 1], own, other)
            lost[sender, receiver, channel].append(before - after)
    return {path: np.array(each) for path, each in lost.items()}


class Weights:
    """What a component can write, and what another one makes of it before anything nonlinear."""

    def __init__(self, name: str) -> None:
        self.oracle = read_oracle(FOLDERS / name)
        self.weights = self.oracle.weights
        self.d_head = len(self.weights["layers.0.attn.q.weight"]) // self.oracle.n_heads

    def between(self, sender: str, receiver: str, channel: str) -> np.ndarray:
        return self._reads(receiver, channel) @ self._writes(sender)

    def _writes(self, part: str) -> np.ndarray:
        """A column for each direction in which what it writes can differ."""
        if part == "embed":
            rows = self.weights["tok_embed.weight"][np.unique(self.oracle.tokens[:, 1:])]
            return (rows - rows[0]).T
        if part.startswith("m"):
            return self.weights[f"layers.{part[1:]}.mlp.fc_out.weight"]
        layer, rows = self._place(part)
        return self.weights[f"layers.{layer}.attn.o.weight"][:, rows]

    def _reads(self, part: str, channel: str) -> np.ndarray:
        if part == "answer":
            return self.weights["head.weight"]
        if part.startswith("m"):
            layer = f"layers.{part[1:]}.mlp"
            heard = self.weights[f"{layer}.fc_out.weight"][:-UNREAD].any(axis=0)  # neurons
            return self.weights[f"{layer}.fc_in.weight"][heard]
        layer, rows = self._place(part)
        return self.weights[f"layers.{layer}.attn.{channel}.weight"][rows]

    def _place(self, part: str) -> tuple[str, slice]:
        layer, index = part[1:].split(".h")
        return layer, slice(int(index) * self.d_head, (int(index) + 1) * self.d_head)


def _sent(say: Callable, base: Run, source: Run, sender: str, mlps: str) -> Mapping[str, Row]:
    """What each component gives when only the sender, or MLPs after it too, may differ from the
    base."""
    if mlps == "frozen":
        return base.gave | {sender: source.gave[sender]}
    heads = {part: row for part, row in base.gave.items() if not part.startswith("m")}
    run = Run(base.tokens, heads | {sender: source.gave[sender]})
    say(run)
    return run.gave


LAST = {name: max(load_saved(name)[0].outputs) for name in PROGRAMS}
CASES = [
    *((name, 2, "frozen") for name in PROGRAMS),
    *((name, last, mlps) for name, last in LAST.items() for mlps in MLPS),
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_say_what_they_should(name):
    for row in load_saved(name):
        words = row.text.split()[1:]
        outputs = PROGRAMS[name](Run(words))
        for output, word in zip(outputs, SAYS[name](words), strict=True):
            assert output == ({word: 1.0} if isinstance(output, dict) else float(Fraction(word)))


# Each program once, with MLPs of either kind, and one in the middle; the others are slow ones.
QUICK = [(name, LAST[name], MLPS[n % 2]) for n, name in enumerate(PROGRAMS)]
QUICK.append(("tracr-recall", 2, "frozen"))


@pytest.mark.parametrize(
    ("name", "read", "mlps"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in CASES],
)
def test_every_edge_is_that_of_the_program(name, read, mlps):
    """Among all heads, MLPs and the embedding, busy ones that nothing reads with them."""
    found = edges_of(name, read, mlps)
    truth = expected(name, list(found), read, mlps)
    assert any(each.any() for each in truth.values())
    for path, edge in found.items():
        exact = EXACT * max(1.0, float(np.abs(truth[path]).max()))
        assert edge.n == len(truth[path])
        assert edge.effect == pytest.approx(truth[path].mean(), abs=exact), path
        if truth[path].any():
            assert edge.low > exact, path
        else:
            assert -exact < edge.low <= edge.high < exact, path


@pytest.mark.parametrize("name", PROGRAMS)
def test_arguments_are_what_the_weights_connect(name):
    """From one component that is heard to another, or to the answer, nothing that differs gets
    from what the first writes into what the second reads, but for the program's arguments; and
    these all do, but for the query of a head that selects everything, which all tokens ask."""
    model, run = load_model(name, device="cpu"), Run(load_saved(name)[0].text.split()[1:])
    PROGRAMS[name](run)
    idle, paths = set(map(str, unread(model))), edges_of(name, LAST[name], "frozen")
    heard = {sender for sender, *_ in paths} - idle
    assert heard == run.gave.keys()
    weights, connected = Weights(name), set()
    for sender, receiver, channel in paths:
        if sender in heard and receiver not in idle:
            if np.abs(weights.between(sender, receiver, channel)).max() > EXACT:
                connected.add((sender, receiver, channel))
    counts_all = {"tracr-reverse": "a0.h2", "tracr-half": "a0.h0"}
    assert connected == run.reads - {("embed", counts_all.get(name), "q")}
