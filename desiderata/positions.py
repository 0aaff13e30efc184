"""Positions that the inputs decide: `labels[position]` is the item that `position` points to."""

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .calls import TaskError
from .causal import Causal
from .prompt import Prompt, Span, template_spans

# The name of a list, the variable that gives the index (or a number), and which mention.
COMPUTED = re.compile(r"(?P<list>[^\[\]]+)\[(?P<index>[^\[\]]+)\](?P<mention>\.[0-9]+)?")


def check_positions(model: Causal, names: Iterable[str]) -> None:
    """Raise unless each position such as `labels[position]` names a variable, and a list that the
    prompt shows, as far as that is known before a prompt is written.

    Raises:
        LookupError: no such variable, or no such list in the prompt's template.
    """
    template = getattr(model, "prompt", None)
    for name in names:
        if not (match := COMPUTED.fullmatch(name)):
            continue
        if not match["index"].isdecimal():
            model.check_known([match["index"]])
        if not isinstance(template, str):
            continue
        spans = template_spans(template)
        if not any(span.startswith(f"{match['list']}.") for span in spans):
            raise LookupError(
                f"no position {name!r}: the prompt shows no item of {match['list']!r}; its spans "
                f"are: {', '.join(spans) or 'none'} (besides last and all)"
            )


def with_computed(prompt: Prompt, names: Iterable[str], values: Mapping[str, Any]) -> Prompt:
    """The prompt with a span for each of these names that the values decide.

    `labels[position]` is the span `labels.1` where position is 1, and `labels[position].2` the
    second mention, `labels.1.2`.

    Raises:
        TaskError: an index that is no whole number, or that points outside the list.
    """
    spans = {span.name: span for span in prompt.spans}
    for name in names:
        match = COMPUTED.fullmatch(name)
        if match is None or name in spans:
            continue
        wanted = f"{match['list']}.{_index(match['index'], values, name)}{match['mention'] or ''}"
        if wanted not in spans:
            known = ", ".join(spans) or "none"
            raise TaskError(
                f"at {name!r}: there is no span {wanted!r} in the prompt {prompt.text!r}; its "
                f"spans are: {known}"
            )
        spans[name] = Span(name, spans[wanted].start, spans[wanted].end)
    return prompt if len(spans) == len(prompt.spans) else replace(prompt, spans=(*spans.values(),))


def _index(index: str, values: Mapping[str, Any], name: str) -> int:
    if index.isdecimal():
        return int(index)
    value = values[index]
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TaskError(
        f"at {name!r}: {index} is {value!r}; it must be a whole number, which counts from 0"
    )
