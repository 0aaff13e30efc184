"""Prompts as a model takes them: token ids, and the columns of named positions."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """Prompts as left-padded tokens, and the column of every named position.

    `reads` is the column whose logits are the answer; None where it is the last one.
    """

    tokens: Int[Tensor, "pair pos"]
    attends: Int[Tensor, "pair pos"]
    columns: dict[str, Int[Tensor, " pair"]]
    reads: Int[Tensor, " pair"] | None = None

    def take(self, rows: Int[Tensor, " kept"]) -> "Prompts":
        """The prompts of these rows, without columns that only padding filled."""
        rows = rows.to(self.attends.device)
        attends = self.attends[rows]
        start = int(attends.argmax(dim=1).min())
        columns = {name: column[rows] - start for name, column in self.columns.items()}
        reads = None if self.reads is None else self.reads[rows] - start
        return Prompts(self.tokens[rows][:, start:], attends[:, start:], columns, reads)

    @property
    def n_tokens(self) -> int:
        """Tokens, padding included: what a pass over these prompts costs."""
        return self.tokens.numel()
