"""Settings: all that decides what a run finds."""

import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from desiderata import Sampleable, is_table
from desiderata.choices import answer_named

from ..claims import load_claim
from ..models.loading import load_model
from ..models.model import Model
from ..records import CLOSED, Format
from ..search import SearchConfig

FORMAT = "circuitfind-config/1"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides what a run finds. The same settings give the same circuit."""

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

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least {least}; got {value}"
            for name, value, least in (
                ("n", self.n, 4),
                ("n_random", self.n_random, 1),
                ("batch", self.batch, 1),
            )
            if value is not None and value < least
        ]
        if self.max_bad is not None and not 0 <= self.max_bad < 1:
            problems.append(f"max_bad is a share, from 0 to below 1; got {self.max_bad}")
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
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            option = {"pins": "pin", "vetoes": "veto"}.get(name, name)
            if value == field.default and field.name not in ("method", "seed"):
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                for one in value if isinstance(value, tuple) else (value,):
                    words += [f"--{option}", str(one)]
        return shlex.join(words)

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

    def load_model(self) -> Model:
        """The model that these settings name."""
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


def search_config(settings: Settings) -> SearchConfig:
    """The part of the settings that search reads."""
    return SearchConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        margin=settings.margin,
        size=settings.size,
        pins=settings.pins,
        vetoes=settings.vetoes,
    )
