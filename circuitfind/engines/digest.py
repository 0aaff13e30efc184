"""The digest of a model's weights, to which run folders are bound.

A tensor's own digest is kept for as long as the tensor lives and nothing writes into it. Torch
counts the writes, so that weights that are changed, and put back, are hashed again when asked for.
"""

import hashlib
import os
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

WORKERS = 8  # at most; hashing lets other threads run, and more would wait for memory

# A tensor's digest, where its numbers were then, and how often they had been written into. It only
# saves time.
_KNOWN: "WeakTensorKeyDictionary" = WeakTensorKeyDictionary()
_COPYING = Lock()  # one tensor at a time comes from a GPU


def raw_bytes(weight: Tensor) -> memoryview:
    """The numbers of a tensor as they lie in memory; no copy of what is in main memory in order."""
    weight = weight.detach()
    if weight.device.type != "cpu":
        with _COPYING:
            weight = weight.cpu()
    # By bytes, since numpy has no bfloat16.
    return weight.contiguous().reshape(-1).view(torch.uint8).numpy().data


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values.

    A tensor with several names is read once, and counts under each of them: whether weights are
    tied or equal makes no difference. What was hashed before and has not been written into since
    is not read again.
    """
    places: dict[Hashable, Tensor] = {}
    for weight in weights.values():
        places.setdefault(_place(weight), weight)
    fresh = [(place, weight) for place, weight in places.items() if _known(weight) is None]
    # Counted before they are read: what is written meanwhile is then not taken for known.
    written = [_writes(weight) for _, weight in fresh]
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        made = list(pool.map(_hashed, (weight for _, weight in fresh)))
    of_place = dict(zip((place for place, _ in fresh), made, strict=True))
    for (_, weight), count, digest in zip(fresh, written, made, strict=True):
        if count is not None:
            _KNOWN[weight] = _place(weight), count, digest
    whole = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        place = _place(weight)
        digest = of_place[place] if place in of_place else _known(places[place])
        whole.update(f"{name} {weight.dtype} {tuple(weight.shape)} {digest}\n".encode())
    return whole.hexdigest()


def known_digests(weights: Iterable[Tensor]) -> list[str | None]:
    """The digest of each tensor where it is known, to be given back to `put_back`."""
    return [_known(weight) for weight in weights]


def put_back(weights: Iterable[Tensor], digests: Iterable[str | None]) -> None:
    """Keep these digests for tensors that were changed and hold the same numbers again."""
    for weight, digest in zip(weights, digests, strict=True):
        count = _writes(weight)
        if digest is not None and count is not None:
            _KNOWN[weight] = _place(weight), count, digest


def _known(weight: Tensor) -> str | None:
    """The tensor's digest, where it was hashed since it was last written into."""
    place, count, digest = _KNOWN.get(weight) or (None, None, None)
    return digest if count == _writes(weight) and place == _place(weight) else None


def _writes(weight: Tensor) -> int | None:
    """How often a tensor was written into; None where torch does not count that."""
    return None if weight.is_inference() else weight._version


def _place(weight: Tensor) -> Hashable:
    """What is the same for two tensors that are the same numbers in memory."""
    if weight.numel() == 0:  # which lies nowhere
        return tuple(weight.shape), weight.dtype
    return weight.device, weight.data_ptr(), tuple(weight.shape), weight.stride(), weight.dtype


def _hashed(weight: Tensor) -> str:
    return hashlib.sha256(raw_bytes(weight)).hexdigest()
