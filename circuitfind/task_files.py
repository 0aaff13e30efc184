"""Claims from a user's own Python file, which is run as `python file.py` would run it."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from desiderata import Sampleable

OURS = ("circuitfind", "desiderata", "tasks")
SITES = ("site-packages", "dist-packages")


def from_file(path: Path, name: str) -> Sampleable:
    """The claim called `name` in a Python file, which is run for that.

    While it runs, the modules in its folder can be imported, except those that are called like a
    module of Python, of ours, or of an installed package.

    Raises:
        LookupError: no such file, or no such name in it; the message lists its claims.
        ValueError: the file fails, with its line; or the name is not a claim.
    """
    if not path.is_file():
        raise LookupError(f"no file {path}")
    module = _run(path)
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if _is_claim(value)]
        raise LookupError(
            f"{path} has no {name!r}; the claims in it are: {', '.join(offered) or 'none'}"
        )
    return checked_claim(getattr(module, name), f"{path}:{name}")


def checked_claim(value: Any, reference: str) -> Sampleable:
    """The value, if it is a claim.

    Raises:
        ValueError: it is none.
    """
    if not _is_claim(value):
        raise ValueError(
            f"{reference} is a {type(value).__name__}, not a claim; make one with "
            "model.carries(...) or model.suffices(...)"
        )
    return value


def _is_claim(value: Any) -> bool:
    return isinstance(value, Sampleable) and not isinstance(value, type)


def _run(path: Path) -> ModuleType:
    """The module that a file makes."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"_task_{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and friends look their module up by name while it runs.
    sys.modules[spec.name] = module
    try:
        with _siblings(path.resolve().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ValueError(f"{path} fails: {_words(path, error)}") from error
    return module


def _words(path: Path, error: BaseException) -> str:
    """What failed, and the last line of the user's own files that led there."""
    if isinstance(error, SyntaxError) and error.lineno:
        line = f", line {error.lineno}" if error.filename else ""
        code = f": {error.text.strip()}" if error.text else ""
        return (
            f"{type(error).__name__}: {error.msg} ({Path(error.filename or path).name}{line}{code})"
        )
    if isinstance(error, SystemExit):
        told = "it ends Python (sys.exit) while it loads"
    else:
        told = f"{type(error).__name__}: {error}"
    mine = {str(path.absolute()), str(path.resolve())}
    folder = path.resolve().parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in mine or Path(frame.filename).parent == folder:
            code = f": {frame.line}" if frame.line else ""
            return f"{told} ({Path(frame.filename).name}, line {frame.lineno}{code})"
    return told


@contextmanager
def _siblings(folder: Path) -> Iterator[None]:
    """Lets the modules in a folder be imported, each folder's own, and forgets them after."""
    names = _names_of(folder)
    aside = {
        key: module
        for key, module in list(sys.modules.items())
        if key.split(".")[0] in names and not _is_in(key, folder)
    }
    before = dict(sys.modules)
    finder = _Siblings(folder, names)
    for key in aside:
        del sys.modules[key]
    importlib.invalidate_caches()  # of what stood in the folder when it was last read
    sys.meta_path.insert(0, finder)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if str(folder) in sys.path:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(str(folder))]
        for key in [key for key in sys.modules if key not in before and _is_in(key, folder)]:
            del sys.modules[key]
        sys.modules.update(aside)


class _Siblings:
    """Finds the modules of these names in one folder, before anything else is asked."""

    def __init__(self, folder: Path, names: set[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, where it is one of these; submodules come from their packages."""
        return PathFinder.find_spec(name, [str(self.folder)]) if name in self.names else None


def _names_of(folder: Path) -> set[str]:
    """The modules and packages in a folder that no module of Python, of ours, or of an installed
    package is called like."""
    here = {entry.stem for entry in folder.glob("*.py")}
    here |= {entry.parent.name for entry in folder.glob("*/__init__.py")}
    installed = [entry for entry in sys.path if Path(entry).name in SITES]
    return {
        name
        for name in here
        if name not in sys.stdlib_module_names
        and name not in OURS
        and PathFinder.find_spec(name, installed) is None
    }


def _is_in(name: str, folder: Path) -> bool:
    """Whether an imported module, or the package that it is in, stands directly in this folder."""
    root = sys.modules.get(name.split(".")[0])
    file = getattr(root, "__file__", None)
    if file and Path(file).name == "__init__.py":
        file = Path(file).parent
    if not file:  # a package without __init__.py, or a module of Python that has no file
        file = next(iter(getattr(root, "__path__", ())), None)
    return bool(file) and Path(file).resolve().parent == folder
