"""What `scripts/train_siit.py` trains: the causal model over tensors, and a small transformer.

Both can interchange: the one variables, the other components, a choice of its own for each row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, permutations, product

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.siit import ALIGNED, DIGITS, LETTERS, OPS

PAD, UNK = "<pad>", "<unk>"
WORDS = (PAD, UNK, "BOS", *LETTERS, *DIGITS, *OPS)
ANSWERS = slice(WORDS.index(DIGITS[0]), WORDS.index(DIGITS[-1]) + 1)
LENGTH = 10
VALUES_AT = (2, 4, 6)  # tokens that are bound digits, each after its letter
READ_OUT = {  # variable: how many values it has
    "places": len(LETTERS),
    "first": len(LETTERS),
    "left": len(DIGITS),
    "right": len(DIGITS),
    "op": len(OPS),
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The transformer's sizes, in the words of TransformerLens's native config."""

    n_layers: int = 3
    n_heads: int = 4
    d_model: int = 48
    d_head: int = 12
    d_mlp: int = 128
    normalization_type: str | None = "LN"

    @property
    def components(self) -> tuple[str, ...]:
        """Names of all components, layer by layer, heads before the MLP."""
        return tuple(
            name
            for layer in range(self.n_layers)
            for name in (*(f"a{layer}.h{head}" for head in range(self.n_heads)), f"m{layer}")
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A setting of the causal model's inputs in each row, letters and digits as numbers.

    `places` says where each letter stands, `sign` is 1 for + and -1 for -.
    """

    tokens: Tensor
    letters: Tensor
    places: Tensor
    digits: Tensor
    first: Tensor
    second: Tensor
    sign: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Tensor) -> "Settings":
        """These rows, in this order."""
        return Settings(**{name: column[rows] for name, column in vars(self).items()})

    @property
    def left(self) -> Tensor:
        return self._bound(self.places, self.first)

    @property
    def right(self) -> Tensor:
        return self._bound(self.places, self.second)

    @property
    def answer(self) -> Tensor:
        return (self.left + self.sign * self.right) % len(DIGITS)

    def interchange(self, source: "Settings", forced: Tensor) -> Tensor:
        """The answers where variables take the source's values; a column each, as in ALIGNED."""
        force = dict(zip(ALIGNED, forced.unbind(1), strict=True))
        places = torch.where(force["places"][:, None], source.places, self.places)
        first = torch.where(force["first"], source.first, self.first)
        left = torch.where(force["left"], source.left, self._bound(places, first))
        right = torch.where(force["right"], source.right, self._bound(places, self.second))
        sign = torch.where(force["op"], source.sign, self.sign)
        answer = (left + sign * right) % len(DIGITS)
        return torch.where(force["answer"], source.answer, answer)

    def _bound(self, places: Tensor, letter: Tensor) -> Tensor:
        return self.digits.gather(1, places.gather(1, letter[:, None])).squeeze(1)


def all_settings() -> Settings:
    """Every prompt there is: 6 orders of letters, 720 of digits, 9 questions, 2 operations."""
    ids = {word: index for index, word in enumerate(WORDS)}
    rows = []
    for letters, digits, first, op, second in product(
        permutations(LETTERS), permutations(DIGITS, 3), LETTERS, OPS, LETTERS
    ):
        # Written here and not by the causal model's `render`, which would take half a minute.
        bound = chain.from_iterable(zip(letters, digits, strict=True))
        rows.append(
            [ids[word] for word in ("BOS", *bound, first, op, second)]
            + [LETTERS.index(letter) for letter in letters]
            + [letters.index(letter) for letter in LETTERS]
            + [int(digit) for digit in digits]
            + [LETTERS.index(first), LETTERS.index(second), 1 if op == "+" else -1]
        )
    columns = torch.tensor(rows).split([LENGTH, 3, 3, 3, 1, 1, 1], dim=1)
    tokens, letters, places, digits, *single = columns
    first, second, sign = (column.squeeze(1) for column in single)
    return Settings(
        tokens=tokens,
        letters=letters,
        places=places,
        digits=digits,
        first=first,
        second=second,
        sign=sign,
    )


class Net(nn.Module):
    """TransformerLens's native model, weight for weight, with components that interchange.

    It is here because a hundred thousand small passes through a bridge's hooks would take hours.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tok_embed = nn.Embedding(len(WORDS), shape.d_model)
        self.pos = nn.Embedding(LENGTH, shape.d_model)
        self.layers = nn.ModuleList(_block(shape) for _ in range(shape.n_layers))
        self.ln_out = _norm(shape)
        self.head = nn.Linear(shape.d_model, len(WORDS), bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                # As TransformerLens begins, but for embeddings, which the others' outputs would
                # drown: strictness would take three times as long.
                writes = name.endswith(("o.weight", "fc_out.weight"))
                scale = 4.0 if "embed" in name or "pos" in name else 1.0
                scale = (2 * shape.n_layers) ** -0.5 if writes else scale
                nn.init.normal_(weight, std=0.8 * scale * shape.d_model**-0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(
        self, tokens: Tensor, gates: Tensor | None = None, donors: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of the ten digits after the last token, and what heads and MLPs put out.

        Args:
            gates: a row per prompt and a column per component; where it is true the donor's
                output is taken.
            donors: outputs of heads and of the MLP, layer by layer, as they come back from here.
                Those of the last layer are of the last token only, where the answer is read.
        """
        stream = self.tok_embed(tokens) + self.pos.weight
        outputs: list[Tensor] = []
        for layer, block in enumerate(self.layers):
            reads = slice(-1 if layer == self.shape.n_layers - 1 else 0, None)
            z = self._heads(block, stream, reads)
            if gates is not None:
                z = torch.where(self._gates(gates, layer, heads=True), donors[2 * layer], z)
            stream = stream[:, reads] + block["attn"]["o"](z.flatten(2))  # type: ignore[index]
            mlp = block["mlp"]  # type: ignore[index]
            out = mlp["fc_out"](functional.relu(mlp["fc_in"](block["ln2"](stream))))  # type: ignore[index]
            if gates is not None:
                out = torch.where(
                    self._gates(gates, layer, heads=False), donors[2 * layer + 1], out
                )
            stream = stream + out
            outputs += [z, out]
        return self.head(self.ln_out(stream[:, -1]))[:, ANSWERS], outputs

    def _heads(self, block: nn.Module, stream: Tensor, reads: slice) -> Tensor:
        """Each head's output before it is projected, at the positions that are read."""
        length = stream.shape[1]
        normed = block["ln1"](stream)  # type: ignore[index]
        q, k, v = (
            block["attn"][name](normed[:, reads] if name == "q" else normed)  # type: ignore[index]
            .unflatten(2, (self.shape.n_heads, self.shape.d_head))
            .transpose(1, 2)
            for name in "qkv"
        )
        later = torch.ones(length, length, dtype=torch.bool).triu(1)[reads]
        scores = q @ k.transpose(2, 3) * self.shape.d_head**-0.5
        return (scores.masked_fill(later, float("-inf")).softmax(-1) @ v).transpose(1, 2)

    def _gates(self, gates: Tensor, layer: int, heads: bool) -> Tensor:
        """The gates of a layer's heads, or of its MLP, shaped as their outputs."""
        start = layer * (self.shape.n_heads + 1)
        if heads:
            return gates[:, None, start : start + self.shape.n_heads, None]
        return gates[:, None, start + self.shape.n_heads, None]


def _norm(shape: Shape) -> nn.Module:
    return nn.LayerNorm(shape.d_model) if shape.normalization_type == "LN" else nn.Identity()


def _block(shape: Shape) -> nn.ModuleDict:
    inner = shape.n_heads * shape.d_head
    attention = {name: nn.Linear(shape.d_model, inner) for name in "qkv"}
    attention["o"] = nn.Linear(inner, shape.d_model)
    mlp = {
        "fc_in": nn.Linear(shape.d_model, shape.d_mlp),
        "fc_out": nn.Linear(shape.d_mlp, shape.d_model),
    }
    return nn.ModuleDict(
        {
            "ln1": _norm(shape),
            "attn": nn.ModuleDict(attention),
            "ln2": _norm(shape),
            "mlp": nn.ModuleDict(mlp),
        }
    )


class ReadOut(nn.Module):
    """Linear maps from aligned heads' outputs to their variables, for the beginning."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({v: nn.Linear(shape.d_head, n) for v, n in READ_OUT.items()})

    def forward(self, base: Settings, outputs: Sequence[Tensor]) -> Tensor:
        """The cross-entropy of all variables, summed."""
        told = {
            "places": base.letters,
            "first": base.first,
            "left": base.left,
            "right": base.right,
            "op": (base.sign + 1) // 2,
        }
        losses = []
        for variable, made in self.maps.items():
            layer, head = (int(part[1:]) for part in ALIGNED[variable].split("."))
            z = outputs[2 * layer][:, :, head]
            z = z[:, VALUES_AT] if variable == "places" else z[:, -1]
            target = told[variable]
            losses.append(functional.cross_entropy(made(z).flatten(0, -2), target.flatten()))
        return torch.stack(losses).sum()


def members_of(shape: Shape) -> Tensor:
    """Columns of the aligned components, in the order of ALIGNED."""
    return torch.tensor([shape.components.index(name) for name in ALIGNED.values()])


def others_of(shape: Shape) -> Tensor:
    """Columns of the other components."""
    names = enumerate(shape.components)
    return torch.tensor([column for column, name in names if name not in ALIGNED.values()])


def interchanged(
    net: Net,
    base: Settings,
    outputs: Sequence[Tensor],
    gates: Tensor,
    rows: Tensor,
    rows_of_others: Tensor,
) -> Tensor:
    """The answers' logits where components take, by their gates, the outputs of other rows."""
    aligned = torch.zeros(len(net.shape.components), dtype=torch.bool)
    aligned[members_of(net.shape)] = True
    donors = []
    for number, output in enumerate(outputs):
        layer, is_mlp = divmod(number, 2)
        start = layer * (net.shape.n_heads + 1)
        own = (
            aligned[start + net.shape.n_heads]
            if is_mlp
            else aligned[start : start + net.shape.n_heads, None]
        )
        donors.append(torch.where(own, output[rows], output[rows_of_others]))
    return net(base.tokens, gates, donors)[0]


def spread(net: Net, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """How much each component's part of the residual stream at the last token varies over
    prompts: the root of the summed variances."""
    made = {}
    for layer, block in enumerate(net.layers):
        weight = block["attn"]["o"].weight.unflatten(1, (net.shape.n_heads, -1))  # type: ignore
        parts = torch.einsum("nhd,mhd->hnm", outputs[2 * layer][:, -1], weight)
        for head, part in enumerate((*parts, outputs[2 * layer + 1][:, -1])):
            name = f"a{layer}.h{head}" if head < net.shape.n_heads else f"m{layer}"
            made[name] = part.var(0).sum().sqrt()
    return made
