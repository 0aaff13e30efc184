"""The doctor: what has to hold of a model in an engine before a circuit in it means anything."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..engines.cutting import queries, wrong_parts
from ..engines.engine import OTHER, Engine, Point
from ..engines.gates import Part, gate_slopes, silent
from ..engines.laws import additive_gap, look, sites
from .findings import Findings, Law
from .model import Model

# By how much a law may be missed, as a share of what changes: rounding and no more.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
HALF_PRECISION = 0.05
SLOPES = 1e-2  # of gradients against finite differences
LENGTH, SHORT = 5, 3
SHOWN = 6  # sites that a sentence names before the rest are counted
# What a model raises that cannot do what a law asks.
_BREAKS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


@dataclass(frozen=True)
class Untouched:
    """Logits after the last token of a module in which no engine is yet: of two prompts of one
    length, and of the second one's end by itself."""

    whole: Float[Tensor, "prompt d_vocab"]
    end: Float[Tensor, "1 d_vocab"]


def prompts(d_vocab: int) -> Int[Tensor, "prompt pos"]:
    """Two prompts of a few random tokens."""
    return torch.randint(d_vocab, (2, LENGTH), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def untouched(module: nn.Module) -> Untouched | None:
    """The logits of a Hugging Face module as it is; None where it gives none of token ids."""
    config: Any = module.config
    if hasattr(config, "get_text_config"):
        config = config.get_text_config(decoder=True)
    training = module.training
    try:
        ids = prompts(config.vocab_size).to(next(module.parameters()).device)
        module.eval()
        whole, end = (module(one, use_cache=False).logits for one in (ids, ids[1:, -SHORT:]))
        return Untouched(whole[:, -1].float().cpu(), end[:, -1].float().cpu())
    except _BREAKS:
        return None
    finally:
        module.train(training)


def examine(engine: Engine, before: Untouched | None = None, *, idle: bool = False) -> Findings:
    """What every law gives for an engine, on two prompts of a few random tokens.

    Args:
        before: the module's own logits, which the engine's are compared with.
        idle: heads and MLPs that do nothing are meant to be there, as in models wired by hand.
    """
    ids = prompts(engine.sizes.d_vocab).to(engine.device)
    weights = next(iter(engine.weights().values()))
    tolerance = TOLERANCE.get(weights.dtype, HALF_PRECISION)
    exact = weights.dtype in TOLERANCE
    gap, additive = _additive(engine, ids, tolerance)
    trials: dict[str, Callable[[], Iterable[Law]]] = {
        "logits": lambda: _logits(engine, ids, before, tolerance),
        "heads": lambda: _heads(engine, ids),
        "additive": lambda: [additive],
        "gradients": lambda: _gates(engine, ids, exact, idle),
    }
    laws: list[Law] = []
    for name, trial in trials.items():
        try:
            laws += trial()
        except _BREAKS as error:
            laws.append(Law(name, False, f"{name} cannot be tried: {_first_line(error)}"))
    notes: tuple[str, ...] = ()
    if additive.holds:
        notes = tuple(_writers(engine, ids, tolerance))
    return Findings(engine=engine.name, laws=tuple(laws), gap=gap, notes=notes)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@torch.no_grad()
def _logits(
    engine: Engine, ids: Tensor, before: Untouched | None, tolerance: float
) -> Iterable[Law]:
    if before is None:
        yield Law("logits", None, "there is no untouched module to compare logits with")
        return
    spread = float(before.whole.amax() - before.whole.amin())
    whole, _ = engine.forward(ids)
    attends = torch.ones_like(ids)
    attends[1, : LENGTH - SHORT] = 0
    padded, _ = engine.forward(ids * attends, attends)
    for name, given, own, what in (
        ("logits", whole, before.whole, "its logits"),
        ("padding", padded[1:], before.end, "logits of a prompt that is padded on the left"),
    ):
        off = float((given.float().cpu() - own).abs().max())
        holds = off <= tolerance * spread
        verb = "equal" if holds else "differ from"
        says = f"{what} {verb} the untouched module's (by {off:.1e} of a spread of {spread:.2g})"
        yield Law(name, holds, says)


def _heads(engine: Engine, ids: Tensor) -> Iterable[Law]:
    wrong = wrong_parts(engine, ids)
    layers = [at.layer for at in sites(engine) if at.kind == "heads"]
    if wrong:
        told = [
            f"{_layers([layer for layer, _ in same])}: {why}"
            for why, same in groupby(sorted(wrong.items(), key=lambda one: one[1]), lambda o: o[1])
        ]
        yield Law("heads", False, f"heads are cut wrongly: {'; '.join(told)}")
    elif not layers:
        yield Law("heads", None, "no layer has heads")
    else:
        tried = [layer for layer in layers if queries(engine, layer)]
        how = "each moves with its own queries alone" if tried == layers else "counted"
        yield Law("heads", True, f"every layer's heads are {engine.sizes.n_heads} ({how})")


def _additive(engine: Engine, ids: Tensor, tolerance: float) -> tuple[float | None, Law]:
    try:
        gap = additive_gap(engine, ids[:1], ids[1:])
    except _BREAKS as error:
        says = f"what leaves the last layer cannot be compared: {_first_line(error)}"
        return None, Law("additive", False, says)
    holds = gap <= tolerance
    verb = "write" if holds else "do not write"
    what = "heads, MLPs and modules named in the notes" if engine.others else "heads and MLPs"
    says = f"{what} {verb} all that the layers write (additive gap {gap:.1e} of {tolerance:.0e})"
    if not holds:
        says += "; a layer writes where no site is, or its residual stream is no sum, as in BERT"
    return gap, Law("additive", holds, says)


def _gates(engine: Engine, ids: Tensor, exact: bool, idle: bool) -> Iterable[Law]:
    if not sites(engine):
        yield Law("sites", False, "no layer has a head or an MLP to find circuits among")
        return
    base, source, asked = ids[:1], ids[1:], "gradients" in engine.can
    if asked:
        slopes = gate_slopes(engine, base, source)
        candidates = slopes.none
    else:
        yield Law("gradients", None, "the engine passes no gradients on")
        candidates = tuple(_parts(engine, ids))
    dead = silent(engine, base, candidates)
    if asked:
        lost = [part for part in slopes.none if part not in dead]
        gap = slopes.gap if exact else 0.0
        if lost:
            says = f"no gradient arrives at {_named(lost)}, which change the logits"
        elif gap > SLOPES:
            says = f"gradients are not those of finite differences (apart by {gap:.1e})"
        else:
            told = f"apart by {gap:.1e}" if exact else "only that they arrive, in half precision"
            says = f"gates' gradients are those of finite differences ({told})"
        yield Law("gradients", not lost and gap <= SLOPES, says)
    if dead:
        yield Law("sites", idle, f"whatever stands at {_named(dead)}, no logit changes")
    else:
        yield Law("sites", True, "every head and MLP changes the logits")


def _parts(engine: Engine, ids: Tensor) -> Iterable[Part]:
    points = sites(engine)
    _, seen = look(engine, ids[:1], points)
    for at in points:
        yield from (
            [(at, part) for part in range(seen[at].shape[2])]
            if at.kind == "heads"
            else [(at, None)]
        )


def _named(parts: Iterable[Part]) -> str:
    """Sites by the names that circuits give them."""
    names = [f"a{at.layer}.h{part}" if at.kind == "heads" else f"m{at.layer}" for at, part in parts]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _layers(layers: list[int]) -> str:
    """Layers in words, runs of them as first-last."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    told = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(told)}"


def _writers(engine: Engine, ids: Tensor, tolerance: float) -> Iterable[str]:
    """A sentence for each kind of module that writes to the stream and is no site."""

    def share(points: list[Point]) -> float:
        return additive_gap(engine, ids[:1], ids[1:], points)

    writing = [at for at in engine.others if share([at]) > tolerance]
    kinds: dict[tuple[str, str], list[Point]] = {}
    for at in writing:
        kinds.setdefault((at.kind.removeprefix(OTHER), engine.others[at]), []).append(at)
    for (name, kind), points in kinds.items():
        yield (
            f"{_layers([at.layer for at in points])}: {name} ({kind}) writes to the residual "
            f"stream and is no site, so that no circuit can hold it; it makes {share(points):.2f} "
            "of the difference between two prompts that leaves the last layer"
        )


def begins(model: Model) -> Law:
    """Whether texts begin with BOS as asked, and none with two of them."""
    bos, wanted = model.tokenizer.bos_token, model.prepend_bos
    if not isinstance(bos, str):
        return Law("bos", True, "its tokenizer has no BOS")
    plain, own = (tokens.ids for tokens in model.tokenize(["a", f"{bos}a"]))
    id_ = model.tokenizer.bos_token_id
    first = plain[:1] == (id_,)
    if own[:2] == (id_, id_) or plain[:2] == (id_, id_):
        return Law("bos", False, f"a text begins with {bos} twice")
    if wanted is not None and wanted != first:
        asked = "is asked for and is not" if wanted else "is not asked for and is"
        return Law("bos", False, f"{bos} {asked} there")
    told = f"texts begin with {bos}, once" if first else f"texts do not begin with {bos}"
    return Law("bos", True, told)
