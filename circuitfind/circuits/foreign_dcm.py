"""The result files of DCM in Nix07/finetuning (Prakash et al. 2024, 2402.14811).

Two lines of text: `Heads: [[10, 3], [7, 17]]`, as [layer, head], and `Test Accuracy: 0.486`.
"""

import json
import re
from typing import Any

HEADS, ACCURACY = "Heads", "Test Accuracy"
_FILE = re.compile(rf"\s*{HEADS}:(?P<heads>[^:]*?)(?:\s{ACCURACY}:(?P<accuracy>[^:]*))?\s*")


def parse_dcm(text: str) -> dict[str, Any] | None:
    """What such a file says, by the names of its lines; None for any other text.

    >>> parse_dcm("Heads: [[10, 3]]\\nTest Accuracy: 0.5\\n")
    {'Heads': [[10, 3]], 'Test Accuracy': 0.5}

    Raises:
        ValueError: such a file whose values are not JSON.
    """
    found = _FILE.fullmatch(text)
    if found is None:
        return None
    made = {}
    for name, value in ((HEADS, found["heads"]), (ACCURACY, found["accuracy"])):
        if value is not None:
            try:
                made[name] = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{name}: not what DCM writes there ({error})") from error
    if not isinstance(made[HEADS], list):
        raise ValueError(f"{HEADS}: not what DCM writes there (expected a list)")
    return made


def is_dcm(read: dict[str, Any]) -> bool:
    """Whether this is what `parse_dcm` returns."""
    return isinstance(read.get(HEADS), list) and set(read) <= {HEADS, ACCURACY}


def words_for(read: dict[str, Any], n: int) -> str:
    """What was read as what."""
    accuracy = read.get(ACCURACY)
    left_out = f"; left out: its test accuracy of {accuracy:g}" if _is_share(accuracy) else ""
    return f"a result of DCM (Prakash et al. 2024): {n} heads, without scores{left_out}"


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1
