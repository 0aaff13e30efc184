"""What a layout is: which columns tell it, and how a row of it becomes pairs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..desideratum import Pair, Part, Sense
from .cells import Cells


@dataclass(frozen=True, kw_only=True)
class Made:
    """A pair that a row became, with the name of its desideratum ("" for the name of its sense)."""

    pair: Pair
    name: str = ""
    part: Part = "inside"

    @property
    def sense(self) -> Sense:
        """What the row asks for: a row whose expected answer is the base's own keeps."""
        return "keeps" if self.pair.expected == self.pair.base_answer else "follows"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way in which tables are laid out.

    Args:
        columns: those that mean something in it, as `plain` writes them.
        fits: whether a table of these columns is laid out so.
        read: the pairs of a row; what is wrong joins the problems of its cells.
        says: how it is read, for the notes of a claim.
        compares: whether the answers of a pair are compared with each other.
        at: the position that its tool patches.
    """

    name: str
    columns: frozenset[str]
    fits: Callable[[Collection[str]], bool]
    read: Callable[[Cells], list[Made]]
    says: str = ""
    compares: bool = True
    at: str = "all"
