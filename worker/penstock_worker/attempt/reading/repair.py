"""Repair JSON whose punctuation is wrong, and nothing else.

json-repair guesses, and its guesses move from release to release: it completes what was cut off, drops one
of two equal keys, splits strings, turns NaN into text. So it stands between two checks of ours:

1. the broken text must split into the tokens of a closed list: brackets, strings in any quotes, numbers as
   JSON writes them, true, false and null in any language's spelling, bare words, comments; with all brackets
   closed;
2. the repaired value, read in order, must give exactly these tokens: every bracket, every key (what stands
   before a colon) and every scalar, each once, none added, none lost; a bare word is never a value.

What is left to change is quotes, commas, comments and escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from json_repair import repair_json

from penstock_schemas.strict_json import StrictJsonError, check_value

MAX_BYTES: Final = 64 * 1024
"""Larger texts are not repaired: json-repair is slow on some, and a re-ask costs less than a wrong guess."""

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>//[^\n]*+ | /\*(?>[^*]+|\*(?!/))*+\*/)
    | (?P<bracket>[\[\]{}])
    | (?P<comma>,) | (?P<colon>:)
    | (?P<string>"(?>[^"\\]+|\\.)*+" | '(?>[^'\\]+|\\.)*+'
                 | \u201c[^\u201c\u201d]*+\u201d | \u2018[^\u2018\u2019]*+\u2019)
    | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<word>[^\W\d][\w-]*+)
    """,
    re.VERBOSE | re.DOTALL,
)
_LITERALS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = frozenset({"null", "None", "NULL", "Null"})
_Token = tuple[str, Any]


def repair(text: str, *, max_depth: int) -> tuple[Any, tuple[str, ...]] | None:
    """The value that *text* was meant to be and the steps that were needed, or None if that is uncertain.

    Steps: ``trailing_comma``, ``quotes``, ``bare_key``, ``comment``, ``literal``, ``control_character``,
    ``punctuation``. Never raises; takes long on some inputs, so it is called in the sandbox.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        return None
    split = _tokens(text, max_depth)
    if split is None:
        return None
    tokens, steps = split
    try:
        value = repair_json(text, return_objects=True, skip_json_loads=True)
        check_value(value, max_depth=max_depth)
    except (ValueError, RecursionError, StrictJsonError):
        return None
    if not _same(tokens, list(_events(value))):
        return None
    return value, tuple(sorted(steps)) or ("punctuation",)


def _tokens(text: str, max_depth: int) -> tuple[list[_Token], set[str]] | None:
    """The tokens with a meaning, and what is unlike JSON about them; None if the list is not closed."""
    split = _Split()
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None or not split.add(match.lastgroup, match[0]):
            return None
        if split.depth > max_depth:
            return None
        at = match.end()
    return (split.tokens, split.steps) if split.depth == 0 else None


class _Split:
    """The tokens so far."""

    def __init__(self) -> None:
        self.tokens: list[_Token] = []
        self.steps: set[str] = set()
        self.depth = 0
        self._before = ""
        """The kind of the token before, white space and comments included."""
        self._after_comma = False

    def add(self, kind: str, text: str) -> bool:
        """Add one token; False if it cannot stand there."""
        if kind == "bracket":
            fits = self._bracket(text)
        elif kind == "colon":
            fits = self._colon()
        elif kind in ("string", "number", "word"):
            fits = self._scalar(kind, text)
        else:
            fits = True
        if kind == "comment":
            self.steps.add("comment")
        elif kind != "space":
            self._after_comma = kind == "comma"
        self._before = kind
        return fits

    def _bracket(self, text: str) -> bool:
        self.depth += 1 if text in "[{" else -1
        if self._after_comma and text in "]}":
            self.steps.add("trailing_comma")
        self.tokens.append(("bracket", text))
        return self.depth >= 0

    def _colon(self) -> bool:
        """What stands before a colon is a key, and nothing else is."""
        if not self.tokens or self.tokens[-1][0] not in ("scalar", "word"):
            return False
        self.tokens[-1] = ("key", self.tokens[-1][1])
        return True

    def _scalar(self, kind: str, text: str) -> bool:
        """Two in a row with nothing between them are one string with a quote in it, or who knows."""
        if self._before in ("string", "number", "word"):
            return False
        token = _scalar(kind, text, self.steps)
        if token is None:
            return False
        self.tokens.append(token)
        return True


def _scalar(kind: str, text: str, steps: set[str]) -> _Token | None:
    if kind == "number":
        return _number(text)
    if kind == "string":
        return _string(text, steps)
    if text in _LITERALS or text in _NULLS:
        if text not in ("true", "false", "null"):
            steps.add("literal")
        return ("scalar", _LITERALS.get(text))
    steps.add("bare_key")
    return ("word", text)


def _number(text: str) -> _Token | None:
    if not text.lstrip("-").isdigit():
        return ("scalar", float(text))
    return ("scalar", int(text)) if len(text) <= 20 else None


def _string(text: str, steps: set[str]) -> _Token | None:
    inner = text[1:-1]
    if text[0] != '"':
        steps.add("quotes")
        inner = re.sub(r"\\(.)|\"", _as_double_quoted, inner, flags=re.DOTALL)
    if any(char < " " for char in inner):
        steps.add("control_character")
    try:
        return ("scalar", json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return None


def _as_double_quoted(match: re.Match[str]) -> str:
    return "'" if match[1] == "'" else '\\"' if match[0] == '"' else match[0]


def _events(value: Any) -> Iterator[_Token]:
    """The value as brackets, keys and scalars, in order."""
    if isinstance(value, dict):
        yield "bracket", "{"
        for key, item in value.items():
            yield "key", key
            yield from _events(item)
        yield "bracket", "}"
    elif isinstance(value, list):
        yield "bracket", "["
        for item in value:
            yield from _events(item)
        yield "bracket", "]"
    else:
        yield "scalar", value


def _same(tokens: list[_Token], events: list[_Token]) -> bool:
    return len(tokens) == len(events) and all(map(_agree, tokens, events))


def _agree(token: _Token, event: _Token) -> bool:
    return token[0] == event[0] and type(token[1]) is type(event[1]) and bool(token[1] == event[1])
