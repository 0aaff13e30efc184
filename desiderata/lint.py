"""What can be said about desiderata before any model runs. One cause is one problem, whatever
desiderata it shows in, and whether in search or held-out pairs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from .calls import TaskError
from .causal_model import CausalModel
from .choices import name_of
from .claim import Claim, Sampleable, SamplingError
from .desideratum import Desideratum, Pair, Texts, texts_of
from .lint_model import lint_model
from .problem import Problem
from .token_ids import TokenIds

# The most common expected answer may be this many times its fair share before it is reported:
# a circuit that always gave that answer would otherwise look good.
UNBALANCED = 3.0
FEW = 32
SHOWN = 3  # contradictions spelled out before the rest are counted


def lint(claim: Sampleable, n: int = 256, seed: int = 0) -> tuple[Problem, ...]:
    """Every problem with a claim that shows without a model; empty where all is well.

    Args:
        n: pairs asked for per desideratum, as search would.
    """
    model = claim.model if isinstance(claim, Claim) else None
    found: list[Problem] = []
    try:
        if isinstance(model, CausalModel):
            found += lint_model(model, seed)
            if any(problem.level == "error" for problem in found):
                return tuple(found)
        search, held_out = claim.sample(n, seed)
    except TaskError as error:
        return (Problem("error", claim.name, str(error)),)
    except SamplingError as error:
        return (*found, *(Problem("error", claim.name, says) for says in error.problems))
    # Where no completion is given, the space before an answer is up to the model's tokenizer.
    spaced = not (isinstance(model, CausalModel) and not model.completion)
    return (*found, *lint_desiderata(search, held_out, n, spaced=spaced))


def lint_desiderata(
    search: Sequence[Desideratum],
    held_out: Sequence[Desideratum],
    n: int | None = None,
    *,
    spaced: bool = True,
) -> tuple[Problem, ...]:
    """Every problem with sampled desiderata that shows without a model.

    Contradictory pairs, expectations that the base meets by itself, unknown spans, answers that
    lack a space, unbalanced answers, too few pairs, prompts shared by search and held-out pairs.

    Args:
        n: pairs that were asked for.
        spaced: the answers are as they are written, so that a missing space is a fault.
    """
    checks: list[Callable[[Desideratum], Iterable[Problem]]] = [_expectations, _same_text, _spans]
    checks += [_spaces, _balance] if spaced else [_balance]
    found = list(_contradictions([*search, *held_out]))
    for check in checks:
        of_check: list[Problem] = []
        for name in dict.fromkeys(made.name for made in (*search, *held_out)):
            sides = ([made for made in side if made.name == name] for side in (search, held_out))
            of_sides = ([problem for made in side for problem in check(made)] for side in sides)
            of_check += next(filter(None, of_sides), [])
        found += _merged(of_check)
    found += _sizes(search, held_out, n)
    found += _shared(search, held_out)
    return tuple(dict.fromkeys(found))


def _merged(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Problems that say the same of several desiderata as one."""
    where: dict[tuple, list[str]] = {}
    for problem in problems:
        where.setdefault((problem.level, problem.says), []).append(problem.where)
    for (level, says), names in where.items():
        yield Problem(level, _joined(names), says)


def _joined(names: Sequence[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last


def _contradictions(desiderata: Sequence[Desideratum]) -> Iterator[Problem]:
    """Pairs with the same prompts and two expectations that nothing can meet together, within or
    across desiderata."""
    asked: dict[tuple[str, ...], dict[Texts, str]] = {}
    for desideratum in desiderata:
        for pair in desideratum.pairs:
            donor = name_of(desideratum.donor)
            how = (desideratum.part, donor, desideratum.read, *desideratum.at)
            key = (pair.base.text, pair.source.text, *how)
            asked.setdefault(key, {})[pair.asked] = desideratum.name
    clashes = [(key, answers) for key, answers in asked.items() if _disjoint(list(answers))]
    for (base, source, part, *_), answers in clashes[:SHOWN]:
        wants = " but ".join(f"{name} expects {_words(answer)}" for answer, name in answers.items())
        yield Problem(
            "error",
            _joined(list(answers.values())),
            f"contradiction, {part} the circuit: base {base!r}, source {source!r}: {wants}",
        )
    if len(clashes) > SHOWN:
        yield Problem("error", "the claim", f"{len(clashes) - SHOWN} more contradictory pairs")


def _disjoint(answers: Sequence[Texts]) -> bool:
    """Whether two of these answers have no text in common."""
    sets = [set(texts_of(answer)) for answer in answers]
    return any(one.isdisjoint(other) for n, one in enumerate(sets) for other in sets[:n])


def _words(answer: Texts) -> str:
    return " or ".join(map(repr, texts_of(answer)))


def _expectations(desideratum: Desideratum) -> Iterator[Problem]:
    same = sum(pair.expected == pair.base_answer for pair in desideratum.pairs)
    if desideratum.sense == "follows" and same:
        yield Problem(
            "error",
            desideratum.name,
            f"{same} of {len(desideratum.pairs)} pairs expect the base's own answer, which an "
            "empty circuit gives",
        )
    if desideratum.sense == "keeps" and same < len(desideratum.pairs):
        yield Problem(
            "error",
            desideratum.name,
            f"keeps, but {len(desideratum.pairs) - same} of {len(desideratum.pairs)} pairs expect "
            "another answer than the base's",
        )


def _same_text(desideratum: Desideratum) -> Iterator[Problem]:
    still = sum(pair.base.text == pair.source.text for pair in desideratum.pairs)
    if still:
        yield Problem(
            "error", desideratum.name, f"{still} pairs have the same text as base and source"
        )


def _spans(desideratum: Desideratum) -> Iterator[Problem]:
    """Positions that prompts do not have, with those that they have."""
    prompts = [prompt for pair in desideratum.pairs for prompt in (pair.base, pair.source)]
    names = [name for name in (*desideratum.at, desideratum.read) if name not in ("last", "all")]
    for name in dict.fromkeys(names):
        if name not in desideratum.at and name.isdecimal():  # read at the token of this index
            continue
        lack = [prompt for prompt in prompts if name not in {span.name for span in prompt.spans}]
        if lack:
            which = (
                "the prompts have"
                if len(lack) == len(prompts)
                else (f"{len(lack)} of {len(prompts)} prompts, such as {lack[0].text!r}, have")
            )
            known = dict.fromkeys(span.name for prompt in lack for span in prompt.spans)
            spans = ", ".join(known) or "none"
            yield Problem(
                "error",
                desideratum.name,
                f"{which} no span {name!r}; the spans are: {spans} (besides last and all)",
            )


def _spaces(desideratum: Desideratum) -> Iterator[Problem]:
    """Answers that begin with a letter right after one."""
    if desideratum.read != "last":
        return
    glued = [found for pair in desideratum.pairs if (found := _glued(pair))]
    if glued:
        before, answer = glued[0]
        yield Problem(
            "error",
            desideratum.name,
            f"no space between {before!r} and {answer!r}; begin completion with a space",
        )


def _glued(pair: Pair) -> tuple[str, str] | None:
    """The prompt's last word and an answer that begins with a letter right after it. Letters that
    have a lower and an upper case are those of scripts that put spaces between words."""
    for prompt, answer in (
        (pair.base, pair.base_answer),
        (pair.base, pair.expected),
        (pair.source, pair.source_answer or ()),
    ):
        for text in texts_of(answer):
            if isinstance(text, TokenIds):
                continue
            if not prompt.ids and not prompt.turns and _cased(prompt.text[-1]) and _cased(text[0]):
                return prompt.text.split()[-1], text
    return None


def _cased(letter: str) -> bool:
    return letter.lower() != letter.upper()


def _balance(desideratum: Desideratum) -> Iterator[Problem]:
    asked = [texts_of(pair.asked) for pair in desideratum.pairs]
    counts = Counter(text for texts in asked for text in texts)
    answer, most = counts.most_common(1)[0]
    fair = counts.total() / len(counts)
    # With two or three answers three times the fair share is everything: nine in ten is too many.
    if len(counts) == 1 or most > min(UNBALANCED * fair, 0.9 * len(desideratum.pairs)):
        yield Problem(
            "warning",
            desideratum.name,
            f"unbalanced: {answer!r} is expected in {most} of {len(desideratum.pairs)} pairs, "
            f"with {len(counts)} different answers in all",
        )


def _sizes(
    search: Sequence[Desideratum], held_out: Sequence[Desideratum], n: int | None
) -> Iterator[Problem]:
    """One warning for all desiderata with fewer pairs than asked for, with what to do."""
    wanted = FEW if n is None else n
    sizes = {
        (side, made.name): len(made.pairs)
        for side, desiderata in (("search", search), ("held-out", held_out))
        for made in desiderata
        if not made.exhaustive  # there are no more
    }
    few = {key: size for key, size in sizes.items() if size < max(wanted, FEW)}
    if not few:
        return
    least = min(few.values())
    told = "; ".join(
        f"{side}: " + ", ".join(f"{name} {size}" for (of, name), size in few.items() if of == side)
        for side in dict.fromkeys(side for side, _ in few)
    )
    do = "add values"
    if least >= FEW:
        do = f"add values, or ask for fewer (--n {least})"
    elif least < FEW:
        do += f": at {FEW} pairs a share of 0.95 is known to about 0.1, and with fewer worse"
    asked = f" of {n} asked for" if n is not None and n > least else ""
    yield Problem(
        "warning",
        _joined([name for _, name in few]),
        f"only {least} different pairs{asked} ({told}); {do}",
    )


def _shared(search: Sequence[Desideratum], held_out: Sequence[Desideratum]) -> Iterator[Problem]:
    def texts(side: Sequence[Desideratum]) -> set[str]:
        return {
            prompt.text
            for desideratum in side
            if not desideratum.exhaustive
            for pair in desideratum.pairs
            for prompt in (pair.base, pair.source)
        }

    if both := texts(search) & texts(held_out):
        yield Problem(
            "error",
            "the split",
            f"{len(both)} prompt(s) are both in search and held out, such as {min(both)!r}",
        )
