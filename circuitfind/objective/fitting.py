"""A claim fitted to a tokenizer: items of one token, and the space before an answer."""

import random
from dataclasses import replace

from desiderata import (
    CausalModel,
    Choice,
    Claim,
    Desideratum,
    GivenPairs,
    Prompt,
    Sampleable,
    pool_of,
    texts_of,
)

from ..answers.tokens import merging
from ..models.model import Model, Tokens
from ..models.writing import Writer
from ..problems import listed

DRAWS_PER_ITEM = 20  # prompts drawn per item when looking for items of one token
PROMPTS = 24  # prompts drawn to see how the tokenizer joins an answer to them
TRIES = 40  # draws for each of them, where conditions refuse most


def fit_to_tokenizer(model: Model, claim: Sampleable) -> tuple[Sampleable, tuple[str, ...]]:
    """The claim as this model's tokenizer needs it, and in words what was changed.

    Prompts that were given as tokens or as turns of a chat get their text, and pairs that cannot be
    used are left out. Domains that ask for items of one token keep only those, and answers whose
    completion is not given are written after a space where the prompt's tokens would change
    without one.

    Raises:
        ValueError: too few items are left for a domain; more pairs cannot be used than may be left
            out; a tokenizer without a chat template.
    """
    if isinstance(claim, GivenPairs):
        return _given_fitted(model, claim), ()
    if not isinstance(claim, Claim):
        return claim, ()
    claim, notes = _with_items_of_one_token(model, claim)
    if isinstance(claim.model, CausalModel) and not claim.model.completion:
        task, more = _with_completion(model, claim.model)
        claim, notes = replace(claim, model=task), [*notes, *more]
    return claim, tuple(notes)


def _given_fitted(model: Model, claim: GivenPairs) -> GivenPairs:
    """Given pairs with their texts, the spans of named tokens, and without those that cannot be
    used."""
    written = claim.written(Writer(model.tokenizer))

    def where(prompt: Prompt, index: int) -> tuple[int, int] | None:
        (tokens,) = model.tokenize([prompt.text])
        real = [place for place in tokens.offsets if place[1] > place[0]]
        return real[index] if index < len(real) else None

    return written.located(where).without(lambda one: _unusable(model, one))


def _unusable(model: Model, one: Desideratum) -> dict[int, str]:
    """The rows of a desideratum's pairs that this model cannot be asked, each with the reason."""
    lengths: dict[str, int] = {}
    if "all" in one.at:
        texts = list(dict.fromkeys(p.text for pair in one.pairs for p in (pair.base, pair.source)))
        made = model.tokenize(texts)
        lengths = {text: len(tokens.ids) for text, tokens in zip(texts, made, strict=True)}
    found = {}
    for row, pair in enumerate(one.pairs):
        if lengths and lengths[pair.base.text] != lengths[pair.source.text]:
            found[row] = "differ in length, which `all` does not allow"
    asked = [row for row in range(len(one.pairs)) if row not in found]
    pairs = [one.pairs[row] for row in asked]
    bad = merging(
        model,
        [(p.base, (p.expected, p.base_answer)) for p in pairs]
        + [(p.source, () if p.source_answer is None else (p.source_answer,)) for p in pairs],
    )
    for place in bad if one.read == "last" else ():
        found[asked[place % len(asked)]] = "have an answer that merges with the end of its prompt"
    return found


def _with_items_of_one_token(model: Model, claim: Claim) -> tuple[Claim, list[str]]:
    narrowed, notes, problems = {}, [], []
    for name, domain in claim.model.inputs.items():
        pool = pool_of(domain)
        if pool is None or not pool.one_token:
            continue
        kept = _one_token_items(model, claim, name, pool)
        left_out = [str(item) for item in pool.items if item not in kept]
        if len(kept) < 2 * getattr(domain, "n", 1):
            problems.append(
                f"{name}: only {len(kept)} of {len(pool.items)} items are one token for "
                f"{model.name}; add others"
            )
        elif left_out:
            narrowed[name] = domain.narrowed(kept)  # type: ignore[attr-defined]
            notes.append(f"{name}: left out, not one token here: {', '.join(left_out)}")
    if problems:
        raise ValueError(listed(problems))
    return replace(claim, model=claim.model.narrowed(narrowed)), notes


def _one_token_items(model: Model, claim: Claim, name: str, pool: Choice) -> set:
    """The items that are one token wherever drawn prompts have them."""
    rng = random.Random(f"one token/{name}")
    drawn = (claim.model.draw(rng) for _ in range(DRAWS_PER_ITEM * len(pool.items)))
    settings = [inputs for inputs in drawn if inputs is not None]
    prompts = [claim.model.render(claim.model.run(inputs)) for inputs in settings]
    kept = set(pool.items)
    for prompt, tokens in zip(prompts, model.tokenize([p.text for p in prompts]), strict=True):
        for span in prompt.spans:
            item = prompt.text[span.start : span.end]
            covering = [
                end for start, end in tokens.offsets if start < span.end and end > span.start
            ]
            if span.name.split(".")[0] == name and len(covering) != 1:
                kept -= {candidate for candidate in kept if str(candidate) == item}
    return kept


def _with_completion(model: Model, task: CausalModel) -> tuple[CausalModel, list[str]]:
    """The causal model with the completion, answer alone or after a space, that leaves the tokens
    of its prompts as they are; then the one with fewer tokens; then the space, unless prompts end
    in one."""
    spaced = replace(task, completion=f" {task.written}")
    drawn = _drawn(task)
    if not drawn:
        return task, []
    with_space, without = _cost(model, spaced, drawn), _cost(model, task, drawn)
    ends_blank = sum(prompt.text[-1].isspace() for prompt, _ in drawn) > len(drawn) / 2
    if with_space > without or (with_space == without and ends_blank):
        return task, []
    example = texts_of(spaced.write_answer(drawn[0][1]))[0]
    return spaced, [f"answers are written after a space: {example!r}"]


def _drawn(task: CausalModel) -> list[tuple[Prompt, dict]]:
    """Some prompts of text with the values of all variables, each with a right answer."""
    rng, made = random.Random("completion"), []
    for _ in range(PROMPTS * TRIES):
        if len(made) == PROMPTS:
            break
        inputs = task.draw(rng)
        if inputs is None:
            continue
        values = task.run(inputs)
        prompt = task.render(values)
        if task.write_answer(values) and not prompt.ids and not prompt.turns:
            made.append((prompt, values))
    return made


def _cost(model: Model, task: CausalModel, drawn: list[tuple[Prompt, dict]]) -> tuple[int, int]:
    """How many answers change the tokens of their prompt, and the tokens of the others in all."""
    pairs = [
        (prompt.text, prompt.text + answer)
        for prompt, values in drawn
        for answer in texts_of(task.write_answer(values))
    ]
    before = model.tokenize([text for text, _ in pairs])
    after = model.tokenize([text for _, text in pairs])
    added = [_added(one, other) for one, other in zip(before, after, strict=True)]
    return sum(tokens == 0 for tokens in added), sum(added)


def _added(before: Tokens, after: Tokens) -> int:
    """How many tokens follow those of the prompt; 0 where the answer changes them."""
    kept = after.ids[: len(before.ids)] == before.ids
    return len(after.ids) - len(before.ids) if kept else 0
