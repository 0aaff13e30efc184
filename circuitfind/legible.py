"""Text that strangers wrote, made safe to show: on a terminal, on a page, in a spreadsheet.

A terminal obeys control characters, a reader is misled by letters that change the direction of
text, and a spreadsheet runs a cell that begins like a formula.
"""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

JOINERS = "\u200c\u200d"  # scripts and emoji need them, and they move nothing
LINES = "\n\t"  # what a text of several lines may have
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet evaluates
UNSEEN = "\N{REPLACEMENT CHARACTER}"
KINDS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, letters of format, half letters, separators


def legible(text: str) -> str:
    """The text with a visible sign for each letter that controls a terminal or the direction of
    text; line breaks and tabs stay.

    >>> legible("red: \\x1b[31m")
    'red: ␛[31m'
    """
    return _with_signs(text, _sign)


def legible_values(content: Any) -> Any:
    """Plain values with every text in them made legible, keys too."""
    if isinstance(content, str):
        return legible(content)
    if isinstance(content, Mapping):
        return {legible_values(key): legible_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(legible_values, content))
    return content


def legible_json(text: str) -> str:
    """JSON that a terminal shows, with `\\u...` for each letter that would control it."""
    return _with_signs(text, _escaped)


def cell(value: Any) -> Any:
    """A value for a table that a spreadsheet opens: text that looks like a formula stays text.

    >>> cell("=1+1"), cell(-0.5)
    ("'=1+1", -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _with_signs(text: str, sign: Callable[[str], str]) -> str:
    """The text with a sign for each letter that must not be shown as it is."""
    if text.isprintable():
        return text
    unseen = [
        letter
        for letter in set(text)
        if unicodedata.category(letter) in KINDS and letter not in JOINERS + LINES
    ]
    return text.translate({ord(letter): sign(letter) for letter in unseen})


def _sign(letter: str) -> str:
    code = ord(letter)
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else UNSEEN


def _escaped(letter: str) -> str:
    """A letter as JSON writes it by number; beyond the first plane, by two."""
    units = letter.encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return "".join(f"\\u{int.from_bytes(pair, 'big'):04x}" for pair in pairs)
