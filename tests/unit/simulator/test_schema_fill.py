"""Whatever the schema, the value that comes out is valid under it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from penstock_simulator.pattern_example import example
from penstock_simulator.schema_fill import fill

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
    {"type": "integer", "minimum": 5, "maximum": 7},
    {"type": "integer", "exclusiveMinimum": 5, "multipleOf": 3},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "maximum": -2.5},
    {"type": "string", "minLength": 4, "maxLength": 6},
    {"type": "string", "pattern": r"^[A-Z]{2}-\d{3,5}(foo|bar)?$"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "uuid"},
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "array", "items": {"type": "integer"}}]},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": "one"}}, "required": ["k"]}, {"type": "string"}]},
    {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}]},
    {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
    {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/node"}},
        "required": ["next"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "v": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["v", "next"],
            }
        },
    },
    {"const": 3},
    {},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats(-100, 100) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abk") | st.just("next"), inner),
    max_leaves=6,
)


def _valid(schema: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid(value)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_new_value_is_valid(schema: dict[str, Any]) -> None:
    """Judged by another implementation than the one inside."""
    assert _valid(schema, fill(schema))


@given(st.sampled_from(SCHEMAS), JSON)
def test_any_value_is_made_valid(schema: dict[str, Any], value: Any) -> None:
    """What is wrong with it is replaced."""
    assert _valid(schema, fill(schema, value))


@given(st.sampled_from(SCHEMAS), JSON)
def test_filling_twice_changes_nothing(schema: dict[str, Any], value: Any) -> None:
    """A valid value is kept as it is."""
    once = fill(schema, value)
    assert fill(schema, once) == once


def test_valid_parts_are_kept() -> None:
    """Only the missing and the wrong are made up; null where it is allowed."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0},
            "mail": {"type": ["string", "null"]},
        },
        "required": ["name", "age", "mail"],
        "additionalProperties": False,
    }
    assert fill(schema, {"name": "Ada", "age": -3, "extra": 1}) == {"name": "Ada", "age": 0, "mail": None}


def test_a_remote_reference_is_not_followed() -> None:
    """No request leaves the simulator; the port would refuse it."""
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}, "required": ["a"]}
    assert fill(schema, {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(r"^\d{4}-\d{2}$", "0000-00"), (r"[^a]b", "0b"), (r"(x)\1", "xx"), (r"(?=a)b", None), ("(", None)],
)
def test_examples_of_patterns(pattern: str, expected: str | None) -> None:
    """None where the pattern is bad or too clever."""
    assert example(pattern) == expected
