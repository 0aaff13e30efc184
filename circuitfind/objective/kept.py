"""Prompts that ran once: what later passes need of them, kept from the pass that looked at their
answers.

Whether a model solves a pair takes a pass over its base and one over its source. The same passes
give the keys and values before the first patched token, the residual streams of the tokens after
it, and what donors give; nothing of it is run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..engines.engine import Edit, Point
from ..mediators.site import Site
from ..models.model import Model
from ..models.prompts import Prompts

MOST_BYTES = 2**30  # of keys and values; prompts beyond run again when they are needed
LONGEST = 8  # tokens from the first patched one on, up to which streams are kept

Key = tuple[int, ...]  # a prompt's own tokens


@dataclass
class Block:
    """What one pass gave. `prefix` and `streams` are handed on once, row by row.

    Args:
        width: of the tokens, padding included.
        prefix: keys and values of all tokens; None where only donors were looked at.
        streams: what enters each layer at the last tokens, "row pos width".
        acts: what is at a point and position, with the columns from the end.
    """

    width: int
    left: set[int]
    prefix: Any
    streams: tuple[Tensor, ...]
    acts: dict[tuple[Point, str], Tensor]


@dataclass(eq=False)
class Kept:
    """What passes over unpatched prompts gave, by prompt. It grows as prompts run and shrinks as
    prefixes are taken.

    Args:
        sites: whose points are looked at.
    """

    model: Model
    sites: tuple[Site, ...]
    blocks: list[Block] = field(default_factory=list)
    bases: dict[Key, tuple[int, int]] = field(default_factory=dict)
    sources: dict[tuple[Key, str, int], tuple[int, int]] = field(default_factory=dict)
    n_bytes: int = 0

    def is_of(self, model: Model) -> bool:
        """Whether this is the model that gave it; one with its weights shuffled has another
        name."""
        return self.model.engine is model.engine and self.model.name == model.name

    def run_base(self, prompts: Prompts) -> Float[Tensor, "pair d_vocab"]:
        """The output of base prompts; their keys and values and last streams are kept."""
        model, (n_rows, width) = self.model, prompts.tokens.shape
        start = min(int(prompts.columns[name].min()) for name in self._names(prompts))
        points = [Point(layer, "entry") for layer in range(model.n_layers)]
        wanted = width - start <= LONGEST and "start_at_layer" in model.engine.can
        seen: dict[Point, Tensor] = {}

        def keep(point: Point) -> Edit:
            def look(own: Tensor) -> None:
                seen[point] = own[:, start:].clone()

            return look

        output, prefix = model.engine.forward(
            prompts.tokens,
            prompts.attends,
            [(point, keep(point)) for point in points if wanted],
            keep_prefix=True,
            reads=prompts.reads,
        )
        size = model.engine.prefix_bytes(prefix)
        if size and self.n_bytes + size <= MOST_BYTES:
            self.n_bytes += size
            streams = tuple(seen[point] for point in points) if wanted else ()
            self._add(Block(width, set(range(n_rows)), prefix, streams, {}), prompts, self.bases)
        return output

    def run_source(self, prompts: Prompts) -> Float[Tensor, "pair d_vocab"]:
        """The output of source prompts; what their sites' points hold is kept."""
        points = dict.fromkeys(site.component.point for site in self.sites)
        rows, acts = torch.arange(len(prompts.tokens)), {}

        def keep(point: Point) -> Edit:
            def look(own: Tensor) -> None:
                for name in self._names(prompts):
                    column = prompts.columns[name].to(own.device)
                    acts[point, name] = own[rows.to(own.device), column].clone()

            return look

        width = prompts.tokens.shape[1]
        output, _ = self.model.engine.forward(
            prompts.tokens,
            prompts.attends,
            [(point, keep(point)) for point in points],
            reads=prompts.reads,
        )
        block = Block(width, set(), None, (), acts)
        self.blocks.append(block)
        for row, key in enumerate(keys_of(prompts)):
            for name in self._names(prompts):
                back = width - int(prompts.columns[name][row])
                self.sources[key, name, back] = len(self.blocks) - 1, row
        return output

    def donated(self, prompts: Prompts, points: Sequence[Point]) -> dict[str, dict] | None:
        """What is at these points at each position of the prompts, "prompt *acts"; None where some
        prompt was not looked at."""
        width, made = prompts.tokens.shape[1], {}
        keys = keys_of(prompts)
        for name, columns in prompts.columns.items():
            asked = [
                (key, name, width - column)
                for key, column in zip(keys, columns.tolist(), strict=True)
            ]
            places = [self.sources[one] for one in asked if one in self.sources]
            if len(places) < len(asked):
                return None
            if any((point, name) not in self.blocks[b].acts for b, _ in places for point in points):
                return None
            made[name] = {
                point: self._gathered(places, lambda block, at=(point, name): block.acts[at])
                for point in points
            }
        return made

    def taken(self, prompts: Prompts, start: int) -> tuple[Any, tuple[Tensor, ...]] | None:
        """The prefix of these base prompts up to column `start`, and the streams that enter each
        layer from there on; None where they are not there, or were taken before."""
        keys = keys_of(prompts)
        places = [self.bases[key] for key in keys if key in self.bases]
        if len(places) < len(keys) or any(row not in self.blocks[b].left for b, row in places):
            return None
        width = prompts.tokens.shape[1]
        blocks, order = _by_block(places)
        parts = [
            (self.blocks[number].prefix, rows, self.blocks[number].width - width)
            for number, rows in blocks.items()
        ]
        prefix = self.model.engine.take_prefix(parts, start)
        if prefix is None:
            return None
        prefix = self.model.engine.take_prefix([(prefix, order, 0)], start)
        n_new = width - start
        streams: tuple[Tensor, ...] = ()
        if all(s and s[0].shape[1] >= n_new for s in (self.blocks[b].streams for b in blocks)):
            streams = tuple(
                self._gathered(places, lambda block, n=layer: block.streams[n][:, -n_new:])
                for layer in range(self.model.n_layers)
            )
        for number, row in places:
            block = self.blocks[number]
            block.left.discard(row)
            if not block.left:
                block.prefix, block.streams = None, ()
        return prefix, streams

    def _names(self, prompts: Prompts) -> list[str]:
        return [name for name in prompts.columns if name != "all"]

    def _add(self, block: Block, prompts: Prompts, index: dict[Key, tuple[int, int]]) -> None:
        self.blocks.append(block)
        for row, key in enumerate(keys_of(prompts)):
            index[key] = len(self.blocks) - 1, row

    def _gathered(
        self, places: Sequence[tuple[int, int]], get: Callable[[Block], Tensor]
    ) -> Tensor:
        """Rows of several blocks, in the order of the places."""
        blocks, order = _by_block(places)
        pieces = [get(self.blocks[number])[rows] for number, rows in blocks.items()]
        return torch.cat(pieces)[order]


def keys_of(prompts: Prompts) -> list[Key]:
    """The tokens of each prompt, without padding."""
    return [
        tuple(token for token, real in zip(ids, seen, strict=True) if real)
        for ids, seen in zip(prompts.tokens.tolist(), prompts.attends.tolist(), strict=True)
    ]


def _by_block(places: Sequence[tuple[int, int]]) -> tuple[dict[int, list[int]], Tensor]:
    """The rows that are wanted of each block, and where each place is among them all."""
    blocks: dict[int, list[int]] = {}
    for number, row in places:
        blocks.setdefault(number, []).append(row)
    starts, at = {}, 0
    for number, rows in blocks.items():
        starts[number], at = at, at + len(rows)
    order = []
    for number, _ in places:
        order.append(starts[number])
        starts[number] += 1
    return blocks, torch.tensor(order)
