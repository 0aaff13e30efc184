"""The file of a sweep: which settings vary, which are fixed, and the points that this makes.

A file is TOML. Its keys are settings of `discover`. A list is an axis, anything else is the same
for every point; the points are the product of the axes, the last axis varying fastest.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from ..claims import own_file
from ..records import shown
from ..runs.settings import DIGESTS, SETTINGS_FILE, Settings
from ..task_files import from_file
from .names import PATHS, name_problem, path_from
from .naming import folder_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

CLAIM = "claim"  # the name of a claim in a task's file
MOST = 10_000  # points of a sweep
LISTED = 30  # problems that a message spells out
_SETTINGS = {one.name: one for one in fields(Settings) if one.name not in DIGESTS}
# Settings that are lists themselves, so that an axis of them is a list of lists.
LISTS = tuple(name for name, one in _SETTINGS.items() if one.default == ())
CONSENT = "trust_remote_code"  # which the command line alone gives


@dataclass(frozen=True)
class Point:
    """One run of a sweep: the name of its folder, the values of the axes, and all its settings."""

    name: str
    values: Mapping[str, Any]
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """All points of a sweep's file, in its order, and the names of its axes."""

    path: Path
    axes: tuple[str, ...]
    points: tuple[Point, ...]


def read_plan(path: str | Path, trust_remote_code: bool = False) -> Plan:
    """The points that a sweep's file stands for. Relative paths in it count from its folder.

    Raises:
        LookupError: no such file.
        ValueError: no TOML, keys that are no settings, values of another type, empty axes, tasks,
            models and methods that nobody has; every problem at once, with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise LookupError(f"no file {path}; a sweep is a TOML file (docs/sweeps.md)")
    return plan_of(path.read_bytes(), path, trust_remote_code)


def plan_of(content: bytes, path: Path, trust_remote_code: bool = False) -> Plan:
    """The points that the bytes of a sweep's file stand for; otherwise as `read_plan`."""
    try:
        text = content.decode("utf-8-sig")
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML in UTF-8: {error}") from error
    reading = _Reading(table, path, _lines(text))
    axes, fixed = reading.read()
    if "task" not in {**axes, **fixed} or prod(map(len, axes.values())) > MOST:
        reading.refuse()
    values = [dict(zip(axes, one, strict=True)) for one in product(*axes.values())]
    points = [reading.point(fixed, one, trust_remote_code) for one in values]
    reading.refuse()
    return Plan(path, tuple(axes), tuple(point for point in points if point))


@dataclass
class _Reading:
    """A file while it is read, with the problems so far."""

    table: Mapping[str, Any]
    path: Path
    lines: Mapping[str, int]
    problems: list[str] = field(default_factory=list)
    asked: set[tuple[Path, str]] = field(default_factory=set)

    def fault(self, key: str, words: str) -> None:
        line = f", line {self.lines[key]}" if key in self.lines else ""
        self.problems.append(f"{self.path}{line}: {words}")

    def refuse(self) -> None:
        """Raise where there are problems, with every one of them once."""
        if not self.problems:
            return
        every = list(dict.fromkeys(self.problems))
        more = [f"and {len(every) - LISTED} more"] if len(every) > LISTED else []
        raise ValueError("\n".join([*every[:LISTED], *more]))

    def read(self) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """The axes and the fixed settings as far as they are sound; what is not is noted."""
        axes: dict[str, list[Any]] = {}
        fixed: dict[str, Any] = {}
        for key, value in self.table.items():
            if key not in _SETTINGS and key != CLAIM:
                self.fault(key, _unknown(key))
            elif key == CONSENT:
                self.fault(key, f"{CONSENT} is yours to give: --trust-remote-code")
            elif _is_axis(key, value):
                axes[key] = self._axis(key, value)
            elif self._sound(key, value):
                fixed[key] = value
        if "task" not in self.table:
            self.problems.append(f"{self.path}: task is missing; circuitfind tasks lists them")
        if (n := prod(map(len, axes.values()))) > MOST:
            self.problems.append(f"{self.path}: {n:,} points; a sweep has at most {MOST:,}")
        return axes, fixed

    def _axis(self, key: str, values: Sequence[Any]) -> list[Any]:
        """The sound values of an axis."""
        if not values:
            self.fault(key, f"{key} is empty; an axis needs at least one value")
        sound = [value for value in values if self._sound(key, value)]
        alike = [_made(key, value) for value in sound]
        for twice in dict.fromkeys(v for n, v in enumerate(alike) if v in alike[:n]):
            self.fault(key, f"{key} has {shown(_plain(twice))} twice")
        return sound

    def _sound(self, key: str, value: Any) -> bool:
        """Whether a value is one of this setting; what is wrong with it is noted."""
        found = _value_problems(key, value)
        if not found and (words := name_problem(key, value, self.path.parent)):
            found = [words]
        for words in found:
            self.fault(key, words)
        return not found

    def point(
        self, fixed: Mapping[str, Any], values: Mapping[str, Any], trust_remote_code: bool
    ) -> Point | None:
        """A point; None where its settings do not go together, which is noted."""
        every = {**fixed, **values, CONSENT: trust_remote_code}
        if (claim := every.pop(CLAIM, None)) is not None:
            if not every["task"].endswith(".py"):
                what = shown(every["task"])
                self.fault(CLAIM, f"claim goes with a task that is a Python file; task is {what}")
                return None
            every["task"] = f"{every['task']}:{claim}"
        every |= {key: path_from(self.path.parent, every[key]) for key in PATHS if every.get(key)}
        if own := own_file(every["task"]):
            self._offered(*own)
        made, problems = SETTINGS_FILE.check(every)
        self.problems += [f"{self.path}: {words}" for words in problems]
        return Point(folder_name(values), values, made) if made else None

    def _offered(self, file: Path, claim: str) -> None:
        """Note where a Python file, which is run for that, does not offer a claim."""
        if (file, claim) not in self.asked:
            self.asked.add((file, claim))
            try:
                from_file(file, claim)
            except (LookupError, ValueError) as error:
                self.fault(CLAIM if CLAIM in self.table else "task", str(error.args[0]))


def _is_axis(key: str, value: Any) -> bool:
    """Whether a value is an axis: a list, and a list of lists where a setting is a list itself."""
    if not isinstance(value, list):
        return False
    return key not in LISTS or any(isinstance(one, list) for one in value)


def _made(key: str, value: Any) -> Any:
    """A sound value as the settings hold it, so that 2 and 2.0 are alike where they are."""
    if key == CLAIM:
        return value
    return getattr(SETTINGS_FILE.read({"task": "", key: value}), key)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _value_problems(key: str, value: Any) -> list[str]:
    """What is wrong with the value of a setting, as far as types and limits tell."""
    if key == CLAIM:
        return [] if isinstance(value, str) else [f"claim must be text; got {shown(value)}"]
    return SETTINGS_FILE.check({"task": "", key: value})[1]


def _unknown(key: str) -> str:
    known = [*_SETTINGS, CLAIM]
    near = get_close_matches(key.replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the settings are: {', '.join(known)}"
    return f"no setting {shown(key)}; {hint}"


def _lines(text: str) -> dict[str, int]:
    """The line on which each key of the file stands first."""
    return dict(reversed([*_keys(text)]))


def _keys(text: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"""\s*\[*\s*(["']?)([^"'=\[\].]+?)\1\s*(?:[=.\]])""", line):
            yield found[2], number
