"""Packages whose public names are imported when they are first used."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    """A package that imports its public names when they are first used."""

    _home: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._home:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{self._home[name]}", self.__name__), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds each imported submodule to its name here. Where a function has the name of a
        # submodule, as `search` and `finish` have, the function is what a user means.
        if name not in self._home or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def import_when_used(package: str, home: Mapping[str, str]) -> None:
    """Let a package import each of its public names when it is first used.

    Args:
        package: its `__name__`.
        home: the submodule of each name.

    >>> import_when_used(__name__, {"load_model": "models.loading"})
    """
    module = sys.modules[package]
    vars(module)["_home"] = home
    module.__class__ = _LazyPackage
