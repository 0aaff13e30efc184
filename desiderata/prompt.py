"""Prompts: text with named spans, made from a template or from parts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from string import Formatter
from typing import Any

FORMATTER = Formatter()


@dataclass(frozen=True)
class Span:
    """A named stretch of a prompt: characters `start` to `end` (exclusive)."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A prompt's text and its named spans.

    Args:
        ids: the prompt's tokens, where they were given as such; they are taken as they are.
        turns: (role, content) of each turn of a chat, which the model's tokenizer writes out.

    Raises:
        ValueError: empty text, or spans that are empty, out of range or named twice.
    """

    text: str
    spans: tuple[Span, ...] = ()
    ids: tuple[int, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        problems = [] if self.text.strip() else [f"a prompt needs text; got {self.text!r}"]
        names = [span.name for span in self.spans]
        for span in self.spans:
            if not 0 <= span.start < span.end <= len(self.text):
                problems.append(
                    f"span {span.name!r} must lie inside the prompt and not be empty; "
                    f"got characters {span.start} to {span.end} of {len(self.text)}"
                )
            if names.count(span.name) > 1:
                problems.append(f"span {span.name!r} is given twice; names must differ")
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))

    def span(self, name: str) -> Span:
        """The span called `name`.

        Raises:
            LookupError: no such span; the message lists those there are.
        """
        for span in self.spans:
            if span.name == name:
                return span
        known = ", ".join(span.name for span in self.spans) or "none"
        raise LookupError(
            f"no span {name!r} in the prompt {self.text!r}; its spans are: {known} "
            "(besides 'last' and 'all')"
        )


def join(parts: Iterable[str | tuple[str, Any]]) -> Prompt:
    """The prompt made of these parts in order; a part `(name, value)` becomes a named span.

    A name that comes again is numbered: `x`, `x.2`, `x.3`.

    >>> join(["x = ", ("x", 5), "\\nx"]).spans
    (Span(name='x', start=4, end=5),)
    """
    text, spans, seen = "", [], {}
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        name, value = part
        seen[name] = seen.get(name, 0) + 1
        number = "" if seen[name] == 1 else f".{seen[name]}"
        spans.append(Span(f"{name}{number}", len(text), len(text) + len(str(value))))
        text += str(value)
    return Prompt(text, tuple(spans))


def fill(template: str, /, **values: Any) -> Prompt:
    """The prompt that the template makes with these values; each `{...}` becomes a named span.

    `{labels[0]}` works as in `str.format`; its span is called `labels.0`.

    >>> fill("{x} + {y} =", x=2, y=3).text
    '2 + 3 ='
    """
    parts: list[str | tuple[str, Any]] = []
    for literal, field, spec, conversion in FORMATTER.parse(template):
        parts.append(literal)
        if field is not None:
            value, _ = FORMATTER.get_field(field, (), values)
            parts.append((_span_name(field), _written(value, spec, conversion)))
    return join(parts)


def write_each(template: str, items: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Every text that the template makes with one of the items of each of its fields, sorted.

    >>> write_each(" {digit}", {"digit": [8, 9]})
    (' 8', ' 9')
    """
    parsed = list(FORMATTER.parse(template))
    texts = set()
    for chosen in product(*items.values()):
        values = dict(zip(items, chosen, strict=True))
        texts.add(
            "".join(
                literal if field is None else literal + _written(values[field], spec, conversion)
                for literal, field, spec, conversion in parsed
            )
        )
    return tuple(sorted(texts))


def template_values(template: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each field of a template, such as `x` or `labels[0]`, by the field."""
    fields = dict.fromkeys(field for _, field, _, _ in FORMATTER.parse(template) if field)
    return {field: FORMATTER.get_field(field, (), values)[0] for field in fields}


def template_names(template: str) -> tuple[str, ...]:
    """The names of the variables that a template mentions, in order."""
    fields = (field for _, field, _, _ in FORMATTER.parse(template) if field is not None)
    return tuple(dict.fromkeys(root_of(field) for field in fields))


def template_spans(template: str) -> tuple[str, ...]:
    """The names of the spans that a template's prompts have, later mentions numbered."""
    fields = [field for _, field, _, _ in FORMATTER.parse(template) if field is not None]
    return tuple(span.name for span in join((_span_name(field), "x") for field in fields).spans)


def root_of(field: str) -> str:
    """The variable that a field reads: `labels` of `labels[0]`."""
    return field.split("[")[0].split(".")[0]


def _span_name(field: str) -> str:
    return field.replace("[", ".").replace("]", "")


def _written(value: Any, spec: str | None, conversion: str | None) -> str:
    return format(FORMATTER.convert_field(value, conversion), spec or "")  # type: ignore[arg-type]
