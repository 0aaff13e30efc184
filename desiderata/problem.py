"""A problem with a claim, as lint reports it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One thing wrong. An `error` makes a result meaningless; a `warning` weakens it."""

    level: Literal["error", "warning"]
    where: str
    says: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.says}"
