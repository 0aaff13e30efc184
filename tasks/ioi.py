"""Indirect object identification: "When Mary and John went to the store, John gave a drink to".

The answer is the name that was said once. Wang et al. 2022 (arXiv 2211.00593) found a circuit of
26 heads for it in GPT-2 small; name movers fetch the answer to the last token. The claim here is
about them: the indirect object's name passes through the circuit at the last token, and neither
the place, nor the object, nor the order of mention does.

Base accuracy (answer is the most likely next token, all the words below): SmolLM2-135M 0.97.
Names, places and objects that are not one token for the model at hand are left out by the engine.
"""

from desiderata import CausalModel, Prompt, choice, fill

# fmt: off
NAMES = (
    "Mary", "John", "James", "Robert", "Michael", "David", "William", "Richard", "Thomas",
    "Charles", "Daniel", "Matthew", "Anthony", "Mark", "Paul", "Steven", "Andrew", "Kenneth",
    "George", "Joshua", "Kevin", "Brian", "Edward", "Ronald", "Timothy", "Jason", "Jeffrey",
    "Ryan", "Jacob", "Gary", "Nicholas", "Eric", "Jonathan", "Stephen", "Larry", "Justin",
    "Scott", "Brandon", "Benjamin", "Samuel", "Frank", "Gregory", "Patrick", "Alexander", "Jack",
    "Dennis", "Jerry", "Tyler", "Aaron", "Henry", "Peter", "Adam", "Nathan", "Walter", "Kyle",
    "Sarah", "Karen", "Lisa", "Nancy", "Emily", "Laura", "Rebecca", "Rachel", "Anna", "Helen",
    "Maria", "Julia", "Kate", "Alice", "Susan", "Jessica", "Michelle", "Amanda", "Amy", "Emma",
)
PLACES = (
    "store", "park", "school", "station", "office", "garden", "beach", "museum", "library",
    "market", "hospital", "church", "restaurant", "farm", "zoo", "gym", "bank", "house",
)
OBJECTS = (
    "drink", "book", "ring", "ball", "key", "letter", "computer", "flower", "phone", "camera",
    "basketball", "necklace", "kiss", "ticket", "map", "pen", "gift", "card",
)
TEMPLATES = (
    "When {first} and {second} went to the {place}, {s} gave a {object} to",
    "After {first} and {second} went to the {place}, {s} gave a {object} to",
    "While {first} and {second} were at the {place}, {s} gave a {object} to",
    "Then, {first} and {second} went to the {place}. {s} gave a {object} to",
)
# fmt: on


def answer(io: str) -> str:
    return io


def prompt(template: str, order: str, io: str, s: str, place: str, object: str) -> Prompt:
    first, second = ("{io}", "{s}") if order == "io first" else ("{s}", "{io}")
    ordered = template.replace("{first}", first).replace("{second}", second)
    return fill(ordered, io=io, s=s, place=place, object=object)


model = CausalModel(
    inputs={
        "io": choice(NAMES, one_token=True),
        "s": choice(NAMES, one_token=True),
        "place": choice(PLACES, one_token=True),
        "object": choice(OBJECTS, one_token=True),
        "order": choice(("io first", "s first")),
        "template": choice(TEMPLATES, held_out=TEMPLATES[-1:]),
    },
    mechanisms=[answer],
    where=lambda io, s: io != s,
    prompt=prompt,
    completion=" {answer}",
)

claim = model.carries("io", at="last", keeps=["place", "object", "order"])
