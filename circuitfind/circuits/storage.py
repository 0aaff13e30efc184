"""Files written whole or not at all."""

import hashlib
import os
import platform
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from csv import DictWriter
from io import StringIO
from pathlib import Path
from typing import IO, Any

from ..legible import cell

LONGEST = 180  # bytes of a name that the name of its half repeats
HALF = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.part")


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a new file, then put it in the place of `path` in one step.

    A reader, or a run that is killed, sees the old file or the new one and nothing between. The
    file has the permissions that the user's umask gives. What a process that was killed left of
    such a file is removed.
    """
    path = Path(path)
    _clear(path)
    begins = f"{_begins(path)}{_machine()}-{os.getpid()}"
    half = path.with_name(f"{begins}-{secrets.token_hex(4)}.part")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, all of it or nothing."""
    write_atomically(path, lambda file: file.write(text.encode()))  # type: ignore[arg-type, return-value]


def table_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, in which no text is a formula."""
    text = StringIO(newline="")
    writer = DictWriter(text, columns, lineterminator="\n")
    writer.writerow({name: cell(name) for name in columns})
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def clear_halves(folder: str | Path) -> None:
    """Remove the halves of files that killed processes left in a folder, which nobody else may
    write into meanwhile."""
    for path in Path(folder).glob(".*.part"):
        if HALF.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove what killed processes of this machine left of a file."""
    for half in path.parent.glob(f"{_literal(_begins(path))}*.part"):
        found = HALF.fullmatch(half.name)
        if found and found["machine"] == _machine() and not is_running(int(found["process"])):
            half.unlink(missing_ok=True)


def _begins(path: Path) -> str:
    """How the names of a file's halves begin."""
    name = os.fsencode(path.name)
    short = path.name if len(name) <= LONGEST else hashlib.sha256(name).hexdigest()
    return f".{short}."


def _machine() -> str:
    """A short name of this machine, whose processes can be asked for."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _literal(name: str) -> str:
    """A name in which a pattern of files means itself."""
    return re.sub(r"([*?[])", r"[\1]", name)


def is_running(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    if os.name == "nt":  # where os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
