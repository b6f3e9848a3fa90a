"""Gemini's two dialects of schemas: `responseSchema`, a part of OpenAPI's, and `responseJsonSchema`.

From Google's API reference: `responseSchema` is a protobuf message, so a name it does not have is an error of
the whole request; types may be upper or lower case, there is `nullable` and no null type, no list of types.
`responseJsonSchema` takes JSON Schema and reads over what it does not support.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock_simulator.ask import JsonObject

_KNOWN_NAMES = """
type format title description nullable enum maxItems minItems properties required minProperties maxProperties
minLength maxLength pattern example anyOf propertyOrdering default items minimum maximum
max_items min_items min_properties max_properties min_length max_length any_of property_ordering
"""
_NAMES = frozenset(_KNOWN_NAMES.split())
_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
_STRING_FORMATS = frozenset({"enum", "date-time"})
_CAMEL = {
    "max_items": "maxItems",
    "min_items": "minItems",
    "any_of": "anyOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
_DROPPED = frozenset({"nullable", "propertyOrdering", "property_ordering", "example", "format"})
_MOST_STATES = 600
ROOT = "generation_config.response_schema"
TOO_MANY_STATES = (
    "The specified schema produces a constraint that has too many states for serving. Typical causes of this error "
    "are schemas with lots of text (for example, very long property or enum names), schemas with long array length "
    "limits (especially when nested), or schemas using complex value matchers."
)


def payload_faults(schema: Any, place: str = ROOT) -> Iterator[tuple[str, str]]:
    """What cannot be read as a `Schema` message: the place and the words of each fault."""
    if not isinstance(schema, dict):
        yield place, f"Invalid value at '{place}' (type.googleapis.com/google.ai.generativelanguage.v1beta.Schema)"
        return
    for name in schema.keys() - _NAMES:
        yield place, f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."
    kind = schema.get("type")
    if isinstance(kind, list):
        text = f"Invalid JSON payload received. Unknown name \"type\" at '{place}': Proto field is not repeating, "
        yield place, text + "cannot start list."
    elif kind is not None and str(kind).upper() not in _TYPES:
        enum = "type.googleapis.com/google.ai.generativelanguage.v1beta.Type"
        yield f"{place}.type", f"Invalid value at '{place}.type' ({enum}), \"{kind}\""
    for step, below in _children(schema):
        yield from payload_faults(below, place + step)


def rule_fault(schema: JsonObject, place: str = f"GenerateContentRequest.{ROOT}") -> str | None:
    """What is wrong with a schema that can be read; None for a good one."""
    kind = str(schema.get("type", "")).upper()
    if not kind and "anyOf" not in schema and "any_of" not in schema:
        return f"* {place}: schema must specify a type.\n"
    if kind == "OBJECT" and not schema.get("properties"):
        return f"* {place}.properties: should be non-empty for OBJECT type\n"
    if kind == "ARRAY" and "items" not in schema:
        return f"* {place}.items: missing field.\n"
    if kind == "STRING" and schema.get("format", "enum") not in _STRING_FORMATS:
        return f"* {place}.format: only 'enum' and 'date-time' are supported for STRING type\n"
    missing = [name for name in schema.get("required", []) if name not in schema.get("properties", {})]
    if missing:
        return f"* {place}.required[0]: property is not defined\n"
    return next((fault for step, below in _children(schema) if (fault := rule_fault(below, place + step))), None)


def as_json_schema(schema: JsonObject) -> JsonObject:
    """The JSON Schema that says what a `responseSchema` says."""
    made = {_CAMEL.get(name, name): item for name, item in schema.items() if name not in _DROPPED}
    if "type" in made:
        kind = str(made["type"]).lower()
        made["type"] = [kind, "null"] if schema.get("nullable") else kind
    if schema.get("nullable") and "enum" in made:
        made["enum"] = [*made["enum"], None]
    if "properties" in made:
        made["properties"] = {name: as_json_schema(below) for name, below in made["properties"].items()}
    if "items" in made:
        made["items"] = as_json_schema(made["items"])
    if "anyOf" in made:
        made["anyOf"] = [as_json_schema(below) for below in made["anyOf"]]
    return made


def has_too_many_states(schema: Any) -> bool:
    """Whether a schema is beyond what is served; a guess at a limit that Google does not publish."""
    return _states(schema) > _MOST_STATES


def _states(schema: Any) -> int:
    if isinstance(schema, dict):
        return 1 + len(schema.get("enum", [])) + sum(map(_states, schema.values()))
    return sum(map(_states, schema)) if isinstance(schema, list) else 0


def _children(schema: JsonObject) -> Iterator[tuple[str, Any]]:
    properties = schema.get("properties")
    for index, below in enumerate(properties.values() if isinstance(properties, dict) else ()):
        yield f".properties[{index}].value", below
    if "items" in schema:
        yield ".items", schema["items"]
    for key in ("anyOf", "any_of"):
        for index, below in enumerate(schema.get(key) or []):
            yield f".any_of[{index}]", below
