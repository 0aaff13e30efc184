"""From a file's bytes to its text: gzip, byte order marks, UTF-16, Windows-1252."""

import gzip
import io
import zlib
from pathlib import Path

MOST = 2**30  # bytes that are unpacked, so that a small file cannot fill the memory
LOOKED_AT = 4096  # bytes looked at to tell UTF-16 without a mark
_GZIP = b"\x1f\x8b"
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text in a file, and in words what was guessed about it.

    Raises:
        ValueError: broken gzip, an encoding that is none of these, bytes that are no text.
        FileNotFoundError: no such file.
    """
    raw = path.read_bytes()
    if raw.startswith(_GZIP) or path.suffix.lower() == ".gz":
        raw = _unpacked(raw)
    text, notes = _decoded(raw)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"line {line}: a byte of value 0; this is no text")
    return text, notes


def _unpacked(raw: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            made = file.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"expected a whole gzip file: {error}") from error
    if len(made) > MOST:
        raise ValueError(f"more than {MOST:,} bytes when unpacked; divide the file")
    return made


def _decoded(raw: bytes) -> tuple[str, tuple[str, ...]]:
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return _strict(raw[len(mark) :], name), ()
    if (name := _utf_16(raw)) is not None:
        return _strict(raw, name), (f"read as {name.upper()}, which the file does not say",)
    try:
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        where = f"byte {raw[error.start]:#04x} on line {_line(raw, error.start)}"
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text; {where} is not, and byte {raw[error.start]:#04x} on line "
            f"{_line(raw, error.start)} is not Windows-1252 either. Save the file as UTF-8"
        ) from error
    return text, (
        f"read as Windows-1252, since {where} is not UTF-8; save the file as UTF-8 if letters "
        "come out wrong",
    )


def _strict(raw: bytes, name: str) -> str:
    try:
        return raw.decode(name)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected {name.upper()} text; byte {error.start} of it is not. Save the file as UTF-8"
        ) from error


def _utf_16(raw: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: every other byte of most texts is 0 in it."""
    seen = raw[: LOOKED_AT // 2 * 2]
    half = len(seen) // 2
    if half < 2 or len(raw) % 2:
        return None
    even, odd = (seen[start::2].count(0) for start in (0, 1))
    if odd > half / 2 and not even:
        return "utf-16-le"
    return "utf-16-be" if even > half / 2 and not odd else None


def _line(raw: bytes, place: int) -> int:
    return raw[:place].count(b"\n") + 1
