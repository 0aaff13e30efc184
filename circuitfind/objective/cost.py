"""What a run costs: tokens, floating-point operations, seconds; and what two other loops would."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from desiderata import name_of

from ..models.model import Model
from .encoding import Batch


@dataclass(kw_only=True)
class Cost:
    """A running account of passes through a model, and what two other loops would have cost for
    the same steps and trials.

    `plain_*` is the loop of the released code of Davies et al. 2023 (arXiv 2307.03637), whose runs
    that of Prakash et al. 2024 (arXiv 2402.14811) makes too, pair by pair. It records the sources
    once. Each step runs the whole base prompt with its patches and goes back through all of it. A
    trial runs the same without going back. It unembeds every token, though only one answer is
    read. What its hooks compute besides, such as each head's output projection a second time, is
    not counted.

    `cached_*` is what hooks on a Hugging Face model with a key-value cache cost. Sources and the
    prompts up to the first patched position are run once. A step or trial runs the tokens after
    that, and unembeds the one that is read.

    In older reports, which have no `cached_*`, `plain_*` counts one unembedding a run and, at every
    step and trial, a run of the source too, which no released loop makes. For prompts of one length
    that is 3 runs through the layers in place of 2 for a step, and 2 in place of 1 for a trial.

    FLOPs count two per weight and token in the layers and the unembedding, and the attention
    products; a backward pass towards activations alone counts as much as a forward. Padding is
    counted, since it is computed. Each other loop runs an answer of several tokens behind the
    prompt, the plain one as a text of its own.
    """

    tokens_forward: int = 0
    tokens_backward: int = 0
    flops: int = 0
    plain_tokens_forward: int = 0
    plain_tokens_backward: int = 0
    plain_flops: int = 0
    cached_tokens_forward: int = 0
    cached_tokens_backward: int = 0
    cached_flops: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0
    # What the other loops have run once, by what for: kept, so that no id is given to another.
    ran_once: dict[tuple[str, ...], dict[int, Any]] = field(default_factory=dict, repr=False)
    resumed: bool = False  # among steps

    def add(
        self,
        model: Model,
        rows: int,
        width: int,
        context: int,
        backward: bool = False,
        skipped: int = 0,
        unembedded: int | None = None,
    ) -> None:
        """Count a pass over `rows` sequences of `width` new tokens that see `context` tokens.

        Args:
            skipped: layers that did not run.
            unembedded: of how many tokens all logits were made, and none of their gradients; by
                default of one in each row, gradients included.
        """
        self.tokens_forward += rows * width
        self.tokens_backward += rows * width * backward
        self.flops += _flops(model, rows, width, context, skipped=skipped) * (1 + backward)
        if unembedded is not None:
            sizes = model.engine.sizes
            spared = rows * (1 + backward) - unembedded
            self.flops -= spared * 2 * sizes.d_model * sizes.d_vocab

    def add_others(
        self, model: Model, batch: Batch, n_masks: int, start: int, backward: bool
    ) -> None:
        """Count what the two other loops spend on a step, or on trials, of this batch.

        Args:
            start: the first patched position.
            backward: whether it is a step, with gradients.
        """
        name, donor = batch.desideratum.name, name_of(batch.desideratum.donor)
        donated, pairs = batch.donated.tokens, batch.desideratum.pairs
        if batch.donor.aligned:
            sources = self._run_first(pairs, "donor", name, donor)
        else:  # prompts that all pairs share
            sources = self._run_first([batch.donated], "donor", name, donor) * len(donated)
        prefixes = self._run_first(pairs, "prefix", name, str(start)) if start else 0
        if self.resumed and backward:  # the steps before the checkpoint had the same pairs
            sources = prefixes = 0
        for n_rows, width in ((sources, donated.shape[1]), (prefixes, start)):
            self._add_cached(model, n_rows, width, width)
        self._add_plain(model, sources, donated.shape[1])
        rows, base = n_masks * len(batch), batch.base.tokens.shape[1]
        self._add_cached(model, rows, base - start, base, backward)
        if batch.continued is None:
            self._add_plain(model, rows, base, backward)
        else:
            n_paths, n_steps = batch.continued.tokens.shape[1:]
            self._add_cached(model, rows * n_paths, n_steps, base + n_steps, backward)
            self._add_plain(model, rows * n_paths, base + n_steps, backward)

    def _add_plain(self, model: Model, rows: int, width: int, backward: bool = False) -> None:
        """Count whole prompts, each token unembedded."""
        self.plain_tokens_forward += rows * width
        self.plain_tokens_backward += rows * width * backward
        self.plain_flops += _flops(model, rows, width, width, n_read=width) * (1 + backward)

    def _add_cached(
        self, model: Model, rows: int, width: int, context: int, backward: bool = False
    ) -> None:
        """Count new tokens behind a prefix, the last one unembedded."""
        self.cached_tokens_forward += rows * width
        self.cached_tokens_backward += rows * width * backward
        self.cached_flops += _flops(model, rows, width, context) * (1 + backward)

    def _run_first(self, things: Iterable[Any], *what_for: str) -> int:
        """How many of these are run for this purpose for the first time."""
        known = self.ran_once.setdefault(what_for, {})
        before = len(known)
        known.update((id(one), one) for one in things)
        return len(known) - before

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the account was opened, and before a resume."""
        return self.seconds_before + time.monotonic() - self.began

    def restore(self, state: Mapping[str, int | float]) -> None:
        """Go on from a checkpoint's account; what was spent since then on set-up is dropped."""
        for name, value in state.items():
            if name != "seconds":
                setattr(self, name, value)
        self.seconds_before += float(state["seconds"])
        self.resumed = self.tokens_backward > 0

    def report(self) -> dict[str, int | float]:
        """The account as plain numbers."""
        left_out = ("began", "seconds_before", "ran_once", "resumed")
        names = [one.name for one in fields(self) if one.name not in left_out]
        return {name: getattr(self, name) for name in names} | {"seconds": round(self.seconds, 3)}


def _flops(
    model: Model, rows: int, width: int, context: int, *, n_read: int = 1, skipped: int = 0
) -> int:
    """Forward FLOPs; the unembedding runs for `n_read` tokens of a row."""
    sizes = model.engine.sizes
    attention = 4 * sizes.d_model * context * sizes.n_layers
    per_token = 2 * sizes.n_block_parameters + attention
    per_token = per_token * (sizes.n_layers - skipped) // max(1, sizes.n_layers)
    return rows * (width * per_token + n_read * 2 * sizes.d_model * sizes.d_vocab)
