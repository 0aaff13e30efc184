"""Points of a pass, and the sizes of a model: plain data, which names of sites are made of."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Point:
    """A place in the pass where a tensor can be read or changed.

    These are the kinds of a transformer; engines of other modules may offer others.

        embed    what the token embedding writes                    "row pos width"
        entry    the residual stream that enters a layer            "row pos width"
        q k v    queries, keys and values of the new tokens         "row pos head width"
        pattern  attention after the softmax, to look at only       "row head pos seen"
        heads    what enters the output projection, a slice a head  "row pos head width"
        mlp_in   what enters the MLP                                "row pos width"
        mlp      what the MLP writes                                "row pos width"

    `embed` belongs to layer 0. The `entry` of the layer after the last is the residual stream that
    leaves the last one, before the final norm. Keys and values have their own number of heads.
    Queries and keys are before or after their norm and the rotation by position, as the engine has
    them. To copy all of a token's from one row to another comes to the same, and to copy one
    head's does unless the norm is over all heads, as in OLMo 2.
    """

    layer: int
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a model is, and how its layers are built.

    `n_block_parameters` counts the weights in the layers, without embedding and unembedding.
    `parallel` says whether a layer's MLP reads what its heads read, not what they write. `window`
    is how many tokens the layer that sees the fewest attends to, None where all see all.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_vocab: int
    n_block_parameters: int
    causal: bool = True
    parallel: bool = False
    window: int | None = None
