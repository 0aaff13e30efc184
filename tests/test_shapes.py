"""Shapes and types are checked while tests run: of functions, of those inside others, of fields."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from beartype import beartype
from jaxtyping import Float
from torch import Tensor

import circuitfind
from circuitfind.mediators.head import HEADS, head
from circuitfind.objective.mask import membership_of

from .shapes import checked

check = partial(checked, typechecker=beartype)
WRONG = "parameters of|return value of|violates type hint"


@check
def twice(x: Float[Tensor, "row pos"], name: str = "") -> Float[Tensor, "row pos"]:
    return x if name == "as it is" else 2 * x.flatten()


@check
def length(text: str) -> int:
    return text if text == "no number" else len(text)  # pyright: ignore[reportReturnType]


@check
@dataclass(frozen=True)
class Row:
    values: Float[Tensor, " pos"]
    name: str = ""


def adder(by):
    """Another function of the same code at every call."""

    @check
    def add(x: Float[Tensor, "row pos"], *more: int, last: str = "") -> Float[Tensor, " row"]:
        return x.sum(-1) + by if last != "whole" else x

    return add


def test_shapes_of_arguments_and_of_what_comes_back_are_checked():
    assert twice(torch.ones(2, 3), "as it is").shape == (2, 3)
    for wrong in (
        lambda: twice(torch.ones(2, 3)),
        lambda: twice(torch.ones(2), "as it is"),
        lambda: twice(torch.ones(2, 3), 5),
        lambda: twice(torch.ones(2, 3, dtype=torch.int64), "as it is"),
    ):
        with pytest.raises(Exception, match=WRONG):
            wrong()


def test_types_without_a_shape_are_checked():
    assert length("four") == 4
    for wrong in (4, "no number"):
        with pytest.raises(TypeError, match=WRONG):
            length(wrong)


def test_functions_inside_others_are_checked_however_often_they_are_made():
    made = [adder(by) for by in range(30)]
    for by, add in enumerate(made):
        assert add(torch.ones(2, 3), 1, 2, last="x").tolist() == [3 + by] * 2
        assert add.__name__ == "add"
        for wrong in (
            lambda add=add: add(torch.ones(2)),
            lambda add=add: add(torch.ones(2, 3), "one"),
            lambda add=add: add(torch.ones(2, 3), last="whole"),
        ):
            with pytest.raises(Exception, match=WRONG):
                wrong()


def test_fields_are_checked():
    assert Row(torch.ones(3)).values.shape == (3,)
    for wrong in (lambda: Row(torch.ones(2, 3)), lambda: Row(torch.ones(3), name=3)):  # pyright: ignore[reportArgumentType]
        with pytest.raises(Exception, match=WRONG):
            wrong()


def test_what_has_no_annotation_is_left_as_it_is():
    def bare(x):
        return x

    assert check(bare) is bare


def test_the_package_is_checked():
    """Functions, methods, and fields of circuitfind itself."""
    acts = torch.ones(2, 3, 4, 5)
    assert HEADS.split(acts).shape == (2, 3, 4, 5)
    for wrong in (
        lambda: HEADS.split(torch.ones(2)),
        lambda: membership_of((), 3),  # pyright: ignore[reportArgumentType]
        lambda: head(1, "two"),  # pyright: ignore[reportArgumentType]
        lambda: circuitfind.SearchConfig(steps="many"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(Exception, match=WRONG):
            wrong()
