"""Objects known by name: built-in ones, and those that installed packages add or fail to add."""

import sys
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

import pytest

from circuitfind.registry import Registry

from ..entries import entry

GROUP = "circuitfind.colours"


@dataclass(frozen=True)
class Colour:
    name: str


@pytest.fixture
def install(monkeypatch):
    """Make a module with these objects, and these the only entry points."""

    def install(*entries, **objects):
        module = ModuleType("paint")
        vars(module).update(objects)
        monkeypatch.setitem(sys.modules, "paint", module)
        monkeypatch.setattr(metadata, "entry_points", lambda group: entries)

    return install


def test_built_in_objects_come_first_and_are_made_when_asked_for(install):
    install(entry("x", "paint:green", "paint"), green=Colour("green"))
    asked = []

    def builtin():
        asked.append(1)
        return [Colour("red"), Colour("blue")]

    colours = Registry(GROUP, builtin, "colour", kind=Colour)
    assert not asked
    assert colours.names() == ("red", "blue", "green")
    assert [one.name for one in colours] == ["red", "blue", "green"]
    assert len(colours) == 3 and asked == [1]
    assert colours.named("green") == colours.all()[2]
    mine = Colour("mine")
    assert colours.named(mine) is mine
    assert colours.package("red") is None and colours.package("green") == "paint"
    assert colours.problems() == ()
    with pytest.raises(LookupError, match=r"no colour 'grey'; the colours are: red, blue, green$"):
        colours.named("grey")


def test_what_cannot_be_used_is_named_and_leaves_the_others(install):
    install(
        entry("a", "paint:green", "paint"),
        entry("b", "nowhere:green", "paint"),
        entry("c", "paint:number", "paint"),
        entry("d", "paint:again", "varnish"),
        entry("e", "paint:gone", "paint"),
        entry("f", "paint:also", "varnish"),
        green=Colour("green"),
        number=3,
        again=Colour("green"),
        also=Colour("red"),
    )
    colours = Registry(GROUP, [Colour("red")], "colour", kind=Colour)
    assert colours.names() == ("red", "green")
    left_out = "the colour {!r} of {} is left out: "
    assert colours.problems() == (
        left_out.format("b", "paint") + "ModuleNotFoundError: No module named 'nowhere'",
        left_out.format("c", "paint") + "paint:number is a int, not a Colour",
        left_out.format("d", "varnish") + "paint:again is called 'green', as is one of paint",
        left_out.format("e", "paint") + "AttributeError: module 'paint' has no attribute 'gone'",
        left_out.format("f", "varnish") + "paint:also is called 'red', as is one of circuitfind",
    )
    with pytest.raises(LookupError, match="No module named 'nowhere'"):
        colours.named("grey")


def test_packages_are_looked_up_again_on_request(install):
    install()
    colours = Registry(GROUP, [Colour("red")], "colour")
    assert colours.names() == ("red",)
    install(entry("x", "paint:green", "paint"), green=Colour("green"))
    assert colours.names() == ("red",)
    colours.refresh()
    assert colours.names() == ("red", "green")
    install(entry("x", "paint:plain", "paint"), plain=object())
    colours.refresh()
    assert colours.problems() == ("the colour 'x' of paint is left out: paint:plain has no name",)
