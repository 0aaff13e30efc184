"""Settings: all that decides what a run finds."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from desiderata import Donor, Sampleable

from ..models.claims import load_claim
from ..models.loading import load_model
from ..models.model import Model
from ..search import SearchConfig

# settings that run folders of version 0.1 do not have
LATER = ("size", "rival", "donor", "batch", "pins", "vetoes")
LISTS = ("at", "pins", "vetoes")  # settings that are lists in config.json


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides what a run finds. The same settings give the same circuit."""

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
    donor: Donor | None = None
    batch: int | None = None
    pins: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()

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
        if problems:
            raise ValueError("; ".join(problems))

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings in a run's config.json.

        Raises:
            ValueError: keys that are not settings.
        """
        if strangers := sorted(set(config) - {field.name for field in fields(cls)}):
            raise ValueError(f"config.json has settings that this version does not: {strangers}")
        known: dict[str, Any] = dict(config)
        known |= {name: tuple(known.get(name, ())) for name in LISTS}
        return cls(**known)

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values, as config.json holds them.

        Those that came later than the first run folders are left out at their defaults, so that
        folders made before can still be gone on with.
        """
        made = asdict(self) | {name: list(getattr(self, name)) for name in LISTS}
        return {
            field.name: made[field.name]
            for field in fields(self)
            if field.name not in LATER or getattr(self, field.name) != field.default
        }

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
        )
        return replace(model, pairs_at_once=self.batch) if self.batch else model

    def load_claim(self) -> Sampleable:
        """The claim that these settings name, at their positions."""
        claim = load_claim(self.task, self.model, self.donor)
        return claim.moved(self.at) if self.at else claim


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
