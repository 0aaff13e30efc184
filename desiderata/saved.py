"""Inputs saved beside a model, each with the outputs that it gives: what `suffices` must keep."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Saved:
    """An input and the words that the model puts out there, by index of the token (from 0)."""

    text: str
    outputs: Mapping[int, str]
