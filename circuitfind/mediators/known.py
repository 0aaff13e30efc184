"""The mediators that are known by name: those of this package and of installed plug-ins."""

from operator import attrgetter

from ..registry import Registry
from .head import HEADS
from .site import Mediator, Site
from .whole import EMBED, MLPS

MEDIATORS: Registry[Mediator] = Registry(
    "circuitfind.mediators",
    (HEADS, MLPS, EMBED.mediator),
    "mediator",
    key=attrgetter("kind"),
    kind=Mediator,
)


def parse_site(name: str) -> Site:
    """The site of a name such as `a9.h6@last` or `m3@x.2`.

    Raises:
        ValueError: not such a name.
    """
    component, _, position = name.partition("@")
    if position:
        for mediator in MEDIATORS.all():
            if (found := mediator.parse(component)) is not None:
                return Site(found, position)
    raise ValueError(f"a site is called like a9.h6@last, m3@last or embed@all; got {name!r}")
