"""Indirect objects with names of several tokens: "... Fiona gave a book to" -> " Beatrice".

The task of tasks/ioi.py (Wang et al. 2022, arXiv 2211.00593) with names that tokenizers write as
one to three tokens; SmolLM2 writes 16 of the 24 as two or three. The answer is what greedy decoding
writes, token by token. The claim is that the indirect object's name passes through the circuit at
the last token, and that neither the object nor the order of mention does. The circuit brings the
name's first token. The others are computed at the answer's own tokens, which are never patched,
from what the name begins with and from the patched prompt (docs/answers.md).

Base accuracy (all tokens of the name, both prompts of a pair, 64 pairs of each desideratum):
SmolLM2-135M 0.78 on the search side, 0.77 held out (n = 256 each).
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
