"""The engine around a plain Hugging Face causal language model: forward hooks and no copy."""

import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attention import KINDS as IN_ATTENTION
from .attention import Taps, tapped, watched
from .cache import bytes_of, copy_cache, join_caches, keep_apart, repeat_cache, take_cache
from .digest import digest_of
from .engine import (
    Edit,
    Engine,
    Feature,
    Point,
    Shortlist,
    Sizes,
    branch_mask,
    check_points,
    counted_positions,
    ends_of,
    logits_at,
)
from .find import Place, find_sites
from .laws import LACKS, alike, passes_tried, tried_features
from .sharing import Beside, beside_of, fused, sharing
from .skipping import skipped
from .unembedding import find_unembedding, reading, window_of
from .watch import tensor_at, three_tokens

COPIED = 2**17  # numbers in a layer's keys up to which they are copied rather than shared


class HooksEngine(Engine):
    """A causal language model of transformers behind the points of an engine.

    Its weights get frozen, and it is set to evaluation. Queries and keys are after the rotation by
    position, where the model attends through transformers' interface. A kept prefix holds keys and
    values as they were before edits. Where layers, heads or MLPs are is found by looking at a pass
    of three tokens.

    Args:
        model: loaded with AutoModelForCausalLM. Its attention stays as it was loaded; eager gives
            the bridge's numbers.

    Raises:
        ValueError: no layers are found in the module.
    """

    name = "hooks"

    def __init__(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        model.eval()
        self.model = model
        self._sites = find_sites(model)
        self._copied = COPIED

    @property
    def attention(self) -> str:
        """How the model attends: eager, sdpa or another of transformers' names."""
        return str(getattr(self.model.config, "_attn_implementation", None) or "eager")

    @property
    def sizes(self) -> Sizes:
        """How large the model is."""
        return self._sizes

    @cached_property
    def _sizes(self) -> Sizes:
        found = self._sites
        weights = {id(w): w for block in found.blocks for w in block.parameters()}
        return Sizes(
            n_layers=len(found.blocks),
            n_heads=found.n_heads,
            d_model=found.d_model,
            d_vocab=found.d_vocab,
            n_block_parameters=sum(weight.numel() for weight in weights.values()),
            causal=self._is_causal(),
            parallel=found.parallel,
            window=window_of(self.model),
        )

    @property
    def device(self) -> torch.device:
        """Where tokens go in: the device of the first weights."""
        return self._first.device

    @property
    def can(self) -> frozenset[Feature]:
        """The features that the engine has for this model, each tried on three tokens."""
        return self._can

    @cached_property
    def _can(self) -> frozenset[Feature]:
        return tried_features(self)

    @property
    def digest(self) -> str:
        """SHA-256 over names and values of the weights, and of the buffers saved with them."""
        return self.plain_digest

    @property
    def plain_digest(self) -> str:
        """The same as `digest`, and as every engine gives for the same weights."""
        return digest_of(self.model.state_dict(keep_vars=True))

    def has(self, point: Point) -> bool:
        """Whether the model's pass goes through this point."""
        if point.kind in IN_ATTENTION:
            return point.layer in self._attending
        return point in self._sites.places or point in self._sites.others

    @property
    def others(self) -> Mapping[Point, str]:
        """Modules of the layers that may write to the stream and are no sites, with their class."""
        return {at: type(place.module).__name__ for at, place in self._sites.others.items()}

    def weights(self) -> Mapping[str, Tensor]:
        """The parameters by name, each once."""
        return dict(self.model.named_parameters())

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
        branches: int = 1,
        shortlist: Shortlist | None = None,
    ) -> tuple[Float[Tensor, "row *read token"], Any]:
        """The logits after the last token, and the prefix if it is to be kept; see `Engine`."""
        check_points(self, edits)
        first, edits = 0, list(edits)
        if entry is not None:
            # The tokens shape masks and positions; what enters the layer is given.
            first, stream = entry
            edits = [(at, do) for at, do in edits if at.layer >= first and at.kind != "embed"]
            edits.insert(0, (Point(first, "entry"), lambda own: stream.to(own.device)))
        taps = self._taps(edits)
        if branches > 1 and reads is None:
            reads = ends_of(branches, inputs.shape[1] // branches, len(inputs))
        early = shortlist is not None or (reads is not None and self._unembedding is not None)
        with ExitStack() as stack:
            if not taps and not keep_prefix and self._shares(prefix, inputs, branches):
                how = self._beside(prefix, inputs, attends, branches)
                stack.enter_context(sharing(self.model, how))
                options = self._shared_options(prefix, inputs, attends, branches)
            else:
                options = self._options(
                    inputs, attends, keep_prefix or prefix is not None, branches
                )
                if prefix is not None:
                    options["past_key_values"] = copy_cache(prefix)
                # Without gradients numbers stay those of eager attention, whoever looks on.
                if not taps and torch.is_grad_enabled() and self._fuses:
                    masked = "attention_mask" in options or not self._all_seen(prefix, inputs)
                    if not masked and (prefix is None or inputs.shape[1] == 1):
                        options["attention_mask"] = self._unread_mask
                    stack.enter_context(fused(self.model, masked=masked))
            if "logits_to_keep" in self._accepts and reads is None:
                options["logits_to_keep"] = 1
            stack.enter_context(self._hooked(edits, len(inputs)))
            stack.enter_context(skipped(self._sites.blocks[:first], self._sites.n_returned))
            eager = any(point.kind == "pattern" for point, _ in edits)
            stack.enter_context(tapped(self.model, taps, eager=eager))
            if early:
                stack.enter_context(reading(self._unembedding, reads, shortlist))
            out = self.model(inputs.to(self.device), **options)
        logits = out.logits if early and reads is not None else logits_at(out.logits, reads)
        return logits, out.past_key_values if keep_prefix else None

    def repeat_prefix(self, prefix: Any, times: int, first: int = 0) -> Any:
        """The same prefix for a batch that holds all its rows `times` times; see `Engine`."""
        return repeat_cache(prefix, times, first)

    def take_prefix(
        self, parts: Sequence[tuple[Any, Sequence[int] | Tensor, int]], length: int
    ) -> Any:
        """One prefix of some rows and columns of several; see `Engine`."""
        return take_cache(parts, length)

    def prefix_bytes(self, prefix: Any) -> int:
        """How much memory a prefix takes; see `Engine`."""
        return bytes_of(prefix)

    def join_prefixes(self, prefixes: Sequence[Any]) -> Any:
        """One prefix for a batch that holds the rows of all these; see `Engine`."""
        return join_caches(prefixes)

    @contextmanager
    def as_with_many_rows(self) -> Iterator[None]:
        """Until the context ends, prefixes are shared however small they are; see `Engine`."""
        before, self._copied = self._copied, 0
        try:
            yield
        finally:
            self._copied = before

    def _all_seen(self, prefix: Any, inputs: Tensor) -> bool:
        """Whether every layer attends to all tokens before."""
        n_seen = inputs.shape[1] + (0 if prefix is None else prefix.get_seq_length())
        return self.sizes.window is None or n_seen <= self.sizes.window

    def _shares(self, prefix: Any, inputs: Tensor, branches: int) -> bool:
        """Whether a pass attends to this prefix without a copy of it. Of a small one a copy takes
        less time."""
        if prefix is None or not self._can_share or not self._all_seen(prefix, inputs):
            return False
        return branches > 1 or prefix.layers[-1].keys.numel() > self._copied

    @cached_property
    def _fuses(self) -> bool:
        """Whether fused attention gives what the model's own does; tried on a few tokens."""
        return self.attention == "eager" and self._as_before("_fuses")

    @cached_property
    def _can_share(self) -> bool:
        """Whether attention to a shared prefix gives what the model's own does; tried likewise."""
        return self._as_before("_can_share")

    def _as_before(self, way: str) -> bool:
        """Whether a pass gives the same logits in this way of attending and without any."""
        if not self._attending:
            return False
        others = {"_fuses": False, "_can_share": False}
        before = {name: vars(self)[name] for name in others if name in vars(self)}
        try:
            vars(self).update(others)
            own = passes_tried(self)
            vars(self)[way] = True
            return all(map(alike, passes_tried(self), own))
        except LACKS:
            return False
        finally:
            for name in others:
                vars(self).pop(name, None)
            vars(self).update(before)

    def _beside(self, prefix: Any, inputs: Tensor, attends: Tensor | None, branches: int) -> Beside:
        """How tokens attend to a prefix that stays where it is."""
        layers = {
            module: (layer.keys, layer.values)
            for module, layer in (
                (self._attending[number], prefix.layers[number]) for number in self._attending
            )
        }
        width = inputs.shape[1] // branches
        padded = attends is not None and not bool(attends.all())
        return beside_of(layers, attends if padded else None, branches, width)

    def _shared_options(
        self, prefix: Any, inputs: Tensor, attends: Tensor | None, branches: int
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"use_cache": True, "past_key_values": keep_apart(prefix)}
        options["attention_mask"] = self._unread_mask
        if "position_ids" in self._accepts:
            width = inputs.shape[1] // branches
            if attends is None:
                attends = inputs.new_ones(1, prefix.get_seq_length() + width)
            positions = counted_positions(attends.to(self.device), width)
            options["position_ids"] = positions.repeat(1, branches)
        return options

    def _options(
        self, inputs: Tensor, attends: Tensor | None, use_cache: bool, branches: int
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"use_cache": use_cache}
        if branches > 1:
            width = inputs.shape[1] // branches
            if attends is None:
                raise ValueError(
                    "expected `attends` beside branches, over prefix and branch; got none"
                )
            attends = attends.to(self.device)
            options["attention_mask"] = branch_mask(attends, branches, width, self._first.dtype)
            if "position_ids" in self._accepts:
                options["position_ids"] = counted_positions(attends, width).repeat(1, branches)
        elif attends is not None and not bool(attends.all()):
            attends = attends.to(self.device)
            options["attention_mask"] = attends
            if "position_ids" in self._accepts:
                options["position_ids"] = counted_positions(attends, inputs.shape[1])
        return options

    @cached_property
    def _first(self) -> Tensor:
        return next(self.model.parameters())

    @cached_property
    def _unread_mask(self) -> Tensor:
        """What is given where no mask is read: without one, models make one for every pass."""
        return torch.zeros(1, 1, 1, 1, device=self.device)

    @cached_property
    def _unembedding(self) -> nn.Linear | None:
        return find_unembedding(self.model)

    @cached_property
    def _accepts(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.forward).parameters)

    @contextmanager
    def _hooked(self, edits: Sequence[tuple[Point, Edit]], n_rows: int) -> Iterator[None]:
        """Hooks for these edits, gone again whatever happens inside."""
        handles: list[Any] = []
        try:
            for point, edit in edits:
                if point.kind not in IN_ATTENTION:
                    place = self._sites.places.get(point) or self._sites.others[point]
                    handles.append(_attach(place, edit, n_rows))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _taps(self, edits: Sequence[tuple[Point, Edit]]) -> Taps:
        taps: dict[int, dict[str, list[Edit]]] = defaultdict(lambda: defaultdict(list))
        for point, edit in edits:
            if point.kind in IN_ATTENTION:
                taps[self._attending[point.layer]][point.kind].append(edit)
        return taps

    @cached_property
    def _attending(self) -> dict[int, int]:
        """The attention module (its identity) of each layer that goes through the interface once;
        tried on three tokens."""
        layers = {
            id(part): layer
            for layer, block in enumerate(self._sites.blocks)
            for part in block.modules()
        }
        calls: dict[int, list[int]] = defaultdict(list)

        def see(module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> None:
            if id(module) in layers:
                fits = query.ndim == 4 and query.shape[2] == 3
                calls[layers[id(module)]].append(id(module) if fits else 0)

        try:
            with torch.no_grad(), watched(self.model, see):
                self.model(three_tokens(self.model), use_cache=False)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            return {}
        return {layer: made[0] for layer, made in calls.items() if len(made) == 1 and made[0]}

    @torch.no_grad()
    def _is_causal(self) -> bool:
        """Whether another last token leaves what leaves the last layer before it as it was."""
        streams: list[Tensor] = []
        leaves = self._sites.places[Point(len(self._sites.blocks), "entry")]
        tokens = three_tokens(self.model)
        for ids in (tokens, tokens - torch.tensor([[0, 0, 3]], device=tokens.device)):
            handle = _attach(leaves, lambda own: streams.append(own[:, :2].clone()), 1)
            try:
                self.model(ids, use_cache=False)
            finally:
                handle.remove()
        return torch.allclose(streams[0], streams[1], atol=1e-4, rtol=1e-4)


def _attach(place: Place, edit: Edit, n_rows: int) -> Any:
    """A hook that runs an edit at a place; its handle removes it."""
    if place.side == "out":

        def after(module: nn.Module, args: Any, out: Any) -> Any:
            if not isinstance(out, (tuple, list)):  # a list in OpenAI's first GPT
                return _changed(place, edit, n_rows, out)
            new = _changed(place, edit, n_rows, out[0])
            return None if new is None else type(out)((new, *out[1:]))

        return place.module.register_forward_hook(after)

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        key = tensor_at(args, kwargs)
        if key == 0:
            new = _changed(place, edit, n_rows, args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = _changed(place, edit, n_rows, kwargs[key])
        return None if new is None else (args, {**kwargs, key: new})

    return place.module.register_forward_pre_hook(before, with_kwargs=True)


def _changed(place: Place, edit: Edit, n_rows: int, own: Tensor) -> Tensor | None:
    """What an edit makes of a tensor, in the model's own shape; None where it only looks."""
    # Some models flatten rows and tokens, as OPT does around its MLP.
    shown = own.unflatten(0, (n_rows, -1)) if own.ndim == 2 else own
    if place.n_heads is not None:
        shown = shown.unflatten(-1, (place.n_heads, -1))
    new = edit(shown)
    if place.copied:  # the model writes over what it gets: neither the looker's nor the donor's
        new = (shown if new is None else new).clone()
    return None if new is None else new.reshape(own.shape)
