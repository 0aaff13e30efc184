"""Variable binding: "Anna has the key . Bob has the map . Anna has the" -> "key".

Which entity holds what is said once, one of them is asked for. Prakash et al. 2024
(arXiv 2402.14811) find in Llama-7B that the answer's position is passed to the last token, where
value fetchers bring the object; Davies et al. 2023 (arXiv 2307.03637) find such heads with
desiderata. The claim here is about the value: the answer passes through the circuit at the last
token, and through nothing else there.

Base accuracy: `binder` 1.00 (n = 1000) on names and objects that training bound in scrambled
prompts only, and on a template that it never bound at all.
"""

from desiderata import CausalModel, Prompt, choice, distinct, fill, item_of

from .words import HELD_OUT_TEMPLATES, NAMES, OBJECTS, RETRIEVAL

ENTITIES = 3
TEMPLATES = tuple(RETRIEVAL["sentence"])


def position(names: tuple[str, ...], query: str) -> int:
    return names.index(query)


def answer(objects: tuple[str, ...], position: int) -> str:
    return objects[position]


def prompt(template: str, names: tuple[str, ...], objects: tuple[str, ...], query: str) -> Prompt:
    """The clauses in order, then the query; spans `names.0`, `objects.0`, ..., `query`."""
    parts = RETRIEVAL["sentence"][template]
    clauses = (
        parts["clause"].replace("{key}", f"{{names[{n}]}}").replace("{value}", f"{{objects[{n}]}}")
        for n in range(len(names))
    )
    text = parts["join"].join(clauses) + parts["query"].replace("{key}", "{query}")
    return fill(text, names=names, objects=objects, query=query)


model = CausalModel(
    inputs={
        "names": distinct(choice(NAMES, one_token=True), ENTITIES),
        "objects": distinct(choice(OBJECTS, one_token=True), ENTITIES),
        "query": item_of("names"),
        "template": choice(TEMPLATES, held_out=[HELD_OUT_TEMPLATES["sentence"]]),
    },
    mechanisms=[position, answer],
    prompt=prompt,
    completion=" {answer}",
)

claim = model.carries("answer", at="last", keeps=[], complete=True)
