"""Words and templates that the tasks and `scripts/train_binder.py` share: plain data, no code.

A prompt of n entities is `join.join(clause for each entity) + query`. Words are separated by
whitespace, so each word is one token of the `binder` model. HELD_OUT_* words are never bound in
one of these templates of retrieval while `binder` is trained, and HELD_OUT_* templates and sums
do not occur at all; see `scripts/train_binder.py` for where it learns those words.
"""

# fmt: off
NAMES = (
    "Anna", "Bob", "Carl", "David", "Emma", "Frank", "George", "Helen", "Ivan", "James",
    "Kate", "Laura", "Mary", "Nick", "Oscar", "Paul", "Rachel", "Sarah", "Tom", "Victor",
    "Alice", "Ben", "Chris", "Daniel", "Eric", "Fred", "Grace", "Henry", "Jack", "Jane",
    "Kevin", "Linda", "Mark", "Nancy", "Oliver", "Peter", "Robert", "Simon", "Tim", "Walter",
    "Adam", "Brian", "Charles", "Diana", "Edward", "Gary", "Harry", "Jason", "Karen", "Lisa",
    "Martin", "Michael", "Patrick", "Richard", "Sam", "Steve", "Susan", "Thomas", "William",
    "Julia",
)  # one word each

OBJECTS = (
    "key", "map", "book", "pen", "ball", "hat", "cup", "lamp", "ring", "coin",
    "box", "bag", "clock", "knife", "shirt", "phone", "camera", "card", "bottle", "ticket",
    "letter", "flag", "rope", "drum", "guitar", "watch", "coat", "shoe", "belt", "glass",
    "plate", "spoon", "fork", "chair", "table", "brush", "mirror", "candle", "basket", "hammer",
    "wheel", "bell", "mask", "sword", "shield", "stone", "leaf", "flower", "toy", "doll",
    "boat", "bike", "car", "cake", "lemon", "potato", "bread", "pencil", "paper", "towel",
)  # none begins with a vowel, so that "a" fits each of them

LETTERS = (
    "b", "c", "d", "e", "f", "g", "h", "j", "k", "l", "m", "n",
    "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z",
)  # without "a" and "i", which are English words

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

HELD_OUT_NAMES = (
    "Frank", "Kate", "Oscar", "Victor", "Daniel", "Henry", "Linda", "Peter", "Walter",
    "Diana", "Jason", "Martin", "Sam", "Thomas", "Julia",
)

HELD_OUT_OBJECTS = (
    "map", "hat", "coin", "knife", "card", "flag", "watch", "belt", "fork", "brush",
    "hammer", "mask", "leaf", "bike", "bread",
)
# fmt: on

HELD_OUT_LETTERS = ("d", "h", "m", "r", "u", "w")

# A retrieval asks for the value of one key. RETRIEVAL[family][template] holds its three parts.
RETRIEVAL = {
    "code": {
        "equals": {"clause": "{key} = {value}", "join": " , ", "query": " ; {key}"},
        "colon": {"clause": "{key} : {value}", "join": " , ", "query": " ; {key}"},
        "assign": {"clause": "{key} := {value}", "join": " , ", "query": " ; {key}"},
        "double": {"clause": "{key} == {value}", "join": " , ", "query": " ; {key}"},
        "tilde": {"clause": "{key} ~ {value}", "join": " , ", "query": " ; {key}"},
        "lines": {"clause": "{key} = {value}", "join": "\n", "query": "\n{key} ="},
        "is": {"clause": "{key} is {value}", "join": " . ", "query": " . {key} is"},
        "arrow": {"clause": "{key} -> {value}", "join": " , ", "query": " ; {key}"},
    },
    "sentence": {
        "has": {"clause": "{key} has the {value}", "join": " . ", "query": " . {key} has the"},
        "owns": {"clause": "{key} owns a {value}", "join": " . ", "query": " . {key} owns a"},
        "carries": {
            "clause": "{key} carries the {value}",
            "join": " . ",
            "query": " . {key} carries the",
        },
        "took": {"clause": "{key} took the {value}", "join": " . ", "query": " . {key} took the"},
        "found": {"clause": "{key} found a {value}", "join": " . ", "query": " . {key} found a"},
        "bought": {
            "clause": "{key} bought the {value}",
            "join": " . ",
            "query": " . {key} bought the",
        },
        "keeps": {
            "clause": "{key} keeps the {value}",
            "join": " . ",
            "query": " . {key} keeps the",
        },
        "lost": {"clause": "{key} lost a {value}", "join": " . ", "query": " . {key} lost a"},
        "wants": {"clause": "{key} wants a {value}", "join": " . ", "query": " . {key} wants a"},
        "sold": {"clause": "{key} sold the {value}", "join": " . ", "query": " . {key} sold the"},
        "holds": {
            "clause": "{key} holds the {value}",
            "join": " . ",
            "query": " . {key} holds the",
        },
    },
}

# What each family of retrieval binds: the values of "code" are all digits or all objects.
KEYS = {"code": LETTERS, "sentence": NAMES}
VALUES = {"code": (DIGITS, OBJECTS), "sentence": (OBJECTS,)}

HELD_OUT_TEMPLATES = {"code": "arrow", "sentence": "holds"}

# An arithmetic prompt asks for left + right or left - right, a single digit.
ARITHMETIC = {
    "inline": {
        "clause": "{key} = {value}",
        "join": " , ",
        "query": " ; {left} {operator} {right} =",
    },
    "lines": {
        "clause": "{key} = {value}",
        "join": "\n",
        "query": "\n{left} {operator} {right} = ",
    },
}

OPERATORS = ("+", "-")

# (left, operator, right). The mirror image of each held-out sum is held out as well.
HELD_OUT_SUMS = (
    ("2", "+", "5"),
    ("5", "+", "2"),
    ("1", "+", "4"),
    ("4", "+", "1"),
    ("7", "-", "3"),
    ("9", "-", "4"),
    ("6", "-", "5"),
)
