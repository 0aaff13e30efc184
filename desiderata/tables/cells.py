"""From a row's cells to prompts, answers and spans; what cannot be read is collected."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from ..desideratum import Texts, as_texts
from ..prompt import Prompt, Span
from ..token_ids import TokenIds

LONGEST = 60  # characters of a cell that a message repeats
_WORD = re.compile(r"\S+")


@dataclass
class Cells:
    """A row while it is read: its cells, the problems found, and remarks on what was done to it.

    Args:
        is_text: cells are text only, so that a list in one is JSON.
        columns_of_spans: the columns called `PROMPT:SPAN`, which hold the text of a span.
    """

    row: Mapping[str, Any]
    is_text: bool = False
    columns_of_spans: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)

    def prompt(self, name: str, spans: tuple[str, ...] = ()) -> Prompt | None:
        """The prompt in a cell: text, token ids, or the turns of a chat.

        Args:
            spans: the cells that hold its spans; a later one's count where two name the same.
        """
        value = self._loaded(self.row.get(name), list)
        made = self._prompt(name, value)
        if made is None or not (spans or self.columns_of_spans):
            return made
        found: dict[str, Span] = {}
        for cell in (name for name in spans if name in self.row):
            found |= {span.name: span for span in self._spans(cell, made)}
        for column in self.columns_of_spans:
            owner, _, span = column.partition(":")
            if owner == name and (text := self.row.get(column)) not in (None, ""):
                found |= {one.name: one for one in self._located({span: text}, column, made)}
        return replace(made, spans=tuple(found.values())) if found else made

    def text(self, name: str) -> str | None:
        """The text in a cell; None where it is empty."""
        value = self.row.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str):
            self.problems.append(f"{name} must be text; got {shown(value)}")
            return None
        return value.strip()

    def whole(self, name: str) -> int | None:
        """The whole number in a cell."""
        value = self.row.get(name)
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if type(value) is int or (isinstance(value, float) and value.is_integer()):
            return int(value)
        self.problems.append(f"{name} must be a whole number; got {shown(value)}")
        return None

    def answer(self, name: str, *, ids: bool = False, optional: bool = False) -> Texts | None:
        """The answer in a cell: a text, or a list of texts that are all right.

        Args:
            ids: whether the row is written in token ids, so that numbers are tokens.
        """
        value = self.row.get(name)
        if optional and (value is None or value == "" or value == []):
            return None
        texts = self._texts(self._loaded(value, list, dict), ids)
        if texts:
            return texts[0] if len(texts) == 1 else as_texts(texts)
        hint = ""
        if type(value) in (int, float):
            hint = "; write a number as text, with the space that comes before it if one does"
        self.problems.append(f"{name} must be text and not empty; got {shown(value)}{hint}")
        return None

    def answers(self, name: str, *, ids: bool = False) -> tuple[Texts, ...]:
        """The answers in a cell, each by itself; a list within the list is one answer of several
        texts. None where the cell is empty."""
        value = self.row.get(name)
        if value is None or value == "":
            return ()
        value = self._loaded(value, list)
        rows = value if isinstance(value, list) else [value]
        made = [self._texts(row, ids) for row in rows]
        if not all(made):
            self.problems.append(f"{name} must be answers, none empty; got {shown(value)}")
            return ()
        return tuple(as_texts(texts) for texts in made if texts)

    def after(self, prompt: Prompt | None, answer: Texts | None) -> Texts | None:
        """The answer with a space before each text that begins with a letter or digit, where the
        prompt does not end in space: some tools add it when they tokenize."""
        if prompt is None or answer is None or prompt.text[-1:].isspace():
            return answer
        texts = (answer,) if isinstance(answer, str) else answer
        made = tuple(f" {text}" if text[0].isalnum() else text for text in texts)
        if made != texts:
            self.remarks["a space was put before answers that had none"] += 1
        return as_texts(made)

    def _loaded(self, value: Any, *kinds: type) -> Any:
        """What JSON in a text cell says, where it is of these kinds; other cells as they are."""
        if not (self.is_text and isinstance(value, str) and value.lstrip()[:1] in ("[", "{")):
            return value
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return read if isinstance(read, kinds) else value

    def _prompt(self, name: str, value: Any) -> Prompt | None:
        if isinstance(value, str) and value.strip() and _is_text(value):
            return Prompt(value)
        if isinstance(value, list) and value and all(map(_is_id, value)):
            self.remarks["prompts are token ids"] += 1
            return prompt_of_ids(value)
        if isinstance(value, list) and value and all(map(_is_turn, value)):
            self.remarks["prompts are the turns of a chat"] += 1
            return prompt_of_turns([(turn["role"], turn["content"]) for turn in value])
        wanted = "text and not empty"
        if isinstance(value, list | dict):
            wanted = "text, a list of token ids, or a list of turns with role and content"
        self.problems.append(f"{name} must be {wanted}; got {shown(value)}")
        return None

    def _texts(self, value: Any, ids: bool) -> tuple[str, ...]:
        """The texts that a value stands for; none where one of them is no text."""
        if isinstance(value, dict):
            value = value.get("ids")
            return (TokenIds(value),) if _are_ids(value) else ()
        if ids and isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if ids and _is_id(value):
            return (TokenIds([value]),)
        if isinstance(value, str):
            return (value,) if value.strip() and _is_text(value) else ()
        if not isinstance(value, list):
            return ()
        made: list[str] = []
        for row in value:
            one = self._texts({"ids": row} if ids and isinstance(row, list) else row, ids)
            if len(one) != 1:
                return ()
            made.append(one[0])
        return tuple(made)

    def _spans(self, name: str, prompt: Prompt) -> Iterator[Span]:
        value = self._loaded(self.row.get(name), dict)
        if value is None or value == "":
            return
        if not isinstance(value, dict):
            self.problems.append(f"{name} must be an object of spans; got {shown(value)}")
            return
        yield from self._located(value, name, prompt)

    def _located(self, wanted: Mapping[str, Any], cell: str, prompt: Prompt) -> Iterator[Span]:
        for name, where in wanted.items():
            place = _place(prompt.text, where)
            if isinstance(place, str):
                self.problems.append(f"{cell}: span {name!r} {place}")
            elif not name or name in ("last", "all"):
                self.problems.append(f"{cell}: a span cannot be called {name!r}")
            else:
                yield Span(name, *place)
                if _is_repeated(prompt.text, where):
                    self.remarks[
                        f"the text of span {name!r} comes more than once in its prompt: the first "
                        "was taken; `occurrence` names another"
                    ] += 1


def prompt_of_ids(ids: list[int]) -> Prompt:
    """The prompt of these tokens. Its text is a stand-in, the ids with spaces between, so that
    word 3 is token 3.

    >>> prompt_of_ids([464, 3290]).text
    '464 3290'
    """
    return Prompt(" ".join(map(str, ids)), ids=tuple(ids))


def prompt_of_turns(turns: list[tuple[str, str]]) -> Prompt:
    """The prompt of these turns of a chat. Its text is a stand-in: a line a turn, role and
    content as they are.

    >>> prompt_of_turns([("user", "Hi"), ("assistant", "Yes,")]).text
    'user: Hi\\nassistant: Yes,'
    """
    return Prompt("\n".join(f"{role}: {content}" for role, content in turns), turns=tuple(turns))


def shown(value: Any) -> str:
    """A value as messages repeat it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _place(text: str, where: Any) -> tuple[int, int] | str:
    """The characters that a span stands for, or what is wrong with it."""
    if isinstance(where, str):
        where = {"text": where}
    if not isinstance(where, dict):
        return f"must be a text or an object; got {shown(where)}"
    if "text" in where:
        wanted, number = where["text"], where.get("occurrence", 1)
        if not isinstance(wanted, str) or not wanted or type(number) is not int or number < 1:
            return f"needs a text, and occurrence from 1; got {shown(where)}"
        place = -1
        for _ in range(number):
            place = text.find(wanted, place + 1)
            if place < 0:
                return f"needs {wanted!r} {number} time(s) in the prompt {shown(text)}"
        return place, place + len(wanted)
    if type(index := where.get("word")) is int:
        words = list(_WORD.finditer(text))
        if not -len(words) <= index < len(words):
            return f"is word {index} of a prompt of {len(words)} words (counted from 0)"
        return words[index].span()
    start, end = where.get("start"), where.get("end")
    if type(start) is int and type(end) is int:
        if 0 <= start < end <= len(text):
            return start, end
        return f"is characters {start} to {end} of a prompt of {len(text)}"
    return f'needs "text", "word", or "start" and "end"; got {shown(where)}'


def _is_repeated(text: str, where: Any) -> bool:
    if isinstance(where, dict):
        where = where.get("text") if "occurrence" not in where else None
    return isinstance(where, str) and text.find(where, text.find(where) + 1) >= 0


def _is_text(value: str) -> bool:
    """Whether this can be written as UTF-8; half a surrogate pair, which JSON allows, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) and value[name].strip() and _is_text(value[name])
        for name in ("role", "content")
    )
