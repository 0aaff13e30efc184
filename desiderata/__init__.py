"""The language of desiderata: what a circuit must do, in plain Python.

A task is a `CausalModel`; `model.carries("x")` and `model.suffices()` are claims about it;
`claim.sample(n, seed)` gives the desiderata for search and those held out. No torch, no model.
"""

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
from .claim import Claim, Sampleable
from .desideratum import Desideratum, Pair, Part, Sense, Texts, texts_of, words_of
from .domains import Choice, choice, distinct, integers, item_of, pool_of
from .given import GivenPairs, pairs_hold
from .limits import Limit, distribution, preference
from .lint import Problem, lint, lint_desiderata
from .prompt import Prompt, Span, fill, join
from .saved import Saved, SavedInputs
from .tables import is_table, read_pairs
from .token_ids import TokenIds

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
    "Limit",
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
    "Texts",
    "TokenIds",
    "alternatives",
    "choice",
    "distinct",
    "distribution",
    "fill",
    "integers",
    "is_table",
    "item_of",
    "join",
    "lint",
    "lint_desiderata",
    "name_of",
    "pairs_hold",
    "pool_of",
    "preference",
    "read_pairs",
    "texts_of",
    "words_of",
]
