"""A short string that matches a regular expression, for schema fields with a `pattern`."""

from __future__ import annotations

import re
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_CATEGORY = {
    codes.CATEGORY_DIGIT: "0",
    codes.CATEGORY_WORD: "a",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_NOT_DIGIT: "a",
    codes.CATEGORY_NOT_WORD: "-",
    codes.CATEGORY_NOT_SPACE: "a",
}
_CANDIDATES = "a0 -_.A"


def example(pattern: str) -> str | None:
    """The simplest string that *pattern* finds; None if the pattern is bad or beyond this generator."""
    try:
        text = _all(parser.parse(pattern), {})
        return text if re.search(pattern, text) else None
    except (re.error, _Beyond):
        return None


class _Beyond(Exception):
    """The pattern uses something that is not generated."""


def _one(item: tuple[Any, Any], groups: dict[int, str]) -> str:
    code, value = item
    match code:
        case codes.LITERAL:
            return chr(value)
        case codes.NOT_LITERAL:
            return next(sign for sign in _CANDIDATES if ord(sign) != value)
        case codes.ANY:
            return "a"
        case codes.IN:
            return _of_set(value)
        case codes.BRANCH:
            return _all(value[1][0], groups)
        case codes.SUBPATTERN:
            groups[value[0]] = _all(value[3], groups)
            return groups[value[0]]
        case codes.GROUPREF:
            return groups.get(value, "")
        case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
            low, _high, what = value
            return "".join(_all(what, groups) for _ in range(min(low, 10_000)))
        case codes.AT:
            return ""
        case _:
            raise _Beyond(str(code))


def _all(items: Any, groups: dict[int, str]) -> str:
    return "".join(_one(item, groups) for item in items)


def _of_set(members: list[tuple[Any, Any]]) -> str:
    if members[0][0] is codes.NEGATE:
        return next((sign for sign in _CANDIDATES if not _in_set(sign, members[1:])), "~")
    code, value = members[0]
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.RANGE:
        return chr(value[0])
    if code is codes.CATEGORY:
        return _CATEGORY[value]
    raise _Beyond(str(code))


def _in_set(sign: str, members: list[tuple[Any, Any]]) -> bool:
    for code, value in members:
        if code is codes.LITERAL and ord(sign) == value:
            return True
        if code is codes.RANGE and value[0] <= ord(sign) <= value[1]:
            return True
        if code is codes.CATEGORY and _in_category(sign, value):
            return True
    return False


def _in_category(sign: str, category: Any) -> bool:
    tests = {
        codes.CATEGORY_DIGIT: sign.isdigit(),
        codes.CATEGORY_WORD: sign.isalnum() or sign == "_",
        codes.CATEGORY_SPACE: sign.isspace(),
    }
    if category in tests:
        return tests[category]
    opposite = {
        codes.CATEGORY_NOT_DIGIT: codes.CATEGORY_DIGIT,
        codes.CATEGORY_NOT_WORD: codes.CATEGORY_WORD,
        codes.CATEGORY_NOT_SPACE: codes.CATEGORY_SPACE,
    }
    return category in opposite and not tests[opposite[category]]
