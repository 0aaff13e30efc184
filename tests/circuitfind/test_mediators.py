"""Mediators: names read back, parts join to what they were cut from, other shapes are refused."""

import random

import pytest
import torch

from circuitfind.engines.engine import Point
from circuitfind.mediators.head import HEADS, head
from circuitfind.mediators.known import MEDIATORS, parse_site
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import Decoder
from circuitfind.mediators.whole import EMBED, MLPS, mlp
from circuitfind.testing import check_mediator

ALL = MEDIATORS.all()
SHAPES = {"head": (2, 3, 4, 8), "mlp": (2, 3, 8), "embed": (2, 3, 8)}


@pytest.mark.parametrize("mediator", ALL, ids=lambda one: one.kind)
@pytest.mark.parametrize("name", ["llama", "falcon", "llama on bridge", "native"])
def test_every_mediator_keeps_the_laws(tiny, mediator, name):
    check_mediator(mediator, tiny(name))


@pytest.mark.parametrize("mediator", ALL, ids=lambda one: one.kind)
def test_joining_what_was_split_gives_the_activation_bit_for_bit(mediator):
    acts = torch.randn(SHAPES[mediator.kind])
    parts = mediator.split(acts)
    assert parts.shape == (2, 3, 4 if mediator.kind == "head" else 1, 8)
    assert torch.equal(mediator.join(acts, parts), acts)


@pytest.mark.parametrize(
    ("mediator", "shape", "words"),
    [
        (HEADS, (2, 3, 32), r"row, position, head and width; got one of shape \(2, 3, 32\)"),
        (MLPS, (2, 3, 4, 8), r"row, position and width; got one of shape \(2, 3, 4, 8\)"),
        (EMBED.mediator, (2, 8), r"row, position and width; got one of shape \(2, 8\)"),
    ],
)
def test_activations_of_another_rank_are_refused(mediator, shape, words):
    with pytest.raises(ValueError, match=words):
        mediator.split(torch.zeros(shape))


def test_names_are_read_back():
    for mediator in ALL:
        for component in mediator.components(Decoder(12, 11)):
            assert mediator.parse(str(component)) == component
            assert parse_site(f"{component}@x.2") == Site(component, "x.2")
    assert [str(one) for one in (head(9, 6), mlp(3), EMBED)] == ["a9.h6", "m3", "embed"]


@pytest.mark.parametrize("name", ["a9.h6", "a9@last", "m@last", "a1.h2@", "M3@last", "a٣.h1@last"])
def test_what_is_no_site_is_refused(name):
    with pytest.raises(ValueError, match=r"a site is called like a9\.h6@last"):
        parse_site(name)


def test_components_are_in_the_order_of_the_pass():
    decoder = Decoder(3, 4)
    ordered = [EMBED]
    for layer in range(3):
        ordered += [*(head(layer, index) for index in range(4)), mlp(layer)]
    listed = [component for mediator in ALL for component in mediator.components(decoder)]
    random.Random(0).shuffle(listed)
    assert sorted(listed) == ordered
    assert [component.point for component in ordered[:2]] == [Point(0, "embed"), Point(0, "heads")]
    assert head(1, 0).depth == head(1, 3).depth < mlp(1).depth < head(2, 0).depth
    assert (head(1, 3).part, mlp(1).part, EMBED.part) == (3, 0, 0)
