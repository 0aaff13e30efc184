"""The folder for what is downloaded or found once, and small JSON files in it."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where circuitfind keeps what it downloads; the folder may not exist yet.

    $CIRCUITFIND_CACHE, else $XDG_CACHE_HOME/circuitfind, else ~/.cache/circuitfind.
    """
    if own := os.environ.get("CIRCUITFIND_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "circuitfind"
    return Path.home() / ".cache" / "circuitfind"


def remembered(room: str, key: str) -> Any:
    """The plain values kept under this key, None where there are none or they cannot be read."""
    try:
        return json.loads((cache_folder() / room / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def remember(room: str, key: str, content: Any) -> None:
    """Keep plain values under a key. The file appears whole or not at all, and where the cache
    cannot be written nothing is kept."""
    folder = cache_folder() / room
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=".", suffix=".json", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
            Path(scratch).replace(folder / f"{key}.json")
        finally:
            Path(scratch).unlink(missing_ok=True)
