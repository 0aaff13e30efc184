"""Entry points of packages that are not installed."""

from importlib import metadata
from types import SimpleNamespace


def entry(name: str, value: str, package: str, group: str = "") -> metadata.EntryPoint:
    """An entry point as `importlib.metadata.entry_points` gives it for this package."""
    made = metadata.EntryPoint(name, value, group)
    vars(made).update(dist=SimpleNamespace(name=package))
    return made
