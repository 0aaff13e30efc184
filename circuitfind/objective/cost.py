"""What a run costs: tokens, floating-point operations, seconds; and what the plain loop would."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ..models.model import Model


@dataclass(kw_only=True)
class Cost:
    """A running account of passes through a model.

    `plain_*` is what the straightforward loop would have cost for the same steps: at each, a run
    over the whole source prompt, a patched run over the whole base prompt, and a backward pass
    over the latter. FLOPs count two per weight and token in the layers and the unembedding, and
    the attention products; a backward pass towards activations alone counts as much as a forward.
    Padding is counted, since it is computed.
    """

    tokens_forward: int = 0
    tokens_backward: int = 0
    flops: int = 0
    plain_tokens_forward: int = 0
    plain_tokens_backward: int = 0
    plain_flops: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0

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
        self.flops += _flops(model, rows, width, context, skipped) * (1 + backward)
        if unembedded is not None:
            sizes = model.engine.sizes
            spared = rows * (1 + backward) - unembedded
            self.flops -= spared * 2 * sizes.d_model * sizes.d_vocab

    def add_plain(self, model: Model, rows: int, base: int, source: int, backward: bool) -> None:
        """Count what the straightforward loop spends on `rows` pairs of these prompt lengths."""
        self.plain_tokens_forward += rows * (base + source)
        self.plain_tokens_backward += rows * base * backward
        self.plain_flops += _flops(model, rows, source, source)
        self.plain_flops += _flops(model, rows, base, base) * (1 + backward)

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

    def report(self) -> dict[str, int | float]:
        """The account as plain numbers."""
        numbers = asdict(self)
        del numbers["began"], numbers["seconds_before"]
        return numbers | {"seconds": round(self.seconds, 3)}


def _flops(model: Model, rows: int, width: int, context: int, skipped: int = 0) -> int:
    """Forward FLOPs; the unembedding runs once a row, for the last token."""
    sizes = model.engine.sizes
    attention = 4 * sizes.d_model * context * sizes.n_layers
    per_token = 2 * sizes.n_block_parameters + attention
    per_token = per_token * (sizes.n_layers - skipped) // max(1, sizes.n_layers)
    return rows * (width * per_token + 2 * sizes.d_model * sizes.d_vocab)
