"""Calls of a task's own functions. What goes wrong in one has its file, line and inputs."""

import inspect
import reprlib
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = 80


class TaskError(ValueError):
    """What a task's own function did wrong, with its file, line and inputs."""


@cache
def parents_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters: the variables that it reads."""
    return tuple(inspect.signature(function).parameters)


def call(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """What a function gives for these values of the variables that it reads.

    Raises:
        TaskError: whatever the function raises, such as
            "countries.py, line 4: capital(country='Spain') raised KeyError: 'Spain'".
    """
    try:
        return function(*(values[name] for name in parents_of(function)))
    except Exception as error:
        raise TaskError(
            f"{place_of(function, error)}{called(function, values)} raised {words_of(error)}"
        ) from error


def called(function: Callable[..., Any], values: Mapping[str, Any]) -> str:
    """A call in words, such as "capital(country='Spain')"; long values are cut."""
    return f"{function.__name__}({shown(values, parents_of(function))})"


def shown(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """These variables' values in words, such as "x=3, y='a'"; long values are cut."""
    return ", ".join(f"{name}={SHOWN.repr(values[name])}" for name in names)


def place_of(function: Callable[..., Any], error: BaseException | None = None) -> str:
    """The file and line of a function, or of the line in it that raised, as the start of a
    sentence. It is empty for functions that have no file."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return ""
    line = code.co_firstlineno
    for frame in traceback.extract_tb(error.__traceback__ if error else None):
        if frame.filename == code.co_filename:
            line = frame.lineno or line
    return f"{Path(code.co_filename).name}, line {line}: "


def words_of(error: BaseException) -> str:
    """An exception in words, with its kind: a KeyError alone says only "Spain"."""
    told = str(error)
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
