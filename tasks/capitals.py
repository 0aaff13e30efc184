"""Capitals: "The capital of France is the city of" -> " Paris".

A fact looked up from its subject. Meng et al. 2022 (arXiv 2202.05262) trace where such facts are
recalled; Geva et al. 2023 (arXiv 2304.14767) how heads at the last token extract them. The claim is
that the capital passes through the circuit at the last token, and that the wording makes no
difference. A country is on one side of the split only: held-out pairs are about other facts.

Base accuracy (the capital is what the model would write, both prompts of a pair, up to 64 pairs of
each desideratum; there are only 20 held-out ones in which the template alone differs): SmolLM2-135M
0.71 on the search side (n = 168), 0.57 held out (n = 148). In all of them the capital is more
probable than the other capitals that the pair is compared with by `--answer among`.
"""

from desiderata import CausalModel, Prompt, choice, fill

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Germany": "Berlin", "Japan": "Tokyo", "Spain": "Madrid",
    "Russia": "Moscow", "England": "London", "Egypt": "Cairo", "Austria": "Vienna",
    "Greece": "Athens", "Ireland": "Dublin", "Cuba": "Havana", "Peru": "Lima", "Norway": "Oslo",
    "Sweden": "Stockholm", "Portugal": "Lisbon", "Poland": "Warsaw", "Hungary": "Budapest",
    "Thailand": "Bangkok", "China": "Beijing", "Turkey": "Ankara", "Iran": "Tehran",
    "Iraq": "Baghdad", "Kenya": "Nairobi", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Belgium": "Brussels", "Canada": "Ottawa", "Scotland": "Edinburgh", "Wales": "Cardiff",
}  # fmt: skip
TEMPLATES = (
    "The capital of {country} is the city of",
    "The capital city of {country} is called",
)


def capital(country: str) -> str:
    return CAPITALS[country]


def written(template: str, country: str) -> Prompt:
    return fill(template, country=country)


model = CausalModel(
    inputs={"country": choice(CAPITALS), "template": choice(TEMPLATES)},
    mechanisms=[capital],
    prompt=written,
    completion=" {capital}",
)

claim = model.carries("capital", at="last")
