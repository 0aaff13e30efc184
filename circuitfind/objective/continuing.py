"""Answers of several tokens: their tokens are run after the prompt, on its keys and values.

A patch changes the prompt only. What it left in keys and values serves every continuation; only
the answers' own tokens run more than once.
"""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from ..answers.spelling import Continuations
from ..models.model import Model
from ..models.prompts import Prompts
from .cost import Cost


def continue_after(
    model: Model,
    first: Float[Tensor, "row d_vocab"],
    prefix: Any,
    attends: Int[Tensor, "row seen"],
    reads: Int[Tensor, " row"] | None,
    tokens: Int[Tensor, "row path step"],
) -> Float[Tensor, "row place d_vocab"]:
    """The logits after each prompt, and after every step of every path that continues it.

    Args:
        first: the logits after the prompts.
        prefix: the keys and values of the prompts.
        reads: the column that each continuation follows; None for the last.
    """
    _, n_paths, n_steps = tokens.shape
    if n_paths > 1:
        prefix = model.engine.repeat_prefix(prefix, n_paths)
    fed = rearrange(tokens, "row path step -> (path row) step")
    seen = _seen(attends, reads).repeat(n_paths, 1)
    seen = torch.cat([seen, seen.new_ones(len(fed), n_steps)], dim=1)
    columns = torch.arange(n_steps, device=fed.device).expand(len(fed), -1)
    later, _ = model.engine.forward(fed, seen, prefix=prefix, reads=columns)
    later = rearrange(later, "(path row) step vocab -> row (path step) vocab", path=n_paths)
    return torch.cat([first.unsqueeze(1), later.to(first.device)], dim=1)


def whole_texts(
    tokens: Int[Tensor, "row pos"],
    attends: Int[Tensor, "row seen"],
    reads: Int[Tensor, " row"] | None,
    continued: Int[Tensor, "row path step"],
) -> tuple[Int[Tensor, "all long"], Int[Tensor, "all long"], Int[Tensor, "all read"]]:
    """The same as one pass, for engines that keep no prefix: each path's tokens after a prompt of
    its own, path by path, and the columns to read."""
    _, n_paths, n_steps = continued.shape
    fed = rearrange(continued, "row path step -> (path row) step")
    long = torch.cat([tokens.repeat(n_paths, 1), fed], dim=1)
    seen = _seen(attends, reads).repeat(n_paths, 1)
    seen = torch.cat([seen, seen.new_ones(len(fed), n_steps)], dim=1)
    width = tokens.shape[1]
    after = torch.full((len(tokens),), width - 1, device=tokens.device) if reads is None else reads
    steps = torch.arange(width, width + n_steps, device=tokens.device).expand(len(fed), -1)
    return long, seen, torch.cat([after.repeat(n_paths)[:, None], steps], dim=1)


def from_whole_texts(
    output: Float[Tensor, "all read d_vocab"], n_paths: int
) -> Float[Tensor, "row place d_vocab"]:
    """What `continue_after` gives, of the output of such a pass."""
    apart = rearrange(output, "(path row) read vocab -> path row read vocab", path=n_paths)
    later = rearrange(apart[:, :, 1:], "path row step vocab -> row (path step) vocab")
    return torch.cat([apart[0, :, :1], later], dim=1)


def untouched(
    model: Model, prompts: Prompts, continued: Continuations | None, cost: Cost | None = None
) -> Float[Tensor, " pair *output"]:
    """The output where each prompt's answer is read, nothing patched."""
    width, engine = prompts.tokens.shape[1], model.engine
    cost = cost or Cost()
    if continued is None:
        output, _ = engine.forward(prompts.tokens, prompts.attends, reads=prompts.reads)
        cost.add(model, len(output), width, width)
        return output
    n_paths, n_steps = continued.tokens.shape[1:]
    if "prefix" in engine.can:
        first, prefix = engine.forward(
            prompts.tokens, prompts.attends, reads=prompts.reads, keep_prefix=True
        )
        cost.add(model, len(first), width, width)
        cost.add(model, len(first) * n_paths, n_steps, width + n_steps)
        return continue_after(
            model, first, prefix, prompts.attends, prompts.reads, continued.tokens
        )
    tokens, attends, reads = whole_texts(
        prompts.tokens, prompts.attends, prompts.reads, continued.tokens
    )
    output, _ = engine.forward(tokens, attends, reads=reads)
    cost.add(model, len(tokens), width + n_steps, width + n_steps)
    return from_whole_texts(output, n_paths)


def repeated(continued: Continuations, n_masks: int) -> Int[Tensor, "row path step"]:
    """The tokens of each pair for rows that hold all pairs once a mask."""
    return repeat(continued.tokens, "pair path step -> (mask pair) path step", mask=n_masks)


def _seen(
    attends: Int[Tensor, "row seen"], reads: Int[Tensor, " row"] | None
) -> Int[Tensor, "row seen"]:
    """What a continuation attends to: nothing after the column that it follows."""
    if reads is None:
        return attends
    columns = torch.arange(attends.shape[1], device=attends.device)
    return attends * (columns <= reads.to(attends.device)[:, None])
