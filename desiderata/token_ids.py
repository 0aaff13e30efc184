"""Token ids in the place of text, until a tokenizer writes the text."""

from collections.abc import Sequence


class TokenIds(str):
    """An answer that was given as tokens. Its text is a stand-in that names them.

    >>> TokenIds([464, 3290]), TokenIds([464, 3290]).ids
    ('tokens 464 3290', (464, 3290))
    """

    ids: tuple[int, ...]

    def __new__(cls, ids: Sequence[int]) -> "TokenIds":
        words = " ".join(map(str, ids))
        made = super().__new__(cls, f"token{'s' if len(ids) > 1 else ''} {words}")
        made.ids = tuple(ids)
        return made

    def __getnewargs__(self) -> tuple[tuple[int, ...]]:  # type: ignore[override]
        return (self.ids,)
