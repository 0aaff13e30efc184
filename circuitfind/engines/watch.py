"""One pass of three tokens: what each module that runs is given, and what it gives."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a module was given and gave, each with the count of changes to the tensor by then.

    `n_returned` is how many things it returned in a tuple; None where it returned a tensor alone.
    `n_runs` is how often it ran; all else is of the last time.
    """

    order: int
    given: Tensor | None
    gave: Tensor | None
    given_version: int
    gave_version: int
    n_returned: int | None
    n_runs: int


class Watched:
    """The modules that ran, and the logits."""

    def __init__(self) -> None:
        self._ran: dict[int, Ran] = {}
        self._count = 0
        self.logits = torch.empty(0)

    def __getitem__(self, module: nn.Module) -> Ran:
        return self._ran[id(module)]

    def __contains__(self, module: object) -> bool:
        return id(module) in self._ran

    def put(self, module: nn.Module, given_version: int, args: Any, kwargs: Any, out: Any) -> None:
        """Keep what this module was given and gave."""
        given = stream_in(args, kwargs)
        gave = out[0] if isinstance(out, (tuple, list)) and out else out
        gave = gave if isinstance(gave, Tensor) else None
        self._count += 1
        self._ran[id(module)] = Ran(
            order=self._count,
            given=given,
            gave=gave,
            given_version=given_version,
            gave_version=0 if gave is None else gave._version,
            n_returned=len(out) if isinstance(out, (tuple, list)) else None,
            n_runs=1 + (self[module].n_runs if module in self else 0),
        )

    def gives(self, module: nn.Module, width: int) -> bool:
        """Whether this module ran and gave vectors of this width."""
        gave = self[module].gave if module in self else None
        return gave is not None and gave.ndim > 0 and gave.shape[-1] == width

    def takes(self, module: nn.Module, width: int) -> bool:
        """Whether this module ran and was given vectors of this width."""
        given = self[module].given if module in self else None
        return given is not None and given.ndim > 0 and given.shape[-1] == width


def watch(model: nn.Module) -> Watched:
    """Every module that runs over three tokens.

    Raises:
        ValueError: the module gives no logits of token ids.
    """
    seen, versions = Watched(), {}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        given = stream_in(args, kwargs)
        versions[id(module)] = 0 if given is None else given._version

    def after(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        seen.put(module, versions[id(module)], args, kwargs, out)

    handles: list[Any] = []
    try:
        for part in model.modules():
            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after, with_kwargs=True))
        with torch.no_grad():
            seen.logits = model(three_tokens(model), use_cache=False).logits
    except (TypeError, AttributeError) as error:
        raise ValueError(
            "expected a causal language model of transformers, which gives logits of token ids; "
            f"got {type(model).__name__}: {error}. Load it with AutoModelForCausalLM."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return seen


def three_tokens(model: nn.Module) -> Tensor:
    """Token ids that any vocabulary has."""
    weight = next(model.parameters(), torch.empty(0))
    return torch.tensor([[1, 2, 3]], device=weight.device)


def tensor_at(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str | None:
    """Where in a module's arguments the stream is: 0, or a name; None where there is no tensor."""
    if args and isinstance(args[0], Tensor):
        return 0
    if isinstance(kwargs.get("hidden_states"), Tensor):
        return "hidden_states"
    return next((name for name, value in kwargs.items() if isinstance(value, Tensor)), None)


def stream_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The stream in a module's arguments."""
    key = tensor_at(args, kwargs)
    return None if key is None else args[key] if isinstance(key, int) else kwargs[key]
