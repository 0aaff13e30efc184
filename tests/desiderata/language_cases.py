"""What the tests of the language share: two tasks with brute-force oracles, and short makers."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

from hypothesis import settings

from desiderata import (
    CausalModel,
    Desideratum,
    Pair,
    Prompt,
    Texts,
    choice,
    distinct,
    integers,
    item_of,
    pool_of,
)
from desiderata.domains import Domain

quick = settings(max_examples=30, deadline=None, derandomize=True)

WORDS = tuple("apple bread candle drum egg flag glass hat ink jar kite lamp".split())
SIDES = ("search", "held-out")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task and, written by hand, what it computes: the oracle uses nothing of `model`."""

    model: CausalModel
    settings: Mapping[str, list[dict[str, Any]]]
    evaluate: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    write: Callable[[Mapping[str, Any]], str]
    is_allowed: Callable[[Mapping[str, Any]], bool] = lambda values: True
    may_stay: tuple[str, ...] = ()  # inputs drawn from another, which need not differ


@dataclass(frozen=True)
class Law:
    """What a desideratum's pairs must be: where they differ, what is forced, what is refused."""

    differ: Collection[str]
    forced: Collection[str]
    admits: Callable[[dict[str, Any], dict[str, Any], Any], bool] = lambda b, s, expected: True


def lawful_pairs(case: Case, law: Law, side: str) -> Iterator[tuple[str, str, Any]]:
    """Base text, source text and expected answer of every pair that there is, by brute force."""
    for base, source in product(case.settings[side], repeat=2):
        differing = {name for name in base if base[name] != source[name]}
        if not set(law.differ) - set(case.may_stay) <= differing <= set(law.differ):
            continue
        at_base, at_source = case.evaluate(base, {}), case.evaluate(source, {})
        crossed = case.evaluate(base, {name: at_source[name] for name in law.forced})
        runs = (at_base, at_source, crossed)
        if not all(map(case.is_allowed, runs)) or any(run["answer"] == [] for run in runs):
            continue
        if law.admits(at_base, at_source, crossed["answer"]):
            yield case.write(base), case.write(source), written(crossed["answer"])


def written(answer: Any) -> str | tuple[str, ...]:
    """An answer as pairs hold it: the text, or the texts where several are right."""
    if not isinstance(answer, list | tuple | set | frozenset):
        return str(answer)
    texts = sorted({str(item) for item in answer})
    return texts[0] if len(texts) == 1 else tuple(texts)


def arithmetic() -> Case:
    """x + y or x - y, at least zero, in four styles of which two are held out."""

    def answer(x: int, y: int, op: str) -> int:
        return x + y if op == "+" else x - y

    def evaluate(inputs: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, Any]:
        values = {**inputs, **forced}
        right = values["y"] if values["op"] == "+" else -values["y"]
        return {"answer": values["x"] + right, **values}

    styles = {"search": ("one", "two"), "held-out": ("three", "four")}
    model = CausalModel(
        inputs={
            "x": integers(1, 3),
            "y": integers(1, 2),
            "op": choice("+-"),
            "style": choice(["one", "two", "three", "four"], held_out=styles["held-out"]),
        },
        mechanisms=[answer],
        where=lambda answer: answer >= 0,
        prompt="{style}: x={x} y={y}, x {op} y =",
    )
    names = ("x", "y", "op", "style")
    return Case(
        model=model,
        settings={
            side: [
                dict(zip(names, values, strict=True))
                for values in product((1, 2, 3), (1, 2), "+-", styles[side])
            ]
            for side in SIDES
        },
        evaluate=evaluate,
        write=lambda values: "{style}: x={x} y={y}, x {op} y =".format(**values),
        is_allowed=lambda values: values["answer"] >= 0,
    )


def position(labels: tuple[str, ...], query: str) -> int:
    return labels.index(query)


def answer(objects: tuple[str, ...], position: int) -> str:
    return objects[position]


BOXES_PROMPT = "{labels[0]}: {objects[0]}, {labels[1]}: {objects[1]}. {query}:"


def boxes() -> Case:
    """The object in the box that is asked for; of five objects two are held out."""

    def evaluate(inputs: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, Any]:
        values = {**inputs, **forced}
        values.setdefault("position", 0 if values["query"] == values["labels"][0] else 1)
        values.setdefault("answer", values["objects"][values["position"]])
        return values

    words = {"search": WORDS[:3], "held-out": WORDS[3:5]}
    model = CausalModel(
        inputs={
            "labels": distinct("AB", 2),
            "objects": distinct(choice(WORDS[:5], held_out=words["held-out"]), 2),
            "query": item_of("labels"),
        },
        mechanisms=[position, answer],
        prompt=BOXES_PROMPT,
    )
    return Case(
        model=model,
        settings={
            side: [
                {"labels": labels, "objects": objects, "query": query}
                for labels in (("A", "B"), ("B", "A"))
                for objects in permutations(words[side], 2)
                for query in "AB"
            ]
            for side in SIDES
        },
        evaluate=evaluate,
        write=lambda v: "{0}: {2}, {1}: {3}. {4}:".format(*v["labels"], *v["objects"], v["query"]),
        may_stay=("query",),
    )


def later() -> Case:
    """The digits after one that is shown, up to one that is shown; there may be none. Two of four
    nouns are held out."""

    def answer(digit: int, last: int) -> list[int]:
        return [after for after in range(10) if digit < after <= last]

    def evaluate(inputs: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, Any]:
        values = {**inputs, **forced}
        found = list(range(values["digit"] + 1, values["last"] + 1))
        return {"answer": found, **values}

    nouns = {"search": ("war", "siege"), "held-out": ("strike", "feud")}
    model = CausalModel(
        inputs={
            "noun": choice(["war", "siege", "strike", "feud"], held_out=nouns["held-out"]),
            "digit": integers(2, 6),
            "last": integers(5, 7),
        },
        mechanisms=[answer],
        prompt="{noun} from {digit}, at most {last}, to ",
    )
    return Case(
        model=model,
        settings={
            side: [
                {"noun": noun, "digit": digit, "last": last}
                for noun, digit, last in product(nouns[side], range(2, 7), range(5, 8))
            ]
            for side in SIDES
        },
        evaluate=evaluate,
        write=lambda values: "{noun} from {digit}, at most {last}, to ".format(**values),
    )


CASES = {"arithmetic": arithmetic(), "boxes": boxes(), "later": later()}


def wide_boxes() -> CausalModel:
    """Boxes with more labels than a prompt shows, so that a query may be missing from one."""
    return CausalModel(
        inputs={
            "labels": distinct("ABCDEF", 3),
            "objects": distinct(WORDS, 3),
            "query": item_of("labels"),
        },
        mechanisms=[position, answer],
        prompt="{labels[0]} {objects[0]}, {labels[1]} {objects[1]}, {labels[2]} {objects[2]}."
        " {query}",
    )


def pair(
    number: Any,
    expected: Texts = "new",
    base_answer: Texts = "old",
    source_answer: str | None = None,
) -> Pair:
    """A hand-written pair whose two prompts show the number."""
    return Pair(
        base=Prompt(f"base {number}"),
        source=Prompt(f"source {number}"),
        expected=expected,
        base_answer=base_answer,
        source_answer=source_answer,
    )


def desideratum(*pairs: Pair, name: str = "d", **options: Any) -> Desideratum:
    """A desideratum of these pairs, inside and following unless told otherwise."""
    return Desideratum(
        name=name, **{"part": "inside", "sense": "follows", "pairs": pairs, **options}
    )


def items_of(domain: Domain) -> tuple[Any, ...]:
    """The items of a domain's pool."""
    pool = pool_of(domain)
    if pool is None:
        raise TypeError(f"{domain} has no pool of its own")
    return tuple(pool.items)


def texts(desiderata: Collection[Desideratum]) -> set[str]:
    """Every prompt in these desiderata."""
    pairs = [pair for made in desiderata for pair in made.pairs]
    return {prompt.text for pair in pairs for prompt in (pair.base, pair.source)}
