"""The strict subset is enforced rule by rule."""

from typing import Any

import pytest

from penstock_simulator.wire.openai_schema import check_strict

TEXT = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _nested(levels: int) -> dict[str, Any]:
    return _object(a=_nested(levels - 1)) if levels else _object(a=TEXT)


@pytest.mark.parametrize(
    "schema",
    [
        _object(a=TEXT, b={"type": ["string", "null"]}, c={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        _object(a={"type": "array", "items": {"enum": ["x"]}, "minItems": 1, "maxItems": 1}),
        _object(a={"type": "integer", "minimum": 1}, b={"type": "string", "format": "date", "pattern": "^2"}),
        {**_object(a={"$ref": "#/$defs/b", "description": "x"}), "$defs": {"b": _object(c=TEXT)}},
        _nested(9),
    ],
)
def test_the_subset_is_taken(schema: dict[str, Any]) -> None:
    """Optional is a union with null."""
    assert check_strict(schema) is None


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        ({"type": "array", "items": TEXT}, 'type: "object"\''),
        ({**_object(a=TEXT), "anyOf": [{}]}, "top level"),
        ({**_object(a=TEXT), "additionalProperties": True}, "In context=(), 'additionalProperties' is required"),
        ({**_object(a=TEXT), "required": []}, "Missing 'a'"),
        ({**_object(a=TEXT), "required": ["a", "z"]}, "extra key 'z'"),
        (_object(a={"type": "string", "minLength": 1}), "In context=('properties', 'a'), 'minLength' is not permitted"),
        (_object(a={"type": "string", "default": "x"}), "'default' is not permitted"),
        (_object(a={"oneOf": [TEXT]}), "'oneOf' is not permitted"),
        (_object(a={"allOf": [TEXT]}), "'allOf' is not permitted"),
        (_object(a={"type": "array"}), "array schema missing items"),
        (_object(a={"type": "array", "items": TEXT, "uniqueItems": True}), "'uniqueItems' is not permitted"),
        (_object(a={"type": "string", "format": "uri"}), "'uri' is not a supported format"),
        (_object(a={"type": "string", "pattern": "(?=x)"}), "lookaround"),
        (_object(a={"$ref": "#/$defs/b", "type": "string"}), "$ref cannot have keywords {'type'}"),
        (_object(a={"description": "anything"}), "must have a 'type' key"),
        (_object(a={"type": "object"}), "In context=('properties', 'a'), 'additionalProperties'"),
        (_object(a={"anyOf": [TEXT, {"type": "object"}]}), "('properties', 'a', 'anyOf', '1')"),
        (_nested(11), "nested more than 10 levels"),
        (_object(a={"enum": [str(number) for number in range(1001)]}), "at most 1000 enum values"),
        (_object(**{f"p{number}": TEXT for number in range(5001)}), "at most 5000 object properties"),
        (_object(**{"x" * 120_001: TEXT}), "at most 120000 characters"),
    ],
)
def test_what_breaks_a_rule_is_named(schema: dict[str, Any], rule: str) -> None:
    """With the place and the rule, in OpenAI's words; twice the same."""
    assert rule in (check_strict(schema) or "")
    assert rule in (check_strict(schema) or "")
