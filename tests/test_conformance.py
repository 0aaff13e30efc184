"""The conformance suites: our own kinds pass them, and each broken law is named in words."""

from dataclasses import dataclass, replace

import pytest
import torch

from circuitfind.answers.among import Among
from circuitfind.answers.top import Top
from circuitfind.circuits.circuit import Circuit
from circuitfind.donors.known import DONORS
from circuitfind.donors.other_model import OtherModel
from circuitfind.donors.source import Resample
from circuitfind.engines import Engine, Point
from circuitfind.mediators.head import HEADS, Heads
from circuitfind.mediators.known import MEDIATORS
from circuitfind.mediators.site import Component
from circuitfind.mediators.whole import MLPS, Mlps
from circuitfind.search import METHODS, MethodSpec
from circuitfind.testing import (
    Nonconforming,
    check_answer,
    check_check,
    check_donor,
    check_engine,
    check_mediator,
    check_method,
)
from circuitfind.validate import CHECKS, Check, Finding
from desiderata import texts_of

from .tiny import random_desideratum


@pytest.fixture(scope="module")
def model(tiny):
    return tiny("llama")


@pytest.mark.parametrize("name", ["llama", "llama on bridge", "gpt2", "mixtral"])
def test_our_engines_conform(tiny, name):
    check_engine(tiny(name).engine)


@pytest.mark.parametrize("kind", ["head", "mlp", "embed"])
@pytest.mark.parametrize("name", ["llama", "llama on bridge", "native"])
def test_our_mediators_conform(tiny, name, kind):
    check_mediator(MEDIATORS.named(kind), tiny(name))


@pytest.mark.parametrize("donor", DONORS.names())
@pytest.mark.parametrize("at", [("last",), ("x",)])
def test_our_donors_conform(model, donor, at):
    check_donor(DONORS.named(donor), model, random_desideratum(at))


def test_another_model_conforms_as_a_donor(tiny, model):
    check_donor(OtherModel(tiny("llama on bridge")), model, random_desideratum(("last",)))


def test_our_answers_conform(model):
    desideratum = random_desideratum(("last",))
    check_answer(Top(), model, desideratum)
    words = {
        word
        for pair in desideratum.pairs
        for answer in (pair.expected, pair.base_answer)
        for word in texts_of(answer)
    }
    first, *rest = sorted(words)
    check_answer(Among(tuple((word,) for word in sorted(words))), model, desideratum)
    half = len(rest) // 2
    sets = Among(((first, *rest[:half]), tuple(rest[half:])))
    check_answer(sets, model, desideratum)


@pytest.mark.parametrize("method", ["constrained", "attribution", "random"])
def test_our_methods_conform(method):
    check_method(METHODS.named(method))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_of_ours_conforms(method):
    check_method(METHODS.named(method))


@pytest.mark.parametrize("check", ["satisfaction", "leave one out", "faithfulness"])
def test_our_checks_conform(check):
    check_check(CHECKS.named(check))


@pytest.mark.slow
@pytest.mark.parametrize("check", [one.name for one in CHECKS if not one.of_mask])
def test_every_check_of_ours_conforms(check):
    check_check(CHECKS.named(check))


class Turned(Engine):
    """An engine whose tensors at one kind of point are laid out in another way."""

    name = "turned"

    def __init__(self, inner, kind, forth, back):
        self.inner, self.kind, self.forth, self.back = inner, kind, forth, back

    sizes = property(lambda self: self.inner.sizes)
    device = property(lambda self: self.inner.device)
    can = property(lambda self: frozenset({"gradients"}))
    digest = property(lambda self: self.inner.digest)
    plain_digest = property(lambda self: self.inner.plain_digest)

    def has(self, point):
        return self.inner.has(point)

    def weights(self):
        return self.inner.weights()

    def repeat_prefix(self, prefix, times, first=0):
        return self.inner.repeat_prefix(prefix, times, first)

    def forward(self, inputs, attends=None, edits=(), **options):
        turned = [
            (point, self._turn(edit) if point.kind == self.kind else edit) for point, edit in edits
        ]
        return self.inner.forward(inputs, attends, turned, **options)

    def _turn(self, edit):
        def turned(own):
            new = edit(self.forth(own))
            return None if new is None else self.back(new)

        return turned


def convolution(inner):
    """MLPs as a convolution's output: row, channel, height, width. The rank is that of heads."""
    return Turned(
        inner,
        "mlp",
        lambda own: own.transpose(1, 2).unflatten(1, (-1, 1)),
        lambda new: new.flatten(1, 2).transpose(1, 2),
    )


def heads_first(inner):
    return Turned(inner, "heads", lambda own: own.transpose(1, 2), lambda new: new.transpose(1, 2))


def heads_last(inner):
    return Turned(inner, "heads", lambda own: own.transpose(2, 3), lambda new: new.transpose(2, 3))


@pytest.mark.parametrize("turned", [convolution, heads_first])
def test_tensors_that_are_not_row_by_token_are_refused_in_words(model, turned):
    engine = turned(model.engine)
    with pytest.raises(Nonconforming, match=r"axis 1 holds tokens, of which there are 5"):
        check_engine(engine, additive=False)
    mediator = MLPS if turned is convolution else HEADS
    with pytest.raises(Nonconforming, match="a convolution, or heads on another axis"):
        check_mediator(mediator, replace(model, engine=engine))


def test_heads_on_the_last_axis_are_refused_in_words(model):
    engine = heads_last(model.engine)
    with pytest.raises(Nonconforming, match=r"axis 2 holds the 4 heads, axis 3 their width"):
        check_engine(engine, additive=False)
    with pytest.raises(Nonconforming, match="axis 2 holds the 4 heads"):
        check_mediator(HEADS, replace(model, engine=engine))


@dataclass(frozen=True)
class Halved(Mlps):
    kind = "halved"

    def name(self, component):
        return f"x{component.layer}"

    def components(self, engine):
        return (Component(layer, self) for layer in range(engine.sizes.n_layers))

    def parse(self, name):
        return Component(int(name[1:]), self) if name[:1] == "x" else None

    def join(self, acts, parts):
        return parts.squeeze(2) / 2


@dataclass(frozen=True)
class Unnamed(Heads):
    kind = "unnamed"

    def parse(self, name):
        return None


def test_mediators_that_are_no_lenses_are_refused_in_words(model):
    with pytest.raises(Nonconforming, match="joining what was split is not the activation"):
        check_mediator(Halved(), model)
    with pytest.raises(Nonconforming, match="the name does not read back as the component"):
        check_mediator(Unnamed(), model)


class Forgets(Turned):
    """An engine that keeps what an edit did."""

    def forward(self, inputs, attends=None, edits=(), **options):
        self.seen = getattr(self, "seen", 0) + bool(edits)
        output, prefix = self.inner.forward(inputs, attends, edits, **options)
        return output + 1e-3 * self.seen, prefix


class Deaf(Turned):
    """An engine whose edits at MLPs change nothing, and which has a point that nobody knows."""

    def has(self, point):
        return point.kind == "no such point" or self.inner.has(point)

    def forward(self, inputs, attends=None, edits=(), **options):
        known = [(point, edit) for point, edit in edits if self.inner.has(point)]
        kept = [
            (at, (lambda own, edit=edit: edit(own) and None) if at.kind == "mlp" else edit)
            for at, edit in known
        ]
        return self.inner.forward(inputs, attends, kept, **options)


def test_engines_that_keep_something_or_do_not_listen_are_refused_in_words(model):
    with pytest.raises(Nonconforming, match="a plain pass gives another output"):
        check_engine(Forgets(model.engine, "", None, None), additive=False)
    with pytest.raises(Nonconforming) as caught:
        check_engine(Deaf(model.engine, "", None, None))
    assert "a point of a kind that nobody knows" in str(caught.value)
    assert "is no error" in str(caught.value)


@dataclass(frozen=True)
class Neighbours(Resample):
    """Takes the pair before among those that it is shown, as the donor did once."""

    name = "neighbours"

    def prompts(self, base, source, mean_over):
        return source

    def value(self, acts, n_pairs):
        return acts.roll(1, dims=0)


def test_a_donor_that_depends_on_the_batch_is_refused_in_words(model):
    with pytest.raises(Nonconforming, match="takes another value alone than among 5 pairs"):
        check_donor(Neighbours(), model, random_desideratum(("last",)))


@dataclass(frozen=True)
class Generous(Top):
    name = "generous"

    def hit(self, output, target):
        return super().hit(output, target) | True


@dataclass(frozen=True)
class Crowd(Top):
    name = "crowd"

    def lead(self, output, target):
        return super().lead(output, target) - super().lead(output, target).mean(1, keepdim=True)


def test_answers_that_break_a_law_are_refused_in_words(model):
    desideratum = random_desideratum(("last",))
    with pytest.raises(Nonconforming) as caught:
        check_answer(Generous(), model, desideratum)
    assert "a hit is not where the lead is above 0" in str(caught.value)
    assert "not a number counts as a hit" in str(caught.value)
    with pytest.raises(Nonconforming, match="another lead alone than among 5 pairs"):
        check_answer(Crowd(), model, desideratum)


def restless(problem, config, progress):
    """Another circuit every time, whatever is pinned, vetoed or asked for."""
    found = METHODS.named("random").run(problem, config, progress)
    some = torch.randperm(len(found.mask.sites))[:2].tolist()
    sites = tuple(found.mask.sites[n] for n in some)
    circuit: Circuit = replace(found.circuit, sites=sites, scores=(0.0, 0.0))
    return replace(found, circuit=circuit)


def test_methods_that_keep_to_nothing_are_refused_in_words():
    with pytest.raises(Nonconforming) as caught:
        check_method(MethodSpec(name="restless", run=restless))
    assert "asked for 3 sites, it gives 2" in str(caught.value)


def loud(inputs):
    nothing = {"value": 3.0, "low": 2.0, "high": 1.0, "n": 0, "ablation": "", "split": ""}
    return Finding(name="loud", verdict="holds", says="", **nothing)


def test_checks_without_sense_are_refused_in_words():
    with pytest.raises(Nonconforming) as caught:
        check_check(Check(name="loud", run=loud, about="nothing"))
    assert "its interval is empty: 2.0 to 1.0" in str(caught.value)
    assert "it says nothing" in str(caught.value)


def test_an_engine_without_a_point_lacks_it_in_words(model):
    lacking = Point(0, "no such point")
    with pytest.raises(ValueError, match="no such point"):
        model.engine.forward(torch.tensor([[1, 2]]), edits=[(lacking, lambda own: own)])
