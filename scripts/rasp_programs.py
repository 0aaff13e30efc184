# pyright: reportMissingImports=false
# Tracr comes with an extra that few need, so its imports are inside the functions.
"""The RASP programs that `scripts/compile_tracr.py` turns into models, and Tracr's own models."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np

Value = str | int | float


@dataclass(frozen=True, kw_only=True)
class Program:
    """A RASP program, the inputs to save, and how many heads its layers get.

    Args:
        max_length: the longest input that Tracr prepares for, BOS not counted; it decides what a
            head that counts says when it is ablated by zero.
        values: what a numeric output can be; empty where the output is categorical.
    """

    name: str
    about: str
    build: Callable[[], Any]
    vocabulary: tuple[Value, ...]
    inputs: tuple[tuple[Value, ...], ...]
    max_length: int
    n_heads: int = 3
    values: tuple[Fraction, ...] = ()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Tracr's model as arrays: `params` by module, residual labels, and words' token ids."""

    params: Mapping[str, Mapping[str, np.ndarray]]
    labels: tuple[str, ...]
    n_layers: int
    n_heads: int
    d_head: int
    d_mlp: int
    token_ids: Mapping[Value, int]
    said: tuple[Value | Fraction, ...]  # all values of the output
    directions: tuple[int, ...]  # of each of them, or a single one that holds the number
    decoded: tuple[tuple[Value, ...], ...]  # for each saved input, BOS left out


def reverse() -> Any:
    from tracr.compiler import lib
    from tracr.rasp import rasp

    return lib.make_reverse(rasp.tokens)


def frac_prevs() -> Any:
    from tracr.compiler import lib
    from tracr.rasp import rasp

    return lib.make_frac_prevs((rasp.tokens == "x").named("is_x"))


def sort_unique() -> Any:
    from tracr.compiler import lib
    from tracr.rasp import rasp

    return lib.make_sort_unique(rasp.tokens, rasp.tokens)


def recall() -> Any:
    """Where this token stood before another one, and which one: through the place, as binding is.

    `a 1 b 2 a` gives `1 b 2 a 1`.
    """
    from tracr.rasp import rasp

    before = rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == query - 1)
    previous = rasp.Aggregate(before, rasp.tokens).named("previous")
    bound = rasp.Select(previous, rasp.tokens, rasp.Comparison.EQ)
    place = rasp.Aggregate(bound, rasp.indices).named("place")
    there = rasp.Select(rasp.indices, place, rasp.Comparison.EQ)
    return rasp.Aggregate(there, rasp.tokens).named("value")


def half() -> Any:
    """Whether half of the input or more is this token: two heads count, an MLP compares."""
    from tracr.compiler import lib
    from tracr.rasp import rasp

    return rasp.SequenceMap(
        lambda count, length: "yes" if 2 * count >= length else "no", lib.make_hist(), lib.length
    ).named("half")


def _bindings() -> Iterator[tuple[Value, ...]]:
    for (a, b), (x, y) in product(permutations("abc", 2), permutations("123", 2)):
        yield from ((a, x, b, y, a), (a, x, b, y, b))


PROGRAMS = (
    Program(
        name="tracr-reverse",
        about="the input backwards",
        build=reverse,
        vocabulary=tuple("abc"),
        inputs=tuple(product("abc", repeat=4)),
        max_length=4,
    ),
    Program(
        name="tracr-frac-prevs",
        about="the share of x so far",
        build=frac_prevs,
        vocabulary=tuple("xyz"),
        inputs=tuple(product("xyz", repeat=4)),
        max_length=4,
        values=tuple(sorted({Fraction(n, d) for d in range(1, 5) for n in range(d + 1)})),
    ),
    Program(
        name="tracr-sort-unique",
        about="the input's numbers, all different, in order",
        build=sort_unique,
        vocabulary=tuple(range(1, 6)),
        inputs=tuple(permutations(range(1, 6), 4)),
        max_length=4,
    ),
    Program(
        name="tracr-recall",
        about="what stood after this token: `a 1 b 2 a` gives 1 at its end",
        build=recall,
        vocabulary=tuple("abc123"),
        inputs=tuple(_bindings()),
        max_length=5,
    ),
    Program(
        name="tracr-half",
        about="whether half of the input or more is this token",
        build=half,
        vocabulary=tuple("abc"),
        inputs=tuple(product("abc", repeat=4)),
        max_length=5,
        n_heads=4,
    ),
)


def compile_program(program: Program) -> Compiled:
    """Tracr's model of a program, and what it says to every input that will be saved.

    Raises:
        ValueError: Tracr made something that this script cannot carry over.
    """
    from tracr.compiler import compiling
    from tracr.rasp import rasp

    sop = program.build()
    made = compiling.compile_rasp_to_model(
        sop, set(program.vocabulary), max_seq_len=program.max_length, compiler_bos="BOS"
    )
    params = {
        module: {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        for module, arrays in made.params.items()
    }
    labels, config = tuple(made.residual_labels), made.model_config
    problems = [
        f"{module} has a bias" for module, arrays in params.items() if np.any(arrays.get("b", 0))
    ]
    if "one" not in labels:
        problems.append("there is no constant direction `one` for the read-out")
    if rasp.is_categorical(sop) == bool(program.values):
        problems.append("`values` are for numeric outputs, and needed there")
    if problems:
        raise ValueError(f"{program.name}: {'; '.join(problems)}")
    said = tuple(program.values or made.output_encoder.encoding_map)
    names = [sop.label] if program.values else [f"{sop.label}:{value}" for value in said]
    return Compiled(
        params=params,
        labels=labels,
        n_layers=config.num_layers,
        n_heads=config.num_heads,
        d_head=config.key_size,
        d_mlp=config.mlp_hidden_size,
        token_ids=made.input_encoder.encoding_map,
        said=said,
        directions=tuple(map(labels.index, names)),
        decoded=tuple(tuple(made.apply(["BOS", *tokens]).decoded[1:]) for tokens in program.inputs),
    )
