"""Compile RASP programs with Tracr into native models with busy distractors.

    pip install -e '.[tracr]'
    python -m scripts.compile_tracr                 # remakes circuitfind/models/tracr-*, truth too
    python -m scripts.compile_tracr tracr-reverse --out /tmp/models
    python -m scripts.compile_tracr --truth         # truth.json alone; needs no Tracr

Tracr (Lindner et al. 2023, arXiv 2301.05062; PyPI `tracr-pypi`, on jax) turns a RASP program into
a bidirectional transformer without normalisation, which TransformerLens' native model can hold as
it is: x + attention, then x + relu MLP, scores divided by the root of the head's width. Biases are
zero in both. Added here, from a seed:

- heads up to `n_heads` in every layer, where real and added ones are shuffled, and neurons in every
  MLP. They read everything that Tracr's own components read or write, attend unevenly, and write to
  `UNREAD` directions of their own, which nothing reads (`circuitfind.truth.unread` checks).
  Heads and MLPs that Tracr leaves empty thus are all busy;
- a read-out. A word of a categorical output scores `SCALE` times its direction. A number x is read
  as the nearest of the program's values: v scores in proportion to 2vx - v^2, with -v^2 on Tracr's
  constant direction `one`. Ties go to the word that comes first, by `TIE` logits for each place, as
  argmax would have it, so that rounding decides nothing. Words that are no outputs score -`SCALE`.

Words are `<pad> <unk> BOS`, then inputs, then outputs (the same word where they are the same
value); numbers that are not whole are fractions such as `1/3`. Inputs have one length and are
saved in shuffled order, since the ablation `resample` takes the activations of the input before.
The output at BOS is not asked for. What is written was compared, word by word on every saved
input, with what Tracr's own model decodes.

Truth is never taken from the weights: `truth.json` has, for each ablation, every set of components
that keeps all saved outputs while no smaller set inside it does, found by trying all sets. A
component that Tracr wired may be idle. `tracr-reverse` needs 4 of its 5 under zero, since a length
head that says nothing is heard as the longest input, and 1 under mean and resample, since all else
depends on the place alone when inputs have one length.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuitfind.bench.truth import exhaustive_truth, unread
from circuitfind.engines.boot import native_shapes
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.models.loading import load_model, load_saved
from circuitfind.models.model import Model
from circuitfind.models.native import Native, read_native, save_native
from circuitfind.objective.encoding import encode
from desiderata import Donor, Saved, SavedInputs
from scripts.rasp_programs import PROGRAMS, Compiled, Program, Value, compile_program

Arrays = dict[str, np.ndarray]

FOLDERS = Path(__file__).resolve().parent.parent / "circuitfind" / "models"
ABLATIONS: tuple[Donor, ...] = ("zero", "mean", "resample")
SPECIAL = ("<pad>", "<unk>", "BOS")
UNREAD, NEURONS = 8, 8  # residual directions, and neurons of each MLP, for distractors
SCALE = 10.0  # logits of a categorical output
LEAD = 4.0  # logits by which a numeric value leads its nearest neighbour
TIE = 0.01
NEAR = 1e-3  # how far Tracr's numbers may lie from the values that they stand for


def word_of(value: Value | Fraction, values: Sequence[Fraction] = ()) -> str:
    """The word for a value: itself, or for a number among `values` the one that it stands for.

    Raises:
        ValueError: a number that is near none of them.
    """
    if not values:
        return str(value)
    nearest = min(values, key=lambda each: abs(each - Fraction(value)))
    if abs(float(nearest) - float(value)) > NEAR:
        raise ValueError(f"Tracr said {value}, which is none of {', '.join(map(str, values))}")
    return str(nearest)


def words_of(program: Program, compiled: Compiled) -> tuple[str, ...]:
    """The vocabulary in the order of its ids: special words, inputs, then what else it says."""
    return tuple(dict.fromkeys([*SPECIAL, *map(str, program.vocabulary), *map(str, compiled.said)]))


def wire(program: Program, compiled: Compiled) -> tuple[dict[str, Any], Arrays, frozenset[str]]:
    """The native model's config, its weights in float32 (Tracr's, distractors and read-out), and
    the components that have weights of Tracr's."""
    rng, words = np.random.default_rng(program.seed), words_of(program, compiled)
    width, context = len(compiled.labels) + UNREAD, program.max_length + 1
    config = {
        "d_model": width,
        "d_head": compiled.d_head,
        "n_layers": compiled.n_layers,
        "n_heads": program.n_heads,
        "n_ctx": context,
        "d_mlp": compiled.d_mlp + NEURONS,
        "act_fn": "relu",
        "normalization_type": None,
        "attention_dir": "bidirectional",
    }
    weights = {
        "tok_embed.weight": np.zeros((len(words), width)),
        "pos.weight": np.zeros((context, width)),
        "head.weight": _read_out(compiled, words, width),
    }
    embedding = compiled.params["token_embed"]["embeddings"]
    for value, index in compiled.token_ids.items():
        row = 0 if value == "compiler_pad" else words.index(str(value))
        weights["tok_embed.weight"][row, :-UNREAD] = embedding[index]
    weights["pos.weight"][:, :-UNREAD] = compiled.params["pos_embed"]["embeddings"]
    real: set[str] = set()
    for layer in range(compiled.n_layers):
        made, mine = _attention(compiled, layer, program.n_heads, rng)
        weights |= {f"layers.{layer}.attn.{name}": array for name, array in made.items()}
        real |= {f"a{layer}.h{head}" for head in mine}
        made, is_real = _mlp(compiled, layer, rng)
        weights |= {f"layers.{layer}.mlp.{name}": array for name, array in made.items()}
        real |= {f"m{layer}"} if is_real else set()
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    return config, weights, frozenset(real)


def _read_out(compiled: Compiled, words: Sequence[str], width: int) -> np.ndarray:
    """The unembedding: see the head of this file."""
    made, one = np.zeros((len(words), width)), compiled.labels.index("one")
    made[:, one] = -SCALE
    numeric = len(compiled.directions) < len(compiled.said)
    values = [float(value) for value in compiled.said] if numeric else []
    scale = LEAD / min((b - a) ** 2 for a, b in pairwise(values)) if numeric else SCALE
    for place, value in enumerate(compiled.said):
        row = made[words.index(str(value))]
        row[one] = -TIE * place
        if numeric:
            row[compiled.directions[0]] = scale * 2 * values[place]
            row[one] -= scale * values[place] ** 2
        else:
            row[compiled.directions[place]] = scale
    return made


def _attention(
    compiled: Compiled, layer: int, n_heads: int, rng: np.random.Generator
) -> tuple[Arrays, list[int]]:
    """A layer's attention, and which of its heads are Tracr's and not empty."""
    width, d_head = len(compiled.labels), compiled.d_head
    tracr = {
        name: compiled.params[f"transformer/layer_{layer}/attn/{name}"]["w"]
        for name in ("query", "key", "value", "linear")
    }
    made = {name: np.zeros((n_heads, d_head, width + UNREAD)) for name in "qkvo"}
    order, mine = rng.permutation(n_heads), []
    for place, head in enumerate(order.tolist()):
        part = slice(place * d_head, (place + 1) * d_head)
        parts = [tracr[name][:, part].T for name in ("query", "key", "value")]
        if place < compiled.n_heads and np.any(parts[2]):
            mine.append(head)
            for name, array in zip("qkv", parts, strict=True):
                made[name][head, :, :width] = array
            made["o"][head, :, :width] = tracr["linear"][part]
            continue
        # About three directions are 1 at each token: scores then vary by about 2, and what a head
        # mixes is as long as Tracr's own, 1, give or take.
        for name, size in (("q", 0.8), ("k", 0.8), ("v", _loudness(rng) * (3 * d_head) ** -0.5)):
            made[name][head, :, :width] = rng.normal(0, size, (d_head, width))
        made["o"][head, :, width:] = rng.normal(0, UNREAD**-0.5, (d_head, UNREAD))
    rows = {name: array.reshape(-1, width + UNREAD) for name, array in made.items()}
    biases = {f"{name}.bias": np.zeros(len(rows[name])) for name in "qkv"}
    return {
        **{f"{name}.weight": rows[name] for name in "qkv"},
        "o.weight": rows["o"].T,
        **biases,
        "o.bias": np.zeros(width + UNREAD),
    }, mine


def _mlp(compiled: Compiled, layer: int, rng: np.random.Generator) -> tuple[Arrays, bool]:
    """A layer's MLP, and whether any of it is Tracr's."""
    width, hidden = len(compiled.labels), compiled.d_mlp
    first, second = (
        compiled.params[f"transformer/layer_{layer}/mlp/linear_{n}"]["w"].T for n in (1, 2)
    )
    reads = np.zeros((hidden + NEURONS, width + UNREAD))
    writes = np.zeros((width + UNREAD, hidden + NEURONS))
    reads[:hidden, :width], writes[:width, :hidden] = first, second
    reads[hidden:, :width] = rng.normal(0, 0.8, (NEURONS, width))
    writes[width:, hidden:] = rng.normal(0, _loudness(rng) / UNREAD, (UNREAD, NEURONS))
    return {
        "fc_in.weight": reads,
        "fc_in.bias": np.zeros(hidden + NEURONS),
        "fc_out.weight": writes,
        "fc_out.bias": np.zeros(width + UNREAD),
    }, bool(np.any(second))


def _loudness(rng: np.random.Generator) -> float:
    """How long a distractor's output is: most are from half to twice as long as Tracr's."""
    return float(np.exp(rng.normal(0, 0.5)))


def build(program: Program, folder: Path) -> Path:
    """Compile a program, write its folder, and check every saved output against Tracr's.

    Raises:
        ValueError: the model does not say what Tracr's says, or a distractor reaches the output.
    """
    compiled = compile_program(program)
    config, weights, real = wire(program, compiled)
    rows = [
        Saved(
            " ".join(["BOS", *map(str, tokens)]),
            {place: word_of(value, program.values) for place, value in enumerate(said, 1)},
        )
        for tokens, said in zip(program.inputs, compiled.decoded, strict=True)
    ]
    random.Random(program.seed).shuffle(rows)
    native = Native(
        about=f"{program.about}; RASP compiled by Tracr, with distractors (scripts/compile_tracr)",
        config=config,
        words=words_of(program, compiled),
        weights={name: torch.from_numpy(array).contiguous() for name, array in weights.items()},
        inputs=tuple(rows),
    )
    save_native(folder, native)
    model = load_model(str(folder), device="cpu")
    if wrong := wrong_outputs(model, rows):
        raise ValueError(f"{program.name} differs from Tracr: {'; '.join(wrong[:5])}")
    heard = {str(site.component) for site in sites_of(model)} - set(map(str, unread(model)))
    if strangers := sorted(heard - real):
        raise ValueError(f"{program.name}: distractors reach the output: {', '.join(strangers)}")
    return folder


def sites_of(model: Model) -> tuple[Site, ...]:
    """Every head and MLP at all positions."""
    return all_sites(model.n_layers, model.n_heads, ("all",))


def derive_truth(folder: Path) -> dict[str, Any]:
    """What `truth.json` says: every smallest circuit on the saved inputs, by ablation."""
    model, saved = load_model(str(folder), device="cpu"), load_saved(str(folder))
    sites, ablations, idle = sites_of(model), {}, 0
    for donor in ABLATIONS:
        batches = encode(model, SavedInputs(saved, donor).everything())
        truth = exhaustive_truth(model, batches, sites)
        idle = len(truth.idle)
        ablations[donor] = sorted(
            [str(site.component) for site in sites if site in circuit] for circuit in truth.circuits
        )
    return {
        "claim": "suffices",
        "ablations": ablations,
        "how": f"every subset of the {len(sites) - idle} components that anything reads, of "
        f"{len(sites)}, on all {len(saved)} saved inputs "
        "(circuitfind.bench.truth.exhaustive_truth); "
        "mean over all saved inputs at each token, resample from the saved input before",
    }


def write_truth(folder: Path) -> dict[str, Any]:
    """Derive a folder's truth, write it there, and give it."""
    native = read_native(folder, native_shapes)
    truth = derive_truth(folder)
    save_native(folder, replace(native, truth=truth))
    return truth


def wrong_outputs(model: Model, rows: Sequence[Saved]) -> list[str]:
    """Where a model's most likely words are not the saved ones, in words."""
    tokens = torch.tensor([each.ids for each in model.tokenize([row.text for row in rows])])
    with torch.no_grad():
        likely = torch.stack(
            [
                model.engine.forward(tokens, reads=torch.full((len(tokens),), column))[0].argmax(-1)
                for column in range(tokens.shape[1])
            ],
            dim=1,
        )
    return [
        f"{row.text!r} at {index}: {word!r} expected, {said!r} said"
        for row, ids in zip(rows, likely.tolist(), strict=True)
        for index, word in row.outputs.items()
        if (said := model.tokenizer.convert_ids_to_tokens(ids[index])) != word
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [program.name for program in PROGRAMS]
    parser.add_argument("names", nargs="*", help=f"all, if none is named: {', '.join(names)}")
    parser.add_argument("--out", type=Path, default=FOLDERS)
    parser.add_argument("--truth", action="store_true", help="derive truth.json alone")
    given = parser.parse_args()
    if strangers := set(given.names) - set(names):
        parser.error(f"no program {', '.join(sorted(strangers))}; there are {', '.join(names)}")
    for program in PROGRAMS:
        if given.names and program.name not in given.names:
            continue
        folder = given.out / program.name
        if not given.truth:
            build(program, folder)
        truth = write_truth(folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{folder}: {len(program.inputs)} inputs, {size / 1000:.0f} kB")
        print(f"  {json.dumps(truth['ablations'])}", flush=True)


if __name__ == "__main__":
    main()
