"""Indirect objects with names of several tokens: "... Fiona gave a book to" -> " Beatrice".

The task of tasks/ioi.py (Wang et al. 2022, arXiv 2211.00593) with names that tokenizers write as
one to three tokens: the answer is what greedy decoding writes, token by token. The circuit at the
last token chooses the name. What follows its first token is copied from the prompt, with the
patched keys and values of the last token in view.

Base accuracy (n = 64):
SMOLLM
"""

from desiderata import CausalModel, choice

from .ioi import OBJECTS, PLACES, TEMPLATES, answer, prompt

NAMES = (
    "Beatrice", "Ingrid", "Bridget", "Fiona", "Gareth", "Matilda", "Penelope", "Desmond",
    "Clarissa", "Mathilde", "Winston", "Beverly", "Harriet", "Rupert", "Gertrude", "Lorenzo",
    "Agatha", "Tabitha", "Bernard", "Clement", "Edmund", "Ernest", "Gloria", "Hector",
)  # fmt: skip

model = CausalModel(
    inputs={
        "io": choice(NAMES),
        "s": choice(NAMES),
        "place": choice(PLACES, one_token=True),
        "object": choice(OBJECTS, one_token=True),
        "order": choice(("io first", "s first")),
        "template": choice(TEMPLATES[:1]),
    },
    mechanisms=[answer],
    where=lambda io, s: io != s,
    prompt=prompt,
    completion=" {answer}",
)

claim = model.carries("io", at="last", keeps=["object", "order"])
