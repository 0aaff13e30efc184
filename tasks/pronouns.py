"""Gendered pronouns: "Mary went to the office because" -> " she", not " he".

What a name says of gender passes on to the pronoun that takes it up. Vig et al. 2020 (arXiv
2004.12265) trace it by mediation; Mathwin and Corlouer 2023 (Apart Research) report a preliminary
circuit in GPT-2 small. The answer is a preference between two pronouns.

The claim is that the gender of the name passes through the circuit at the last token, and that the
place does not matter.

Base accuracy (the right pronoun is the more probable one, both prompts of a pair, 64 pairs of each
desideratum): SmolLM2-135M 0.67 on the search side, 0.69 held out (n = 192 each).
"""

from desiderata import CausalModel, choice

MEN = (
    "John", "James", "Robert", "Michael", "David", "William", "Richard", "Thomas", "Daniel",
    "Paul", "George", "Kevin",
)  # fmt: skip
WOMEN = (
    "Mary", "Sarah", "Karen", "Lisa", "Nancy", "Emily", "Laura", "Rebecca", "Rachel", "Anna",
    "Helen", "Maria",
)  # fmt: skip
PLACES = ("office", "market", "library", "station", "park", "hospital")
REASONS = ("because", "and then", "so that", "before")


def gender(name: str) -> str:
    return "female" if name in WOMEN else "male"


def pronoun(gender: str) -> str:
    return {"male": "he", "female": "she"}[gender]


model = CausalModel(
    inputs={"name": choice(MEN + WOMEN), "place": choice(PLACES), "reason": choice(REASONS)},
    mechanisms=[gender, pronoun],
    prompt="{name} went to the {place} {reason}",
    completion=" {pronoun}",
)

claim = model.carries("gender", at="last", keeps=["place"], among=[" he", " she"])
