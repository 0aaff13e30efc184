"""Is the circuit about this task, or do other tasks and ordinary text need it as much?

The circuit is knocked out: its sites take what they do in another prompt of the same task, and all
else is left alone. *Changed* is the share of prompts whose most likely next token is another one
then. Measured are all installed tasks that the model can read and solves, and passages of Python's
reference manual, which comes with Python, for ordinary text. Davies et al. 2023 (arXiv 2307.03637)
ask within a task that other variables be kept; what their sites do elsewhere stays open there.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pydoc_data.topics import topics
from random import Random
from typing import Any

import torch

from desiderata import Claim, Desideratum, Pair, Prompt, Sampleable

from ...claims import installed_claims, load_claim
from ...models.model import Model
from ...objective.encoding import encode
from ...objective.fitting import fit_to_tokenizer
from ...objective.intervals import interval
from ...objective.objective import Objective
from ...objective.precheck import SOLVED_AT_LEAST
from ..ablation import Ablated, Outcome, ablate
from ..finding import Finding, Verdict, gravest
from ..inputs import CheckInputs
from ..names import SELECTIVITY

PROMPTS = 32  # of each task
WORDS = 24  # of a passage, of which the next word is the answer
SPILL = 0.5  # of what the knock-out changes in its own task; more is no side effect
TEXT = "ordinary text"
ABLATION = "the circuit's sites take another prompt's values (resample), the rest is untouched"


def check_selectivity(inputs: CheckInputs) -> Finding:
    """The greatest share of another task's answers, or of the text's, that the knock-out changes.

    It *holds* against one of them where the 95 % interval of that share (Clopper-Pearson) lies
    below half of its own task's, and *fails* where it lies above; the check fails where any does
    and holds where all do. That a circuit serves several tasks is no fault of the search, but it
    is then not about this one alone. Rows have KL(untouched || knocked out), too, in nats.
    """
    if not 0 < len(inputs.members) < len(inputs.membership):
        why = "the circuit is empty or has every candidate site"
        return Finding.undecided(SELECTIVITY, why, ablation=ABLATION)
    try:
        made = ablate(inputs, "resample", PROMPTS)
    except ValueError as error:
        return Finding.undecided(SELECTIVITY, str(error), ablation=ABLATION)
    whole = torch.ones_like(inputs.membership)
    own = _row("its own", made.outcome(torch.stack([whole, whole - inputs.membership])))
    rows, reasons = [], []
    for name, pairs in _others(inputs):
        try:
            row = _row(name, _knock_out(inputs, pairs()))
        except (ValueError, LookupError) as error:
            reasons.append(f"{name} cannot be read: {str(error).splitlines()[0][:80]}")
            continue
        if name != TEXT and row["solved"] < SOLVED_AT_LEAST:
            reasons.append(f"{name}: the model solves {row['solved']:.2f}")
            continue
        rows.append(row | {"verdict": judge_row(row, own)})
    return _judge(own, rows, reasons)


def _judge(own: dict[str, Any], rows: list[dict[str, Any]], reasons: list[str]) -> Finding:
    """The finding that the rows of the own task and of others give."""
    if not rows:
        why = "there is no other task to measure"
        return Finding.undecided(SELECTIVITY, why, ablation=ABLATION, details=(own,))
    verdict = gravest([row["verdict"] for row in rows])
    most = max(rows, key=lambda row: row["changed"])
    told = [f"{row['changed']:.2f} of {row['task']} ({row['divergence']:.2g})" for row in rows]
    says = (
        f"knocking it out changes {own['changed']:.2f} of its own task's answers (KL "
        f"{own['divergence']:.2g} nats), and {', '.join(told)}"
    )
    brief = f"{most['changed']:.2f} of {most['task']} change without it"
    if verdict == "inconclusive":
        says += f"; more than {most['n']} prompts of each would be needed to tell"
    if reasons:
        says += f" (not judged: {len(reasons)} others, of which the model reads or solves too few)"
    return Finding(
        name=SELECTIVITY,
        verdict=verdict,
        value=most["changed"],
        low=most["low"],
        high=most["high"],
        n=most["n"],
        ablation=ABLATION,
        split="held-out",
        says=says,
        brief=brief,
        details=(own, *rows, *({"task": reason, "verdict": "not judged"} for reason in reasons)),
    )


def _row(task: str, outcome: Outcome) -> dict[str, Any]:
    """What the knock-out does to one task's prompts: the first row of the outcome is untouched."""
    n, changed = outcome.same.shape[1], int((~outcome.same[1]).sum())
    low, high = interval(changed, n)
    return {
        "task": task,
        "verdict": None,
        "n": n,
        "solved": float(outcome.right[0].float().mean()),
        "changed": changed / n,
        "low": low,
        "high": high,
        "divergence": float(outcome.divergence[1].mean()),
    }


def judge_row(row: dict[str, Any], own: dict[str, Any]) -> Verdict:
    """Whether the knock-out changes another task less than half as much as its own."""
    if row["high"] < SPILL * own["low"]:
        return "holds"
    return "fails" if row["low"] > SPILL * own["high"] else "inconclusive"


def _others(inputs: CheckInputs) -> Iterator[tuple[str, Callable[[], Sequence[Pair]]]]:
    """Tasks other than the circuit's own, by name, each with what makes its pairs; text last."""
    known, at = installed_claims(), sorted({site.position for site in inputs.circuit.sites})
    mine = known.get(inputs.circuit.task)
    # Claims about one causal model are one task.
    seen = [_task_of(load_claim(mine.name))] if mine else []
    for name in known:
        claim = load_claim(name)
        if not any(_task_of(claim) is task for task in seen):
            seen.append(_task_of(claim))
            yield name, partial(_pairs, inputs.model, claim.moved(at), inputs.seed)
    yield TEXT, partial(_passages, inputs.model, inputs.seed)


def _task_of(claim: Sampleable) -> Any:
    return claim.model if isinstance(claim, Claim) else claim


def _pairs(model: Model, claim: Sampleable, seed: int) -> Sequence[Pair]:
    fitted, _ = fit_to_tokenizer(model, claim)
    return fitted.sample(PROMPTS, seed)[1][0].pairs


def _passages(model: Model, seed: int) -> Sequence[Pair]:
    """Passages of the manual, each with the word that comes next, where that is one token."""
    text = " ".join(topics[name] for name in sorted(topics))
    words = re.sub(r"[^A-Za-z0-9 .,;:()'-]", " ", text).split()
    rng, made = Random(f"selectivity/{seed}"), []
    for _ in range(4 * PROMPTS):
        start = rng.randrange(len(words) - 2 * WORDS)
        base, source = (Prompt(" ".join(words[at : at + WORDS])) for at in (start, start + WORDS))
        word = " " + words[start + WORDS]
        pair = Pair(base=base, source=source, expected=word, base_answer=word)
        try:
            (batch,) = encode(model, [_kept([pair], ("last",))])
        except ValueError:
            continue
        if batch.continued is not None:  # a word of several tokens
            continue
        made.append(pair)
        if len(made) == PROMPTS:
            break
    return made


def _kept(pairs: Sequence[Pair], at: tuple[str, ...]) -> Desideratum:
    """The pairs' base prompts with all sites outside the circuit taking another pair's source."""
    same = tuple(replace(pair, expected=pair.base_answer) for pair in pairs)
    return Desideratum(
        name="keeps the answer", part="outside", sense="keeps", pairs=same, at=at, donor="resample"
    )


def _knock_out(inputs: CheckInputs, pairs: Sequence[Pair]) -> Outcome:
    """What is left of the base prompts' answers: untouched, and with the circuit knocked out."""
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} prompts")
    sites = inputs.circuit.sites
    desideratum = _kept(pairs, tuple(sorted({site.position for site in sites})))
    batch = encode(inputs.model, [desideratum])[0]
    objective = Objective(inputs.model, [batch], sites, inputs.objective.cost)
    made = Ablated("resample", objective)
    return made.outcome(torch.tensor([1.0, 0.0])[:, None].expand(-1, len(sites)))
