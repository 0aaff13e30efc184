"""The search space: which components at which positions a circuit may be made of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engines.points import Point, Sizes
from ..problems import listed
from .head import HEADS
from .known import MEDIATORS, parse_site
from .site import Component, Mediator, Offers, Site
from .whole import MLPS

USUAL = (HEADS, MLPS)  # the mediators of a space that names none
# A run of digits with an optional second one after a dash, a star, or any other character.
_PIECE = re.compile(r"(?P<low>\d+)-(?P<high>\d+)|(?P<star>\*)|(?P<other>.)", re.ASCII | re.DOTALL)

Selector = str | Site | Mediator


@dataclass(frozen=True)
class SearchSpace:
    """The sites that a search chooses from, as somebody asked for them.

    A selector is a mediator or its plural (`heads`, `mlps`), a site or its name, or a pattern over
    names: `*` stands for any text, `20-29` for any of these numbers, and without `@` a pattern
    holds at every position (`a20-29.*@last`). One that begins with `!` leaves sites out. Without
    selectors, or with such ones only, the space starts from every head and MLP.
    """

    positions: tuple[str, ...]
    selectors: tuple[Selector, ...] = ()

    def sites(self, engine: Offers) -> tuple[Site, ...]:
        """The sites of this space in a model: by position, then in the order of the pass.

        Raises:
            ValueError: selectors that select nothing, all at once; an empty space.
        """
        selected = _Selection(engine, self.positions)
        chosen: dict[Site, None] = {}
        dropped: set[Site] = set()
        problems = []
        asked = [one for one in self.selectors if not _excludes(one)]
        for selector in asked or USUAL:
            found = selected.by(selector)
            chosen |= dict.fromkeys(found)
            # A model without heads is no error as long as nobody asked for heads.
            problems += [f"{_text(selector)!r} selects no site"] if asked and not found else []
        for selector in filter(_excludes, self.selectors):
            found = selected.by(str(selector)[1:])
            dropped |= set(found)
            problems += [] if found else [f"{selector!r} leaves no site out"]
        kept = [site for site in chosen if site not in dropped]
        if not problems and not kept:
            problems.append("the space is empty")
        if problems:
            raise ValueError(
                f"{listed(problems)}. There are heads, mlps, names such as a9.h6@last and "
                f"patterns such as a20-29.*, at {', '.join(self.positions)}"
            )
        order = {position: n for n, position in enumerate(self.positions)}
        return tuple(
            sorted(
                kept,
                key=lambda s: (order.get(s.position, len(order)), s.position, s.component.rank),
            )
        )

    def at(self, positions: Iterable[str]) -> "SearchSpace":
        """The same selectors at other positions."""
        return SearchSpace(tuple(positions), self.selectors)

    def as_json(self) -> dict[str, Any]:
        """The space as plain values."""
        return {"positions": list(self.positions), "selectors": [*map(_text, self.selectors)]}


def space_from_json(read: Mapping[str, Any]) -> SearchSpace:
    """The space that `as_json` wrote. Selectors are names, which are looked up when it is used."""
    return SearchSpace(tuple(read["positions"]), tuple(read["selectors"]))


def matches(pattern: str, site: Site) -> bool:
    """Whether a pattern over names means this site; see `SearchSpace`."""
    name = str(site) if "@" in pattern else str(site.component)
    expression, ranges = "", []
    for piece in _PIECE.finditer(pattern):
        if piece["low"]:
            ranges.append((int(piece["low"]), int(piece["high"])))
            expression += r"(\d+)"
        else:
            expression += ".*" if piece["star"] else re.escape(piece["other"])
    found = re.fullmatch(expression, name, re.DOTALL)
    return found is not None and all(
        low <= int(number) <= high
        for number, (low, high) in zip(found.groups(), ranges, strict=True)
    )


def space_of(
    sites: "SearchSpace | Iterable[Selector] | None", positions: Iterable[str]
) -> SearchSpace:
    """The space that somebody asks for, by default every head and MLP at these positions.

    Args:
        sites: a space, or selectors.
    """
    if isinstance(sites, SearchSpace):
        return sites
    return SearchSpace(tuple(dict.fromkeys(positions)), tuple(sites or ()))


def joined(spaces: Iterable[SearchSpace | None], positions: Iterable[str]) -> SearchSpace:
    """The space, at these positions, of all sites that any of these spaces has; None stands for
    every head and MLP."""
    parts = [space.selectors if space else () for space in spaces]
    if len(set(parts)) == 1:
        return SearchSpace(tuple(positions), parts[0])
    every = [selector for part in parts for selector in part or USUAL]
    return SearchSpace(tuple(positions), tuple(dict.fromkeys(every)))


def has_component(engine: Offers, component: Component) -> bool:
    """Whether a model has this component."""
    return any(one == component for one in component.mediator.components(engine))


@dataclass(frozen=True)
class Decoder:
    """The components of any decoder with heads and an MLP in each layer, for whoever knows the
    sizes and has no model at hand."""

    n_layers: int
    n_heads: int

    @property
    def sizes(self) -> Sizes:
        """The sizes that decide which components there are; the others are 0."""
        return Sizes(
            n_layers=self.n_layers, n_heads=self.n_heads, d_model=0, d_vocab=0, n_block_parameters=0
        )

    def has(self, point: Point) -> bool:
        """Whether there is this point."""
        return point.kind in ("embed", "heads", "mlp") and 0 <= point.layer < self.n_layers


def all_sites(n_layers: int, n_heads: int, positions: Iterable[str]) -> tuple[Site, ...]:
    """Every head and MLP of a decoder at every position: by position, then layer, heads before
    the MLP."""
    return SearchSpace(tuple(positions)).sites(Decoder(n_layers, n_heads))


class _Selection:
    """What selectors mean in one model; each mediator is asked for its components once."""

    def __init__(self, engine: Offers, positions: tuple[str, ...]) -> None:
        self.engine, self.positions = engine, positions
        self.components: dict[Mediator, dict[Component, None]] = {}

    def of(self, mediator: Mediator) -> dict[Component, None]:
        """The components that the model offers of a mediator, in order."""
        if mediator not in self.components:
            self.components[mediator] = dict.fromkeys(mediator.components(self.engine))
        return self.components[mediator]

    def by(self, selector: Selector) -> list[Site]:
        """The sites that one selector means."""
        if isinstance(selector, Site):
            offered = selector.component in self.of(selector.component.mediator)
            return [selector] if offered and selector.position in self.positions else []
        if not isinstance(selector, str):
            return self._everywhere(selector)
        for mediator in MEDIATORS.all():
            if selector.lower() == mediator.glyph.plural.lower():
                return self._everywhere(mediator)
        try:
            return self.by(parse_site(selector))
        except ValueError:
            every = (site for one in MEDIATORS.all() for site in self._everywhere(one))
            return [site for site in every if matches(selector, site)]

    def _everywhere(self, mediator: Mediator) -> list[Site]:
        return [Site(one, position) for position in self.positions for one in self.of(mediator)]


def _excludes(selector: Selector) -> bool:
    return isinstance(selector, str) and selector.startswith("!")


def _text(selector: Selector) -> str:
    if isinstance(selector, str | Site):
        return str(selector)
    return selector.glyph.plural.lower()
