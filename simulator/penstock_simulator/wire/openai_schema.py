"""The subset of JSON Schema that OpenAI's strict mode takes, and what it says to the rest.

Rules and limits from OpenAI's guide to structured outputs: an object at the root that is not `anyOf`, every
property required, `additionalProperties: false` on every object, no `allOf`, `oneOf`, `not`, `if`, no
defaults, no siblings beside `$ref`, at most 5,000 properties, 10 levels, 1,000 enum values and 120,000
characters of names and enum values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from penstock_simulator.ask import JsonObject

_FORBIDDEN_NAMES = """
allOf oneOf not if then else dependentRequired dependentSchemas default minLength maxLength patternProperties
unevaluatedProperties propertyNames minProperties maxProperties unevaluatedItems contains minContains
maxContains uniqueItems prefixItems
"""
_FORBIDDEN = frozenset(_FORBIDDEN_NAMES.split())
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_BESIDE_REF = frozenset({"$ref", "description", "title"})
_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!")
_MAX_PROPERTIES, _MAX_DEPTH, _MAX_ENUM_VALUES, _MAX_CHARS = 5000, 10, 1000, 120_000
_REMEMBERED = 2048

_known: OrderedDict[bytes, str | None] = OrderedDict()


class _Broken(Exception):
    """A rule of the subset is broken; the message is the provider's."""


@dataclass(slots=True)
class _Totals:
    properties: int = 0
    enum_values: int = 0
    chars: int = 0


def check_strict(schema: JsonObject) -> str | None:
    """What strict mode refuses *schema* for, in OpenAI's words; None when it is taken.

    Verdicts are remembered by content, so a schema that comes with every request is walked once.
    """
    key = orjson.dumps(schema)
    if key not in _known:
        _known[key] = _verdict(schema)
        if len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return _known[key]


def _verdict(schema: JsonObject) -> str | None:
    try:
        _check_root(schema)
        totals = _Totals()
        _check(schema, (), 0, totals)
        _check_totals(totals)
    except _Broken as broken:
        return str(broken)
    return None


def _check_root(schema: JsonObject) -> None:
    if "anyOf" in schema:
        raise _Broken(
            "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
        )
    if schema.get("type") != "object" and "$ref" not in schema:
        raise _Broken(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'.")


def _check(schema: Any, path: tuple[str, ...], depth: int, totals: _Totals) -> None:
    if not isinstance(schema, dict):
        raise _wrong(path, "schema must have a 'type' key.")
    if depth > _MAX_DEPTH:
        raise _wrong(path, f"the schema is nested more than {_MAX_DEPTH} levels deep.")
    _check_keywords(schema, path)
    _count_enum(schema, totals)
    if "object" in _types(schema):
        _check_object(schema, path, totals)
    if "array" in _types(schema) and not isinstance(schema.get("items"), dict):
        raise _wrong(path, "array schema missing items.")
    for step, below in _children(schema):
        _check(below, (*path, *step), depth + (step[0] in {"properties", "items"}), totals)


def _check_keywords(schema: JsonObject, path: tuple[str, ...]) -> None:
    for keyword in schema:
        if keyword in _FORBIDDEN:
            raise _wrong(path, f"'{keyword}' is not permitted.")
    if "$ref" in schema and not schema.keys() <= _BESIDE_REF:
        extra = sorted(schema.keys() - _BESIDE_REF)
        raise _wrong(path, f"$ref cannot have keywords {{{', '.join(map(repr, extra))}}}.")
    if not schema.keys() & {"type", "$ref", "anyOf", "enum", "const"}:
        raise _wrong(path, "schema must have a 'type' key.")
    if schema.get("format") is not None and schema["format"] not in _FORMATS:
        raise _wrong(path, f"'{schema['format']}' is not a supported format.")
    if any(mark in str(schema.get("pattern", "")) for mark in _LOOK_AROUND):
        raise _wrong(path, "regex lookaround is not supported in 'pattern'.")


def _check_object(schema: JsonObject, path: tuple[str, ...], totals: _Totals) -> None:
    if schema.get("additionalProperties") is not False:
        raise _wrong(path, "'additionalProperties' is required to be supplied and to be false.")
    properties = schema.get("properties", {})
    totals.properties += len(properties)
    totals.chars += sum(map(len, properties))
    required = schema.get("required", [])
    missing = next((name for name in properties if name not in required), None)
    if missing is not None:
        raise _wrong(
            path,
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"Missing '{missing}'.",
        )
    extra = next((name for name in required if name not in properties), None)
    if extra is not None:
        raise _wrong(path, f"'required' has an extra key '{extra}'.")


def _children(schema: JsonObject) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key in ("properties", "$defs", "definitions"):
        for name, below in schema.get(key, {}).items():
            yield (key, name), below
    for index, below in enumerate(schema.get("anyOf", [])):
        yield ("anyOf", str(index)), below
    if isinstance(schema.get("items"), dict):
        yield ("items",), schema["items"]


def _types(schema: JsonObject) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _count_enum(schema: JsonObject, totals: _Totals) -> None:
    values = schema.get("enum", [])
    totals.enum_values += len(values)
    totals.chars += sum(len(value) for value in values if isinstance(value, str))


def _check_totals(totals: _Totals) -> None:
    for value, limit, what in (
        (totals.properties, _MAX_PROPERTIES, "object properties"),
        (totals.enum_values, _MAX_ENUM_VALUES, "enum values"),
        (totals.chars, _MAX_CHARS, "characters of names and enum values"),
    ):
        if value > limit:
            raise _Broken(f"Expected at most {limit} {what} in total within a schema, but received {value}.")


def _wrong(path: tuple[str, ...], rule: str) -> _Broken:
    inside = ", ".join(repr(step) for step in path) + ("," if len(path) == 1 else "")
    return _Broken(f"In context=({inside}), {rule}")
