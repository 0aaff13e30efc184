"""What all pages share: their templates in this folder, one file each without a network, and how
they write what a stranger may have written."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ...legible import legible
from ..figures.lettering import signed

HERE = Path(__file__).parent
SEEN = {"\n": "↵\n", "\t": "⇥", "\r": "␍", "\x00": "␀"}
MARKS = {"holds": "✓", "fails": "✕", "inconclusive": "?", "differs": "≠"}


def render_template(name: str, told: Mapping[str, Any], **shown: Any) -> str:
    """The page of this name as HTML, with the styles and scripts of its own and of every page.

    Args:
        told: what the page's script reads, and what can be downloaded.
        shown: what its template reads.
    """
    script = _part("base.js") + _part(f"{name}.js")
    return (
        _environment()
        .get_template(f"{name}.html")
        .render(
            **shown,
            data=_embedded(told),
            script=Markup(script),
            style=Markup(_part("base.css") + _part(f"{name}.css")),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"visible": visible, "number": number, "cell": cell, "signed": signed}
    made.filters["capitalized"] = lambda text: text[:1].upper() + text[1:]
    made.globals["marks"] = MARKS
    return made


def _shown(value: Any) -> Any:
    """What a page shows of a value: text without letters that control others or the direction."""
    if isinstance(value, Markup):
        return Markup(legible(str(value)))
    return legible(value) if isinstance(value, str) else value


@lru_cache(4096)
def visible(text: str, ends: bool = True) -> Markup:
    """A prompt or a token with what could not be seen made visible: line breaks, letters that
    control others or the direction of the text, and spaces at its ends (unless told not to, or
    where there is nothing else)."""
    start, end = 0, len(text)
    if ends or not text.strip(" "):
        end = len(text.rstrip(" "))
        start = min(len(text) - len(text.lstrip(" ")), end)
    spaces = Markup('<i class="ctl">␣</i>')
    middle = (
        escape(piece) if piece.isprintable() else _mark(piece)
        for piece in re.findall(r"[^\W_]+|.", text[start:end], re.DOTALL)
    )
    return spaces * start + Markup("").join(middle) + spaces * (len(text) - end)


def _mark(letter: str) -> Markup:
    """The sign for a letter that cannot be seen."""
    sign = SEEN.get(letter, f"U+{ord(letter):04X}")
    return Markup('<i class="ctl">{}</i>{}').format(sign.rstrip("\n"), sign[len(sign.rstrip()) :])


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number as the page writes it, with a real minus."""
    rounded = round(value, digits) + 0.0  # -0.0 has a sign of its own
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def cell(value: Any) -> str:
    """A value of a finding's row, short enough for a table."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    return str(value)


def _embedded(told: Mapping[str, Any]) -> Markup:
    """JSON that can stand in a <script>: no letter of it can end the element."""
    text = json.dumps(told, ensure_ascii=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
