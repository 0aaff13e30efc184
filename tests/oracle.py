"""A second way to the truth: native weights run in numpy, and every set of components tried.

Written from the definition of TransformerLens' native model, without torch, hooks or the engine,
so that the two ways have nothing in common but the folder that they read.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

Donors = Mapping[str, np.ndarray]  # what each component takes when it is ablated


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """A native model without normalisation, bidirectional, relu; its inputs and their outputs."""

    weights: Mapping[str, np.ndarray]
    n_layers: int
    n_heads: int
    tokens: np.ndarray  # input, position
    outputs: np.ndarray  # input, output: ids
    at: tuple[int, ...]  # the positions of the outputs

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(
            name
            for layer in range(self.n_layers)
            for name in (*(f"a{layer}.h{head}" for head in range(self.n_heads)), f"m{layer}")
        )

    def run(
        self, ablated: Collection[str] = (), donors: Donors | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The logits at every position, and what each component gave (heads: before W_O)."""
        weights, gave = self.weights, {}

        def linear(x: np.ndarray, name: str) -> np.ndarray:
            return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

        def take(name: str, own: np.ndarray) -> np.ndarray:
            gave[name] = donors[name] if donors and name in ablated else own
            return gave[name]

        n, length = self.tokens.shape
        stream = weights["tok_embed.weight"][self.tokens] + weights["pos.weight"][:length]
        for layer in range(self.n_layers):
            q, k, v = (
                linear(stream, f"layers.{layer}.attn.{each}").reshape(n, length, self.n_heads, -1)
                for each in "qkv"
            )
            scores = np.einsum("nqhd,nkhd->nhqk", q, k) / np.sqrt(q.shape[-1])
            pattern = np.exp(scores - scores.max(-1, keepdims=True))
            pattern /= pattern.sum(-1, keepdims=True)
            mixed = np.einsum("nhqk,nkhd->nqhd", pattern, v)
            heads = [take(f"a{layer}.h{h}", mixed[:, :, h]) for h in range(self.n_heads)]
            stream = stream + linear(np.concatenate(heads, -1), f"layers.{layer}.attn.o")
            hidden = np.maximum(linear(stream, f"layers.{layer}.mlp.fc_in"), 0)
            stream = stream + take(f"m{layer}", linear(hidden, f"layers.{layer}.mlp.fc_out"))
        return stream @ weights["head.weight"].T, gave

    def donors(self, ablation: str, shift: int = 1) -> Donors:
        """What ablated components take: zero; the mean over inputs, by position; or what they
        gave on the input `shift` before (resample)."""
        _, gave = self.run()
        change = {
            "zero": np.zeros_like,
            "mean": lambda given: np.broadcast_to(given.mean(0), given.shape),
            "resample": lambda given: np.roll(given, shift, axis=0),
        }[ablation]
        return {name: change(given) for name, given in gave.items()}

    def lead(self, kept: Collection[str], donors: Donors) -> float:
        """The least lead of an expected word over the next best, in logits, over all outputs."""
        logits, _ = self.run([name for name in self.components if name not in kept], donors)
        logits = logits[:, list(self.at)]
        expected = np.take_along_axis(logits, self.outputs[..., None], -1)[..., 0]
        np.put_along_axis(logits, self.outputs[..., None], -np.inf, -1)
        return float((expected - logits.max(-1)).min())

    def truth(
        self, ablation: str, among: Iterable[str] | None = None, shift: int = 1
    ) -> set[frozenset[str]]:
        """Every set of components, without smaller ones inside it, that keeps all outputs."""
        among, donors = tuple(among or self.components), self.donors(ablation, shift)
        found: list[frozenset[str]] = []
        for size in range(len(among) + 1):
            for kept in map(frozenset, combinations(among, size)):
                if not any(smaller <= kept for smaller in found) and self.holds(kept, donors):
                    found.append(kept)
        return set(found)

    def holds(self, kept: Collection[str], donors: Donors, doubt: float = 1e-3) -> bool:
        """Whether all outputs stay; raises where rounding would decide."""
        lead = self.lead(kept, donors)
        if abs(lead) < doubt:
            raise ArithmeticError(f"{sorted(kept)}: a lead of {lead} logits decides nothing")
        return lead > 0


def read_oracle(folder: Path) -> Oracle:
    """The oracle of a native folder, in float64."""
    made, saved = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("config", "inputs")
    )
    ids = {word: index for index, word in enumerate(made["words"])}
    at = tuple(sorted(map(int, saved["inputs"][0]["outputs"])))
    return Oracle(
        weights={
            k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()
        },
        n_layers=made["config"]["n_layers"],
        n_heads=made["config"]["n_heads"],
        tokens=np.array([[ids[word] for word in each["text"].split()] for each in saved["inputs"]]),
        outputs=np.array([[ids[each["outputs"][str(i)]] for i in at] for each in saved["inputs"]]),
        at=at,
    )
