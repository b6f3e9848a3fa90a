"""The subset of JSON Schema that Anthropic compiles, and what it says to the rest.

Rules from Anthropic's guide to structured outputs: `additionalProperties: false` on every object, no recursion,
no bounds on numbers and strings, `minItems` only 0 or 1, no empty schema; over all strict schemas of a request
at most 24 optional parameters, 16 of a union type and 20 strict tools. The limits' texts are those of public reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_simulator.ask import JsonObject

MOST_OPTIONAL, MOST_UNIONS, MOST_STRICT_TOOLS = 24, 16, 20
_BOUNDS = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems"),
    "object": ("minProperties", "maxProperties", "patternProperties", "propertyNames", "dependentRequired"),
}
_NEVER = ("oneOf", "not", "if", "then", "else", "unevaluatedProperties", "dependentSchemas")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})


class _Broken(Exception):
    """A rule of the subset is broken; the message is the provider's."""


@dataclass(slots=True)
class _Totals:
    optional: int = 0
    unions: int = 0


def check(schemas: Sequence[tuple[str, JsonObject]]) -> str | None:
    """What Anthropic refuses *schemas*, each with the place it stands at, for; None when it takes them all."""
    totals = _Totals()
    for where, schema in schemas:
        try:
            _check(schema, schema, (), totals)
        except _Broken as broken:
            return f"{where}: {broken}"
    return _over(totals)


def _over(totals: _Totals) -> str | None:
    if totals.optional > MOST_OPTIONAL:
        return (
            f"Schemas contains too many optional parameters ({totals.optional}), which would make grammar compilation "
            "inefficient. Reduce the number of optional parameters in your tool schemas "
            f"(limit: {MOST_OPTIONAL})."
        )
    if totals.unions > MOST_UNIONS:
        return (
            f"Schemas contains too many parameters with union types ({totals.unions} parameters with type arrays or "
            "anyOf). This would cause exponential compilation cost. Reduce the number of nullable or union-typed "
            f"parameters (limit: {MOST_UNIONS} parameters with unions)."
        )
    return None


def _check(schema: Any, root: JsonObject, refs: tuple[str, ...], totals: _Totals) -> None:
    if not isinstance(schema, dict) or not schema:
        raise _Broken("Empty schemas are not supported: a schema must have a type")
    if "$ref" in schema:
        _check_ref(str(schema["$ref"]), root, refs, totals)
        return
    _check_keywords(schema)
    if "object" in _types(schema):
        _check_object(schema, totals)
    if schema.get("minItems", 0) not in (0, 1):
        raise _Broken("For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    for below in _children(schema):
        _check(below, root, refs, totals)


def _check_ref(ref: str, root: JsonObject, refs: tuple[str, ...], totals: _Totals) -> None:
    if ref in refs or ref == "#":
        raise _Broken(f"Circular reference detected in schema definitions: {' -> '.join([*refs, ref])}")
    target: Any = root
    for step in ref.removeprefix("#/").split("/"):
        target = target.get(step) if isinstance(target, dict) else None
    if not ref.startswith("#/") or target is None:
        raise _Broken(f"External or unknown schema reference '{ref}' is not supported")
    _check(target, root, (*refs, ref), totals)


def _check_keywords(schema: JsonObject) -> None:
    for keyword in _NEVER:
        if keyword in schema:
            raise _Broken(f"'{keyword}' is not supported")
    for kind in _types(schema):
        found = [name for name in _BOUNDS.get(str(kind), ()) if name in schema]
        if found:
            raise _Broken(f"For '{kind}' type, properties {', '.join(found)} are not supported")
    if not schema.keys() & {"type", "anyOf", "allOf", "enum", "const"}:
        raise _Broken("Schema must have a 'type', 'anyOf', 'allOf', 'enum' or 'const'")
    if schema.get("format") is not None and schema["format"] not in _FORMATS:
        raise _Broken(f"String format '{schema['format']}' is not supported")
    if any(isinstance(value, dict | list) for value in schema.get("enum", [])):
        raise _Broken("Enum values must be strings, numbers, booleans or null")


def _check_object(schema: JsonObject, totals: _Totals) -> None:
    if schema.get("additionalProperties") is not False:
        raise _Broken("For 'object' type, 'additionalProperties' must be explicitly set to false")
    properties = schema.get("properties", {})
    totals.optional += len(properties.keys() - set(schema.get("required", [])))
    totals.unions += sum(1 for below in properties.values() if _is_union(below))


def _is_union(schema: Any) -> bool:
    return isinstance(schema, dict) and ("anyOf" in schema or isinstance(schema.get("type"), list))


def _children(schema: JsonObject) -> Iterator[Any]:
    yield from schema.get("properties", {}).values()
    for key in ("anyOf", "allOf"):
        yield from schema.get(key, [])
    if "items" in schema:
        yield schema["items"]


def _types(schema: JsonObject) -> list[Any]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]
