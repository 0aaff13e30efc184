"""Components (a head, an MLP, the embedding) and sites (a component at a named position).

Names: `a9.h6` is head 6 of layer 9, `m3` the MLP of layer 3, `embed` the token embedding;
`a9.h6@last` is that head at the last token. They follow EAP-IG (Hanna et al. 2024, 2403.17806).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["embed", "head", "mlp"]

_NAME = re.compile(r"a(?P<layer>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+)|(?P<embed>embed)", re.ASCII)


@dataclass(frozen=True, order=True)
class Component:
    """An addressable part of a transformer. `head` is set for heads only, `layer` is 0 for
    the embedding."""

    layer: int
    kind: Kind
    head: int | None = None

    def __str__(self) -> str:
        if self.kind == "head":
            return f"a{self.layer}.h{self.head}"
        return f"m{self.layer}" if self.kind == "mlp" else "embed"


@dataclass(frozen=True)
class Site:
    """A component at a named position: the unit that a gate opens."""

    component: Component
    position: str

    def __str__(self) -> str:
        return f"{self.component}@{self.position}"


EMBED = Component(0, "embed")


def head(layer: int, index: int) -> Component:
    """The head of this index in this layer."""
    return Component(layer, "head", index)


def mlp(layer: int) -> Component:
    """The MLP of this layer."""
    return Component(layer, "mlp")


def parse_site(name: str) -> Site:
    """The site that a name such as `a9.h6@last` or `m3@x.2` stands for.

    Raises:
        ValueError: not such a name.
    """
    component, _, position = name.partition("@")
    match = _NAME.fullmatch(component)
    if match is None or not position:
        raise ValueError(f"a site is called like a9.h6@last, m3@last or embed@all; got {name!r}")
    if match["embed"]:
        return Site(EMBED, position)
    if match["mlp"]:
        return Site(mlp(int(match["mlp"])), position)
    return Site(head(int(match["layer"]), int(match["head"])), position)


def all_sites(
    n_layers: int, n_heads: int, positions: Iterable[str], mlps: bool = True
) -> tuple[Site, ...]:
    """Every head and MLP at every position: by position, then layer, heads before the MLP."""
    return tuple(
        Site(component, position)
        for position in positions
        for layer in range(n_layers)
        for component in (
            *(head(layer, index) for index in range(n_heads)),
            *((mlp(layer),) if mlps else ()),
        )
    )
