"""The doctor: do the sites of an engine write all that its layers write?"""

from dataclasses import dataclass
from typing import Any

import torch

from ..engines.engine import Engine
from ..engines.laws import additive_gap

# By how much the additive law may be missed, as a share of what changes: rounding and no more.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
HALF_PRECISION = 0.05
LENGTH = 5


@dataclass(frozen=True)
class Findings:
    """What the laws gave for one engine; `gap` is the additive law's, None where it cannot be
    measured."""

    engine: str
    gap: float | None
    tolerance: float

    @property
    def sound(self) -> bool:
        """Whether the law holds."""
        return self.gap is not None and self.gap <= self.tolerance

    @property
    def message(self) -> str:
        """The finding in one sentence."""
        if self.gap is None:
            return f"{self.engine}: the residual stream cannot be read at its ends"
        verb = "write" if self.sound else "do not write"
        return (
            f"{self.engine}: heads and MLPs {verb} all that the layers write (additive gap "
            f"{self.gap:.1e} of at most {self.tolerance:.0e})"
        )

    def as_json(self) -> dict[str, Any]:
        """The findings as plain values, for the provenance of a run."""
        return {"engine": self.engine, "additive_gap": self.gap, "sound": self.sound}


def examine(engine: Engine) -> Findings:
    """Whether the additive law holds for an engine, on two prompts of a few random tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(engine.sizes.d_vocab, (2, LENGTH), generator=generator).to(engine.device)
    weights = next(iter(engine.weights().values()))
    tolerance = TOLERANCE.get(weights.dtype, HALF_PRECISION)
    try:
        gap = additive_gap(engine, ids[:1], ids[1:])
    except (ValueError, LookupError):
        gap = None
    return Findings(engine.name, gap, tolerance)
