"""JSON that means one thing only, wherever it comes from: a caller, Redis or a model.

The standard parser takes NaN and 1e999, keeps the last of two equal keys, hands out lone surrogates that
cannot be encoded later, and raises RecursionError on deep nesting. Here all of these are errors with a kind
and a place, and none of them costs more than one pass over the text:

1. the size is looked at before anything else;
2. the depth is taken from the brackets outside of strings, without recursion and before parsing;
3. the standard library's scanner parses, with hooks for numbers and for equal keys;
4. only when something was wrong the text is parsed again, leniently, to name the place.

Which service the error is then told to, and by which code, is for the caller to say.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, Literal, TypeAlias

import orjson

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

Kind = Literal[
    "too_large",
    "too_deep",
    "duplicate_key",
    "not_finite",
    "bad_text",
    "bad_number",
    "bad_type",
    "syntax",
]

MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1
"""Integers beyond 64 bits are refused: a reader elsewhere would turn them into something near."""

MAX_NODES: Final = 1_000_000
"""Most parts of one Python value; a list that holds itself a million times is small in memory, not in JSON."""

_STRING = re.compile(rb'"(?>[^"\\]+|\\.)*(?:"|\\?\Z)', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_BAD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_UNLIKE_RFC8785 = re.compile(rb"\.0(?![0-9])|[0-9]e[+-]?[0-9]")


class StrictJsonError(ValueError):
    """A text or a value is not JSON as this module understands it."""

    def __init__(self, kind: Kind, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.kind: Kind = kind
        self.message = message
        """What is wrong, without any of the content."""
        self.path = path
        """Where: ``items[3].price``; empty for the whole. Keys are cut to 64 characters and escaped."""


class _Pairs(list[tuple[str, Any]]):
    """An object as its members, equal keys and all."""


class _HugeInt:
    """Stands for an integer of more than 64 bits."""


_Path: TypeAlias = "tuple[_Path, str | int] | None"


def loads_strict(data: str | bytes, *, max_bytes: int, max_depth: int = 32) -> JsonValue:
    """Parse one JSON value, or raise StrictJsonError.

    *max_bytes* counts UTF-8 bytes; *max_depth* counts nested arrays and objects (``[[1]]`` is 2 deep) and is
    at most 200. Refused, by kind:

    ``too_large``, ``too_deep``
        beyond the limits; decided before parsing.
    ``not_finite``
        NaN, Infinity, and numbers such as 1e999 that no double holds.
    ``bad_number``
        integers beyond 64 bits.
    ``duplicate_key``
        two members of one object with one name.
    ``bad_text``
        bytes that are not UTF-8, lone surrogates, NUL in a string.
    ``syntax``
        everything else that RFC 8259 does not allow, a byte order mark included.
    """
    raw = _encoded(data, max_bytes)
    check_depth(raw, max_depth=max_depth)
    text = _decoded(raw)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_int,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _BAD_ESCAPE.search(text):
            _check(value, max_depth, None)
    except StrictJsonError as error:
        if error.path:
            raise
        _locate(text, max_depth)
        raise
    except json.JSONDecodeError as error:
        raise StrictJsonError("syntax", f"not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise StrictJsonError("too_deep", "nested deeper than the parser can go") from None
    return value


def check_depth(raw: bytes, *, max_depth: int) -> None:
    """Raise StrictJsonError (``too_deep``) if arrays and objects nest deeper; linear, and no recursion."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    steps = _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKET)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > max_depth:
        raise StrictJsonError("too_deep", f"nested deeper than {max_depth} levels")


def check_value(value: object, *, max_depth: int, field: str = "", max_nodes: int = MAX_NODES) -> None:
    """Raise StrictJsonError unless a Python value is made of JSON's own types alone.

    These are None, bool, int, float, str, list and dict with str keys, and not their subclasses; a tuple or a
    datetime is ``bad_type``. A value that contains itself is ``too_deep``, one of more than *max_nodes* parts
    (each counted as often as it is reached) ``too_large``. *field* begins the path in the error.
    """
    _check(value, max_depth, (None, field) if field else None, max_nodes)


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8, shortest numbers.

    In the spirit of RFC 8785: numbers are numbers, so ``1``, ``1.0`` and ``1e0`` are spelled ``1``, and
    ``-0.0`` is ``0``; a float beyond 2**53 stays a float and differs from the integer. Two differences: keys
    are sorted by code point, and integers of up to 64 bits keep all their digits.
    Raises StrictJsonError as ``check_value`` does, deeper than 200 levels included.
    """
    holds_floats = _check(value, 200, None)
    spelled = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if holds_floats and _UNLIKE_RFC8785.search(spelled):
        spelled = orjson.dumps(_with_integers(value), option=orjson.OPT_SORT_KEYS)
    return spelled


def digest(value: object) -> str:
    """SHA-256 of the canonical spelling, 64 hexadecimal digits. Raises as ``canonical`` does."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _encoded(data: str | bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise StrictJsonError("too_large", f"larger than {max_bytes} bytes")
    if isinstance(data, bytes):
        return data
    try:
        raw = data.encode()
    except UnicodeEncodeError:
        raise StrictJsonError("bad_text", "holds a lone surrogate") from None
    if len(raw) > max_bytes:
        raise StrictJsonError("too_large", f"larger than {max_bytes} bytes")
    return raw


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise StrictJsonError("bad_text", f"not UTF-8 (byte {error.start})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("duplicate_key", "a key occurs twice")
    return members


def _int(digits: str) -> int:
    if len(digits) > 20 or not MIN_INT <= (number := int(digits)) <= MAX_INT:
        raise StrictJsonError("bad_number", "an integer of more than 64 bits")
    return number


def _float(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise StrictJsonError("not_finite", "a number larger than a double can hold")
    return number


def _constant(name: str) -> float:
    raise StrictJsonError("not_finite", f"{name} is not JSON")


def _locate(text: str, max_depth: int) -> None:
    """Parse again with everything let through, and raise the first thing wrong with its path."""
    try:
        value = json.loads(text, object_pairs_hook=_Pairs, parse_int=_lenient_int)
    except ValueError:
        return  # also broken further on: the first error stands, without a place
    _check(value, max_depth, None)


def _lenient_int(digits: str) -> int | _HugeInt:
    return int(digits) if len(digits) <= 20 else _HugeInt()


def _check(value: object, max_depth: int, root: _Path, max_nodes: int = MAX_NODES) -> bool:
    """Raise StrictJsonError unless all is well; whether there is a float in it."""
    holds_floats = False
    waiting: list[tuple[object, _Path, int]] = [(value, root, 1)]
    reached = 1
    while waiting:
        item, path, depth = waiting.pop()
        kind = type(item)
        if kind is dict or kind is list or kind is _Pairs:
            if depth > max_depth:
                raise StrictJsonError("too_deep", f"nested deeper than {max_depth} levels", _spell(path))
            reached += len(item)  # type: ignore[arg-type]
            if reached > max_nodes:
                raise StrictJsonError("too_large", f"more than {max_nodes} values", _spell(path))
            waiting += [(child, (path, key), depth + 1) for key, child in _members(item, path)]
        else:
            holds_floats = holds_floats or kind is float
            _check_scalar(item, path)
    return holds_floats


def _members(item: Any, path: _Path) -> Iterator[tuple[str | int, object]]:
    if type(item) is list:
        return enumerate(item)
    if type(item) is dict:
        for key in item:
            _check_key(key, path)
        return iter(item.items())
    seen: set[str] = set()
    for key, _ in item:
        _check_key(key, path)
        if key in seen:
            raise StrictJsonError("duplicate_key", "a key occurs twice", _spell((path, key)))
        seen.add(key)
    return iter(item)


def _check_key(key: object, path: _Path) -> None:
    if type(key) is not str:
        raise StrictJsonError("bad_type", f"has a key of type {type(key).__name__}, not str", _spell(path))
    _check_text(key, path)


def _check_scalar(item: object, path: _Path) -> None:
    if type(item) is str:
        _check_text(item, path)
    elif type(item) is int:
        if not MIN_INT <= item <= MAX_INT:
            raise StrictJsonError("bad_number", "an integer of more than 64 bits", _spell(path))
    elif type(item) is float:
        if not math.isfinite(item):
            raise StrictJsonError("not_finite", "NaN and infinite numbers are not JSON", _spell(path))
    elif type(item) is _HugeInt:
        raise StrictJsonError("bad_number", "an integer of more than 64 bits", _spell(path))
    elif item is not None and type(item) is not bool:
        raise StrictJsonError("bad_type", f"{type(item).__name__} is not a JSON type", _spell(path))


def _check_text(text: str, path: _Path) -> None:
    if "\0" in text:
        raise StrictJsonError("bad_text", "holds a NUL character", _spell(path))
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StrictJsonError("bad_text", "holds a lone surrogate", _spell(path)) from None


def _spell(path: _Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        if path is None and isinstance(step, str):
            steps.append(step if _PLAIN_KEY.fullmatch(step) else _quoted(step))
        elif isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            steps.append(f".{step}" if _PLAIN_KEY.fullmatch(step) else _quoted(step))
    return "".join(reversed(steps))


def _quoted(key: str) -> str:
    return f"[{json.dumps(key[:64])}]"


def _with_integers(value: Any) -> Any:
    """A copy in which a float that equals an integer up to 2**53 is that integer."""
    if type(value) is dict:
        return {key: _with_integers(item) for key, item in value.items()}
    if type(value) is list:
        return [_with_integers(item) for item in value]
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value
