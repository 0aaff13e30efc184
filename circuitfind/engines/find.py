"""Where a plain Hugging Face decoder writes into its residual stream.

Found by looking at one pass of three tokens, never by a table of names. A layer is an item of the
module list that runs once a layer. Its attention is the child whose class or name says so. The
output projection is the last linear map that runs in it, and takes the heads side by side. The MLP
is the last child beside the attention that holds a linear map, gives the width of the stream, and
hands nothing from token to token. Other children that give that width (linear attention, Mamba,
convolutions) are no sites; they are kept by name, so that what they write can be measured.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .engine import OTHER, QUERIES, Point
from .mixing import mixing, parallel
from .watch import Watched, watch

_QUERIES = re.compile(r"q_proj|query|q_lin|wq|q")
# What modules are called that are a layer's MLP: others may come behind it, as in Gemma 4.
_MLP = re.compile(r"mlp|feed_?forward|ffn?\b|moe|expert", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What a module is given ("in") or gives ("out").

    `n_heads` is how many slices lie side by side in it. `copied` says that the model's later code
    writes over this very tensor, so that who keeps it needs a copy.
    """

    module: nn.Module
    side: Literal["in", "out"]
    n_heads: int | None = None
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The layers of a model, and the place of each point in them.

    `n_returned` is how many things a layer returns in a tuple; None where it returns the stream
    alone. `others` are modules of the layers that may write to the stream and are no sites.
    """

    blocks: tuple[nn.Module, ...]
    places: dict[Point, Place]
    n_heads: int
    d_model: int
    d_vocab: int
    n_returned: int | None
    parallel: bool
    others: dict[Point, Place]


def find_sites(model: nn.Module) -> Sites:
    """The places where this model's layers read and write.

    Raises:
        ValueError: no layers are found, or the config does not say how many heads there are.
    """
    n_heads = _number(model, "num_attention_heads", "n_head", "n_heads", "num_heads")
    seen = watch(model)
    blocks = _layers(model, seen)
    entered, left = seen[blocks[0]], seen[blocks[-1]]
    if n_heads is None or entered.given is None or left.gave is None:
        raise ValueError(
            f"expected a decoder whose config gives num_attention_heads; got {_named(model)}"
        )
    d_model = entered.given.shape[-1]
    places = {Point(len(blocks), "entry"): _place(seen, blocks[-1], "out")}
    if embed := _embedding(model, blocks, seen):
        places[Point(0, "embed")] = _place(seen, embed, "out")
    layers = [_parts(block, seen, n_heads, d_model) for block in blocks]
    mixes = mixing(model, [part for parts in layers for part in parts.beside])
    others: dict[Point, Place] = {}
    for layer, parts in enumerate(layers):
        mlps = _mlps(parts, mixes, seen, d_model)
        places |= {
            Point(layer, kind): at for kind, at in _in_layer(parts, mlps, seen, n_heads, d_model)
        }
        for name, part in parts.named.items():
            if part not in mlps[-1:] and seen.gives(part, d_model):
                others[Point(layer, OTHER + name)] = _place(seen, part, "out")
    return Sites(
        blocks=blocks,
        places=places,
        n_heads=n_heads,
        d_model=d_model,
        d_vocab=seen.logits.shape[-1],
        n_returned=left.n_returned,
        parallel=_is_parallel(model, places),
        others=others,
    )


def _named(model: nn.Module) -> str:
    return type(model).__name__


def _number(model: nn.Module, *names: str) -> int | None:
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config(decoder=True)
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int)), None)


def _layers(model: nn.Module, seen: Watched) -> tuple[nn.Module, ...]:
    """The items of the largest module list that all ran and handed on a stream of one width."""
    n_layers = _number(model, "num_hidden_layers", "n_layer", "n_layers", "num_layers")

    def is_stack(items: nn.ModuleList) -> bool:
        if not len(items) or not all(item in seen for item in items):
            return False
        streams = [side for item in items for side in (seen[item].given, seen[item].gave)]
        return len({None if side is None else side.shape for side in streams} - {None}) == 1

    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and is_stack(part)]
    if n_layers is not None:
        lists = [part for part in lists if len(part) == n_layers]
    if not lists:
        count = "its layers" if n_layers is None else f"{n_layers} layers"
        raise ValueError(
            f"expected a decoder with a list of {count} that run one after another on one stream; "
            f"found none in {_named(model)}. Load it with the bridge engine, or take another model."
        )
    return tuple(max(lists, key=lambda part: sum(w.numel() for w in part.parameters())))


def _embedding(model: nn.Module, blocks: tuple[nn.Module, ...], seen: Watched) -> nn.Module | None:
    """The module that writes what tokens bring into the stream."""
    get = getattr(model, "get_input_embeddings", None)
    embed = get() if get is not None else None
    if embed is None or embed not in seen:
        return None
    within = {id(part) for block in blocks for part in block.modules()}
    for part in model.modules():
        if part in seen and id(part) not in within and seen[part].given is seen[embed].gave:
            # A norm between the embedding and the first layer, as in BLOOM.
            if seen[part].gave is seen[blocks[0]].given:
                return part
    return embed


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A layer, its attention's output projection and map to queries, and its children beside the
    attention that hold linear maps, by name and in the order they run."""

    block: nn.Module
    projection: nn.Module | None
    queries: nn.Module | None
    named: dict[str, nn.Module]

    @property
    def beside(self) -> list[nn.Module]:
        return list(self.named.values())


def _parts(block: nn.Module, seen: Watched, n_heads: int, d_model: int) -> _Parts:
    attention = _attention(block, seen, d_model)
    is_cut = attention is not None and _has_heads(attention, n_heads)
    projection = _projection(attention, seen, n_heads, d_model) if attention and is_cut else None
    # An attention that cannot be cut into heads writes all the same.
    attends = set() if projection is None or attention is None else {*map(id, attention.modules())}
    named = {
        name: part
        for name, part in block.named_children()
        if part in seen and _holds_linear(part) and not attends & set(map(id, part.modules()))
    }
    order = sorted(named, key=lambda name: seen[named[name]].order)
    return _Parts(
        block=block,
        projection=projection,
        queries=_queries(attention, seen, n_heads) if attention and projection else None,
        named={name: named[name] for name in order},
    )


def _in_layer(
    parts: _Parts, mlps: list[nn.Module], seen: Watched, n_heads: int, d_model: int
) -> Iterator[tuple[str, Place]]:
    """The kinds of points in a layer, each with its place."""
    yield "entry", _place(seen, parts.block, "in")
    if parts.projection is not None:
        yield "heads", _place(seen, parts.projection, "in", n_heads)
    if parts.queries is not None:
        yield QUERIES, _place(seen, parts.queries, "out", n_heads)
    if mlps:
        yield "mlp", _place(seen, _writer(parts.block, mlps[-1], seen, d_model), "out")
        # OPT has its MLP's two linear maps side by side in the layer: the first one reads.
        if reader := next((part for part in mlps[-1:] + mlps if seen.takes(part, d_model)), None):
            yield "mlp_in", _place(seen, reader, "in")


def _place(
    seen: Watched, module: nn.Module, side: Literal["in", "out"], n_heads: int | None = None
) -> Place:
    ran = seen[module]
    value = ran.given if side == "in" else ran.gave
    version = ran.given_version if side == "in" else ran.gave_version
    return Place(module, side, n_heads, value is not None and value._version != version)


def _is_linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


def _holds_linear(module: nn.Module) -> bool:
    return any(map(_is_linear, module.modules()))


def _attention(block: nn.Module, seen: Watched, d_model: int) -> nn.Module | None:
    """The outermost module of a layer that attends and gives the width of the stream."""
    inside = [(name, part) for name, part in block.named_modules() if part is not block]
    inside = [(name, part) for name, part in inside if seen.gives(part, d_model)]
    by_class = [
        part
        for _, part in inside
        if re.search(r"attention|attn", type(part).__name__, re.IGNORECASE) and _holds_linear(part)
    ]
    by_name = [
        part
        for name, part in inside
        if re.fullmatch(r"(self_)?att(n|ention)", name.split(".")[-1]) and _holds_linear(part)
    ]
    return next(iter(by_class or by_name), None)


def _has_heads(attention: nn.Module, n_heads: int) -> bool:
    """Whether an attention that counts heads has as many; linear attention may have others."""
    names = "num_heads", "n_heads", "n_head", "num_attention_heads", "num_v_heads"
    counts = [getattr(attention, name, None) for name in names]
    known = [count for count in counts if isinstance(count, int)]
    return not known or n_heads in known


def _projection(
    attention: nn.Module, seen: Watched, n_heads: int, d_model: int
) -> nn.Module | None:
    """The last linear map that runs in an attention and takes all heads side by side."""
    maps = [part for part in attention.modules() if _is_linear(part) and seen.gives(part, d_model)]
    maps = [part for part in maps if _width_given(part, seen) % n_heads == 0]
    return max(maps, key=lambda part: seen[part].order, default=None)


def _queries(attention: nn.Module, seen: Watched, n_heads: int) -> nn.Module | None:
    """The linear map of an attention that makes queries alone, by its name."""
    for name, part in attention.named_modules():
        if _QUERIES.fullmatch(name.split(".")[-1]) and _is_linear(part) and part in seen:
            made = seen[part].gave
            return part if made is not None and made.shape[-1] % n_heads == 0 else None
    return None


def _width_given(module: nn.Module, seen: Watched) -> int:
    given = seen[module].given
    return 1 if given is None else given.shape[-1]


def _mlps(parts: _Parts, mixes: set[int], seen: Watched, d_model: int) -> list[nn.Module]:
    """The children that hand nothing from token to token, in the order they run, up to the last
    one that gives the width of the stream and is called an MLP; where none is, up to the last."""
    rest = {name: part for name, part in parts.named.items() if id(part) not in mixes}
    ends = {name: part for name, part in rest.items() if seen.gives(part, d_model)}
    called = [part for name, part in ends.items() if _MLP.search(f"{name} {type(part).__name__}")]
    last = (called or list(ends.values()) or [None])[-1]
    order = list(rest.values())
    return [] if last is None else order[: order.index(last) + 1]


def _writer(block: nn.Module, mlp: nn.Module, seen: Watched, d_model: int) -> nn.Module:
    """The module whose output is what the MLP adds to the stream."""
    made, layer = seen[mlp].gave, seen[block].gave
    if made is not None and layer is not None and torch.equal(made, layer):
        # What the MLP gives is the whole stream: it adds to it itself, as in BLOOM and MPT.
        maps = [part for part in mlp.modules() if _is_linear(part) and seen.gives(part, d_model)]
        return max(maps, key=lambda part: seen[part].order, default=mlp)
    for part in block.children():
        # A norm between the MLP and the stream, as in Gemma 2 and OLMo 2.
        if part is mlp or not seen.gives(part, d_model) or seen[part].n_runs > 1:
            continue  # Phi runs one dropout twice, after its heads and after its MLP
        if seen[part].given is made:
            return part
    return mlp


def _is_parallel(model: nn.Module, places: dict[Point, Place]) -> bool:
    heads, reader = places.get(Point(0, "heads")), places.get(Point(0, "mlp_in"))
    return heads is not None and reader is not None and parallel(model, heads.module, reader.module)
