"""The language of desiderata: what a circuit must do, in plain Python.

A task is a `CausalModel`; `model.carries("x")` and `model.suffices()` are claims about it;
`claim.sample(n, seed)` gives the desiderata for search and those held out. No torch, no model.
"""

from .calls import TaskError
from .causal_model import CausalModel
from .choices import (
    Alternatives,
    AnswerChoice,
    Donor,
    DonorChoice,
    Named,
    alternatives,
    name_of,
)
from .claim import Claim, GivenPairs, Sampleable, pairs_hold
from .desideratum import Desideratum, Pair, Part, Sense, Texts, texts_of
from .domains import Choice, choice, distinct, integers, item_of, pool_of
from .external import read_pairs
from .lint import lint, lint_desiderata
from .problem import Problem
from .prompt import Prompt, Span, fill, join
from .saved import Saved, SavedInputs

__all__ = [
    "Alternatives",
    "AnswerChoice",
    "CausalModel",
    "Choice",
    "Claim",
    "Desideratum",
    "Donor",
    "DonorChoice",
    "GivenPairs",
    "Named",
    "Pair",
    "Part",
    "Problem",
    "Prompt",
    "Sampleable",
    "Saved",
    "SavedInputs",
    "Sense",
    "Span",
    "TaskError",
    "Texts",
    "alternatives",
    "choice",
    "distinct",
    "fill",
    "integers",
    "item_of",
    "join",
    "lint",
    "lint_desiderata",
    "name_of",
    "pairs_hold",
    "pool_of",
    "read_pairs",
    "texts_of",
]
