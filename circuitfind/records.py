"""JSON read as dataclasses: a dataclass says what a file holds, and pydantic checks that it does.

Types are strict: a text is no number, `true` is no whole number, NaN and infinity are no numbers.
Every problem of a file is in one message, each with its place: "sites.2.score must be a number".
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, core_schema

from .mediators.known import parse_site
from .mediators.site import Site

T = TypeVar("T")

SHOWN = 8  # problems that a message spells out before it counts the rest
LONGEST = 60  # characters of a value that a message repeats

OPEN = ConfigDict(strict=True, allow_inf_nan=False)
# The `__pydantic_config__` of a dataclass that refuses keys that it does not know; others pass
# them over.
CLOSED = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

# What a value must do, by pydantic's name of the error.
_MUST = {
    "string_type": "be text",
    "int_type": "be a whole number",
    "float_type": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "none_required": "be null",
    "tuple_type": "be a list",
    "dict_type": "be an object",
    "dataclass_type": "be an object",
    "literal_error": "be {expected}",
    "greater_than_equal": "be at least {ge}",
    "less_than_equal": "be at most {le}",
    "string_pattern_mismatch": "be text like {pattern}",
    "too_short": "have at least {min_length} rows",
    "too_long": "have at most {max_length} rows",
}
_OF_KEYS = {"missing": "missing", "unexpected_keyword_argument": "unknown"}


@dataclass(frozen=True)
class Format(Generic[T]):
    """A kind of JSON file, in each version that can be read.

    Args:
        what: the name of such a file in messages, as in "not a circuit".
        versions: the type that each version is read as, by the text of the file's key `format`;
            the newest comes last.
        unnamed: the version of a file without that key; None where every file has it.
    """

    what: str
    versions: Mapping[str, Any]
    unnamed: str | None = None

    @property
    def name(self) -> str:
        """The newest version, in which files are written."""
        return list(self.versions)[-1]

    def read(self, content: Any, where: str | Path = "") -> T:
        """What the values of a file stand for.

        Args:
            content: plain values, as `json.loads` returns them.
            where: the file, for messages.

        Raises:
            ValueError: an unknown version, or content of another form; every problem at once.
        """
        made, problems = self.check(content)
        if problems:
            raise ValueError(
                together(f"{where}: not {self.what}" if where else f"not {self.what}", problems)
            )
        return made

    def load(self, path: str | Path) -> T:
        """What a file stands for.

        Raises:
            FileNotFoundError: no such file.
            ValueError: as in `read`, and what is no JSON.
        """
        return self.read(load_json(path), path)

    def check(self, content: Any) -> tuple[Any, list[str]]:
        """What the values of a file stand for, and the problems; None where there are some."""
        if not isinstance(content, dict):
            return None, [f"expected an object; got {shown(content)}"]
        name, problems = content.get("format", self.unnamed), []
        if not isinstance(name, str) or name not in self.versions:
            known = " or ".join(map(repr, self.versions))
            problems.append(f"format must be {known}; got {shown(name)}")
            name = self.name  # its other problems are those that the newest version finds
        rest = {key: value for key, value in content.items() if key != "format"}
        made, found = _checked(self.versions[name], rest)
        return (None if problems else made), [*problems, *found]

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of such a file, in any version that can be read."""
        versions = []
        for name, type_ in self.versions.items():
            made = schema_of(type_)
            made["properties"] = {"format": {"const": name}, **made["properties"]}
            if self.unnamed is None:
                made["required"] = ["format", *made.get("required", [])]
            versions.append(made)
        whole = versions[0] if len(versions) == 1 else _either(versions)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def _either(versions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One schema for a file of any of these versions, the newest first, with shared definitions."""
    shared = {key: value for one in versions for key, value in one.pop("$defs", {}).items()}
    return {"$defs": shared, "oneOf": list(reversed(versions))}


def read_record(type_: Any, content: Any, *, where: str | Path) -> Any:
    """Plain values as an instance of this type, most often a dataclass.

    Raises:
        ValueError: values of another form; every problem at once.
    """
    made, problems = _checked(type_, content)
    if problems:
        raise ValueError(together(str(where), problems))
    return made


def schema_of(type_: Any) -> dict[str, Any]:
    """The JSON Schema of the values that `read_record` takes for this type."""
    return TypeAdapter(type_).json_schema(schema_generator=_Schemas)


def stored_as(record: type, build: Callable[[Any], Any]) -> GetPydanticSchema:
    """The annotation of a type that is read as `record`, which `build` makes into it.

    What `build` refuses by ValueError is a problem like any other.
    """
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(build, handler(record))
    )


def load_json(path: str | Path) -> Any:
    """The plain values in a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON in UTF-8, or nested too deep.
    """
    return parse_json(Path(path).read_bytes(), path)


def parse_json(text: bytes, where: str | Path) -> Any:
    """The plain values in the bytes of a JSON file.

    Raises:
        ValueError: no JSON in UTF-8, or nested too deep.
    """
    try:
        return json.loads(text.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{where} is not JSON in UTF-8: nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{where} is not JSON in UTF-8: {error}") from error


def shown(value: Any) -> str:
    """A value for a message: short, whatever it is."""
    if isinstance(value, list | dict):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    words = repr(value)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}... ({len(words)} characters)"


def together(name: str, problems: Iterable[str]) -> str:
    """All problems in one line; past the first SHOWN their number."""
    every = list(dict.fromkeys(problems))
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return f"{name}: {'; '.join(every[:SHOWN])}{more}"


def site_named(name: Any) -> Site:
    """The site that a file means.

    Raises:
        ValueError: not the name of a site.
    """
    if not isinstance(name, str):
        raise ValueError(f"must be the name of a site; got {shown(name)}")
    try:
        return parse_site(name)
    except ValueError as error:
        raise ValueError(str(error).replace(repr(name), shown(name))) from None


# A site, which files hold by its name.
SiteName = Annotated[Site, PlainValidator(site_named), WithJsonSchema({"type": "string"})]
# A mask in a report: how far each site belongs to the circuit.
Memberships = dict[SiteName, Annotated[float, Field(ge=0, le=1)]]


class _Schemas(GenerateJsonSchema):
    """The form of values alone: without docstrings, which are about Python, and without titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> dict[str, Any]:
        made = super().dataclass_schema(schema)
        made.pop("description", None)
        return made

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", "") is None and schema["schema"]["type"] != "nullable":
            del made["default"]  # it stands for a key that is left out
        return made


@lru_cache
def _reader_of(type_: Any) -> TypeAdapter:
    # In a tuple, since a dataclass alone takes no configuration from outside.
    boxed: Any = GenericAlias(tuple, (type_,))
    return TypeAdapter(boxed, config=OPEN)


def _checked(type_: Any, content: Any) -> tuple[Any, list[str]]:
    """The values as this type, and the problems; None where there are some."""
    try:
        # As JSON, since pydantic would refuse a list for a tuple in Python's own values.
        text = json.dumps([content])
    except (TypeError, ValueError, RecursionError) as error:
        return None, [f"not the values of a JSON file: {error}"]
    try:
        return _reader_of(type_).validate_json(text)[0], []
    except ValidationError as error:
        return None, list(_in_words(error.errors(include_url=False)))


def _in_words(errors: Sequence[ErrorDetails]) -> Iterator[str]:
    """Pydantic's errors as problems; keys that one object lacks, or has too many, are one."""
    keys: dict[tuple[str, str], list[str]] = {}
    within = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    for error in errors:
        names = [_key(part) for part in error["loc"][1:]]  # the first is that of the tuple
        if word := _OF_KEYS.get(error["type"]):
            keys.setdefault((".".join(names[:-1]), word), []).append(names[-1])
        elif error["type"] != "too_short" or error["loc"] not in within:
            # Pydantic counts sound rows only, so that bad ones make a list too short.
            yield _problem(names, error)
    for (place, word), names in keys.items():
        listed = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        yield f"{place}: {word}: {listed}" if place else f"{word}: {listed}"


def _problem(names: Sequence[str], error: ErrorDetails) -> str:
    """One of pydantic's errors about the value at this place; without names, about all of it."""
    kind, context, place = error["type"], error.get("ctx", {}), ".".join(names)
    if names[-1:] == ["[key]"]:
        place = f"the key {'.'.join(names[:-1])}"
    if kind == "json_invalid":
        deep = "recursion" in context["error"]
        return "nested too deep" if deep else f"text that is no Unicode: {context['error']}"
    if kind == "value_error":
        words = str(context["error"])
        joint = " " if words.startswith("must ") else ": "
        return f"{place}{joint}{words}" if place else words
    must = _MUST[kind].format(**context) if kind in _MUST else f"be valid ({error['msg']})"
    words = f"must {must}; got {shown(error['input'])}"
    return f"{place} {words}" if place else words


def _key(part: int | str) -> str:
    """A part of a place, short and on one line."""
    text = str(part)
    return text if text.isprintable() and len(text) <= LONGEST else shown(text)
