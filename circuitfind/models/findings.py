"""What the doctor found: a law each, with the words for who reads it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Law:
    """What one law gave: whether it holds, None where it cannot be tried here, and in words."""

    name: str
    holds: bool | None
    says: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the laws gave for a model in an engine.

    Args:
        gap: the additive law's; None where it cannot be measured.
        notes: what a reader of results in this model has to know, in sentences.
        instead: why it is not the engine hooks, where that was wanted first.
    """

    engine: str
    laws: tuple[Law, ...]
    gap: float | None = None
    notes: tuple[str, ...] = ()
    instead: str = ""

    @property
    def sound(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Law, ...]:
        """The laws that do not hold."""
        return tuple(law for law in self.laws if law.holds is False)

    @property
    def message(self) -> str:
        """What is broken, in one line; where nothing is, that all holds."""
        says = "; ".join(law.says for law in self.broken)
        return f"{self.engine}: {says or 'all laws hold'}"

    def told(self) -> tuple[str, ...]:
        """The notes, after a sentence for each broken law that was forced."""
        return (*(f"forced although {law.says}" for law in self.broken), *self.notes)

    def as_json(self) -> dict[str, Any]:
        """The findings as plain values, for the provenance of a run and the cache."""
        return {
            "engine": self.engine,
            "additive_gap": self.gap,
            "sound": self.sound,
            "laws": [{"name": law.name, "holds": law.holds, "says": law.says} for law in self.laws],
            "notes": list(self.notes),
            **({"not hooks": self.instead} if self.instead else {}),
        }

    @classmethod
    def from_json(cls, content: Any) -> "Findings | None":
        """The findings that `as_json` gave, None where these values are none."""
        try:
            laws = tuple(Law(law["name"], law["holds"], law["says"]) for law in content["laws"])
            made = cls(
                engine=content["engine"],
                laws=laws,
                gap=content["additive_gap"],
                notes=tuple(content["notes"]),
                instead=content.get("not hooks", ""),
            )
        except (TypeError, LookupError):
            return None
        words = [made.engine, made.instead, *made.notes]
        words += [text for law in laws for text in (law.name, law.says)]
        is_sane = all(isinstance(word, str) for word in words)
        is_sane &= all(law.holds is None or isinstance(law.holds, bool) for law in laws)
        is_sane &= made.gap is None or isinstance(made.gap, float)
        return made if is_sane and laws else None
