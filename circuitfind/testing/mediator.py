"""The laws of a mediator."""

from collections.abc import Iterable, Sequence

import torch

from ..engines.laws import look
from ..mediators.known import MEDIATORS
from ..mediators.site import Component, Mediator
from ..models.model import Model
from .engine import LENGTHS, shape_problems
from .nonconforming import examine

CLOSE = 1e-5
MOST = 64  # components whose names and parts are looked at


def check_mediator(mediator: Mediator, model: Model) -> None:
    """Examine a mediator on a model: names read back, parts are laid out as row, token, part and
    width, and joining the parts that were split gives the activation back.

    Raises:
        Nonconforming: a law is broken; every reason at once.
    """
    components = list(mediator.components(model.engine))

    def description() -> Iterable[str]:
        return _description(mediator)

    def names() -> Iterable[str]:
        return _names(mediator, components)

    def layout() -> Iterable[str]:
        return _layout(mediator, model, components)

    def lens() -> Iterable[str]:
        return _lens(mediator, model, components)

    examine(f"the mediator {mediator.kind}", [description, names, layout, lens])


def _description(mediator: Mediator) -> Iterable[str]:
    if not mediator.kind or not mediator.kind.isascii() or " " in mediator.kind:
        yield f"kind is a word in ASCII; got {mediator.kind!r}"
    if mediator.glyph.shape not in ("round", "box", "trapezium"):
        yield f"its glyph has a shape that is not drawn: {mediator.glyph.shape!r}"
    if hash(mediator) != hash(mediator):
        yield "its hash changes"


def _names(mediator: Mediator, components: Sequence[Component]) -> Iterable[str]:
    if not components:
        yield "the model has no component of it"
    if len(set(components)) < len(components):
        yield "it lists a component twice"
    shown = components[:MOST]
    others = [one for one in MEDIATORS.all() if one.kind != mediator.kind]
    for component in shown:
        name = str(component)
        if component.mediator != mediator:
            yield f"{name}: its mediator is another one"
        if not name or any(sign in name for sign in "@,= \n"):
            yield f"the name {name!r} has a sign that names of sites use"
        if mediator.parse(name) != component:
            yield f"{name}: the name does not read back as the component"
        for other in others:
            if other.parse(name) is not None:
                yield f"{name} is also a name of the mediator {other.kind}"
    if mediator.parse("no such name") is not None:
        yield "it reads a name that is none of its own"


@torch.no_grad()
def _layout(mediator: Mediator, model: Model, components: Sequence[Component]) -> Iterable[str]:
    for length in LENGTHS:
        for point, acts, mine in _activations(mediator, model, components, length):
            wrong = list(shape_problems(model.engine, point, acts, 2, length))
            yield from wrong
            if wrong:
                continue
            parts = mediator.split(acts)
            if parts.ndim != 4 or parts.shape[:2] != acts.shape[:2]:
                yield (
                    f"{point}: parts are laid out as row, token, part and width; from a tensor of "
                    f"{tuple(acts.shape)} it makes {tuple(parts.shape)}"
                )
                continue
            beyond = [str(one) for one in mine if one.part >= parts.shape[2]]
            if beyond:
                yield f"{point}: {parts.shape[2]} parts are no room for {', '.join(beyond[:3])}"
            alone = mediator.split(acts[:, 1:2])
            if not torch.allclose(alone, parts[:, 1:2], atol=CLOSE, rtol=CLOSE):
                yield f"{point}: a token's parts depend on the other tokens"


@torch.no_grad()
def _lens(mediator: Mediator, model: Model, components: Sequence[Component]) -> Iterable[str]:
    for point, acts, mine in _activations(mediator, model, components, LENGTHS[0]):
        parts = mediator.split(acts)
        joined = mediator.join(acts, parts)
        if joined.shape != acts.shape:
            yield f"{point}: join makes {tuple(joined.shape)} of {tuple(acts.shape)}"
            continue
        scale = 1 + float(acts.abs().max())
        if float((joined - acts).abs().max()) > CLOSE * scale:
            yield f"{point}: joining what was split is not the activation that it came from"
        moved = parts.clone()
        moved[:, :, mine[0].part] = parts[:, :, mine[0].part] + scale
        changed = mediator.join(acts, moved)
        if torch.equal(changed, joined):
            yield f"{mine[0]}: another value of its part changes nothing"


def _activations(
    mediator: Mediator, model: Model, components: Sequence[Component], length: int
) -> list[tuple]:
    """Each point of some components, what is there in two prompts, and its components."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(model.engine.sizes.d_vocab, (2, length), generator=generator)
    by_point: dict = {}
    for component in components[:MOST]:
        by_point.setdefault(mediator.point(component), []).append(component)
    _, seen = look(model.engine, ids.to(model.device), list(by_point))
    return [(point, seen[point], mine) for point, mine in by_point.items()]
