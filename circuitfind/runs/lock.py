"""A lock on a folder, so that two processes do not write into it at once.

The system holds it for the process and gives it back when that ends, however it ends: a run that
was killed does not block the next one. It works across machines where the file system locks files
for all of them, as NFS does.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..circuits.storage import clear_halves, is_running

LOCK = ".lock"
WAIT = 20.0  # seconds for which a short piece of writing waits for another

_held: set[int] = set()  # handles of this process


def _forget() -> None:
    """Close what a forked process has of its parent's locks: they end with the parent."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class FolderInUse(ValueError):
    """Another process writes into the folder."""


@contextmanager
def locked(folder: str | Path, wait: float = 0.0) -> Iterator[None]:
    """Lets only this process write into a folder, which is there already, while the block runs.

    What killed processes left of files that they were writing is removed first.

    Args:
        wait: seconds to wait for another process.

    Raises:
        FolderInUse: another process, or another thread of this one, writes into it.
    """
    path, until = Path(folder) / LOCK, time.monotonic() + wait
    while (handle := _taken(path)) is None:
        if time.monotonic() >= until:
            raise FolderInUse(
                f"{folder} is written into by another process{_holder(path)}; wait for its end, or "
                "name another folder"
            )
        time.sleep(0.05)
    _held.add(handle)
    try:
        clear_halves(folder)
        yield
    finally:
        _held.discard(handle)
        # While it is still held: whoever opened the file before finds that it is gone.
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def require_free(folder: str | Path) -> None:
    """Refuse a folder that another process writes into now.

    Raises:
        FolderInUse: it does.
    """
    if (Path(folder) / LOCK).exists():
        with locked(folder):
            pass


def _taken(path: Path) -> int | None:
    """The handle of the lock, held by this process; None where another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    if not _hold(handle, path):
        os.close(handle)
        return None
    try:  # the file may be gone, or another one, since the process before removed it
        same = os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        same = False
    if not same:
        os.close(handle)
        return _taken(path)
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()} {platform.node()}\n".encode())
    return handle


def _hold(handle: int, path: Path) -> bool:
    """Take the lock on an open file, where nobody has it."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open elsewhere is not replaced either
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: go by who is written in the file
        return not _is_held_elsewhere(path)
    return True


def _is_held_elsewhere(path: Path) -> bool:
    """Whether the process that is written in the lock may still be there."""
    words = _words(path)
    if len(words) != 2 or not words[0].isdecimal() or int(words[0]) == os.getpid():
        return False
    return words[1] != platform.node() or is_running(int(words[0]))


def _holder(path: Path) -> str:
    """Who holds the lock, in words."""
    words = _words(path)
    if len(words) != 2 or not words[0].isdecimal():
        return ""
    return f" ({words[0]} on {words[1]})"


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:300].split()
    except OSError:
        return []
