"""The names of the folders that the points of a sweep are kept in."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

LONGEST = 100  # characters of a name, without its digest
ALONE = "point"  # the name where nothing varies
# What file systems of every kind keep as it is. Some do not distinguish capitals.
_PLAIN = re.compile(r"[a-z0-9_.+-]*[a-z0-9_+-]")
_UNSAFE = re.compile(r"[^\w.+-]+", re.ASCII)


def folder_name(values: Mapping[str, Any]) -> str:
    """The name of a point's folder: the values of its axes, readable and safe in any file system.

    The name depends on this point alone, so that a longer sweep finds the folders of a shorter one.
    Where it cannot show every value as it is, a digest of the values ends it. So two points never
    have one name.

    >>> folder_name({"method": "dcm-2023", "seed": 0})
    'method=dcm-2023_seed=0'
    """
    if not values:
        return ALONE
    parts = {key: _text(value) for key, value in values.items()}
    name = "_".join(f"{key}={_UNSAFE.sub('-', text)}" for key, text in parts.items())
    whole = all(text is not None and _PLAIN.fullmatch(text) for text in parts.values())
    if whole and len(name) <= LONGEST:
        return name
    told = json.dumps(dict(values), sort_keys=True)
    return f"{name[:LONGEST]}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _text(value: Any) -> str:
    """A value as a name shows it. The text of a list is never plain, so that it gets a digest."""
    if isinstance(value, list):
        return f"[{' '.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
