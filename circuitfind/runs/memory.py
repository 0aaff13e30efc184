"""A plan of a run's memory: what it takes, what is free, and how many pairs go through at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch

from ..answers.top import AT_ONCE
from ..mediators.site import Site
from ..models.model import PAIRS_AT_ONCE, Model
from ..objective.cost import Cost
from ..objective.encoding import Batch
from ..objective.memory import PairBytes, measure_pairs, weight_bytes
from ..objective.passes import ENTRY_BYTES
from ..objective.patching import BRANCHED, tokens_per_pass
from ..search.methods.constrained import PAIRS as PAIRS_A_STEP

SHARE = 0.9  # of what is free that a run may fill: allocators and others need some
GIB = 2**30
CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run takes at most, in bytes, beside the weights that are loaded already.

    Args:
        prefix, donors, entries, untouched: what stays of all pairs; see `PairBytes`.
        joined: copies of prefixes and donors for steps on several desiderata or batches.
        prepare, step, trial: the widest pass of each kind.
        pairs: pairs that go through the model at once.
        tokens: tokens that trials run at once at most; None for as many as are fast.
        keeps_entries: whether trials may begin at later layers, which takes `entries`.
        free: what is free on each device, None where that is not known, and the share of the
            model that is on it.
    """

    weights: int
    prefix: int
    donors: int
    entries: int
    untouched: int
    joined: int
    prepare: int
    step: int
    trial: int
    pairs: int
    tokens: int | None
    keeps_entries: bool
    free: Mapping[str, tuple[int | None, float]]

    @property
    def kept(self) -> int:
        """What stays while search runs."""
        return self.prefix + self.donors + self.entries + self.untouched + self.joined

    @property
    def needed(self) -> int:
        """What a run takes beside the weights."""
        return self.on(1.0)

    def on(self, share: float) -> int:
        """What it takes on a device that has this share of the model. What a step keeps lies with
        the layers; any device may have to hold the widest of the other passes."""
        return ceil(share * self.kept + max(self.prepare, share * self.step, self.trial))

    @property
    def fits(self) -> bool:
        """Whether every device has room, as far as is known."""
        return all(
            free is None or self.on(share) <= SHARE * free for free, share in self.free.values()
        )

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        free = {device: free for device, (free, _) in self.free.items()}
        return {**asdict(self), "free": free, "needed": self.needed}

    def __str__(self) -> str:
        parts = {
            "kept": self.kept,
            "making ready": self.prepare,
            "a step": self.step,
            "trials": self.trial,
        }
        words = ", ".join(f"{name} {size_words(size)}" for name, size in parts.items())
        free = [
            f"{size_words(free)} free on {device}"
            for device, (free, _) in self.free.items()
            if free is not None
        ]
        return (
            f"memory: {size_words(self.needed)} beside {size_words(self.weights)} of weights "
            f"({words}); {', '.join([*free, f'{self.pairs} pairs at once'])}"
        )


def size_words(size: int | float) -> str:
    """Bytes in the unit that suits them.

    >>> size_words(3 * 2**29)
    '1.5 GiB'
    """
    return f"{size / GIB:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"


def plan_memory(
    model: Model,
    needs: Sequence[PairBytes],
    counts: Sequence[int],
    *,
    n_sites: int,
    pairs: int | None = None,
    method: str = "constrained",
    free: Mapping[str, tuple[int | None, float]] | None = None,
) -> Plan:
    """What a run takes with as many pairs at once as fit, or with so many.

    Where nothing fits, the plan is that of one pair at a time and `fits` is false.

    Args:
        needs, counts: what a pair of each desideratum takes, and how many pairs there are.
        n_sites: how many there are to choose from; search tries about as many circuits at once.
        pairs: how many go through the model at once, where that is fixed.
        free: as `Plan.free`; by default as things are.
    """
    free = free_memory(model) if free is None else free

    def made(size: int, entries: bool, tokens: int | None = None) -> Plan:
        return _plan(model, needs, counts, n_sites, method, free, size, entries, tokens)

    sizes = [pairs] if pairs else list(_halves(PAIRS_AT_ONCE))
    # Narrow trials and starting late come before few pairs: they cost less time.
    for size in sizes:
        for entries in (True, False):
            for tokens in (None, *_halves(tokens_per_pass(model) // 2)):
                found = made(size, entries, tokens)
                if found.fits:
                    return found
    return made(pairs or 1, False, 1)


def fit_to_memory(
    model: Model,
    batches: Sequence[Batch],
    sites: Sequence[Site],
    *,
    counts: Sequence[int] | None = None,
    pairs: int | None = None,
    method: str = "constrained",
    force: bool = False,
) -> tuple[Model, Plan, Cost]:
    """The model with as much going through at once as fits, the plan, and what measuring cost.

    Args:
        batches: those of search.
        counts: how many pairs of each there will be; by default as many as there are.
        pairs: how many go through at once, where that is fixed; by default as the model has it,
            where that is not what every model has.
        force: go on where it does not fit.

    Raises:
        ValueError: it does not fit; with the numbers and what to do.
    """
    cost, counts = Cost(), counts or [len(batch) for batch in batches]
    if pairs is None and model.pairs_at_once != PAIRS_AT_ONCE:
        pairs = model.pairs_at_once
    needs, free = measure_pairs(model, batches, sites, cost), free_memory(model)

    def planned(most: int, pairs: int | None) -> Plan:
        return plan_memory(
            model,
            needs,
            [min(most, count) for count in counts],
            n_sites=len(sites),
            pairs=pairs,
            method=method,
            free=free,
        )

    plan = planned(max(counts), pairs)
    if not plan.fits and not force:
        raise ValueError(refusal(model, plan, planned, max(counts)))
    limits = {"tokens_at_once": plan.tokens, "keeps_entries": plan.keeps_entries}
    return replace(model, pairs_at_once=plan.pairs, **limits), plan, cost


def refusal(
    model: Model, plan: Plan, planned: Callable[[int, int | None], Plan], largest: int
) -> str:
    """Why a plan cannot be run, with the numbers, and what to do.

    Args:
        planned: the plan for at most so many pairs of each desideratum, so many at once.
        largest: how many pairs there are of the largest desideratum.
    """
    ways = []
    if (fewer := planned(largest, None)).fits:
        ways.append(f"--batch {fewer.pairs} (fits)")
    few = next((n for n in _halves(largest // 2) if n >= 4 and planned(n, None).fits), None)
    ways.append(f"fewer pairs (--n {few} fits)" if few else "fewer pairs (--n)")
    ways.append("fewer sites (--sites)")
    if any(weight.element_size() > 2 for weight in model.engine.weights().values()):
        ways.append("numbers of half the size (--dtype bfloat16)")
    return f"too little memory. {plan}. Try {', '.join(ways)}; --force goes on all the same"


def _halves(size: int) -> Iterator[int]:
    while size >= 1:
        yield size
        size //= 2


def _plan(
    model: Model,
    needs: Sequence[PairBytes],
    counts: Sequence[int],
    n_sites: int,
    method: str,
    free: Mapping[str, tuple[int | None, float]],
    pairs: int,
    entries: bool,
    tokens: int | None,
) -> Plan:
    fit = [ceil(n / 3) for n in counts]
    every = list(zip(needs, counts, fit, strict=True))
    # `constrained` fits on small batches, which are made ready beside the whole.
    batches = max(1, max(fit, default=0) // PAIRS_A_STEP) if method == "constrained" else 1
    stepped = [ceil(n / batches) for n in fit]
    copies = (batches > 1) + (len(needs) > 1)
    most = min(tokens_per_pass(model), tokens or tokens_per_pass(model))
    logit = max((w.element_size() for w in model.engine.weights().values()), default=4)
    ready = [(one, min(pairs, max(n - own, own))) for one, n, own in every]
    together = min(pairs, sum(stepped))
    limit = ENTRY_BYTES if entries else 0
    trials = [_trial(one, min(pairs, n - own or n), n_sites, most, logit) for one, n, own in every]
    kept_entries = [n * one.entries for one, n, _ in every if one.entries * pairs <= limit]
    return Plan(
        weights=sum(weight_bytes(model).values()),
        prefix=ceil(sum(n * one.prefix for one, n, _ in every)),
        donors=ceil(sum(n * one.donors for one, n, _ in every)),
        entries=ceil(sum(kept_entries)),
        untouched=ceil(sum(n * one.untouched for one, n, _ in every)),
        joined=ceil(copies * sum(own * (one.prefix + one.donors) for one, _, own in every)),
        prepare=ceil(_most(n * (one.prepare + one.prepare_logits) for one, n in ready)),
        step=ceil(_most(_step(one, together, logit) for one in needs)),
        trial=ceil(_most(trials)),
        pairs=pairs,
        tokens=tokens,
        keeps_entries=entries,
        free=free,
    )


def _most(sizes: Any) -> float:
    return max(sizes, default=0.0)


def _step(one: PairBytes, pairs: int, logit: int) -> float:
    return pairs * one.step + _logits(one, pairs * one.step_logits, logit)


def _trial(one: PairBytes, pairs: int, n_sites: int, tokens: int, logit: int) -> float:
    """The bytes of a pass of as many masks as go at once."""
    masks = max(1, tokens // (pairs * one.tokens))
    if one.branched:
        masks = max(1, min(masks, BRANCHED // one.tokens))
    rows = pairs * min(masks, max(1, n_sites))
    return rows * one.trial + _logits(one, rows * one.trial_logits, logit)


def _logits(one: PairBytes, whole: float, logit: int) -> float:
    """The bytes of logits where so many would be; a shortlist makes some at a time."""
    return min(whole, float(AT_ONCE * logit)) if one.shortlisted else whole


def free_memory(model: Model) -> dict[str, tuple[int | None, float]]:
    """What is free on each device that the model is on, and the share of its weights there."""
    weights = weight_bytes(model) or {model.device: 1}
    whole = max(1, sum(weights.values()))
    return {str(one): (free_on(one), size / whole) for one, size in weights.items()}


def free_on(device: torch.device) -> int | None:
    """The bytes that are free on a device; None where that is not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free to it.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if device.type != "cpu":
        return None
    known = [one for one in (_available(), *_left_in_groups()) if one is not None]
    return min(known, default=None)


def _available(path: Path = Path("/proc/meminfo")) -> int | None:
    """What Linux can give without swapping."""
    for line in _read(path).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return _number(value.split()[0], 1024)
    return None


def _left_in_groups(own: Path = OWN_GROUP, root: Path = CONTROL_GROUPS) -> Iterator[int | None]:
    """What the limits of this process's control groups leave, of version 2 and 1."""
    for line in _read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if controllers
            else ("memory.max", "memory.current", "inactive_file")
        )
        group = base / path.strip().lstrip("/")
        for folder in (group, *group.parents):
            yield _left(folder, *names)
            if folder == base:
                break


def _left(folder: Path, limit: str, usage: str, files: str) -> int | None:
    most, used = _number(_read(folder / limit)), _number(_read(folder / usage))
    if most is None or used is None:
        return None
    stat = dict(line.split()[:2] for line in _read(folder / "memory.stat").splitlines())
    return max(0, most - used + (_number(stat.get(files, "0")) or 0))  # files can be read again


def _number(text: str, unit: int = 1) -> int | None:
    return int(text) * unit if text.strip().isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
