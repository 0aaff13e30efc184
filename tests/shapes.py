"""Shapes and types checked while tests run: what `--jaxtyping-packages` makes of each function.

jaxtyping's import hook decorates every function, those inside others each time that they are made,
and builds two checkers for each. That took more time than the tests themselves. Here the same is
checked for less: a checker is built at the first call, once for all functions of the same code; a
function without annotations is left as it is; where no annotation has a shape, beartype alone
checks it.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

__all__ = ["checked", "install"]

_jaxtyped = jaxtyping.jaxtyped
# As jaxtyping has it, what is violated is a TypeError.
_typed = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))
_shared: dict[Any, Callable[..., Any]] = {}


def install() -> None:
    """Let the import hook check in this way, from the next import on."""
    jaxtyping.jaxtyped = checked


def checked(fn: Any = None, *, typechecker: Any = None) -> Any:
    """The function or dataclass with its shapes and types checked, as `jaxtyping.jaxtyped` gives
    it."""
    if fn is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and "__init__" in vars(fn):
            made: Any = fn
            made.__init__ = checked(made.__init__, typechecker=typechecker)
        return fn
    if not isinstance(fn, FunctionType):  # a property, a static method or a class method
        return _jaxtyped(fn, typechecker=typechecker)
    if not fn.__annotations__:
        return fn
    if "<locals>" in fn.__qualname__:
        return _inner(fn, typechecker)
    return _at_first_call(fn, lambda: _checker(fn, typechecker))


def _at_first_call(fn: Any, build: Callable[[], Callable[..., Any]]) -> Any:
    """The function, whose checker is built when it is called."""
    checker: Any = None

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checker
        if checker is None:
            checker = build()
        return checker(*args, **kwargs)

    return call


def _checker(fn: Any, typechecker: Any) -> Callable[..., Any]:
    if any(_has_shape(hint) for hint in fn.__annotations__.values()):
        return _jaxtyped(fn, typechecker=typechecker)
    try:
        return _typed(fn)
    except BeartypeDecorHintException:  # jaxtyping passes over what it cannot read
        return _jaxtyped(fn, typechecker=typechecker)


def _has_shape(hint: Any) -> bool:
    """Whether the annotation names a shape; one that is text may."""
    if isinstance(hint, str):
        return True
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(hint))


def _inner(fn: Any, typechecker: Any) -> Any:
    """A function that another one makes at each call. All of them share a checker, which takes the
    function itself as its first argument."""
    checker = _shared.get(fn.__code__)
    if checker is None:

        def call(_itself: Any, /, *args: Any, **kwargs: Any) -> Any:
            return _itself(*args, **kwargs)

        functools.update_wrapper(call, fn)
        del call.__wrapped__  # type: ignore[attr-defined]
        signature = inspect.signature(fn)
        itself = inspect.Parameter("_itself", inspect.Parameter.POSITIONAL_ONLY, annotation=Any)
        # A first parameter by position only lets those behind it be whatever they are.
        call.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[itself, *signature.parameters.values()]
        )
        checker = _shared[fn.__code__] = _jaxtyped(call, typechecker=typechecker)

    @functools.wraps(fn)
    def one(*args: Any, **kwargs: Any) -> Any:
        return checker(fn, *args, **kwargs)

    return one
