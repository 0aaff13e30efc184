"""Prompts and their spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desiderata import Prompt, Span, fill, join
from desiderata.prompt import template_names

from .language_cases import quick

NAMES = ("x", "y", "label")
FIELDS = ("x", "y", "label", "label[0]", "label[1]")
texts = st.text(min_size=1, max_size=8)


def numbered(names: list[str]) -> list[str]:
    """The names as spans are called: the second `x` is `x.2`."""
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if n == 1 else f"{name}.{n}" for name, n in zip(names, counts, strict=True)]


@quick
@given(st.lists(texts | st.tuples(st.sampled_from(NAMES), texts | st.integers()), min_size=1))
def test_spans_of_join_cover_exactly_their_values(parts):
    written = [part if isinstance(part, str) else str(part[1]) for part in parts]
    values = [part for part in parts if not isinstance(part, str)]
    if not "".join(written).strip():
        return
    prompt = join(parts)
    assert prompt.text == "".join(written)
    covered = [prompt.text[span.start : span.end] for span in prompt.spans]
    assert covered == [str(value) for _, value in values]
    assert [span.name for span in prompt.spans] == numbered([name for name, _ in values])
    starts = [sum(map(len, written[:n])) for n, part in enumerate(parts) if isinstance(part, tuple)]
    assert [span.start for span in prompt.spans] == starts


@quick
@given(
    st.lists(st.tuples(st.text(max_size=6), st.sampled_from(FIELDS)), min_size=1, max_size=6),
    st.fixed_dictionaries({"x": texts, "y": st.integers(), "label": st.tuples(texts, texts)}),
)
def test_fill_writes_what_str_format_writes_with_a_span_for_each_value(pieces, values):
    template = "".join(
        literal.replace("{", "{{").replace("}", "}}") + f"{{{field}}}" for literal, field in pieces
    )
    if not (text := template.format(**values)).strip():
        return
    prompt = fill(template, **values)
    assert prompt.text == text
    covered = [prompt.text[span.start : span.end] for span in prompt.spans]
    assert covered == [f"{{{field}}}".format(**values) for _, field in pieces]
    fields = [field.replace("[", ".").replace("]", "") for _, field in pieces]
    assert [span.name for span in prompt.spans] == numbered(fields)
    assert set(template_names(template)) == {field.split("[")[0] for _, field in pieces}


@pytest.mark.parametrize("field", ["{x:03d}", "{x:>4}", "{x.real}", "{x!r:>4}", "{s!r}"])
def test_fill_formats_a_value_as_str_format_does(field):
    values = {"x": 7, "s": "a"}
    assert fill(f"<{field}>", **values).text == f"<{field}>".format(**values)


def test_a_span_is_found_by_its_name():
    prompt = fill("{x} + {x} = {label[1]}", x=12, label="ab")
    assert prompt.span("x.2") == Span("x.2", 5, 7)
    assert prompt.span("label.1") == Span("label.1", 10, 11)
    with pytest.raises(LookupError, match=r"no span 'z' .* its spans are: x, x\.2, label\.1 "):
        prompt.span("z")
    with pytest.raises(LookupError, match=r"its spans are: none \(besides 'last' and 'all'\)"):
        Prompt("plain").span("x")


@pytest.mark.parametrize(
    "text, spans, says",
    [
        ("", (), "a prompt needs text; got ''"),
        (" \n", (), r"a prompt needs text; got ' \\n'"),
        ("abc", (Span("x", 1, 1),), "'x' must lie inside .* got characters 1 to 1 of 3"),
        ("abc", (Span("x", 2, 4),), "'x' must lie inside .* got characters 2 to 4 of 3"),
        ("abc", (Span("x", -1, 2),), "'x' must lie inside"),
        ("abc", (Span("x", 0, 1), Span("x", 1, 2)), "^span 'x' is given twice; names must differ$"),
        ("", (Span("y", 0, 1), Span("y", 0, 1)), "needs text; .*'y' must lie.*; .*'y' is given"),
    ],
)
def test_prompts_that_cannot_be(text, spans, says):
    with pytest.raises(ValueError, match=says):
        Prompt(text, spans)


def test_a_value_that_writes_nothing_is_refused():
    with pytest.raises(ValueError, match="span 'x' must lie inside the prompt and not be empty"):
        fill("x = {x}", x="")
