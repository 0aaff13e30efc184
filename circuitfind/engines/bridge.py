"""The engine around a TransformerBridge of TransformerLens."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cache import copy_cache, repeat_cache
from .digest import digest_of, raw_bytes
from .engine import (
    KINDS,
    Edit,
    Engine,
    Feature,
    Point,
    Sizes,
    check_points,
    counted_positions,
    logits_at,
    looked,
)
from .laws import tried_features
from .skipping import skipped
from .unembedding import window_of

_HOOKS = {
    "embed": "hook_embed",
    "entry": "blocks.{}.hook_in",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "pattern": "blocks.{}.attn.hook_pattern",
    "heads": "blocks.{}.attn.hook_z",
    "mlp_in": "blocks.{}.mlp.hook_in",
    "mlp": "blocks.{}.hook_mlp_out",
}
_LEAVES = "blocks.{}.hook_out"
_BY_HEAD = ("q", "k", "v", "pattern", "heads")
# TransformerLens puts this into the name of each module that it wraps.
_WRAPPED = "_original_component"


class BridgeEngine(Engine):
    """A TransformerBridge behind the points of an engine. Its weights get frozen.

    Queries and keys are before the rotation by position. A kept prefix holds edited keys and
    values. Attention is eager, unless the bridge was loaded otherwise.
    """

    name = "bridge"

    def __init__(self, bridge: Any) -> None:
        for parameter in bridge.original_model.parameters():
            parameter.requires_grad_(False)
        bridge.eval()
        self.bridge = bridge
        self._digests: dict[str, str] = {}

    @property
    def sizes(self) -> Sizes:
        """How large the model is."""
        return self._sizes

    @cached_property
    def _sizes(self) -> Sizes:
        cfg = self.bridge.cfg
        return Sizes(
            n_layers=cfg.n_layers,
            n_heads=cfg.n_heads,
            d_model=cfg.d_model,
            d_vocab=cfg.d_vocab,
            n_block_parameters=sum(weight.numel() for weight in self.bridge.blocks.parameters()),
            causal=getattr(cfg, "attention_dir", "causal") == "causal",
            parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
            window=window_of(self.bridge.original_model),
        )

    @property
    def device(self) -> torch.device:
        """Where tokens go in: the device of the first layer."""
        return torch.device(self.bridge.cfg.device or "cpu")

    @property
    def can(self) -> frozenset[Feature]:
        """The features that the engine has for this model, each tried on three tokens."""
        return self._can

    @cached_property
    def _can(self) -> frozenset[Feature]:
        return tried_features(self)

    @property
    def digest(self) -> str:
        """SHA-256 over the weights under all names that TransformerLens lists them by."""
        plain = self.plain_digest  # the same weights have the same digests
        if plain not in self._digests:
            self._digests[plain] = self._digest_of_all_names()
        return self._digests[plain]

    def _digest_of_all_names(self) -> str:
        sha = hashlib.sha256()
        for name, weight in sorted(self.bridge.original_model.state_dict().items()):
            sha.update(name.encode())
            sha.update(raw_bytes(weight))
        return sha.hexdigest()

    @property
    def plain_digest(self) -> str:
        """SHA-256 over the weights as the wrapped model itself names them."""
        model, own = self.bridge.original_model, self._own_names
        named: dict[str, Tensor] = {}
        for name, weight in model.state_dict(keep_vars=True).items():
            named[".".join(part for part in name.split(".") if part != _WRAPPED)] = weight
        if lost := sorted(own - named.keys()):
            raise ValueError(
                f"expected the weights of {type(model).__name__} in the bridge; it lacks "
                f"{', '.join(lost[:3])}. Load the model with the hooks engine instead."
            )
        return digest_of({name: named[name] for name in own})

    @cached_property
    def _own_names(self) -> frozenset[str]:
        """How the wrapped model itself names its weights."""
        model = self.bridge.original_model
        config = getattr(model, "config", None) or self.bridge.cfg
        with torch.device("meta"):  # for its names alone
            return frozenset(type(model)(config).state_dict())

    def has(self, point: Point) -> bool:
        """Whether the model's pass goes through this point."""
        return point in self._points

    def weights(self) -> Mapping[str, Tensor]:
        """The parameters by the bridge's name, each once."""
        return dict(self.bridge.original_model.named_parameters())

    def forward(
        self,
        inputs: Int[Tensor, "row pos"],
        attends: Int[Tensor, "row seen"] | None = None,
        edits: Sequence[tuple[Point, Edit]] = (),
        *,
        prefix: Any = None,
        keep_prefix: bool = False,
        entry: tuple[int, Float[Tensor, "row pos width"]] | None = None,
        reads: Int[Tensor, " row *read"] | None = None,
    ) -> tuple[Float[Tensor, "row *read d_vocab"], Any]:
        """The logits after the last token, and the prefix if it is to be kept; see `Engine`."""
        check_points(self, edits)
        layer, given = entry or (0, inputs)
        options = self._options(attends, prefix, keep_prefix, reads)
        if entry is not None:
            options["start_at_layer"] = layer
            if "attention_mask" in options and "position_ids" in self._accepts:
                # From tokens the bridge counts positions without padding; from a layer it does not.
                positions = counted_positions(options["attention_mask"], given.shape[1])
                options["position_ids"] = positions
        hooks = [
            (self._hook_name(point), _hook(point, edit))
            for point, edit in edits
            if entry is None or (point.layer >= layer and point.kind != "embed")
        ]
        kind = "logits_and_cache" if keep_prefix else "logits"
        with self.bridge.hooks(fwd_hooks=hooks), skipped(list(self.bridge.blocks)[:layer]):
            made = self.bridge(given, return_type=kind, **options)
        logits, cache = made if keep_prefix else (made, None)
        return logits_at(logits, reads), cache

    def repeat_prefix(self, prefix: Any, times: int, first: int = 0) -> Any:
        """The same prefix for a batch that holds all its rows `times` times; see `Engine`."""
        return repeat_cache(prefix, times, first)

    def _options(
        self, attends: Tensor | None, prefix: Any, keep_prefix: bool, reads: Tensor | None
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"use_cache": keep_prefix or prefix is not None}
        if attends is not None and not bool(attends.all()):
            options["attention_mask"] = attends
        if prefix is not None:
            options["past_key_values"] = copy_cache(prefix)
        if "logits_to_keep" in self._accepts and reads is None:
            options["logits_to_keep"] = 1
        return options

    @cached_property
    def _accepts(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.bridge.original_model.forward).parameters)

    @cached_property
    def _points(self) -> frozenset[Point]:
        """The points that a pass of three tokens goes through; some bridges list others too."""
        n_layers, fired = self.sizes.n_layers, set()
        listed = [Point(0, "embed"), Point(n_layers, "entry")]
        listed += [Point(layer, kind) for layer in range(n_layers) for kind in KINDS[1:]]

        def look(point: Point) -> Callable[..., None]:
            def see(own: Any, hook: Any) -> None:
                if isinstance(own, Tensor) and own.ndim == (4 if point.kind in _BY_HEAD else 3):
                    fired.add(point)

            return see

        known = self.bridge.hook_dict
        hooks = [(name, look(at)) for at in listed if (name := self._hook_name(at)) in known]
        with torch.no_grad(), self.bridge.hooks(fwd_hooks=hooks):
            self.bridge(torch.zeros(1, 3, dtype=torch.long, device=self.device))
        return frozenset(fired)

    def _hook_name(self, point: Point) -> str:
        if point == Point(self.sizes.n_layers, "entry"):
            return _LEAVES.format(self.sizes.n_layers - 1)
        return _HOOKS[point.kind].format(point.layer)


def _hook(point: Point, edit: Edit) -> Callable[..., Tensor | None]:
    def apply(own: Tensor, hook: Any) -> Tensor | None:
        return looked(edit(own)) if point.kind == "pattern" else edit(own)

    return apply
