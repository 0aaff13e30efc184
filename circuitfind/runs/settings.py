"""Settings: all that decides what a run finds."""

import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desiderata import Sampleable, is_table
from desiderata.choices import answer_named

from ..claims import digest_of_task, load_claim
from ..records import CLOSED, Format
from ..search import SearchConfig

if TYPE_CHECKING:
    from ..models.model import Model

FORMAT = "circuitfind-config/1"
DIGESTS = ("task_digest", "held_out_digest")  # which no user gives
# The least and the greatest of each number. A seed is multiplied before it reaches a generator.
LIMITS: dict[str, tuple[float, float]] = {
    "n": (4, 1_000_000),
    "n_random": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "steps": (1, 10_000_000),
    "margin": (0, 1000),
    "size": (1, 1_000_000),
    "batch": (1, 1_000_000_000),
}
FASTEST = 1000.0  # a learning rate; gates lie between 0 and 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides what a run finds. The same settings give the same circuit.

    `task_digest` and `held_out_digest` are SHA-256 of the files that the pairs come from: a
    user's own Python file, the module of an installed task, or tables of pairs. They are None
    where a run folder is older than they are.
    """

    __pydantic_config__ = CLOSED

    task: str
    model: str = "binder"
    method: str = "constrained"
    at: tuple[str, ...] = ()
    n: int = 192
    seed: int = 0
    n_random: int = 100
    steps: int | None = None
    learning_rate: float | None = None
    margin: float = 2.0
    device: str | None = None
    dtype: str = "float32"
    device_map: str | None = None
    revision: str | None = None
    prepend_bos: bool | None = None
    trust_remote_code: bool = False
    force: bool = False
    size: int | None = None
    rival: bool = False
    donor: str | None = None
    batch: int | None = None
    pins: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    engine: str | None = None
    answer: str | None = None
    held_out: str | None = None
    max_bad: float | None = None
    polish: bool | None = None
    task_digest: str | None = None
    held_out_digest: str | None = None

    def __post_init__(self) -> None:
        problems = []
        for name, (least, most) in LIMITS.items():
            value, option = getattr(self, name), _option(name)
            if value is not None and value < least:
                problems.append(f"{option} must be at least {least}; got {value}")
            elif value is not None and not value <= most:  # which NaN is not
                problems.append(f"{option} must be a number up to {most:,}; got {value}")
        rate = self.learning_rate
        if rate is not None and not 0 < rate <= FASTEST:
            problems.append(f"--learning-rate must be above 0 and up to {FASTEST:g}; got {rate}")
        if self.max_bad is not None and not 0 <= self.max_bad < 1:
            problems.append(f"--max-bad is a share, from 0 to below 1; got {self.max_bad}")
        if problems:
            raise ValueError("; ".join(problems))

    @classmethod
    def from_json(cls, config: Any, where: str | Path = "config.json") -> "Settings":
        """The settings in a run's config.json; defaults fill what is missing.

        Raises:
            ValueError: keys that are no settings, values of another type; every problem at once.
        """
        return SETTINGS_FILE.read(config, where)

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values, as config.json holds them."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        return {"format": FORMAT, **values}

    def command(self) -> str:
        """The command line that makes a run of these settings; defaults are left out."""
        words = ["circuitfind", "discover", self.task, "--model", self.model]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value == field.default and field.name not in ("method", "seed"):
                continue
            if field.name in DIGESTS:
                continue
            option = _option(field.name)
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                for one in value if isinstance(value, tuple) else (value,):
                    words += [option, str(one)]
        return shlex.join(words)

    def with_digests(self) -> "Settings":
        """The same settings with the digests of the files that the pairs come from as they are
        now."""
        return replace(
            self,
            task_digest=digest_of_task(self.task),
            held_out_digest=self.held_out and digest_of_task(self.held_out),
        )

    def changes_to(self, other: "Settings") -> list[str]:
        """What other settings have otherwise, a sentence each. A digest that one of them does not
        have tells nothing."""
        before, now = asdict(self), asdict(other)
        return [
            f"{key} was {before[key]!r} and is {now[key]!r}"
            for key in sorted(now)
            if before[key] != now[key] and not (key in DIGESTS and None in (before[key], now[key]))
        ]

    def finding_tables(self, run: str | Path) -> "Settings":
        """The same settings with tables of pairs that are not found from here named where they
        stand: relative to a folder above the run, as to the one that it was started in."""
        changes = {}
        for name in ("task", "held_out"):
            table = getattr(self, name)
            if table is None or not is_table(table) or Path(table).is_file():
                continue
            above = (folder / table for folder in Path(run).resolve().parents)
            if (found := next((path for path in above if path.is_file()), None)) is not None:
                changes[name] = str(found)
        return replace(self, **changes) if changes else self

    def load_model(self) -> "Model":
        """The model that these settings name."""
        from ..models.loading import load_model  # torch, which reading settings does not need

        model = load_model(
            self.model,
            device=self.device,
            dtype=self.dtype,
            device_map=self.device_map,
            revision=self.revision,
            prepend_bos=self.prepend_bos,
            trust_remote_code=self.trust_remote_code,
            engine=self.engine,
            force=self.force,
        )
        return replace(model, pairs_at_once=self.batch) if self.batch else model

    def load_claim(self) -> Sampleable:
        """The claim that these settings name, at their positions."""
        claim = load_claim(
            self.task, self.model, self.donor, held_out=self.held_out, max_bad=self.max_bad
        )
        claim = claim.answered(answer_named(self.answer)) if self.answer else claim
        return claim.moved(self.at) if self.at else claim


SETTINGS_FILE: Format[Settings] = Format("settings", {FORMAT: Settings}, unnamed=FORMAT)


def _option(name: str) -> str:
    """The option of the command line that gives this setting."""
    return "--" + {"pins": "pin", "vetoes": "veto"}.get(name, name).replace("_", "-")


def search_config(settings: Settings) -> SearchConfig:
    """The part of the settings that search reads."""
    return SearchConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        margin=settings.margin,
        size=settings.size,
        polish=settings.polish,
        pins=settings.pins,
        vetoes=settings.vetoes,
    )
