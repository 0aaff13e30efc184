"""Where the parts of a JSON text begin, so that a problem can name its line."""

import json
import re
from json import JSONDecodeError
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def elements(text: str, start: int) -> list[tuple[int, Any]]:
    """The values of the list that begins at `start`, each with its place.

    >>> elements('[1, {"a": 2}]', 0)
    [(1, 1), (4, {'a': 2})]

    Raises:
        JSONDecodeError: no such list, or more text after it where it is the whole.
    """
    found, place = [], _skip(text, start + 1)
    if text[place : place + 1] == "]":
        return _ended(text, start, place, found)
    while True:
        value, end = _value(text, place)
        found.append((place, value))
        place = _skip(text, end)
        if text[place : place + 1] == "]":
            return _ended(text, start, place, found)
        place = _skip(text, _expected(text, place, ","))


def members(text: str, start: int) -> dict[str, tuple[int, Any]]:
    """The values of the object that begins at `start`, each with its place.

    Raises:
        JSONDecodeError: no such object, or more text after it where it is the whole.
    """
    found: dict[str, tuple[int, Any]] = {}
    place = _skip(text, start + 1)
    if text[place : place + 1] == "}":
        return _ended(text, start, place, found)
    while True:
        key, end = _value(text, place)
        if not isinstance(key, str):
            raise JSONDecodeError("Expecting property name enclosed in double quotes", text, place)
        place = _skip(text, _expected(text, _skip(text, end), ":"))
        value, end = _value(text, place)
        found[key] = (place, value)
        place = _skip(text, end)
        if text[place : place + 1] == "}":
            return _ended(text, start, place, found)
        place = _skip(text, _expected(text, place, ","))


def broken(error: Exception, line: int | None = None) -> str:
    """What is wrong with a text that is no JSON, with its line."""
    if isinstance(error, JSONDecodeError):
        return f"line {line or error.lineno}: not JSON ({error.msg} at column {error.colno})"
    return f"line {line or 1}: not JSON that can be read ({error})"


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _value(text: str, place: int) -> tuple[Any, int]:
    try:
        return _decode(text, place)
    except StopIteration as error:  # an empty text
        raise JSONDecodeError("Expecting value", text, place) from error


def _expected(text: str, place: int, sign: str) -> int:
    if text[place : place + 1] != sign:
        raise JSONDecodeError(f"Expecting {sign!r} delimiter", text, place)
    return place + 1


def _ended(text: str, start: int, end: int, found: Any) -> Any:
    """What was found, where nothing but space follows a value that nothing else stands before."""
    alone = not text[:start].strip()
    if alone and _skip(text, end + 1) < len(text):
        raise JSONDecodeError("Extra data", text, end + 1)
    return found
