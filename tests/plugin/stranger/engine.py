"""An engine around a module that is no transformer: a conveyor of layers without attention.

Each layer writes into a running sum, at every token: the first what stood one token before, the
second a faint echo of the token itself, the third a fainter one. The output is the sum, so that the
model repeats the last token but one.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from circuitfind import Model
from circuitfind.engines import Edit, Engine, Point, Sizes
from circuitfind.models.native import word_tokenizer

WORDS = [f"w{n}" for n in range(12)]
N_LAYERS = 3


class Conveyor(nn.Module):
    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.faint = nn.Parameter(torch.tensor([0.3, 0.1]))
        self.look = nn.Parameter(torch.eye(n_words))

    def layer(self, index: int, tokens: Tensor) -> Tensor:
        seen = self.look[tokens]
        if index == 0:
            return 5 * nn.functional.pad(seen, (0, 0, 1, 0))[:, :-1]
        return self.faint[index - 1] * seen.roll(index, dims=-1)


class ConveyorEngine(Engine):
    name = "conveyor"

    def __init__(self, module: Conveyor) -> None:
        self.module = module.eval()
        for weight in module.parameters():
            weight.requires_grad_(False)

    @property
    def sizes(self) -> Sizes:
        n = len(self.module.look)
        return Sizes(n_layers=N_LAYERS, n_heads=0, d_model=n, d_vocab=n, n_block_parameters=n * n)

    @property
    def device(self):
        return self.module.look.device

    @property
    def can(self):
        return frozenset({"gradients"})

    @property
    def digest(self) -> str:
        return self.plain_digest

    @property
    def plain_digest(self) -> str:
        return "conveyor"

    def has(self, point: Point) -> bool:
        last = N_LAYERS if point.kind == "entry" else N_LAYERS - 1
        return point.kind in ("mlp", "entry") and 0 <= point.layer <= last

    def weights(self) -> Mapping[str, Tensor]:
        return dict(self.module.named_parameters())

    def forward(
        self,
        inputs,
        attends=None,
        edits: Sequence[tuple[Point, Edit]] = (),
        *,
        prefix=None,
        keep_prefix=False,
        entry=None,
        reads=None,
    ):
        if lacking := [str(point) for point, _ in edits if not self.has(point)]:
            raise ValueError(f"the conveyor has no {', '.join(lacking)}")

        def changed(point: Point, own: Tensor) -> Tensor:
            for at, edit in edits:
                if at == point and (new := edit(own)) is not None:
                    own = new
            return own

        stream = torch.zeros(*inputs.shape, self.sizes.d_model)
        for layer in range(N_LAYERS):
            stream = changed(Point(layer, "entry"), stream)
            stream = stream + changed(Point(layer, "mlp"), self.module.layer(layer, inputs))
        stream = changed(Point(N_LAYERS, "entry"), stream)
        if reads is None:
            return stream[:, -1], None
        return stream[torch.arange(len(stream)), reads], None

    def repeat_prefix(self, prefix, times, first=0):
        return prefix


class ConveyorLoader:
    """What `load_model(..., engine="conveyor")` and `--engine conveyor` ask."""

    name = "conveyor"

    def load(self, name: str, *, device: str | None, dtype: str) -> Model:
        words = [*WORDS, "<pad>", "<unk>"]
        engine = ConveyorEngine(Conveyor(len(words)))
        return Model(name=name, engine=engine, tokenizer=word_tokenizer(words))


conveyor = ConveyorLoader()
