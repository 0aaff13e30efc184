"""The code that runs, as a digest: what a checkpoint is of, besides its settings."""

import hashlib
from functools import cache
from pathlib import Path

import desiderata


@cache
def code_digest() -> str:
    """SHA-256 over the source of this package and of the language, and the version of torch. A
    search that another version began may come to another result."""
    import torch  # which reading a finished run does not need

    found = hashlib.sha256(torch.__version__.encode())
    for package in (Path(__file__).parents[1], Path(desiderata.__file__).parent):
        for path in sorted(package.rglob("*.py")):
            found.update(path.relative_to(package).as_posix().encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
