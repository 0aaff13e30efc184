"""Objects that are known by name: those of this package, and those of installed ones.

A package adds an object by an entry point in the registry's group:

    [project.entry-points."circuitfind.methods"]
    mine = "my_package.my_module:my_method"

The object's own `name` counts, and not the name of the entry point. An entry point that cannot be
used leaves the others as they are; `Registry.problems` says what is wrong with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from operator import attrgetter
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Later:
    """A function that is imported when it is called, so that a table of names needs no torch.

    >>> Later("circuitfind.search.methods.greedy", "search_greedy")(problem, config, progress)
    """

    module: str
    name: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return getattr(import_module(self.module), self.name)(*arguments, **options)


class Registry(Generic[T]):
    """Named objects: the built-in ones first, then those of installed packages.

    They are looked up when they are first asked for, and kept.

    Args:
        group: the entry points of installed packages, such as "circuitfind.methods".
        builtin: the objects of this package, or a function that imports and returns them.
        what: what one of them is called in messages, such as "method".
        kind: a type that the objects of other packages have to be of.
        key: how an object is called; by default its `name`.

    >>> colours = Registry("circuitfind.colours", [Colour("red")], "colour")
    >>> colours.named("red")
    Colour(name='red')
    """

    def __init__(
        self,
        group: str,
        builtin: Callable[[], Sequence[T]] | Sequence[T],
        what: str,
        *,
        kind: type | None = None,
        key: Callable[[Any], str] = attrgetter("name"),
    ) -> None:
        self.group, self.what, self.kind, self.key = group, what, kind, key
        self._builtin = builtin
        self._found: dict[str, tuple[T, str | None]] | None = None
        self._problems: list[str] = []

    def all(self) -> tuple[T, ...]:
        """Every object, in the order of the table and then of the packages."""
        return tuple(one for one, _ in self._objects().values())

    def names(self) -> tuple[str, ...]:
        """The names of all objects."""
        return tuple(self._objects())

    def __iter__(self) -> Iterator[T]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self._objects())

    def named(self, one: str | T) -> T:
        """The object with this name; an object is returned as it is.

        Raises:
            LookupError: no object has this name; the message lists those there are.
        """
        if not isinstance(one, str):
            return one
        known = self._objects()
        if one not in known:
            message = f"no {self.what} {one!r}; the {self.what}s are: {', '.join(known)}"
            raise LookupError("; ".join([message, *self._problems]))
        return known[one][0]

    def package(self, name: str) -> str | None:
        """The installed package that added this object; None for a built-in one."""
        return self._objects()[name][1]

    def problems(self) -> tuple[str, ...]:
        """A sentence for each entry point that cannot be used."""
        self._objects()
        return tuple(self._problems)

    def refresh(self) -> None:
        """Look installed packages up again when the registry is next asked."""
        self._found = None

    def _objects(self) -> dict[str, tuple[T, str | None]]:
        """The objects by name, each with the package that added it."""
        if self._found is None:
            builtin = self._builtin() if callable(self._builtin) else self._builtin
            found: dict[str, tuple[T, str | None]] = {self.key(one): (one, None) for one in builtin}
            entries = metadata.entry_points(group=self.group)
            problems = []
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    made = self._load(entry, found)
                # A module of somebody else may raise anything when it is imported.
                except (Exception, SystemExit) as error:
                    problems.append(self._sentence(entry, error))
                else:
                    found[self.key(made)] = made, _package(entry)
            self._found, self._problems = found, problems
        return self._found

    def _load(self, entry: metadata.EntryPoint, found: dict[str, tuple[T, str | None]]) -> T:
        """The object of an entry point, where no other one has its name."""
        made: Any = entry.load()
        if self.kind is not None and not isinstance(made, self.kind):
            raise _Refused(f"{entry.value} is a {type(made).__name__}, not a {self.kind.__name__}")
        try:
            name = self.key(made)
        except AttributeError:
            name = None
        if not isinstance(name, str):
            raise _Refused(f"{entry.value} has no name")
        if name in found:
            owner = found[name][1] or "circuitfind"
            raise _Refused(f"{entry.value} is called {name!r}, as is one of {owner}")
        return made

    def _sentence(self, entry: metadata.EntryPoint, error: BaseException) -> str:
        """Why this entry point cannot be used; of an error of many lines only the first."""
        reason = (str(error).splitlines() or [""])[0]
        kind = "" if isinstance(error, _Refused) else f"{type(error).__name__}: "
        return f"the {self.what} {entry.name!r} of {_package(entry)} is left out: {kind}{reason}"


class _Refused(Exception):
    """An entry point that loads, but to nothing that can be used."""


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unknown package"
