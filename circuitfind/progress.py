"""Progress of long work: who is shown how far it is, and where its state is kept."""

from collections.abc import Mapping
from typing import Any


class Progress:
    """What a search reports to, and where it keeps its state. This one is silent and forgets."""

    def restore(self) -> dict[str, Any] | None:
        """The state that an interrupted search saved last, if there is one."""
        return None

    def reject(self, why: str) -> dict[str, Any] | None:
        """The state that was saved before the one that `restore` gave, where that one does not fit
        the search, for this reason; None where there is none."""
        return None

    def report(self, stage: str, done: int, total: int, row: Mapping[str, Any]) -> None:
        """Tell how far a stage is, with the numbers of this step."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state from which the search can go on to the same result."""


class Silent(Progress):
    """Passes reports on, but neither keeps a state nor goes on from one."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown

    def report(self, stage: str, done: int, total: int, row: Mapping[str, Any]) -> None:
        self.shown.report(stage, done, total, row)
