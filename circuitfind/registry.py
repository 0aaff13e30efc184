"""Registries: objects that are known by name, built in or brought by an installed package."""

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """The objects of one kind that are known by name.

    An installed package adds its own through an entry point of `group`. It is loaded when somebody
    asks for all objects or for a name that is not built in. One that cannot be loaded, or whose
    name is taken, is left out with a warning, so that it does not stand in the way of the others.

    Args:
        builtin: this package's objects, or a function that gives them, called at the first use.
        what: what the objects are, in a word, for messages.
        key: an object's name.
    """

    def __init__(
        self,
        group: str,
        builtin: Sequence[T] | Callable[[], Sequence[T]],
        what: str,
        key: Callable[[Any], str] = attrgetter("name"),
    ) -> None:
        self.group, self.what, self._builtin, self._key = group, what, builtin, key

    @cached_property
    def _own(self) -> dict[str, T]:
        own = self._builtin() if callable(self._builtin) else self._builtin
        return {self._key(one): one for one in own}

    @cached_property
    def _known(self) -> dict[str, T]:
        known = dict(self._own)
        for entry in sorted(entry_points(group=self.group)):
            if (made := self._loaded(entry, known)) is not None:
                known[self._key(made)] = made
        return known

    def _loaded(self, entry: EntryPoint, known: dict[str, T]) -> T | None:
        """What an entry point brings, None with a warning where it cannot be used."""
        whose = f"the {self.what} {entry.name!r} of {entry.value}"
        try:
            made = entry.load()
            name = self._key(made)
        except Exception as error:  # a stranger's module may raise anything
            warnings.warn(f"{whose} is left out: {type(error).__name__}: {error}", stacklevel=2)
            return None
        if name in known:
            warnings.warn(
                f"{whose} is left out: there is another {self.what} called {name!r}", stacklevel=2
            )
            return None
        return made

    def all(self) -> tuple[T, ...]:
        """Every object, those of this package first."""
        return tuple(self._known.values())

    def names(self) -> tuple[str, ...]:
        """The name of every object."""
        return tuple(self._known)

    def named(self, asked: "str | T") -> T:
        """The object of this name; an object is returned as it is.

        Raises:
            LookupError: no such name; the message lists the known ones.
        """
        if not isinstance(asked, str):
            return asked
        if asked in self._own:
            return self._own[asked]
        if asked not in self._known:
            raise LookupError(f"no {self.what} {asked!r}; there are: {', '.join(self.names())}")
        return self._known[asked]
