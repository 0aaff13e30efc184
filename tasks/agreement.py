"""Subject-verb agreement: "The teachers near the farmer" -> " are", not " is".

What a verb agrees with is the number of the subject, also where another noun stands nearer. Linzen
et al. 2016 (arXiv 1611.01368) ask networks for it; Finlayson et al. 2021 (arXiv 2106.06087) and
Marks et al. 2024 (arXiv 2403.19647) look for what carries it. The answer is a preference: plural
verbs against singular ones, each a set, since a model may go on with any of them, or with none.

The claims are that the number of the subject passes through the circuit at the last token, for the
subject alone (`simple`), across a phrase (`phrase`) and across a relative clause (`clause`); and
that the noun in between, the attractor, makes no difference, or in `simple` the words before the
subject. Nouns are held out form by form: search may have "teacher" where "teachers" is held out.

Base accuracy (the right set is the more probable one, both prompts of a pair, 64 pairs of each
desideratum, search and held-out side): SmolLM2-135M `simple` 1.00 and 1.00, `phrase` 0.88 and 0.95,
`clause` 0.79 and 0.80 (n = 192 each).
"""

from desiderata import CausalModel, choice

SINGULAR = (
    "teacher", "farmer", "doctor", "lawyer", "student", "driver", "singer", "painter", "soldier",
    "writer", "pilot", "nurse", "king", "boy", "girl", "friend", "manager", "worker", "parent",
    "visitor", "leader", "player", "actor", "baker",
)  # fmt: skip
PLURAL = tuple(f"{noun}s" for noun in SINGULAR)
DETERMINERS = ("The", "Today the", "However, the", "In town the")
PREPOSITIONS = ("near", "behind", "beside", "opposite")
LIKING = ("like", "know", "help", "hate")

VERBS = {"singular": ("is", "was", "has", "does"), "plural": ("are", "were", "have", "do")}
AMONG = tuple(tuple(f" {verb}" for verb in verbs) for verbs in VERBS.values())


def number(subject: str) -> str:
    return "plural" if subject in PLURAL else "singular"


def verb(number: str) -> tuple[str, ...]:
    return VERBS[number]


def liking(attractor: str, love: str) -> str:
    """The verb of the relative clause, which agrees with its own subject."""
    return love if attractor in PLURAL else f"{love}s"


nouns = choice(SINGULAR + PLURAL)
opening = choice(DETERMINERS)

simple_model = CausalModel(
    inputs={"opening": opening, "subject": nouns},
    mechanisms=[number, verb],
    prompt="{opening} {subject}",
    completion=" {verb}",
)
phrase_model = CausalModel(
    inputs={
        "opening": opening,
        "subject": nouns,
        "preposition": choice(PREPOSITIONS),
        "attractor": nouns,
    },
    mechanisms=[number, verb],
    prompt="{opening} {subject} {preposition} the {attractor}",
    completion=" {verb}",
)
clause_model = CausalModel(
    inputs={"opening": opening, "subject": nouns, "love": choice(LIKING), "attractor": nouns},
    mechanisms=[number, verb, liking],
    prompt="{opening} {subject} that the {attractor} {liking}",
    completion=" {verb}",
)

simple = simple_model.carries("number", at="last", keeps=["opening"], among=AMONG)
phrase = phrase_model.carries("number", at="last", keeps=["attractor"], among=AMONG)
clause = clause_model.carries("number", at="last", keeps=["attractor"], among=AMONG)
